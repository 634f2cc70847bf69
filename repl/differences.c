#include "repl/differences.h"

#include "repl/sums.h"

#include <string.h>

void pt_place_keep(struct pt_kept_place *kept, const struct peat_place *place)
{
    if (place->key.size > 0)
        memmove(kept->key, place->key.data, place->key.size);
    kept->place = *place;
}

struct peat_place pt_place_of(const struct pt_kept_place *kept)
{
    return (struct peat_place){kept->place.collection, {kept->key, kept->place.key.size}};
}

static bool is_same_place(const struct pt_kept_place *a, const struct pt_kept_place *b)
{
    struct peat_place places[2] = {pt_place_of(a), pt_place_of(b)};

    return pt_place_compare(&places[0], &places[1]) == 0;
}

bool pt_differences_end(struct pt_differences *differences)
{
    const struct peat_verify_options *options = differences->options;
    const struct pt_range *found = &differences->found;
    struct peat_verify_range told = {.struct_size = sizeof(told),
                                     .low = pt_place_of(&found->low),
                                     .high = pt_place_of(&found->high),
                                     .entries_here = found->here.entry_count,
                                     .entries_there = found->there.entry_count,
                                     .damaged_here = found->here.is_damaged,
                                     .damaged_there = found->there.is_damaged};

    if (!differences->has_found)
        return true;
    differences->has_found = false;
    differences->count++;
    return options->difference == NULL || options->difference(options->context, &told);
}

static void sum_join(struct peat_tally_sum *sum, const struct peat_tally_sum *more)
{
    sum->entry_count += more->entry_count;
    sum->is_damaged = sum->is_damaged || more->is_damaged;
}

bool pt_differences_add(struct pt_differences *differences, const struct pt_range *range)
{
    struct pt_range *found = &differences->found;

    if (differences->has_found && is_same_place(&found->high, &range->low) &&
        found->low.place.collection == range->low.place.collection) {
        found->high = range->high;
        sum_join(&found->here, &range->here);
        sum_join(&found->there, &range->there);
        return true;
    }
    if (!pt_differences_end(differences))
        return false;
    *found = *range;
    differences->has_found = true;
    return true;
}
