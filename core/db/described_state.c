#include "core/db/described_state.h"

#include "core/base/alloc.h"
#include "core/db/db.h"
#include "core/db/known_segments.h"
#include "core/segment/rescue.h"

void pt_described_state_free(struct pt_described_state *described)
{
    if (described->held != NULL)
        pt_held_list_free(described->held, described->manifest.segment_count);
    pt_manifest_fini(&described->manifest);
    pt_free(described->block);
    memset(described, 0, sizeof(*described));
}

/* Of the state before; NULL: it was not given. */
static struct pt_held_segment *find_given(const struct pt_described_state *before,
                                          const struct pt_manifest_segment *wanted)
{
    size_t begin = 0;
    size_t end = before->held == NULL ? 0 : before->manifest.segment_count;

    while (begin < end) {
        size_t middle = begin + (end - begin) / 2;

        if (before->manifest.segments[middle].id < wanted->id)
            begin = middle + 1;
        else
            end = middle;
    }
    if (before->held == NULL || begin == before->manifest.segment_count ||
        before->manifest.segments[begin].id != wanted->id ||
        memcmp(&before->manifest.segments[begin].summary.digest, &wanted->summary.digest,
               sizeof(wanted->summary.digest)) != 0)
        return NULL;
    return before->held[begin];
}

/* One of ours that is sound; what is damaged is healed by being asked for. */
static enum peat_status check_sound(const struct pt_healing *healing,
                                    const struct pt_held_segment *held)
{
    if (pt_healing_has(healing, held) || held->segment->lost < 0 ||
        pt_segment_rescued(held->segment) != NULL)
        return PEAT_CORRUPT;
    return pt_segment_verify_end(held->segment);
}

/* What is there of @p segment already, borrowed, in *held_out; NULL: nothing. */
static enum peat_status find_there(const struct pt_healing *healing,
                                   const struct pt_described_state *before,
                                   const struct pt_known_segments *known,
                                   const struct pt_manifest_segment *segment,
                                   struct pt_held_segment **held_out)
{
    enum peat_status status = PEAT_OK;

    *held_out = pt_known_segments_find(known, segment->id, &segment->summary.digest);
    if (*held_out != NULL)
        status = check_sound(healing, *held_out);
    if (*held_out != NULL && status != PEAT_CORRUPT)
        return status;
    *held_out = find_given(before, segment);
    status = *held_out == NULL ? PEAT_OK : check_sound(healing, *held_out);
    if (status == PEAT_CORRUPT)
        *held_out = NULL;
    return status == PEAT_CORRUPT ? PEAT_OK : status;
}

enum peat_status pt_described_state_match(struct pt_described_state *now, struct peat_db *db,
                                          const struct pt_described_state *before,
                                          const struct pt_healing *healing)
{
    struct pt_known_segments known = {NULL, 0, 0};
    struct pt_run **runs = NULL;
    struct pt_log_point oldest;
    size_t run_count = 0;
    enum peat_status status = pt_shelf_copy_runs(&db->shelf, &runs, &run_count, &oldest);

    if (status == PEAT_OK)
        status = pt_known_segments_add(&known, runs, run_count);
    now->held = pt_calloc(now->manifest.segment_count + 1, sizeof(struct pt_held_segment *));
    if (now->held == NULL && status == PEAT_OK)
        status = pt_fail(PEAT_NO_MEMORY, "%zu segments", now->manifest.segment_count);
    for (size_t i = 0; i < now->manifest.segment_count && status == PEAT_OK; i++) {
        struct pt_held_segment *held;

        status = find_there(healing, before, &known, &now->manifest.segments[i], &held);
        if (status == PEAT_OK && held != NULL) {
            pt_held_segment_pin(held);
            now->held[i] = held;
        }
    }
    pt_known_segments_fini(&known);
    pt_runs_free(runs, run_count);
    return status;
}
