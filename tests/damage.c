#include "tests/damage.h"

#include "core/arena/superblock_format.h"
#include "core/db/manifest.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    SUPERBLOCK_SIZE = 4096,
    TAIL_SIZE = 4096, /* bytes at the end of the file, each of which it is cut at */
    APPENDINGS = 64,  /* ways to append garbage */
    PAIRS = 512,      /* ways to damage both superblocks */
    SWAPS = 4,        /* partners that each sector is swapped with */
    ZEROS_ONE_IN = 61,
    WRITABLE_ONE_IN = 4, /* opens: the others are read-only */
    MEMORY_SLACK = 64 << 20,
    MEMORY_OF_OPTIONS = 160 << 20 /* bytes: stacks of threads and what a write buffer reserves */
};

enum damage_kind {
    DAMAGE_BYTE,     /* another value */
    DAMAGE_BIT,      /* one bit flipped */
    DAMAGE_ZEROS,    /* a sector of zeros */
    DAMAGE_OLDER,    /* a sector as it was earlier */
    DAMAGE_SWAP,     /* a sector and another one, each in the other's place */
    DAMAGE_CUT,      /* the file ends at a sector */
    DAMAGE_CUT_TAIL, /* the file ends at one of the last bytes */
    DAMAGE_APPEND,   /* garbage behind its end */
    DAMAGE_PAIR,     /* both superblocks */
    DAMAGE_KIND_COUNT
};

static const char *const kind_names[] = {"byte", "bit",      "zeros",  "older", "swap",
                                         "cut",  "cut tail", "append", "pair"};

/* ---- The files ---- */

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

static const struct base {
    const char *name;
    const struct pt_step *steps;
    size_t count;
    size_t older_at; /* the image before this step is the earlier one */
    bool closed;
    uint64_t
        unsure;   /* so many of the last commits may be lost without a word: the log's last sync */
    bool keeps;   /* the state after each flush gets a name */
    bool merging; /* at last a merge begins, whose sync fails */
} bases[] = {
#define STEPS(steps_) steps_, sizeof(steps_) / sizeof(steps_[0])
    {"clean", STEPS(clean), 5, true, 0, false, false},
    {"runs", STEPS(runs), 9, true, 0, false, false},
    {"logged", STEPS(logged), 5, false, 1, false, false},
    {"long log", STEPS(long_log), 2, false, 1, false, false},
    {"kept states", STEPS(keeping), 9, true, 0, true, false},
    {"merge half-way", STEPS(merging), 9, false, 1, false, true},
};
enum { BASE_COUNT = sizeof(bases) / sizeof(bases[0]) };

/* One file as it was made. */
struct image {
    uint8_t *bytes;
    uint64_t size;
    uint8_t *older; /* as large as bytes; zeros where there was nothing yet */
    struct pt_commits history;
    struct pt_extent *segments; /* owned: where the ruling manifest says that they are */
    size_t segment_count;
    uint64_t counts[DAMAGE_KIND_COUNT]; /* ways of each kind */
};

static struct image images[BASE_COUNT];

static uint8_t *disk_copy(uint64_t *size_out)
{
    uint8_t *bytes;

    *size_out = pt_disk_size();
    bytes = malloc(*size_out + 1);
    PT_REQUIRE(bytes != NULL);
    pt_disk_save(bytes, *size_out);
    return bytes;
}

static void older_take(struct image *image, uint8_t **older, uint64_t *older_size)
{
    free(image->older);
    image->older = NULL;
    *older = disk_copy(older_size);
}

