/*
 * Replacing a set while readers pin it without a lock:
 *
 *   reader                          replacer, holding the mutex
 *   R1  arriving += 1               W1  current = new set
 *   R2  set = current               W2  put the old set on the list of replaced ones
 *   R3  set->pins += 1              W3  if arriving is 0: drop current's pin on all replaced sets
 *   R4  arriving -= 1
 *
 * R1, R2, W1 and W3 are sequentially consistent. If W3 reads 0, each reader's R1 either comes after
 * it, then its R2 comes after W1 and yields the new set or a later one; or its R4 came before, and
 * with it R3: the reader's own pin holds the set. If W3 reads more, the sets wait for the next time.
 */
#include "core/db/kept_runs.h"

#include "core/base/alloc.h"

enum {
    SIZE_RATIO = 4, /* a run less than that many times as long as its newer one is merged with it */
    SET_RUNS_MAX = 32 /* 4^32 entries: never reached but when memory is short */
};

void pt_kept_runs_init(struct pt_kept_runs *kept)
{
    atomic_init(&kept->current, NULL);
    atomic_init(&kept->arriving, 0);
    atomic_init(&kept->memory_size, 0);
    kept->replaced = NULL;
    pt_mutex_init(&kept->mutex);
}

void pt_run_set_unpin(struct pt_run_set *set)
{
    /* As for runs: all use of the set comes before its end. */
    if (set == NULL || atomic_fetch_sub_explicit(&set->pins, 1, memory_order_acq_rel) > 1)
        return;
    for (size_t i = 0; i < set->count; i++)
        pt_sorted_run_unpin(set->runs[i]);
    pt_free(set);
}

static void drop_replaced_locked(struct pt_kept_runs *kept) PT_REQUIRES(kept->mutex)
{
    while (kept->replaced != NULL) {
        struct pt_run_set *set = kept->replaced;

        kept->replaced = set->next_replaced;
        pt_run_set_unpin(set);
    }
}

void pt_kept_runs_fini(struct pt_kept_runs *kept)
{
    PT_ASSERT(atomic_load_explicit(&kept->arriving, memory_order_relaxed) == 0);
    pt_mutex_lock(&kept->mutex);
    drop_replaced_locked(kept);
    pt_mutex_unlock(&kept->mutex);
    pt_run_set_unpin(atomic_load_explicit(&kept->current, memory_order_relaxed));
    pt_mutex_fini(&kept->mutex);
}

struct pt_run_set *pt_kept_runs_pin(struct pt_kept_runs *kept)
{
    struct pt_run_set *set;

    atomic_fetch_add_explicit(&kept->arriving, 1, memory_order_seq_cst); /* R1 */
    set = atomic_load_explicit(&kept->current, memory_order_seq_cst);    /* R2 */
    if (set != NULL)
        atomic_fetch_add_explicit(&set->pins, 1, memory_order_relaxed); /* R3 */
    /* Release: W3's load, when it reads our 0, comes after R3. */
    atomic_fetch_sub_explicit(&kept->arriving, 1, memory_order_release); /* R4 */
    return set;
}

static void replace_locked(struct pt_kept_runs *kept, struct pt_run_set *set)
    PT_REQUIRES(kept->mutex)
{
    struct pt_run_set *old = atomic_load_explicit(&kept->current, memory_order_relaxed);

    atomic_store_explicit(&kept->current, set, memory_order_seq_cst); /* W1 */
    if (old != NULL) {
        old->next_replaced = kept->replaced; /* W2 */
        kept->replaced = old;
    }
    if (atomic_load_explicit(&kept->arriving, memory_order_seq_cst) == 0) /* W3 */
        drop_replaced_locked(kept);
}

/* Merge @p run, whose pin is ours, with the newest of @p old (NULL: none) as long as those are not
 * long enough; *merged_count_out: how many. Returns what it came to. */
static struct pt_sorted_run *merge_down(struct pt_sorted_run *run, const struct pt_run_set *old,
                                        size_t *merged_count_out)
{
    size_t i = 0;

    while (old != NULL && i < old->count && old->runs[i]->count < SIZE_RATIO * run->count) {
        struct pt_sorted_run *merged = pt_sorted_run_merge(run, old->runs[i]);

        if (merged == NULL)
            break; /* one run more, then */
        pt_sorted_run_unpin(run);
        run = merged;
        i++;
    }
    *merged_count_out = i;
    return run;
}

static void set_push(struct pt_run_set *set, struct pt_sorted_run *run)
{
    if (run->count == 0)
        return; /* a stretch of range deletes */
    pt_sorted_run_pin(run);
    set->runs[set->count++] = run;
}

/* @p run in front of those of @p old (NULL: none) from index @p skip on. NULL: no memory. */
static struct pt_run_set *set_new(struct pt_sorted_run *run, const struct pt_run_set *old,
                                  size_t skip, uint64_t end, size_t entry_count)
{
    size_t count = old == NULL ? 0 : old->count;
    struct pt_run_set *set;

    if (count - skip >= SET_RUNS_MAX)
        return NULL;
    set = pt_malloc(sizeof(*set) + (count - skip + 1) * sizeof(set->runs[0]));
    if (set == NULL)
        return NULL;
    *set = (struct pt_run_set){.end = end, .entry_count = entry_count};
    atomic_init(&set->pins, 1);
    set_push(set, run);
    for (size_t i = skip; i < count; i++)
        set_push(set, old->runs[i]);
    return set;
}

static bool extend_locked(struct pt_kept_runs *kept, const uint8_t *area, uint64_t end,
                          size_t entry_count_max) PT_REQUIRES(kept->mutex)
{
    const struct pt_run_set *old = atomic_load_explicit(&kept->current, memory_order_relaxed);
    uint64_t begin = old == NULL ? PT_AREA_START : old->end;
    size_t entry_count = old == NULL ? 0 : old->entry_count;
    struct pt_sorted_run *run;
    struct pt_run_set *set;
    size_t merged_count;

    if (begin >= end)
        return true; /* another thread went further meanwhile */
    run = pt_sorted_run_new(area, begin, end, entry_count_max - entry_count, &kept->memory_size);
    if (run == NULL)
        return false;
    entry_count += run->entry_count;
    run = merge_down(run, old, &merged_count);
    set = set_new(run, old, merged_count, end, entry_count);
    pt_sorted_run_unpin(run); /* the set has a pin of its own */
    if (set == NULL)
        return false;
    replace_locked(kept, set);
    return true;
}

bool pt_kept_runs_extend(struct pt_kept_runs *kept, const uint8_t *area, uint64_t end,
                         size_t entry_count_max)
{
    bool done;

    if (!pt_mutex_try_lock(&kept->mutex))
        return false;
    done = extend_locked(kept, area, end, entry_count_max);
    pt_mutex_unlock(&kept->mutex);
    return done;
}
