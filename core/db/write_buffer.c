/*
 * The write buffer: area, hash index and range deletes. Sorted runs and views are in kept_runs.c and
 * buffer_view.c.
 *
 *  1. Entries are appended to the area and never change.
 *  2. A key's slot in the index leads to its newest entry, and previous from each entry to the next
 *     older one of the key. Commits never rise along this way.
 *  3. A slot is stored after its entry is written, published_commit after all slots of the commit.
 *     So a reader that has seen commit c published finds by (2) all entries of c and before, and
 *     steps over those of later commits.
 *  4. Range deletes are entries too, in a chain of their own; whether one is newer than an entry is
 *     a comparison of places. The fragment list is an index over the chain: when there is no memory
 *     to extend it, the chain is walked, so adding a range delete cannot fail.
 */
#include "core/db/write_buffer_parts.h"

#include "core/base/hash.h"

enum {
    AREA_UNIT = 64 * 1024,          /* bytes: the largest page size */
    POPULATE_SIZE_MAX = 128 * 1024, /* bytes ahead */
    INDEX_SMALL = 2048              /* entries: with more, those that are expected will come */
};

#define AREA_SIZE_MAX ((uint64_t)UINT32_MAX * PT_ENTRY_ALIGN)

/* ---- Open and close ---- */

enum peat_status pt_write_buffer_open(size_t capacity, size_t index_hint, uint64_t hash_seed,
                                      uint64_t first_commit, struct pt_write_buffer **buffer_out)
{
    struct pt_write_buffer *buffer = NULL;
    struct pt_buffer_index *index = NULL;
    enum peat_status status = PEAT_OK;

    PT_ASSERT(first_commit > 0);
    *buffer_out = NULL;
    if (capacity > AREA_SIZE_MAX)
        return pt_fail(PEAT_TOO_LARGE, "a write buffer of %zu bytes", capacity);

    if (index_hint > capacity / PT_AREA_HEADER_SIZE)
        index_hint = capacity / PT_AREA_HEADER_SIZE; /* no more will fit */
    buffer = pt_aligned_alloc(PT_CACHE_LINE, sizeof(*buffer));
    index = pt_buffer_index_new(0, NULL);
    if (buffer != NULL) {
        *buffer = (struct pt_write_buffer){.index_expected = index_hint};
        pt_kept_runs_init(&buffer->kept);
        buffer->area_size = pt_round_up(capacity + PT_AREA_START, AREA_UNIT);
        buffer->area = pt_pages_map(buffer->area_size);
    }
    if (buffer == NULL || index == NULL || buffer->area == NULL) {
        status = pt_fail(PEAT_NO_MEMORY, "a write buffer of %zu bytes", capacity);
        goto done;
    }
    buffer->hash_seed = hash_seed;
    atomic_init(&buffer->index, index);
    atomic_init(&buffer->structures_size, index->memory_size);
    index = NULL;
    atomic_init(&buffer->end, PT_AREA_START);
    atomic_init(&buffer->published_end, PT_AREA_START);
    atomic_init(&buffer->published_commit, first_commit - 1);
    buffer->last_commit = first_commit - 1;

    *buffer_out = buffer;
    buffer = NULL;
done:
    pt_buffer_index_free_all(index);
    pt_write_buffer_close(buffer);
    return status;
}

void pt_write_buffer_close(struct pt_write_buffer *buffer)
{
    if (buffer == NULL)
        return;
    pt_kept_runs_fini(&buffer->kept);
    pt_range_list_free_all(atomic_load_explicit(&buffer->ranges, memory_order_relaxed));
    pt_buffer_index_free_all(atomic_load_explicit(&buffer->index, memory_order_relaxed));
    pt_pages_unmap(buffer->area, buffer->area_size);
    pt_free(buffer);
}

/* ---- The index ---- */

/* The number of the slot that leads to @p key, or of the empty slot where it would go. */
static uint32_t find_slot(const struct pt_write_buffer *buffer, const struct pt_buffer_index *index,
                          struct peat_bytes key, uint64_t hash, uint64_t *slot_out)
{
    uint32_t tag = pt_slot_tag(hash);
    uint32_t position = tag >> index->shift;

    for (;; position = (position + 1) & index->mask) {
        /* Acquire pairs with the release in link_entry(): the entry can be read. */
        uint64_t slot = atomic_load_explicit(&index->slots[position], memory_order_acquire);

        *slot_out = slot;
        if (slot == 0)
            return position;
        if (pt_slot_tag(slot) == tag &&
            pt_bytes_equal(pt_area_key(buffer->area, pt_slot_place(slot)), key))
            return position;
    }
}

