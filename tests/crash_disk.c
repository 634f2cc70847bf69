/*
 * The disk at one point is an image of what is settled, and a list of pending sectors with what was
 * written to each. A state is a choice for each pending sector; it is made by writing the choices into the
 * image, and taken back afterwards. Its hash is the sum of its sectors' hashes, so that a state that was
 * seen before costs no more than its choices.
 */
#include "tests/crash_disk.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    VERSIONS_MAX = 4,     /* kept of what was written to one sector: the first ones and the last */
    SUBSET_SECTORS = 6,   /* up to so many pending sectors all subsets are tried */
    SECTOR_COUNT = 65536, /* of the largest file: 32 MiB */
    PAGE_SECTORS = 8,
    LARGER_SIZE = 65536, /* bytes: by what a file may be larger than it ever was */
    RECENT = 8,          /* sectors written last, which are chosen more often */
    PRINTED_MAX = 40
};

/* What becomes of a pending sector: one of these, or a version's number + CHOICE_VERSION. */
enum { CHOICE_OLD, CHOICE_ZEROS, CHOICE_GARBAGE, CHOICE_EARLIER, CHOICE_VERSION };

/* A sector that is not settled. */
struct pending {
    uint32_t sector;
    bool lost;              /* a sync of it failed: another does not settle it */
    unsigned version_count; /* 1 to VERSIONS_MAX */
    uint64_t written;       /* number of the operation that wrote it last */
    uint64_t old_hash;
    uint64_t hashes[VERSIONS_MAX];
    uint8_t versions[VERSIONS_MAX][PT_SECTOR]; /* as written, oldest first */
};

struct pt_crash_disk {
    const struct pt_trace *trace; /* borrowed */
    size_t point;
    struct pt_promise promise;
    uint8_t *settled; /* what is on disk for certain; beyond the size zeros */
    uint8_t *live;    /* what the page cache holds; beyond the size zeros */
    uint8_t *earlier; /* what was settled before that */
    uint64_t settled_size;
    uint64_t live_size;
    uint64_t size_max; /* since the size was settled */
    bool settled_name;
    uint64_t settled_hash;
    struct pending *pending; /* oldest write first after sorting */
    size_t pending_count;
    size_t pending_capacity;
    int32_t *index;    /* of a sector in pending; -1: it is settled */
    uint8_t *choices;  /* for each pending sector */
    uint8_t *replaced; /* while a state is visited: what was settled of each pending sector */
    size_t choice_capacity;
};

static uint64_t sector_hash(uint32_t sector, const uint8_t *bytes)
{
    uint64_t hash = sector;
    uint64_t any = 0;

    for (unsigned i = 0; i < PT_SECTOR; i += 8) {
        uint64_t word;

        memcpy(&word, bytes + i, sizeof(word));
        any |= word;
        hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        hash ^= hash >> 29;
    }
    return any == 0 ? 0 : pt_mix(hash ^ sector);
}

static uint64_t offset_of(uint32_t sector)
{
    return (uint64_t)sector * PT_SECTOR;
}

static uint32_t sector_at(uint64_t offset)
{
    PT_REQUIRE(offset / PT_SECTOR < SECTOR_COUNT);
    return (uint32_t)(offset / PT_SECTOR);
}

/* ---- Pending sectors ---- */

static struct pending *pending_new(struct pt_crash_disk *disk, uint32_t sector)
{
    struct pending *pending;

    if (disk->pending_count == disk->pending_capacity) {
        disk->pending_capacity = disk->pending_capacity == 0 ? 256 : disk->pending_capacity * 2;
        disk->pending = realloc(disk->pending, disk->pending_capacity * sizeof(*disk->pending));
        PT_REQUIRE(disk->pending != NULL);
    }
    disk->index[sector] = (int32_t)disk->pending_count;
    pending = &disk->pending[disk->pending_count++];
    pending->sector = sector;
    pending->lost = false;
    pending->version_count = 0;
    pending->old_hash = sector_hash(sector, disk->settled + offset_of(sector));
    return pending;
}

static void pending_remove(struct pt_crash_disk *disk, size_t number)
{
    disk->index[disk->pending[number].sector] = -1;
    disk->pending_count--;
    if (number == disk->pending_count)
        return;
    disk->pending[number] = disk->pending[disk->pending_count];
    disk->index[disk->pending[number].sector] = (int32_t)number;
}

