#include "tools/kept_state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* What the text is to a state; the last one wins. */
enum match { MATCH_NONE, MATCH_COMMIT, MATCH_GENERATION, MATCH_NAME };

/* What is looked for, and what was found: the better match, then the newer state. */
struct search {
    const char *text;
    uint64_t number; /* that the text is; UINT64_MAX: it is none */
    enum match found;
    uint64_t generation;
};

static bool entry_visit(void *context, const struct peat_history_entry *entry)
{
    struct search *search = context;
    enum match match = MATCH_NONE;

    if (strcmp(entry->name, search->text) == 0 && entry->name[0] != '\0')
        match = MATCH_NAME;
    else if (entry->generation == search->number)
        match = MATCH_GENERATION;
    else if (entry->commit == search->number)
        match = MATCH_COMMIT;
    if (match != MATCH_NONE && match >= search->found) {
        search->found = match;
        search->generation = entry->generation;
    }
    return true;
}

static uint64_t number_of(const char *text)
{
    unsigned long long number;
    char *end;

    errno = 0;
    number = strtoull(text, &end, 10);
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0 ? number : UINT64_MAX;
}

enum pt_exit pt_kept_state_find(struct peat_db *db, const char *store, const char *text,
                                uint64_t *generation_out)
{
    struct search search = {.text = text, .number = number_of(text)};
    enum peat_status status = peat_history_list(db, entry_visit, &search);

    if (status != PEAT_OK)
        return pt_complain_status(store, status);
    if (search.found == MATCH_NONE) {
        pt_complain(store, "no kept state '%s'; 'peat history' lists them", text);
        return PT_EXIT_NOT_FOUND;
    }
    *generation_out = search.generation;
    return PT_EXIT_DONE;
}

enum pt_exit pt_kept_state_open(struct peat_db *db, const char *store, const char *text,
                                struct peat_snapshot **snapshot_out)
{
    uint64_t generation = 0;
    enum pt_exit outcome = pt_kept_state_find(db, store, text, &generation);
    enum peat_status status;

    if (outcome != PT_EXIT_DONE)
        return outcome;
    status = peat_history_open(db, NULL, generation, snapshot_out);
    return status == PEAT_OK ? PT_EXIT_DONE : pt_complain_status(store, status);
}