static enum peat_status grow_index(struct pt_write_buffer *buffer, size_t count)
{
    struct pt_buffer_index *old = atomic_load_explicit(&buffer->index, memory_order_relaxed);
    struct pt_buffer_index *index;

    if (count <= pt_buffer_index_capacity(old))
        return PEAT_OK;
    if (count > INDEX_SMALL && count < buffer->index_expected)
        count = buffer->index_expected;
    index = pt_buffer_index_new(count, old);
    if (index == NULL)
        return pt_fail(PEAT_NO_MEMORY, "hash index of a write buffer for %zu keys", count);
    atomic_fetch_add_explicit(&buffer->structures_size, index->memory_size, memory_order_relaxed);
    /* Release pairs with the acquire of readers: the copied slots. */
    atomic_store_explicit(&buffer->index, index, memory_order_release);
    return PEAT_OK;
}

/* ---- The writer ---- */

/* The writer's own fields, as it left them. */
static uint64_t end_of(const struct pt_write_buffer *buffer)
{
    return atomic_load_explicit(&buffer->end, memory_order_relaxed);
}

size_t pt_write_buffer_capacity_for(size_t count, size_t size)
{
    return size + count * PT_AREA_HEADER_SIZE;
}

/* Have memory for the area up to @p end, and for a piece ahead: page by page, faults are the larger
 * part of what adding costs. */
static void populate(struct pt_write_buffer *buffer, uint64_t end)
{
    size_t populated = atomic_load_explicit(&buffer->populated_size, memory_order_relaxed);
    size_t ahead = pt_round_up(end / 4, AREA_UNIT);
    size_t size;

    if (end <= populated)
        return;
    size = pt_round_up(end, AREA_UNIT) + (ahead < POPULATE_SIZE_MAX ? ahead : POPULATE_SIZE_MAX);
    if (size > buffer->area_size)
        size = buffer->area_size;
    pt_pages_populate(buffer->area + populated, size - populated);
    atomic_store_explicit(&buffer->populated_size, size, memory_order_relaxed);
}

enum peat_status pt_write_buffer_reserve(struct pt_write_buffer *buffer, size_t count, size_t size)
{
    size_t more = pt_write_buffer_capacity_for(count, size);

    if (more > buffer->area_size - end_of(buffer))
        return PEAT_TOO_LARGE; /* a normal outcome of the writer's: no words recorded */
    populate(buffer, end_of(buffer) + more);
    return grow_index(buffer, buffer->index_used + count);
}

/* Write header and entry at the end of the area; returns its place. */
static uint32_t append(struct pt_write_buffer *buffer, enum pt_op op, struct peat_bytes key,
                       struct peat_bytes value, uint32_t previous, uint64_t commit)
{
    uint64_t offset = end_of(buffer);
    uint64_t next = offset + PT_AREA_HEADER_SIZE + pt_entry_size(key.size, value.size);
    struct pt_area_header header = {.previous = previous, .commit = commit};

    PT_ASSERT(next <= buffer->area_size); /* reserved */
    PT_ASSERT(commit >= buffer->last_commit);
    memcpy(buffer->area + offset, &header, sizeof(header));
    (void)pt_entry_write(buffer->area + offset + sizeof(header), op, key, value);
    buffer->last_commit = commit;
    atomic_store_explicit(&buffer->end, next, memory_order_relaxed);
    atomic_store_explicit(&buffer->entry_count,
                          atomic_load_explicit(&buffer->entry_count, memory_order_relaxed) + 1,
                          memory_order_relaxed);
    return pt_area_place(offset);
}

void pt_write_buffer_add(struct pt_write_buffer *buffer, enum pt_op op, struct peat_bytes key,
                         struct peat_bytes value, uint64_t hash, uint64_t commit)
{
    struct pt_buffer_index *index = atomic_load_explicit(&buffer->index, memory_order_relaxed);
    uint64_t slot;
    uint32_t position = find_slot(buffer, index, key, hash, &slot);
    uint32_t place;

