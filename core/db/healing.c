#include "core/db/healing.h"

#include "core/base/alloc.h"
#include "core/db/collection_id.h"
#include "core/db/damage_report.h"
#include "core/db/db.h"
#include "core/db/known_segments.h"

#include <inttypes.h>
#include <stdio.h>

enum { WORDS_SIZE_MAX = 600, KEY_TEXT_SIZE = 48 /* bytes */ };

/* What was found in one segment: the first place, which is told, and how many there are. */
struct found {
    const struct pt_held_segment *held;
    uint64_t count;
    uint64_t offset; /* bytes of the file */
    struct peat_bytes low;
    struct peat_bytes high;
    char words[WORDS_SIZE_MAX / 2];
};

/* ---- In words ---- */

/* The key without the number of its collection. */
static void key_text(struct peat_bytes key, char text[KEY_TEXT_SIZE])
{
    uint64_t id;
    size_t size;

    if (pt_id_read(key, &id, &size))
        key = pt_bytes((const uint8_t *)key.data + size, key.size - size);
    pt_damage_key_text(key, text, KEY_TEXT_SIZE);
}

static void tell(void (*callback)(void *context, const struct peat_finding *finding), void *context,
                 const struct found *found)
{
    char words[WORDS_SIZE_MAX];
    char low[KEY_TEXT_SIZE];
    char high[KEY_TEXT_SIZE];
    struct peat_finding finding = {
        .what = words, .offset = found->offset, .low = found->low, .high = found->high};

    if (callback == NULL)
        return;
    key_text(found->low, low);
    key_text(found->high, high);
    (void)snprintf(words, sizeof(words),
                   "segment %" PRIu64 ", offset %" PRIu64 " of the file: %s; keys \"%s\" to \"%s\"",
                   found->held->id, found->offset, found->words, low, high);
    callback(context, &finding);
}

/* ---- Looking ---- */

static void place_found(void *context, uint64_t offset, const char *what, struct peat_bytes low,
                        struct peat_bytes high)
{
    struct found *found = context;

    if (found->count++ > 0)
        return;
    found->offset = found->held->extent.offset + offset;
    found->low = low;
    found->high = high;
    (void)snprintf(found->words, sizeof(found->words), "%s", what);
}

/* PEAT_OK: it is sound; PEAT_CORRUPT: it is not, as *found says. PEAT_NO_MEMORY. */
static enum peat_status look_at(struct pt_held_segment *held, struct found *found)
{
    struct pt_segment *segment = held->segment;
    enum peat_status status;

    *found = (struct found){.held = held};
    status = segment->lost < 0 ? segment->lost
                               : pt_segment_check(segment, &held->summary, place_found, found);
    if (status == PEAT_NO_MEMORY || (status >= 0 && found->count == 0))
        return status < 0 ? status : PEAT_OK;
    if (found->count == 0) /* the device gives nothing, or nothing of it can be told */
        place_found(found, 0, "the segment cannot be read", segment->min_key, segment->max_key);
    return PEAT_CORRUPT;
}

static enum peat_status add(struct pt_healing *healing, struct pt_held_segment *held)
{
    struct pt_held_segment **damaged =
        pt_realloc(healing->damaged, (healing->count + 1) * sizeof(struct pt_held_segment *));

    if (damaged == NULL)
        return pt_fail(PEAT_NO_MEMORY, "list of damaged segments");
    pt_held_segment_pin(held);
    damaged[healing->count++] = held;
    healing->damaged = damaged;
    return PEAT_OK;
}

enum peat_status pt_healing_look(struct peat_db *db,
                                 void (*callback)(void *context,
                                                  const struct peat_finding *finding),
                                 bool (*progress)(void *context, uint64_t done, uint64_t total),
                                 void *context, struct pt_healing *healing)
{
    struct pt_known_segments known = {NULL, 0, 0};
    struct pt_run **runs = NULL;
    struct pt_log_point oldest;
    size_t run_count = 0;
    uint64_t total = 0;
    uint64_t done = 0;
    enum peat_status status = pt_shelf_copy_runs(&db->shelf, &runs, &run_count, &oldest);

    if (status == PEAT_OK)
        status = pt_known_segments_add(&known, runs, run_count);
    for (size_t i = 0; i < known.count; i++)
        total += known.held[i]->summary.size;
    for (size_t i = 0; i < known.count && status == PEAT_OK; i++) {
        struct found found;

        if (progress != NULL && !progress(context, done, total)) {
            status = PEAT_DONE;
            break;
        }
        done += known.held[i]->summary.size;
        status = look_at(known.held[i], &found);
        if (status == PEAT_CORRUPT) {
            status = add(healing, known.held[i]);
            if (status == PEAT_OK)
                tell(callback, context, &found);
        }
    }
    pt_known_segments_fini(&known);
    pt_runs_free(runs, run_count);
    return status;
}

bool pt_healing_has(const struct pt_healing *healing, const struct pt_held_segment *held)
{
    for (size_t i = 0; i < healing->count; i++)
        if (healing->damaged[i] == held)
            return true;
    return false;
}

void pt_healing_fini(struct pt_healing *healing)
{
    for (size_t i = 0; i < healing->count; i++)
        pt_held_segment_unpin(healing->damaged[i]);
    pt_free(healing->damaged);
    *healing = (struct pt_healing){NULL, 0};
}
