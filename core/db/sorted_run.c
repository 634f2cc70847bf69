#include "core/db/sorted_run.h"

#include "core/base/alloc.h"

static struct pt_sorted_run *run_new(const uint8_t *area, uint64_t end, size_t count,
                                     _Atomic size_t *account)
{
    size_t size = sizeof(struct pt_sorted_run) + count * sizeof(struct pt_reference);
    struct pt_sorted_run *run = pt_block_alloc(size);

    if (run == NULL)
        return NULL;
    run->area = area;
    run->end = end;
    run->memory_size = size;
    run->account = account;
    atomic_fetch_add_explicit(account, size, memory_order_relaxed);
    atomic_init(&run->pins, 1);
    return run;
}

/* Refer to the entries in turn, range deletes left out. */
static void collect(struct pt_sorted_run *run, uint64_t begin, size_t count_max)
{
    struct pt_common_prefix common = {.count = 0};

    for (uint64_t offset = begin; offset < run->end;) {
        uint32_t place = pt_area_place(offset);
        struct pt_entry entry;

        offset = pt_area_entry(run->area, place, &entry);
        PT_ASSERT(offset <= run->end);
        PT_ASSERT(run->entry_count < count_max);
        run->entry_count++;
        if (entry.op == PT_OP_DELETE_RANGE)
            continue;
        run->references[common.count].place = place;
        run->references[common.count].repeats = pt_area_header(run->area, place)->previous;
        pt_common_prefix_add(&common, run->references, entry.key, 0);
    }
    run->count = common.count;
    run->common_size = common.size;
}

struct pt_sorted_run *pt_sorted_run_new(const uint8_t *area, uint64_t begin, uint64_t end,
                                        size_t count_max, _Atomic size_t *account)
{
    struct pt_sorted_run *run = run_new(area, end, count_max, account);
    struct pt_reference *spare;
    size_t spare_size;

    if (run == NULL)
        return NULL;
    collect(run, begin, count_max);
    spare_size = (run->count + 1) * sizeof(*spare);
    spare = pt_block_alloc(spare_size);
    if (spare == NULL) {
        pt_sorted_run_unpin(run);
        return NULL;
    }
    pt_reference_sort(run->area, run->references, spare, run->count, run->common_size);
    pt_block_free(spare, spare_size);
    return run;
}

static struct pt_reference_run references_of(const struct pt_sorted_run *run)
{
    return (struct pt_reference_run){run->references, run->count, run->common_size};
}

struct pt_sorted_run *pt_sorted_run_merge(const struct pt_sorted_run *newer,
                                          const struct pt_sorted_run *older)
{
    struct pt_sorted_run *run =
        run_new(newer->area, newer->end, newer->count + older->count, newer->account);
    struct pt_reference_run a = references_of(newer);
    struct pt_reference_run b = references_of(older);

    if (run == NULL)
        return NULL;
    PT_ASSERT(newer->end > older->end);
    run->common_size = pt_reference_merge(run->area, &a, &b, run->references);
    run->entry_count = newer->entry_count + older->entry_count;
    run->count = a.count + b.count;
    return run;
}

void pt_sorted_run_pin(struct pt_sorted_run *run)
{
    /* Relaxed: whoever pins got the run from another pin, which orders the two. */
    atomic_fetch_add_explicit(&run->pins, 1, memory_order_relaxed);
}

void pt_sorted_run_unpin(struct pt_sorted_run *run)
{
    _Atomic size_t *account;
    size_t size;

    /* Release: our reads come before; acquire, for the last one: all reads come before the free. */
    if (run == NULL || atomic_fetch_sub_explicit(&run->pins, 1, memory_order_acq_rel) > 1)
        return;
    account = run->account;
    size = run->memory_size;
    pt_block_free(run, size);
    atomic_fetch_sub_explicit(account, size, memory_order_relaxed);
}

/* Whether the reference is behind the bound: its key is >= @p key, or > @p key if @p above. */
static bool behind(const struct pt_sorted_run *run, size_t i, struct peat_bytes key, bool above)
{
    int order = pt_bytes_compare(pt_area_key(run->area, run->references[i].place), key);

    return above ? order > 0 : order >= 0;
}

size_t pt_sorted_run_bound(const struct pt_sorted_run *run, struct peat_bytes key, bool above)
{
    const struct pt_reference *references = run->references;
    size_t from = 0;
    size_t to = run->count;
    uint64_t prefix;

    if (run->count == 0)
        return 0;
    if (run->common_size > 0) {
        struct peat_bytes first = pt_area_key(run->area, references[0].place);
        size_t shared = pt_bytes_common(pt_bytes(first.data, run->common_size), key);

        if (shared < run->common_size)
            return behind(run, 0, key, above) ? 0 : run->count;
    }
    prefix = pt_bytes_prefix(key, run->common_size);
    while (from < to) {
        size_t middle = from + (to - from) / 2;

        if (references[middle].prefix > prefix ||
            (references[middle].prefix == prefix && behind(run, middle, key, above)))
            to = middle;
        else
            from = middle + 1;
    }
    return from;
}