    PT_ASSERT(op == PT_OP_PUT || op == PT_OP_DELETE);
#ifdef PT_DEEP_CHECKS
    PT_ASSERT(hash == pt_hash(buffer->hash_seed, key.data, key.size));
#endif
    if (slot == 0) {
        PT_ASSERT(buffer->index_used < pt_buffer_index_capacity(index)); /* reserved */
        buffer->index_used++;
    }
    place = append(buffer, op, key, value, pt_slot_place(slot), commit);
    /* Release pairs with the acquire in find_slot(): the entry comes before the slot. */
    atomic_store_explicit(&index->slots[position], pt_slot(pt_slot_tag(hash), place),
                          memory_order_release);
}

void pt_write_buffer_add_range(struct pt_write_buffer *buffer, struct peat_bytes low,
                               struct peat_bytes high, uint64_t commit)
{
    PT_ASSERT(pt_bytes_compare(low, high) < 0);
    buffer->last_range = append(buffer, PT_OP_DELETE_RANGE, low, high, buffer->last_range, commit);
    atomic_fetch_add_explicit(&buffer->range_count, 1, memory_order_relaxed);
}

/* Make the range deletes added since the last time visible. */
static void publish_ranges(struct pt_write_buffer *buffer)
{
    struct pt_range_list *list = NULL;

    if (buffer->last_range == atomic_load_explicit(&buffer->newest_range, memory_order_relaxed))
        return;
    (void)pt_write_buffer_ranges(buffer, buffer->last_range, &list);
    if (list != NULL) {
        atomic_fetch_add_explicit(&buffer->structures_size, pt_range_list_memory_size(list),
                                  memory_order_relaxed);
        /* Release pairs with the acquire of readers: the fragments. */
        atomic_store_explicit(&buffer->ranges, list, memory_order_release);
    }
    /* Release: whoever sees that there are range deletes sees the list (if there was memory for it)
     * and the entries in the chain. */
    atomic_store_explicit(&buffer->newest_range, buffer->last_range, memory_order_release);
}

void pt_write_buffer_publish(struct pt_write_buffer *buffer, uint64_t commit)
{
    PT_ASSERT(commit >= buffer->last_commit);
    PT_ASSERT(commit >= atomic_load_explicit(&buffer->published_commit, memory_order_relaxed));
    buffer->last_commit = commit;
    publish_ranges(buffer);
    atomic_store_explicit(&buffer->published_count,
                          atomic_load_explicit(&buffer->entry_count, memory_order_relaxed),
                          memory_order_relaxed);
    /* Release pairs with the acquire of views: entries before the end, and the count. */
    atomic_store_explicit(&buffer->published_end, end_of(buffer), memory_order_release);
    /* Release pairs with pt_write_buffer_commit(): everything above. */
    atomic_store_explicit(&buffer->published_commit, commit, memory_order_release);
}

/* ---- Range deletes ---- */

static struct pt_range_delete range_at(const struct pt_write_buffer *buffer, uint32_t place)
{
    struct pt_entry entry;

    (void)pt_area_entry(buffer->area, place, &entry);
    PT_ASSERT(entry.op == PT_OP_DELETE_RANGE);
    return (struct pt_range_delete){entry.key, entry.value,
                                    pt_area_header(buffer->area, place)->commit, place};
}

const struct pt_range_list *pt_write_buffer_ranges(const struct pt_write_buffer *buffer,
                                                   uint32_t newest, struct pt_range_list **own_out)
{
    /* Acquire pairs with the release in publish_ranges(). */
    struct pt_range_list *list = atomic_load_explicit(&buffer->ranges, memory_order_acquire);
    uint32_t listed = list == NULL ? 0 : pt_range_list_place(list);
    struct pt_range_delete *deletes;
    size_t count = 0;

    *own_out = NULL;
    for (uint32_t place = newest; place > listed;
         place = pt_area_header(buffer->area, place)->previous)
        count++;
    if (count == 0)
        return list;
    deletes = pt_malloc(count * sizeof(*deletes));
    if (deletes == NULL)
        return NULL;
    for (uint32_t place = newest, i = 0; i < count; i++) {
        deletes[count - 1 - i] = range_at(buffer, place);
        place = pt_area_header(buffer->area, place)->previous;
    }
    *own_out = pt_range_list_new(list, deletes, count);
    pt_free(deletes);
    return *own_out;
}

/* The place of the newest range delete as of @p commit that covers @p key; 0: none. @p newest: of
 * all, not 0. */
static uint32_t find_range(const struct pt_write_buffer *buffer, uint32_t newest,
                           struct peat_bytes key, uint64_t commit)
{
    /* Acquire pairs with the release in publish_ranges(). */
    const struct pt_range_list *list = atomic_load_explicit(&buffer->ranges, memory_order_acquire);
    uint32_t listed = list == NULL ? 0 : pt_range_list_place(list);

