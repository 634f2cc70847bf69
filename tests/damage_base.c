#include "tests/damage_base.h"

#include "core/arena/superblock_format.h"
#include "core/db/manifest.h"
#include "tests/feed_look.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RECORDS_MAX = 32 };

/* ---- Steps ---- */

#define PUT(key_, size_, seed_)                                                                  \
    {                                                                                            \
        .kind = PT_STEP_PUT, .level = PEAT_DISK, .key = (key_), .size = (size_), .seed = (seed_) \
    }
#define BATCH(size_, seed_)                                                         \
    {                                                                               \
        .kind = PT_STEP_BATCH, .level = PEAT_DISK, .size = (size_), .nested = true, \
        .seed = (seed_)                                                             \
    }
#define DELETE_RANGE(key_, high_)                                                            \
    {                                                                                        \
        .kind = PT_STEP_DELETE_RANGE, .level = PEAT_DISK, .key = (key_), .key_high = (high_) \
    }
#define NESTED(kind_, key_, size_, seed_)                                                   \
    {                                                                                       \
        .kind = PT_STEP_##kind_, .level = PEAT_DISK, .key = (key_), .key_high = (key_) + 3, \
        .size = (size_), .seed = (seed_), .nested = true                                    \
    }
#define STEP(kind_)             \
    {                           \
        .kind = PT_STEP_##kind_ \
    }

/* In one segment, closed cleanly. */
static const struct pt_step clean[] = {
    PUT(1, 300, 1), STEP(CREATE),  BATCH(500, 2), PUT(0, 90, 3),       STEP(MERGE),
    PUT(2, 20, 4),  BATCH(500, 5), PUT(5, 0, 6),  DELETE_RANGE(7, 11), STEP(MERGE),
};
/* In several runs with what hides what, and free space. */
static const struct pt_step runs[] = {
    PUT(1, 5000, 1), BATCH(3000, 2),     STEP(FLUSH),    STEP(CREATE), PUT(2, 5000, 3),
    STEP(FLUSH),     DELETE_RANGE(1, 3), BATCH(3000, 4), STEP(FLUSH),  PUT(3, 70000, 5),
    STEP(MERGE),     PUT(4, 5000, 6),    STEP(FLUSH),    PUT(5, 9, 7), STEP(FLUSH),
};
/* In a segment and in the log; the process died. */
static const struct pt_step logged[] = {
    PUT(1, 300, 1), STEP(FLUSH),  PUT(2, 300, 2),  STEP(CREATE),        BATCH(600, 3),
    PUT(3, 20, 4),  BATCH(90, 5), PUT(4, 6000, 6), DELETE_RANGE(9, 20), PUT(6, 0, 7),
};
/* Three states are kept that show what the newest does not, and space is free between what they need. */
static const struct pt_step keeping[] = {
    PUT(1, 3000, 1), PUT(2, 70000, 2),   STEP(FLUSH), STEP(CREATE),   BATCH(900, 3),
    STEP(FLUSH),     DELETE_RANGE(1, 5), STEP(FLUSH), PUT(3, 300, 4), PUT(2, 70000, 5),
    STEP(MERGE),     BATCH(600, 6),      STEP(MERGE),
};
/* In several runs; the process died when what they are merged to was written, but did not yet rule. */
static const struct pt_step merging[] = {
    PUT(1, 5000, 1), STEP(FLUSH),        STEP(CREATE),   BATCH(3000, 2),
    STEP(FLUSH),     DELETE_RANGE(2, 4), STEP(FLUSH),    PUT(9, 20, 3),
    PUT(3, 9000, 4), STEP(FLUSH),        BATCH(3000, 5), PUT(1, 6, 6),
};
/* A log of several regions, and a batch of several records. */
static const struct pt_step long_log[] = {
    PUT(1, 50000, 1),
    PUT(2, 300000, 2),
    PUT(3, 20, 3),
    PUT(4, 90, 4),
};