/* The page cache's bytes of @p sector were changed. */
static void sector_written(struct pt_crash_disk *disk, uint32_t sector)
{
    const uint8_t *live = disk->live + offset_of(sector);
    uint64_t hash = sector_hash(sector, live);
    struct pending *pending;
    unsigned version;

    if (disk->index[sector] < 0) {
        /* Zeros written over zeros: whatever tears there, nothing was there before. */
        if (hash == 0 && sector_hash(sector, disk->settled + offset_of(sector)) == 0)
            return;
        (void)pending_new(disk, sector);
    }
    pending = &disk->pending[disk->index[sector]];
    pending->written = disk->point;
    pending->lost = false;
    version = pending->version_count;
    if (version > 0 && pending->hashes[version - 1] == hash)
        return;
    if (version == VERSIONS_MAX)
        version--; /* the last one is what the page cache holds */
    else
        pending->version_count++;
    pending->hashes[version] = hash;
    memcpy(pending->versions[version], live, PT_SECTOR);
}

static void range_written(struct pt_crash_disk *disk, uint64_t offset, uint64_t size)
{
    uint32_t last = sector_at(offset + size - 1);

    for (uint32_t sector = sector_at(offset); sector <= last; sector++)
        sector_written(disk, sector);
}

/* What the page cache holds of a pending sector is on disk now. */
static void sector_settle(struct pt_crash_disk *disk, size_t number)
{
    const struct pending *pending = &disk->pending[number];
    uint64_t offset = offset_of(pending->sector);

    memcpy(disk->earlier + offset, disk->settled + offset, PT_SECTOR);
    memcpy(disk->settled + offset, pending->versions[pending->version_count - 1], PT_SECTOR);
    disk->settled_hash ^= pending->old_hash ^ pending->hashes[pending->version_count - 1];
    pending_remove(disk, number);
}

/* A sync of the range: it settles the sectors, or @p lost. */
static void range_sync(struct pt_crash_disk *disk, uint64_t offset, uint64_t size, bool lost)
{
    for (size_t i = disk->pending_count; i > 0; i--) {
        struct pending *pending = &disk->pending[i - 1];
        uint64_t start = offset_of(pending->sector);

        if (start + PT_SECTOR <= offset || (start >= offset && start - offset >= size))
            continue;
        if (lost)
            pending->lost = true;
        else if (!pending->lost)
            sector_settle(disk, i - 1);
    }
}

/* ---- Walking the trace ---- */

static uint8_t *image_new(const uint8_t *bytes, uint64_t size)
{
    uint8_t *image = calloc(SECTOR_COUNT, PT_SECTOR);

    PT_REQUIRE(image != NULL && size <= (uint64_t)SECTOR_COUNT * PT_SECTOR);
    if (size > 0)
        memcpy(image, bytes, size);
    return image;
}

static void live_resize(struct pt_crash_disk *disk, uint64_t size)
{
    PT_REQUIRE(size <= (uint64_t)SECTOR_COUNT * PT_SECTOR);
    if (size < disk->live_size) {
        memset(disk->live + size, 0, disk->live_size - size);
        range_written(disk, size, disk->live_size - size);
    }
    disk->live_size = size;
    if (size > disk->size_max)
        disk->size_max = size;
}

struct pt_crash_disk *pt_crash_disk_new(const struct pt_trace *trace)
{
    const struct pt_disk_base *base = &trace->base;
    struct pt_crash_disk *disk = calloc(1, sizeof(*disk));
    uint64_t size_max = base->live_size > base->durable_size ? base->live_size : base->durable_size;

    PT_REQUIRE(disk != NULL);
    disk->trace = trace;
    disk->promise = base->promise;
    disk->settled = image_new(base->durable, base->durable_size);
    disk->earlier = image_new(base->durable, base->durable_size);
    disk->live = image_new(base->live, base->live_size);
    disk->settled_size = base->durable_size;
    disk->live_size = base->live_size;
    disk->size_max = size_max;
    disk->settled_name = base->named;
    disk->index = malloc(SECTOR_COUNT * sizeof(*disk->index));
    PT_REQUIRE(disk->index != NULL);
    for (uint32_t sector = 0; sector < SECTOR_COUNT; sector++) {
        disk->index[sector] = -1;
        if (offset_of(sector) < base->durable_size)
            disk->settled_hash ^= sector_hash(sector, disk->settled + offset_of(sector));
    }
    for (uint64_t offset = 0; offset < size_max; offset += PT_SECTOR)
        if (memcmp(disk->settled + offset, disk->live + offset, PT_SECTOR) != 0)
            sector_written(disk, sector_at(offset));
    return disk;
}

