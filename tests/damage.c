#include "tests/damage.h"

#include "core/base/bytes.h"
#include "tests/damage_base.h"
#include "tests/feed_look.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    SUPERBLOCK_SIZE = 4096,
    SUPERBLOCK_USED = 96, /* bytes of it that say something */
    WAYS_MIXING = 61,     /* prime, so that all ways come */
    TAIL_SIZE = 4096,     /* bytes at the end of the file, each of which it is cut at */
    APPENDINGS = 64,      /* ways to append garbage */
    PAIRS = 512,          /* ways to damage both superblocks */
    SWAPS = 4,            /* partners that each sector is swapped with */
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

enum { BASES_MAX = 16 };

static struct pt_damage_image images[BASES_MAX];
static uint64_t counts_of[BASES_MAX][DAMAGE_KIND_COUNT]; /* ways of each kind */

/* How many ways there are to damage file @p base. */
static uint64_t ways_count(size_t base)
{
    uint64_t size = images[base].size;
    uint64_t *counts = counts_of[base];
    uint64_t total = 0;

    counts[DAMAGE_BYTE] = size;
    counts[DAMAGE_BIT] = size;
    counts[DAMAGE_ZEROS] = size / PT_SECTOR;
    counts[DAMAGE_OLDER] = size / PT_SECTOR;
    counts[DAMAGE_SWAP] = size / PT_SECTOR * SWAPS;
    counts[DAMAGE_CUT] = size / PT_SECTOR;
    counts[DAMAGE_CUT_TAIL] = TAIL_SIZE;
    counts[DAMAGE_APPEND] = APPENDINGS;
    counts[DAMAGE_PAIR] = PAIRS;
    for (unsigned kind = 0; kind < DAMAGE_KIND_COUNT; kind++)
        total += counts[kind];
    return total;
}

struct pt_damage_runs pt_damage_prepare(const char *name)
{
    struct pt_damage_runs runs = {0, 0};
    uint64_t total = 0;