/* One segment of many chunks and nothing else, closed cleanly. */
static const struct pt_step alone[] = {
    PUT(1, 9000, 1),  PUT(3, 90, 2),    PUT(4, 7000, 3),  STEP(FLUSH),      PUT(6, 8000, 4),
    PUT(9, 300, 5),   PUT(11, 9000, 6), PUT(13, 5, 7),    PUT(15, 7000, 8), PUT(17, 900, 9),
    PUT(20, 6000, 1), PUT(22, 0, 2),    PUT(23, 5000, 3), STEP(MERGE),
};
/* A collection that was dropped and made again, with range deletes in it and beside it: in runs and in the log. */
static const struct pt_step collections[] = {
    STEP(CREATE),
    NESTED(PUT, 1, 4000, 1),
    NESTED(BATCH, 0, 2000, 2),
    STEP(FLUSH),
    STEP(DROP),
    PUT(2, 3000, 3),
    STEP(FLUSH),
    STEP(CREATE),
    NESTED(PUT, 5, 4000, 4),
    NESTED(PUT, 7, 3000, 5),
    STEP(FLUSH),
    NESTED(DELETE_RANGE, 6, 0, 0),
    DELETE_RANGE(0, 4),
    STEP(FLUSH),
    NESTED(PUT, 6, 2000, 6),
    PUT(1, 900, 7),
    NESTED(DELETE_RANGE, 4, 0, 0),
    NESTED(BATCH, 0, 900, 8),
};
/* Closed cleanly, with the log kept for a feed with a name that stands still: several regions of it. */
static const struct pt_step feeding[] = {
    PUT(1, 900, 1), STEP(FEED),       STEP(CREATE),  BATCH(2000, 2),     PUT(2, 40000, 3),
    STEP(FLUSH),    PUT(3, 60000, 4), PUT(4, 20, 5), DELETE_RANGE(1, 3), PUT(5, 9000, 6),
    STEP(CLOSE),    PUT(6, 20000, 7), BATCH(900, 8), STEP(MERGE),
};
/* Reverted to a kept state, which leaves the one before it, too, and a log that goes on somewhere else. */
static const struct pt_step reverted[] = {
    PUT(1, 4000, 1), STEP(CREATE),   BATCH(3000, 2),     STEP(PERSIST), PUT(2, 9000, 3),
    BATCH(2000, 4),  STEP(FLUSH),    DELETE_RANGE(1, 9), STEP(REVERT),  PUT(3, 5000, 5),
    STEP(FLUSH),     PUT(4, 900, 6), PUT(1, 300, 7),
};
/* Of a primary. Each flush leaves a seal in its log. */
static const struct pt_step followed[] = {
    PUT(1, 9000, 1),
    STEP(CREATE),
    BATCH(3000, 2),
    STEP(FLUSH),
    PUT(2, 20000, 3),
    BATCH(900, 4),
    STEP(FLUSH),
    PUT(3, 9000, 5),
    DELETE_RANGE(2, 3),
    NESTED(PUT, 4, 3000, 6),
    STEP(FLUSH),
    PUT(5, 90, 7),
    NESTED(DELETE_RANGE, 3, 0, 0),
};

static const struct pt_damage_base bases[] = {
#define STEPS(steps_) steps_, sizeof(steps_) / sizeof(steps_[0])
    {"clean", STEPS(clean), .older_at = 5, .closed = true},
    {"runs", STEPS(runs), .older_at = 9, .closed = true},
    {"logged", STEPS(logged), .older_at = 5, .unsure = 1},
    {"long log", STEPS(long_log), .older_at = 2, .unsure = 1},
    {"kept states", STEPS(keeping), .older_at = 9, .closed = true, .keeps = true},
    {"merge half-way", STEPS(merging), .older_at = 9, .unsure = 1, .merging = true},
    {"one segment", STEPS(alone), .older_at = 4, .closed = true},
    {"collections", STEPS(collections), .older_at = 9, .unsure = 1},
    {"feed", STEPS(feeding), .older_at = 10, .closed = true, .feeds = true},
    {"reverted", STEPS(reverted), .older_at = 7, .unsure = 1},
    {"follower", STEPS(followed), .older_at = 5, .unsure = 1, .feeds = true,
     .flags = PEAT_FOLLOWER},
};

size_t pt_damage_base_count(void)
{
    return sizeof(bases) / sizeof(bases[0]);
}

const struct pt_damage_base *pt_damage_base(size_t index)
{
    PT_REQUIRE(index < pt_damage_base_count());
    return &bases[index];
}

/* ---- Making them ---- */

static uint8_t *disk_copy(uint64_t *size_out)
{
    uint8_t *bytes;

    *size_out = pt_disk_size();
    bytes = malloc(*size_out + 1);
    PT_REQUIRE(bytes != NULL);
    pt_disk_save(bytes, *size_out);
    return bytes;
}

/* The earlier image, for now as large as it is. */
static void older_take(struct pt_damage_image *image)
{
    PT_REQUIRE(image->older == NULL);
    image->older = disk_copy(&image->older_size);
}

/* Make it as large as the newer one. */
static void older_fit(struct pt_damage_image *image)
{
    uint8_t *fitting = calloc(1, image->size + 1);

    PT_REQUIRE(fitting != NULL && image->older != NULL);
    memcpy(fitting, image->older,
           image->older_size < image->size ? image->older_size : image->size);
    free(image->older);
    image->older = fitting;
}

static void state_keep(struct pt_session *session, size_t number)
{
    char name[32];

    (void)snprintf(name, sizeof(name), "kept %zu", number);
    PT_REQUIRE_OK(peat_snapshot_persist(session->db, name, NULL));
}

static void require(const struct pt_damage_base *base, const struct pt_session *session, bool right)
{
    if (!right)
        pt_test_fail(__FILE__, __LINE__, "%s: %s", base->name, session->finding.words);
}

/* What the merge has written is in the file, but nothing leads there. */
static void merge_cut_short(struct pt_session *session)
{
    const struct pt_disk_fault fault = {
        .calls = 1u << PT_DISK_CALL_SYNC, .count = UINT64_MAX, .error_number = EIO};

    pt_disk_set_fault(&fault);
    PT_REQUIRE(peat_wait_idle(session->db, 60000) < 0 && pt_disk_faults() > 0);
    pt_session_abandon(session);
    pt_disk_set_fault(NULL);
}