void pt_crash_disk_free(struct pt_crash_disk *disk)
{
    if (disk == NULL)
        return;
    free(disk->settled);
    free(disk->live);
    free(disk->earlier);
    free(disk->pending);
    free(disk->index);
    free(disk->choices);
    free(disk);
}

bool pt_crash_disk_step(struct pt_crash_disk *disk)
{
    const struct pt_disk_op *op;

    if (disk->point == disk->trace->op_count)
        return false;
    op = &disk->trace->ops[disk->point];
    switch (op->kind) {
    case PT_DISK_WRITE:
        if (op->offset + op->size > disk->live_size)
            live_resize(disk, op->offset + op->size);
        memcpy(disk->live + op->offset, disk->trace->data + op->data, op->size);
        range_written(disk, op->offset, op->size);
        break;
    case PT_DISK_ZERO:
        memset(disk->live + op->offset, 0, op->size);
        range_written(disk, op->offset, op->size);
        break;
    case PT_DISK_SET_SIZE:
        live_resize(disk, op->size);
        break;
    case PT_DISK_SYNC:
        range_sync(disk, 0, UINT64_MAX, false);
        disk->settled_size = disk->live_size;
        disk->size_max = disk->live_size;
        break;
    case PT_DISK_SYNC_RANGE:
    case PT_DISK_SYNC_LOST:
        range_sync(disk, op->offset, op->size, op->kind == PT_DISK_SYNC_LOST);
        break;
    case PT_DISK_SYNC_DIRECTORY:
        disk->settled_name = true;
        break;
    case PT_DISK_PROMISE:
        disk->promise = op->promise;
        break;
    }
    disk->point++;
    return true;
}

size_t pt_crash_disk_point(const struct pt_crash_disk *disk)
{
    return disk->point;
}

void pt_crash_disk_print(const struct pt_crash_disk *disk)
{
    printf("%zu sectors pending:", disk->pending_count);
    for (size_t i = 0; i < disk->pending_count && i < PRINTED_MAX; i++)
        printf(" %#" PRIx64 "%s", offset_of(disk->pending[i].sector),
               disk->pending[i].lost ? " (lost)" : "");
    printf("%s\n", disk->pending_count > PRINTED_MAX ? " ..." : "");
}

uint8_t *pt_crash_disk_settled(const struct pt_crash_disk *disk, uint64_t *size_out,
                               bool *named_out)
{
    uint8_t *copy = malloc(disk->settled_size + 1);

    PT_REQUIRE(copy != NULL);
    memcpy(copy, disk->settled, disk->settled_size);
    for (size_t i = 0; disk->replaced != NULL && i < disk->pending_count; i++) {
        uint64_t offset = offset_of(disk->pending[i].sector);

        if (offset + PT_SECTOR <= disk->settled_size)
            memcpy(copy + offset, disk->replaced + i * PT_SECTOR, PT_SECTOR);
    }
    *size_out = disk->settled_size;
    *named_out = disk->settled_name;
    return copy;
}

/* ---- States ---- */

/* What goes round while states are made at one point. */
struct making {
    struct pt_crash_disk *disk;
    struct pt_dice dice;
    uint64_t number;
    uint64_t size; /* of the file in this state */
    bool named;
    bool (*wanted)(void *context, const struct pt_crash_state *state);
    void (*visit)(void *context, const struct pt_crash_state *state);
    void *context;
};

/* The bytes that @p choice makes of a pending sector. */
static void choice_bytes(const struct making *making, const struct pending *pending, uint8_t choice,
                         uint8_t bytes[PT_SECTOR])
{
    const struct pt_crash_disk *disk = making->disk;
    uint64_t offset = offset_of(pending->sector);

    switch (choice) {
    case CHOICE_OLD:
        memcpy(bytes, disk->settled + offset, PT_SECTOR);
        break;
    case CHOICE_ZEROS:
        memset(bytes, 0, PT_SECTOR);
        break;
    case CHOICE_GARBAGE:
        pt_value_fill(offset ^ making->number << 32 ^ disk->point, bytes, PT_SECTOR);
        break;
    case CHOICE_EARLIER:
        memcpy(bytes, disk->earlier + offset, PT_SECTOR);
        break;
    default:
        memcpy(bytes, pending->versions[choice - CHOICE_VERSION], PT_SECTOR);
        break;
    }
}

