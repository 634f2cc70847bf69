#include "tests/feed_look.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* A look at a feed. */
struct look {
    struct peat_db *db;
    const struct pt_commits *history;
    bool acknowledge;
    uint64_t next; /* the commit that comes next */
    struct pt_difference *difference;
};

static bool differs(struct look *look, enum peat_status status, const char *what)
{
    look->difference->status = status;
    (void)snprintf(look->difference->words, sizeof(look->difference->words),
                   "the feed at commit %" PRIu64 " of %" PRIu64 ": %s%s%s", look->next,
                   look->history->count, what, status == PEAT_OK ? "" : ": ",
                   status == PEAT_OK ? "" : peat_last_error());
    return false;
}

static bool note_acknowledged(void *context, const struct peat_feed_info *info)
{
    uint64_t *acknowledged = context;

    if (strcmp(info->name, PT_FEED_LOOK_NAME) != 0)
        return true;
    *acknowledged = info->acknowledged;
    return false;
}

/* The commit is one that no record tells of. */
static bool is_revert(const struct look *look, uint64_t commit)
{
    return commit <= look->history->count && look->history->commits[commit].kind == PT_STEP_REVERT;
}

static bool record_look(struct look *look, const struct peat_record *record)
{
    if (record->commit != look->next || record->commit > look->history->count)
        return differs(look, PEAT_OK, "another one is handed out");
    if (!pt_step_recorded(&look->history->commits[record->commit], record))
        return differs(look, PEAT_OK, "it is not what was committed");
    look->next++;
    return true;
}

/* Up to the last commit, or to one that is in no record. */
static bool read_on(struct look *look, struct peat_feed *feed)
{
    for (;;) {
        struct peat_record record;
        enum peat_status status = peat_feed_next(feed, 0, &record);

        if (status == PEAT_OK && record_look(look, &record))
            continue;
        if (status == PEAT_OK)
            return false;
        if (status == PEAT_TIMEOUT && look->next == look->history->count + 1)
            return true;
        if (status == PEAT_GAP && is_revert(look, look->next))
            return true;
        if (status == PEAT_TIMEOUT)
            return differs(look, PEAT_OK, "nothing more is handed out");
        return differs(look, status, "it fails");
    }
}

bool pt_feed_look(struct peat_db *db, const struct pt_commits *history, bool acknowledge,
                  struct pt_difference *difference_out)
{
    struct look look = {db, history, acknowledge, 0, difference_out};
    uint64_t from = PEAT_FEED_ACKNOWLEDGED;
    struct peat_feed *feed = NULL;
    uint64_t acknowledged = UINT64_MAX;
    enum peat_status status = peat_feed_list(db, note_acknowledged, &acknowledged);

    if (status == PEAT_OK && acknowledged == UINT64_MAX && !acknowledge)
        return differs(&look, PEAT_NOT_FOUND, "there is none");
    if (acknowledged == UINT64_MAX) {
        from = PEAT_FEED_NEXT;
        acknowledged = history->count;
    }
    if (status != PEAT_OK)
        return differs(&look, status, "listing");
    look.next = acknowledged + 1;
    for (;;) {
        status = peat_feed_open(
            db, from, acknowledge || from == PEAT_FEED_ACKNOWLEDGED ? PT_FEED_LOOK_NAME : NULL, 0,
            &feed);
        if (status != PEAT_OK)
            return differs(&look, status, "opening");
        if (!read_on(&look, feed)) {
            peat_feed_close(feed);
            return false;
        }
        if (acknowledge)
            status = peat_feed_acknowledge(feed, look.next - 1);
        peat_feed_close(feed);
        if (status != PEAT_OK)
            return differs(&look, status, "acknowledging");
        if (look.next > history->count)
            return true;
        from = ++look.next; /* behind the revert */
    }
}