    for (uint32_t place = newest; place > listed;
         place = pt_area_header(buffer->area, place)->previous) {
        struct pt_range_delete range = range_at(buffer, place);

        if (range.commit <= commit && pt_bytes_compare(range.low, key) <= 0 &&
            pt_bytes_compare(key, range.high) < 0)
            return place;
    }
    return list == NULL ? 0 : pt_range_list_find(list, key, commit);
}

/* ---- Readers ---- */

enum peat_status pt_write_buffer_get(const struct pt_write_buffer *buffer, struct peat_bytes key,
                                     uint64_t hash, uint64_t commit, struct pt_entry *entry_out)
{
    /* Acquire pairs with the release in grow_index(). */
    const struct pt_buffer_index *index =
        atomic_load_explicit(&buffer->index, memory_order_acquire);
    /* Acquire pairs with the release in publish_ranges(). */
    uint32_t newest_range = atomic_load_explicit(&buffer->newest_range, memory_order_acquire);
    uint32_t range = 0;
    uint32_t place;
    uint64_t slot;

    /* The common case of a store at rest. What is published later is not for a reader that came
     * before: its commit is older. */
    if (atomic_load_explicit(&buffer->published_count, memory_order_relaxed) == 0)
        return PEAT_NOT_FOUND;
    (void)find_slot(buffer, index, key, hash, &slot);
    place = pt_slot_place(slot);
    while (place != 0 && pt_area_header(buffer->area, place)->commit > commit)
        place = pt_area_header(buffer->area, place)->previous;
    if (newest_range > place)
        range = find_range(buffer, newest_range, key, commit);
    if (range > place) {
        *entry_out = (struct pt_entry){key, pt_bytes(NULL, 0), PT_OP_DELETE};
        return PEAT_OK;
    }
    if (place == 0)
        return PEAT_NOT_FOUND;
    (void)pt_area_entry(buffer->area, place, entry_out);
    return PEAT_OK;
}

void pt_write_buffer_prefetch(const struct pt_write_buffer *buffer, uint64_t hash)
{
    const struct pt_buffer_index *index =
        atomic_load_explicit(&buffer->index, memory_order_acquire);

    __builtin_prefetch(&index->slots[pt_slot_tag(hash) >> index->shift]);
}

void pt_write_buffer_prefetch_entry(const struct pt_write_buffer *buffer, uint64_t hash)
{
    const struct pt_buffer_index *index =
        atomic_load_explicit(&buffer->index, memory_order_acquire);
    uint32_t tag = pt_slot_tag(hash);
    uint32_t position = tag >> index->shift;
    uint64_t slot;

    do {
        /* Relaxed: the entry is fetched ahead, not read. */
        slot = atomic_load_explicit(&index->slots[position], memory_order_relaxed);
        position = (position + 1) & index->mask;
    } while (slot != 0 && pt_slot_tag(slot) != tag);
    if (slot != 0)
        __builtin_prefetch(pt_area_at(buffer->area, pt_slot_place(slot)));
}

uint64_t pt_write_buffer_commit(const struct pt_write_buffer *buffer)
{
    /* Acquire pairs with the release in pt_write_buffer_publish(). */
    return atomic_load_explicit(&buffer->published_commit, memory_order_acquire);
}

uint64_t pt_write_buffer_entry_count(const struct pt_write_buffer *buffer)
{
    return atomic_load_explicit(&buffer->entry_count, memory_order_relaxed);
}

const _Atomic uint64_t *pt_write_buffer_entry_counter(const struct pt_write_buffer *buffer)
{
    return &buffer->entry_count;
}

uint64_t pt_write_buffer_range_count(const struct pt_write_buffer *buffer)
{
    return atomic_load_explicit(&buffer->range_count, memory_order_relaxed);
}

uint64_t pt_write_buffer_data_size(const struct pt_write_buffer *buffer)
{
    return end_of(buffer) - PT_AREA_START;
}

size_t pt_write_buffer_memory_size(const struct pt_write_buffer *buffer)
{
    return sizeof(*buffer) + atomic_load_explicit(&buffer->populated_size, memory_order_relaxed) +
           atomic_load_explicit(&buffer->structures_size, memory_order_relaxed) +
           atomic_load_explicit(&buffer->kept.memory_size, memory_order_relaxed);
}