static uint64_t choice_hash(const struct making *making, const struct pending *pending,
                            uint8_t choice)
{
    uint8_t bytes[PT_SECTOR];

    if (choice == CHOICE_OLD)
        return pending->old_hash;
    if (choice >= CHOICE_VERSION)
        return pending->hashes[choice - CHOICE_VERSION];
    choice_bytes(making, pending, choice, bytes);
    return sector_hash(pending->sector, bytes);
}

static uint8_t newest(const struct pending *pending)
{
    return (uint8_t)(CHOICE_VERSION + pending->version_count - 1);
}

static struct pt_crash_state state_describe(const struct making *making)
{
    const struct pt_crash_disk *disk = making->disk;
    struct pt_crash_state state = {.size = making->size,
                                   .hash = disk->settled_hash ^ pt_mix(making->size),
                                   .all_written = making->named && making->size == disk->live_size,
                                   .number = making->number,
                                   .promise = disk->promise};

    for (size_t i = 0; i < disk->pending_count; i++) {
        const struct pending *pending = &disk->pending[i];
        uint8_t choice = disk->choices[i];

        if (choice != newest(pending))
            state.all_written = false;
        if (choice != CHOICE_OLD)
            state.hash ^= pending->old_hash ^ choice_hash(making, pending, choice);
    }
    if (!making->named)
        state.hash = 1;
    return state;
}

/* Make the state that the choices say, if it is wanted, and take it back. */
static void state_visit(struct making *making)
{
    struct pt_crash_disk *disk = making->disk;
    struct pt_crash_state state = state_describe(making);
    uint8_t *old;

    if (making->wanted(making->context, &state)) {
        old = malloc(disk->pending_count * PT_SECTOR + 1);
        PT_REQUIRE(old != NULL);
        for (size_t i = 0; i < disk->pending_count; i++) {
            uint8_t *place = disk->settled + offset_of(disk->pending[i].sector);

            memcpy(old + i * PT_SECTOR, place, PT_SECTOR);
            if (disk->choices[i] != CHOICE_OLD)
                choice_bytes(making, &disk->pending[i], disk->choices[i], place);
        }
        state.bytes = making->named ? disk->settled : NULL;
        disk->replaced = old;
        making->visit(making->context, &state);
        disk->replaced = NULL;
        for (size_t i = 0; i < disk->pending_count; i++)
            memcpy(disk->settled + offset_of(disk->pending[i].sector), old + i * PT_SECTOR,
                   PT_SECTOR);
        free(old);
    }
    making->number++;
}

static void choose_all(const struct pt_crash_disk *disk, bool written)
{
    for (size_t i = 0; i < disk->pending_count; i++)
        disk->choices[i] = written ? newest(&disk->pending[i]) : CHOICE_OLD;
}

static uint64_t choose_size(struct making *making)
{
    const struct pt_crash_disk *disk = making->disk;

    switch (pt_dice_below(&making->dice, 8)) {
    case 0:
        return disk->settled_size;
    case 1:
        return disk->size_max;
    case 2:
        return disk->size_max + LARGER_SIZE <= (uint64_t)SECTOR_COUNT * PT_SECTOR
                   ? disk->size_max + LARGER_SIZE
                   : disk->size_max;
    default:
        return disk->live_size;
    }
}

/* One of the pending sectors, the recent ones more often. They are sorted by time. */
static size_t choose_sector(struct making *making)
{
    size_t count = making->disk->pending_count;

    if (count > RECENT && pt_dice_one_in(&making->dice, 2))
        return count - RECENT + pt_dice_below(&making->dice, RECENT);
    return pt_dice_below(&making->dice, count);
}

/* Choose for all sectors by a rule: which are written, and which are not. */
static void choose_by_rule(struct making *making)
{
    const struct pt_crash_disk *disk = making->disk;
    size_t count = disk->pending_count;
    size_t one = choose_sector(making);
    uint64_t rule = pt_dice_below(&making->dice, 8);
    uint64_t share = 1 + pt_dice_below(&making->dice, 7);
    uint64_t salt = pt_dice_next(&making->dice);

    choose_all(disk, true);
    for (size_t i = 0; i < count; i++) {
        const struct pending *pending = &disk->pending[i];
        bool written;

        switch (rule) {
        case 0: /* in the order of time, up to one */
            written = i <= one;
            break;
        case 1: /* from one on */
            written = i >= one;
            break;
        case 2: /* all but one */
        case 3:
            written = i != one;
            break;
        case 4: /* one alone */
            written = i == one;
            break;
        case 5: /* by place, from the front of the file or from its end */
            written = (pending->sector <= disk->pending[one].sector) == (share > 3);
            break;
        case 6: /* whole pages */
            written = pt_mix(salt ^ pending->sector / PAGE_SECTORS) % 8 < share;
            break;
        default:
            written = pt_mix(salt ^ pending->sector) % 8 < share;
            break;
        }
        if (!written || (pending->lost && pt_mix(salt ^ i) % 4 != 0))
            disk->choices[i] = CHOICE_OLD;
        else if (pt_mix(salt + i) % 16 == 0)
            disk->choices[i] =
                (uint8_t)(CHOICE_VERSION + pt_mix(salt - i) % pending->version_count);
    }
}