static void state_keep(struct pt_session *session, size_t number)
{
    char name[32];

    (void)snprintf(name, sizeof(name), "kept %zu", number);
    PT_REQUIRE_OK(peat_snapshot_persist(session->db, name, NULL));
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

static void image_make(const struct base *base, struct image *image)
{
    struct pt_session *session = malloc(sizeof(*session));
    uint8_t *older = NULL;
    uint64_t older_size = 0;
    bool right;

    PT_REQUIRE(session != NULL);
    pt_disk_start();
    pt_session_random(base->count);
    pt_session_init(session, 0);
    right = pt_session_open(session);
    for (size_t i = 0; i < base->count && right; i++) {
        if (i == base->older_at)
            older_take(image, &older, &older_size);
        right = pt_session_step(session, &base->steps[i]);
        if (right && base->keeps && base->steps[i].kind == PT_STEP_FLUSH)
            state_keep(session, i);
    }
    if (right && base->merging)
        merge_cut_short(session);
    else
        right = right && pt_session_end(session, base->closed);
    if (!right)
        pt_test_fail(__FILE__, __LINE__, "%s: %s", base->name, session->finding.words);
    image->history = session->history;
    image->bytes = disk_copy(&image->size);
    image->older = calloc(1, image->size + 1);
    PT_REQUIRE(image->older != NULL && older != NULL);
    memcpy(image->older, older, older_size < image->size ? older_size : image->size);
    pt_disk_stop();
    free(older);
    free(session);
}

/* Note where the segments are. */
static void segments_find(struct image *image)
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

uint64_t pt_damage_run_count(void)
{
    uint64_t total = 0;

    for (size_t i = 0; i < BASE_COUNT; i++) {
        struct image *image = &images[i];
        uint64_t sectors;

        image_make(&bases[i], image);
        segments_find(image);
        sectors = image->size / PT_SECTOR;
        image->counts[DAMAGE_BYTE] = image->size;
        image->counts[DAMAGE_BIT] = image->size;
        image->counts[DAMAGE_ZEROS] = sectors;
        image->counts[DAMAGE_OLDER] = sectors;
        image->counts[DAMAGE_SWAP] = sectors * SWAPS;
        image->counts[DAMAGE_CUT] = sectors;
        image->counts[DAMAGE_CUT_TAIL] = TAIL_SIZE;
        image->counts[DAMAGE_APPEND] = APPENDINGS;
        image->counts[DAMAGE_PAIR] = PAIRS;
        for (unsigned kind = 0; kind < DAMAGE_KIND_COUNT; kind++)
            total += image->counts[kind];
    }
    return total;
}

/* ---- One damage ---- */

struct damaging {
    uint64_t number;
    size_t base;
    enum damage_kind kind;
    uint64_t place;
    uint8_t *bytes; /* owned; of the damaged file */
    uint64_t size;
};

static void sector_swap(uint8_t *bytes, uint64_t a, uint64_t b)
{
    uint8_t kept[PT_SECTOR];

    memcpy(kept, bytes + a * PT_SECTOR, PT_SECTOR);
    memmove(bytes + a * PT_SECTOR, bytes + b * PT_SECTOR, PT_SECTOR);
    memcpy(bytes + b * PT_SECTOR, kept, PT_SECTOR);
}

/* Whether the byte lies where nothing but zeros is: nearly all such bytes are in space that is free, so most
 * of them are left out. */
static bool in_zeros(const struct image *image, uint64_t place)
{
    uint64_t start = place / PT_SECTOR * PT_SECTOR;

    for (uint64_t i = start; i < start + PT_SECTOR && i < image->size; i++)
        if (image->bytes[i] != 0)
            return false;
    return place % ZEROS_ONE_IN != 0;
}

/* Damage a copy of the file. False: it is as it was. */
static bool damage_do(struct damaging *damaging)
{
    const struct image *image = &images[damaging->base];
    struct pt_dice dice = {pt_mix(damaging->number)};
    uint64_t place = damaging->place;
    uint64_t garbage = pt_dice_below(&dice, (uint64_t)1 << (place % 18));

    if ((damaging->kind == DAMAGE_BYTE || damaging->kind == DAMAGE_BIT) && in_zeros(image, place))
        return false;
    damaging->size = image->size;
    damaging->bytes = malloc(image->size + garbage + 1);
    PT_REQUIRE(damaging->bytes != NULL);
    memcpy(damaging->bytes, image->bytes, image->size);
    switch (damaging->kind) {
    case DAMAGE_BYTE:
        damaging->bytes[place] ^= (uint8_t)(1 + pt_dice_below(&dice, 255));
        return true;
    case DAMAGE_BIT:
        damaging->bytes[place] ^= (uint8_t)(1u << pt_dice_below(&dice, 8));
        return true;
    case DAMAGE_ZEROS:
        memset(damaging->bytes + place * PT_SECTOR, 0, PT_SECTOR);
        break;
    case DAMAGE_OLDER:
        memcpy(damaging->bytes + place * PT_SECTOR, image->older + place * PT_SECTOR, PT_SECTOR);
        break;
    case DAMAGE_SWAP:
        sector_swap(damaging->bytes, place / SWAPS, pt_dice_below(&dice, image->size / PT_SECTOR));
        break;
    case DAMAGE_CUT:
        damaging->size = place * PT_SECTOR;
        return true;
    case DAMAGE_CUT_TAIL:
        damaging->size = image->size - 1 - place;
        return true;
    case DAMAGE_APPEND:
        pt_value_fill(place, damaging->bytes + image->size, garbage);
        damaging->size += garbage;
        return garbage > 0;
    case DAMAGE_PAIR:
        for (unsigned i = 0; i < 2; i++)
            damaging->bytes[i * SUPERBLOCK_SIZE + pt_dice_below(&dice, 96)] ^=
                (uint8_t)(1 + pt_dice_below(&dice, 255));
        return true;
    case DAMAGE_KIND_COUNT:
        break;
    }
    return memcmp(damaging->bytes, image->bytes, image->size) != 0;
}

/* What the store may show: the commit, and which of them may be missing. */
static bool look(struct peat_db *db, const struct damaging *damaging, bool *whole_out,
                 struct pt_difference *difference)
{
    const struct image *image = &images[damaging->base];
    bool cut = damaging->kind == DAMAGE_CUT || damaging->kind == DAMAGE_CUT_TAIL;
    uint64_t count = image->history.count;
    uint64_t unsure = cut ? count : bases[damaging->base].unsure;
    struct peat_snapshot *snapshot;
    struct pt_model model;
    enum peat_status status = peat_snapshot_open(db, &snapshot);
    uint64_t commit;
    bool right;

    *whole_out = false;
    difference->status = status;
    if (status != PEAT_OK) {
        (void)snprintf(difference->words, sizeof(difference->words), "snapshot: %s",
                       peat_last_error());
        return false;
    }
    commit = peat_snapshot_commit(snapshot);
    if (commit > count || (bases[damaging->base].closed && commit != count) ||
        commit + unsure < count) {
        (void)snprintf(difference->words, sizeof(difference->words),
                       "commit %" PRIu64 " is shown of %" PRIu64, commit, count);
        peat_snapshot_close(snapshot);
        return false;
    }
    pt_commits_model(&image->history, commit, &model);
    right = pt_model_shown(&model, snapshot, db, difference);
    *whole_out = right;
    peat_snapshot_close(snapshot);
    return right || difference->status == PEAT_CORRUPT;
}

/* The keys that the last failure names are such that key number @p number is among them. */
static bool lost_told(unsigned number)
{
    struct peat_bytes key = pt_step_key(number);
    struct peat_range range;

    return peat_last_damage(&range) == PEAT_OK &&
           (range.low.data == NULL || pt_bytes_compare(range.low, key) <= 0) &&
           (range.high.data == NULL || pt_bytes_compare(key, range.high) < 0);
}

/* Each key by itself is right or damaged, whatever the others are. */
static bool gets_look(struct peat_db *db, const struct damaging *damaging,
                      struct pt_difference *difference)
{
    struct peat_snapshot *snapshot;
    struct pt_model model;
    bool right = true;

    PT_REQUIRE_OK(peat_snapshot_open(db, &snapshot));
    pt_commits_model(&images[damaging->base].history, peat_snapshot_commit(snapshot), &model);
    for (unsigned i = 0; i < PT_KEY_COUNT && right; i++) {
        const struct pt_model_entry *entry = &model.entries[0][i];
        struct peat_bytes value;
        enum peat_status status = peat_get(snapshot, NULL, pt_step_key(i), &value);

        if (status == PEAT_OK)
            right =
                entry->present && value.size == entry->size && pt_value_matches(entry->seed, value);
        else if (status == PEAT_CORRUPT)
            right = lost_told(i);
        else
            right = status == PEAT_NOT_FOUND && !entry->present;
        if (!right)
            (void)snprintf(difference->words, sizeof(difference->words), "get of key %u: %s", i,
                           peat_status_name(status));
    }
    peat_snapshot_close(snapshot);
    return right;
}

/* Whether nothing but a segment is damaged: then the store opens, and what is not hit is read. */
static bool only_a_segment(const struct damaging *damaging)
{
    const struct image *image = &images[damaging->base];
    uint64_t place = damaging->place;

    if (damaging->kind == DAMAGE_ZEROS || damaging->kind == DAMAGE_OLDER)
        place *= PT_SECTOR;
    else if (damaging->kind != DAMAGE_BYTE && damaging->kind != DAMAGE_BIT)
        return false;
    for (size_t i = 0; i < image->segment_count; i++)
        if (place >= image->segments[i].offset &&
            place - image->segments[i].offset < image->segments[i].size)
            return true;
    return false;
}

/* Statuses that say that a file is damaged, or was never a whole store. */
static bool refusal_allowed(const struct damaging *damaging, enum peat_status status)
{
    switch ((int)status) {
    case PEAT_CORRUPT:
        return !only_a_segment(damaging);
    case PEAT_INVALID: /* nothing is left that says whose it was */
    case PEAT_NOT_FOUND:
        return damaging->kind == DAMAGE_CUT || damaging->kind == DAMAGE_CUT_TAIL ||
               damaging->kind == DAMAGE_PAIR;
    default:
        return false;
    }
}

static bool damaged_open(const struct damaging *damaging, struct pt_damage_counts *counts,
                         struct pt_difference *difference)
{
    bool writable = damaging->number % WRITABLE_ONE_IN == 0;
    struct peat_options options = pt_test_options(writable ? 0 : PEAT_READ_ONLY);
    struct peat_db *db;
    enum peat_status status;
    bool whole = false;
    bool right;

    pt_test_options_tiny(&options);
    options.address_space_size = (size_t)64 << 20;
    pt_disk_load(damaging->bytes, damaging->size);
    status = peat_open("disk", &options, &db);
    if (status != PEAT_OK) {
        atomic_fetch_add_explicit(&counts->refused, 1, memory_order_relaxed);
        (void)snprintf(difference->words, sizeof(difference->words), "open gives %s: %s",
                       peat_status_name(status), peat_last_error());
        return refusal_allowed(damaging, status) && peat_last_error()[0] != '\0';
    }
    right =
        look(db, damaging, &whole, difference) && (whole || gets_look(db, damaging, difference));
    atomic_fetch_add_explicit(&counts->whole, whole, memory_order_relaxed);
    status = peat_check(db, NULL, NULL, NULL);
    if (right && status != PEAT_OK && status != PEAT_CORRUPT) {
        (void)snprintf(difference->words, sizeof(difference->words), "check: %s",
                       peat_last_error());
        right = false;
    }
    (void)(damaging->number % 8 == 0 ? peat_close(db) : peat_abort(db));
    return right;
}

static void damaging_describe(uint64_t number, struct damaging *damaging)
{
    uint64_t rest = number;

    damaging->number = number;
    for (size_t base = 0; base < BASE_COUNT; base++) {
        for (unsigned kind = 0; kind < DAMAGE_KIND_COUNT; kind++) {
            damaging->base = base;
            damaging->kind = kind;
            damaging->place = rest;
            if (rest < images[base].counts[kind])
                return;
            rest -= images[base].counts[kind];
        }
    }
    pt_test_fail(__FILE__, __LINE__, "there is no damage %" PRIu64, number);
}

static void report(struct pt_power_cut *campaign, const struct damaging *damaging,
                   const char *words)
{
    const char *directory = getenv("TMPDIR");
    char path[512];
    int fd;

    atomic_fetch_add(&campaign->counts->failed, 1);
    (void)snprintf(path, sizeof(path), "%s/peat-damage-%" PRIu64 ".image",
                   directory == NULL || directory[0] == '\0' ? "/tmp" : directory,
                   damaging->number);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd >= 0) {
        (void)pt_pipe_write(fd, damaging->bytes, damaging->size);
        (void)close(fd);
    }
    printf("FAIL damage seed %" PRIu64 ", %s of '%s' at %" PRIu64
           ": %s; kept: %s; repeat: %s --scripts damage --seed %" PRIu64 "\n",
           damaging->number, kind_names[damaging->kind], bases[damaging->base].name,
           damaging->place, words, path, campaign->program, damaging->number);
    (void)fflush(stdout);
}

/* Private memory has a bound: what is beyond it fails, and is reported. */
static void memory_bound(uint64_t file_size)
{
    struct rlimit limit;

    if (pt_test_is_sanitized())
        return;
    PT_REQUIRE(getrlimit(RLIMIT_DATA, &limit) == 0);
    limit.rlim_cur = 2 * file_size + MEMORY_SLACK + MEMORY_OF_OPTIONS;
    if (limit.rlim_max == RLIM_INFINITY || limit.rlim_cur <= limit.rlim_max)
        (void)setrlimit(RLIMIT_DATA, &limit);
}

void pt_damage_run(struct pt_power_cut *campaign, struct pt_damage_counts *counts, uint64_t number)
{
    struct pt_difference difference = {.status = PEAT_OK};
    struct damaging damaging = {.bytes = NULL};

    damaging_describe(number, &damaging);
    if (damage_do(&damaging)) {
        pt_power_cut_note("damage seed %" PRIu64, number);
        memory_bound(damaging.size);
        if (!damaged_open(&damaging, counts, &difference))
            report(campaign, &damaging, difference.words);
        pt_power_cut_note(NULL);
        atomic_fetch_add_explicit(&counts->opens, 1, memory_order_relaxed);
    }
    free(damaging.bytes);
}
