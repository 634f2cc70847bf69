#include "tools/entry_walk.h"

#include "tools/output.h"

enum pt_exit pt_entry_walk(struct pt_entry_walk *walk, const struct pt_target *target,
                           struct peat_collection *collection, const struct pt_entry_writer *writer)
{
    struct peat_iterator *iterator = NULL;
    enum peat_status status;

    walk->count = 0;
    status = peat_iterator_open(target->snapshot, collection, &walk->range, &iterator);
    if (status == PEAT_OK && walk->limit > 0)
        status = walk->is_reverse ? peat_iterator_last(iterator) : peat_iterator_first(iterator);
    while (status == PEAT_OK && walk->count < walk->limit && !pt_output_failed()) {
        if (writer != NULL)
            writer->format->write(writer, peat_iterator_key(iterator),
                                  peat_iterator_value(iterator));
        walk->count++;
        status = walk->is_reverse ? peat_iterator_previous(iterator) : peat_iterator_next(iterator);
    }
    peat_iterator_close(iterator);
    return status >= 0 ? PT_EXIT_DONE : pt_complain_status(target->store, status);
}