/* Let some sectors, one mostly, be torn. At most one of them to what was there before the old: a page of
 * which all sectors go back so far, behind a sync, is whole again, and nobody's garbage. */
static void tear(struct making *making)
{
    const struct pt_crash_disk *disk = making->disk;
    unsigned count = pt_dice_one_in(&making->dice, 4) ? 3 : 1;
    bool went_back = false;

    for (unsigned i = 0; i < count; i++) {
        size_t one = choose_sector(making);
        uint64_t version = pt_dice_below(&making->dice, disk->pending[one].version_count);
        uint8_t torn[] = {CHOICE_ZEROS, CHOICE_GARBAGE, CHOICE_GARBAGE, CHOICE_EARLIER,
                          (uint8_t)(CHOICE_VERSION + version)};

        uint8_t choice = torn[pt_dice_below(&making->dice, sizeof(torn))];

        disk->choices[one] = choice == CHOICE_EARLIER && went_back ? CHOICE_GARBAGE : choice;
        went_back = went_back || choice == CHOICE_EARLIER;
    }
}

/* Every subset of few pending sectors, or some where that is too much. */
static void visit_subsets(struct making *making, unsigned count_max)
{
    const struct pt_crash_disk *disk = making->disk;
    uint64_t subsets = UINT64_C(1) << disk->pending_count;

    for (uint64_t subset = 1; subset + 1 < subsets; subset++) {
        if (subsets - 2 > count_max && pt_dice_below(&making->dice, subsets - 2) >= count_max)
            continue;
        for (size_t i = 0; i < disk->pending_count; i++)
            disk->choices[i] = (subset >> i & 1) != 0 ? newest(&disk->pending[i]) : CHOICE_OLD;
        state_visit(making);
    }
}

static int by_time(const void *a, const void *b)
{
    const struct pending *first = a;
    const struct pending *second = b;

    if (first->written != second->written)
        return first->written < second->written ? -1 : 1;
    return first->sector < second->sector ? -1 : 1;
}

static void prepare(struct pt_crash_disk *disk)
{
    if (disk->pending_count > 0)
        qsort(disk->pending, disk->pending_count, sizeof(*disk->pending), by_time);
    for (size_t i = 0; i < disk->pending_count; i++)
        disk->index[disk->pending[i].sector] = (int32_t)i;
    if (disk->choice_capacity < disk->pending_count) {
        disk->choice_capacity = disk->pending_count;
        disk->choices = realloc(disk->choices, disk->choice_capacity);
        PT_REQUIRE(disk->choices != NULL);
    }
}

void pt_crash_disk_states(struct pt_crash_disk *disk, uint64_t seed, unsigned count_max,
                          bool (*wanted)(void *context, const struct pt_crash_state *state),
                          void (*visit)(void *context, const struct pt_crash_state *state),
                          void *context)
{
    struct making making = {.disk = disk,
                            .dice = {pt_mix(seed ^ pt_mix(disk->point))},
                            .size = disk->live_size,
                            .named = true,
                            .wanted = wanted,
                            .visit = visit,
                            .context = context};

    prepare(disk);
    if (!disk->settled_name) {
        making.named = false;
        making.size = 0;
        choose_all(disk, false);
        state_visit(&making);
        making.named = true;
        making.size = disk->live_size;
    }
    choose_all(disk, true);
    state_visit(&making);
    making.size = disk->settled_size;
    choose_all(disk, false);
    state_visit(&making);
    if (disk->pending_count == 0 && disk->settled_size == disk->live_size)
        return;
    making.size = disk->live_size;
    if (disk->pending_count <= SUBSET_SECTORS)
        visit_subsets(&making, count_max);
    for (unsigned i = 0; i < count_max; i++) {
        making.size = choose_size(&making);
        if (disk->pending_count == 0) {
            state_visit(&making);
            continue;
        }
        choose_by_rule(&making);
        if (pt_dice_one_in(&making.dice, 2))
            tear(&making);
        state_visit(&making);
    }
}