/* The steps one by one; the image before @p older_at is the earlier one. */
static void steps_do(const struct pt_damage_base *base, struct pt_session *session,
                     struct pt_damage_image *image)
{
    for (size_t i = 0; i < base->count; i++) {
        if (i == base->older_at)
            older_take(image);
        require(base, session, pt_session_step(session, &base->steps[i]));
        if (base->keeps && base->steps[i].kind == PT_STEP_FLUSH)
            state_keep(session, i);
    }
    if (base->merging)
        merge_cut_short(session);
    else
        require(base, session, pt_session_end(session, base->closed));
}

/* ---- A follower ---- */

/* What a primary's feed has handed out. */
struct records {
    struct peat_record records[RECORDS_MAX]; /* payloads are owned */
    size_t count;
};

static void record_take(struct records *records, const struct peat_record *record)
{
    uint8_t *payload = malloc(record->payload.size + 1);

    PT_REQUIRE(payload != NULL && records->count < RECORDS_MAX);
    if (record->payload.size > 0)
        memcpy(payload, record->payload.data, record->payload.size);
    records->records[records->count] = *record;
    records->records[records->count++].payload.data = payload;
}

/* Have a primary do the steps on a disk of its own, which is gone afterwards. */
static void primary_do(const struct pt_damage_base *base, struct pt_session *primary,
                       struct records *records)
{
    struct peat_feed *feed;
    struct peat_record record;
    enum peat_status status;

    pt_session_init(primary, 0);
    require(base, primary, pt_session_open(primary));
    PT_REQUIRE_OK(peat_feed_open(primary->db, PEAT_FEED_OLDEST, NULL, PEAT_FEED_SEALS, &feed));
    for (size_t i = 0; i < base->count; i++)
        require(base, primary, pt_session_step(primary, &base->steps[i]));
    while ((status = peat_feed_next(feed, 0, &record)) == PEAT_OK)
        record_take(records, &record);
    PT_REQUIRE(status == PEAT_TIMEOUT);
    peat_feed_close(feed);
    require(base, primary, pt_session_end(primary, true));
    pt_disk_load(NULL, 0);
}

/* Apply what the primary did, flushed once, with all of it kept for a feed of the follower's own; then its process dies. */
static void follower_do(const struct pt_damage_base *base, struct pt_session *session,
                        struct pt_damage_image *image)
{
    static const struct pt_step flush = STEP(FLUSH);
    struct records records = {.count = 0};
    struct peat_feed *feed;
    struct pt_commits history;

    primary_do(base, session, &records);
    history = session->history;
    pt_session_init(session, PEAT_FOLLOWER);
    require(base, session, pt_session_open(session));
    PT_REQUIRE_OK(
        peat_feed_open(session->db, PEAT_FEED_NEXT, PT_FEED_LOOK_NAME, PEAT_FEED_SEALS, &feed));
    peat_feed_close(feed);
    for (size_t i = 0; i < records.count; i++) {
        if (i == base->older_at)
            older_take(image);
        PT_REQUIRE_OK(peat_apply(session->db, &records.records[i], 1, PEAT_DISK, NULL));
        if (i == base->older_at + 1)
            require(base, session, pt_session_step(session, &flush));
        pt_session_settle(session);
        free((void *)(uintptr_t)records.records[i].payload.data);
    }
    require(base, session, pt_session_end(session, base->closed));
    session->history = history;
}

/* ---- The files ---- */

/* Note where the segments are. */
static void segments_find(struct pt_damage_image *image)
{
    const struct pt_superblock_page *pages = (const void *)image->bytes;
    const struct pt_superblock_page *page =
        &pages[pt_le64_value(pages[1].generation) > pt_le64_value(pages[0].generation)];
    struct peat_bytes block = {image->bytes + pt_le64_value(page->manifest_offset),
                               pt_le64_value(page->manifest_size)};
    struct pt_manifest manifest;

    PT_REQUIRE_OK(
        pt_manifest_decode(block, &page->store_id, pt_le64_value(page->generation), &manifest));
    image->segments = calloc(manifest.segment_count + 1, sizeof(*image->segments));
    PT_REQUIRE(image->segments != NULL);
    for (size_t i = 0; i < manifest.segment_count; i++)
        image->segments[image->segment_count++] = manifest.segments[i].extent;
    pt_manifest_fini(&manifest);
}

void pt_damage_base_make(const struct pt_damage_base *base, struct pt_damage_image *image)
{
    struct pt_session *session = malloc(sizeof(*session));

    PT_REQUIRE(session != NULL);
    memset(image, 0, sizeof(*image));
    pt_disk_start();
    pt_session_random(base->count);
    if ((base->flags & PEAT_FOLLOWER) != 0) {
        follower_do(base, session, image);
    } else {
        pt_session_init(session, base->flags);
        require(base, session, pt_session_open(session));
        steps_do(base, session, image);
    }
    image->history = session->history;
    image->bytes = disk_copy(&image->size);
    pt_disk_stop();
    free(session);
    older_fit(image);
    segments_find(image);
}