    PT_REQUIRE(pt_damage_base_count() <= BASES_MAX);
    for (size_t i = 0; i < pt_damage_base_count(); i++) {
        bool is_asked = name == NULL || strcmp(name, pt_damage_base(i)->name) == 0;
        uint64_t count;

        pt_damage_base_make(pt_damage_base(i), &images[i]);
        count = ways_count(i);
        if (is_asked && runs.count == 0)
            runs.first = total;
        if (is_asked)
            runs.count += count;
        total += count;
    }
    return runs;
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
static bool in_zeros(const struct pt_damage_image *image, uint64_t place)
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
    const struct pt_damage_image *image = &images[damaging->base];
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
            damaging->bytes[i * SUPERBLOCK_SIZE + pt_dice_below(&dice, SUPERBLOCK_USED)] ^=
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
    const struct pt_damage_image *image = &images[damaging->base];
    bool cut = damaging->kind == DAMAGE_CUT || damaging->kind == DAMAGE_CUT_TAIL;
    uint64_t count = image->history.count;
    uint64_t unsure = cut ? count : pt_damage_base(damaging->base)->unsure;
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
    if (commit > count || (pt_damage_base(damaging->base)->closed && commit != count) ||
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

/* Each key of @p collection (NULL: the root) by itself is right or damaged, whatever the others are. */
static bool gets_right(const struct peat_snapshot *snapshot, struct peat_collection *collection,
                       const struct pt_model_entry *entries, struct pt_difference *difference)
{
    bool right = true;

    for (unsigned i = 0; i < PT_KEY_COUNT && right; i++) {
        struct peat_bytes value;
        enum peat_status status = peat_get(snapshot, collection, pt_step_key(i), &value);

        if (status == PEAT_OK)
            right = entries[i].present && value.size == entries[i].size &&
                    pt_value_matches(entries[i].seed, value);
        else if (status == PEAT_CORRUPT)
            right = lost_told(i);
        else
            right = status == PEAT_NOT_FOUND && !entries[i].present;
        if (!right)
            (void)snprintf(difference->words, sizeof(difference->words), "get of key %u%s: %s", i,
                           collection == NULL ? "" : " of the collection",
                           peat_status_name(status));
    }
    return right;
}

/* The collection's keys by themselves, if it can be opened: where its entry is damaged it cannot. */
static bool collection_look(struct peat_db *db, const struct peat_snapshot *snapshot,
                            const struct pt_model *model, struct pt_difference *difference)
{
    struct peat_collection *collection;
    enum peat_status status = peat_collection_open(db, NULL, PT_STEP_COLLECTION, 0, &collection);
    bool right;

    if (status != PEAT_OK) {
        (void)snprintf(difference->words, sizeof(difference->words), "the collection: %s",
                       peat_status_name(status));
        return status == PEAT_CORRUPT || (status == PEAT_NOT_FOUND && !model->has_collection);
    }
    right = gets_right(snapshot, collection, model->entries[1], difference);
    peat_collection_close(collection);
    return right;
}

static bool gets_look(struct peat_db *db, const struct damaging *damaging,
                      struct pt_difference *difference)
{
    struct peat_snapshot *snapshot;
    struct pt_model model;
    bool right;

    PT_REQUIRE_OK(peat_snapshot_open(db, &snapshot));
    pt_commits_model(&images[damaging->base].history, peat_snapshot_commit(snapshot), &model);
    right = gets_right(snapshot, NULL, model.entries[0], difference) &&
            collection_look(db, snapshot, &model, difference);
    peat_snapshot_close(snapshot);
    return right;
}

/* Where the file has a feed with a name, it hands out what was committed, up to damage or to a gap. */
static bool feed_look(struct peat_db *db, const struct damaging *damaging,
                      struct pt_difference *difference)
{
    struct pt_commits history = images[damaging->base].history;
    struct peat_snapshot *snapshot;

    PT_REQUIRE_OK(peat_snapshot_open(db, &snapshot));
    history.count = peat_snapshot_commit(snapshot);
    peat_snapshot_close(snapshot);
    return pt_feed_look(db, &history, false, difference) || difference->status == PEAT_CORRUPT ||
           difference->status == PEAT_GAP;
}

/* Whether nothing but a segment is damaged: then the store opens, and what is not hit is read. */
static bool only_a_segment(const struct damaging *damaging)
{
    const struct pt_damage_image *image = &images[damaging->base];
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

/* Whether the damage is within one superblock's page: the other one has the same generation. */
static bool only_one_superblock(const struct damaging *damaging)
{
    uint64_t unit =
        damaging->kind == DAMAGE_ZEROS || damaging->kind == DAMAGE_OLDER ? PT_SECTOR : 1;

    return damaging->kind <= DAMAGE_OLDER && damaging->place * unit < 2 * SUPERBLOCK_SIZE;
}

/* Statuses that say that a file is damaged, or was never a whole store. */
static bool refusal_allowed(const struct damaging *damaging, enum peat_status status)
{
    switch ((int)status) {
    case PEAT_CORRUPT:
        return !only_a_segment(damaging) && !only_one_superblock(damaging);
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
    const struct pt_damage_base *base = pt_damage_base(damaging->base);
    struct peat_options options = pt_test_options(writable ? base->flags : PEAT_READ_ONLY);
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
    if (right && writable && base->feeds)
        right = feed_look(db, damaging, difference);
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
    for (size_t base = 0; base < pt_damage_base_count(); base++) {
        for (unsigned kind = 0; kind < DAMAGE_KIND_COUNT; kind++) {
            damaging->base = base;
            damaging->kind = kind;
            damaging->place = rest;
            if (rest < counts_of[base][kind])
                return;
            rest -= counts_of[base][kind];
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
           damaging->number, kind_names[damaging->kind], pt_damage_base(damaging->base)->name,
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

uint64_t pt_damage_of_superblocks(uint64_t number)
{
    size_t base = number % pt_damage_base_count();
    uint64_t way = number / pt_damage_base_count() * WAYS_MIXING % (4 * SUPERBLOCK_USED);
    uint64_t first = 0;

    for (size_t i = 0; i < base; i++)
        first += ways_count(i);
    if (way >= 2 * SUPERBLOCK_USED) /* a bit, not a byte */
        first += counts_of[base][DAMAGE_BYTE];
    return first + (way / SUPERBLOCK_USED % 2) * SUPERBLOCK_SIZE + way % SUPERBLOCK_USED;
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
