/*
 * Back-pressure: commits wait so that two promises hold, memory_size_max and log_size_max.
 *
 * Up to five eighths of memory and three quarters of the log's budget nobody waits. From there on a commit is delayed in proportion to its size
 * and to how far the rest is used up, so that writing slows down smoothly to the pace of flushes and
 * checkpoints; at the end it waits for one. If that fails then (a full disk), so does the commit,
 * until a later try succeeds.
 *
 * Memory that is accounted for:
 *
 *   buffer_memory  write buffers with their hash indexes and sorted runs, until the last stack that
 *                  has them is freed
 *   work_memory    segments in the making, what a flush sorts, iterators, copies that one-shot writes
 *                  make
 *
 * What is fixed and small is not: the log's stages, threads, handles of segments. Waiting gives back
 * what is sealed, and what our own threads still hold. It does not give back flushed buffers that a
 * snapshot sees: whoever holds that may be waiting for this very commit, or never close it. So
 * buffers are made smaller as snapshots pin more (each then pins less), and when half of memory is
 * pinned, and all of it used up, a commit fails: it does not wait for a reader.
 */
#include "core/base/clock.h"
#include "core/db/db.h"

enum {
    SLEEP_NS_MIN = 100000, /* shorter delays are gathered */
    SLEEP_NS_MAX = 20000000,
    WAIT_US = 1000000,
    OWN_WAIT_US = 200000,        /* for our own threads to let go of buffers that were flushed */
    OWN_PAUSE_US = 500,          /* between two looks */
    BUFFER_SIZE_MIN = 64 * 1024, /* bytes: however much is pinned */
    BUFFERS_IN_HALF = 4,         /* a buffer is a quarter of what is left of half the memory */
    PUT_SHARE = 8                /* the part of memory for copies that one-shot writes make */
};

uint64_t pt_memory_used(const struct peat_db *db)
{
    return atomic_load_explicit(&db->buffer_memory, memory_order_relaxed) +
           atomic_load_explicit(&db->work_memory, memory_order_relaxed);
}

uint64_t pt_memory_look(struct peat_db *db)
{
    uint64_t pinned = pt_shelf_pinned_memory(&db->shelf);

    atomic_store_explicit(&db->pinned_memory, pinned, memory_order_relaxed);
    return pinned;
}

uint64_t pt_buffer_size_max(const struct peat_db *db)
{
    uint64_t pinned = atomic_load_explicit(&db->pinned_memory, memory_order_relaxed);
    uint64_t half = db->options.memory_size_max / 2;
    uint64_t size = half > pinned ? (half - pinned) / BUFFERS_IN_HALF : 0;

    if (size < BUFFER_SIZE_MIN)
        size = BUFFER_SIZE_MIN;
    return size < db->options.write_buffer_size ? size : db->options.write_buffer_size;
}

bool pt_write_pressed(const struct peat_db *db)
{
    return atomic_load_explicit(&db->buffer_memory, memory_order_relaxed) >
               db->options.memory_size_max / 4 ||
           pt_log_budget_used(&db->log_budget) > db->options.log_size_max / 2;
}

/* ---- One-shot writes ---- */

/* A single one may always go on, whatever its size. */
void pt_put_memory_take(struct peat_db *db, uint64_t size)
{
    struct pt_put_gate *gate = &db->put_gate;
    uint64_t share = db->options.memory_size_max / PUT_SHARE;

    pt_mutex_lock(&gate->mutex);
    while (gate->size > 0 && gate->size + size > share)
        pt_condition_wait(&gate->left, &gate->mutex);
    gate->size += size;
    pt_mutex_unlock(&gate->mutex);
    pt_work_memory_take(db, size);
}

void pt_put_memory_give(struct peat_db *db, uint64_t size)
{
    pt_work_memory_give(db, size);
    pt_mutex_lock(&db->put_gate.mutex);
    db->put_gate.size -= size;
    pt_condition_broadcast(&db->put_gate.left);
    pt_mutex_unlock(&db->put_gate.mutex);
}

/* ---- Waiting ---- */

static bool anything_sealed(const struct peat_db *db)
{
    return atomic_load_explicit(&db->sealed_size, memory_order_relaxed) > 0;
}

/*
 * The delay for @p size more bytes where @p used of @p limit are, and up to @p free_use nobody waits. With x
 * eighths of the limit used beyond that, 16 ns * x^3 per byte: 500 MB/s at a half, 60 MB/s, about what is left
 * of a flush's pace beside merging, at one, and 8 MB/s at two, where commits stop. A straight line was too flat:
 * under steady overwriting (30 MB/s) the longest commit waited 0.7 s there, for a whole flush and its merges.
 */
static uint64_t delay_ns(uint64_t size, uint64_t used, uint64_t free_use, uint64_t limit)
{
    double beyond = used <= free_use ? 0 : (double)(used - free_use) / ((double)limit / 8);

    return (uint64_t)((double)size * 16 * beyond * beyond * beyond);
}

/* Have what is sealed flushed. */
static enum peat_status wait_for_flush(struct peat_db *db)
{
    enum peat_status status = pt_merger_flush_status(db);

    if (status == PEAT_OK)
        status = pt_merger_wait(db, false, pt_clock_monotonic_us() + WAIT_US);
    return status;
}

/* Until @p cost more is within the log's budget, or all that is used is the active buffer's. */
static enum peat_status wait_for_log(struct peat_db *db, uint64_t cost)
{
    enum peat_status status = PEAT_OK;

    while (status >= 0 && pt_log_budget_sealed(&db->log_budget) > 0 &&
           pt_log_budget_used(&db->log_budget) + cost > db->options.log_size_max)
        status = anything_sealed(db) ? wait_for_flush(db) : pt_checkpoint(db);
    return status;
}

static bool memory_short(const struct peat_db *db, uint64_t size)
{
    return pt_memory_used(db) + size > db->options.memory_size_max;
}

/* Nothing is sealed, and yet memory is short. What was flushed a moment ago may still be held by a
 * thread of ours: that passes. */
static enum peat_status wait_for_own(struct peat_db *db, uint64_t size)
{
    uint64_t until_us = pt_clock_monotonic_us() + OWN_WAIT_US;
    uint64_t pinned;

    do {
        (void)pt_shelf_reap(&db->shelf);
        pinned = pt_memory_look(db);
        if (!memory_short(db, size))
            return PEAT_OK;
        pt_clock_sleep_us(OWN_PAUSE_US);
    } while (!anything_sealed(db) && pt_clock_monotonic_us() < until_us);
    if (anything_sealed(db) || pinned <= db->options.memory_size_max / 2)
        return PEAT_OK;
    return pt_fail(PEAT_NO_MEMORY,
                   "snapshots or iterators keep %llu bytes of write buffers in memory that were "
                   "flushed long ago (memory_size_max is %zu): close them",
                   (unsigned long long)pinned, db->options.memory_size_max);
}

/* Until @p size more is within memory, or waiting cannot help any more. */
static enum peat_status wait_for_memory(struct peat_db *db, uint64_t size)
{
    uint64_t limit = db->options.memory_size_max;
    enum peat_status status = PEAT_OK;

    if (anything_sealed(db) && pt_memory_used(db) + size > limit - limit / 8)
        status = wait_for_flush(db);
    if (status >= 0 && !anything_sealed(db) && memory_short(db, size))
        status = wait_for_own(db, size);
    return status;
}

/* Sleep for @p ns, when that has come to be worth it. */
static bool sleep_for(struct pt_commit_queue *queue, uint64_t ns)
{
    queue->owed_ns += ns;
    if (queue->owed_ns < SLEEP_NS_MIN)
        return false;
    ns = queue->owed_ns < SLEEP_NS_MAX ? queue->owed_ns : SLEEP_NS_MAX;
    queue->owed_ns = 0;
    pt_clock_sleep_us(ns / 1000);
    return true;
}

static void count_stall(struct peat_db *db, uint64_t begin_us)
{
    atomic_fetch_add_explicit(&db->counters.stalls, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&db->counters.stall_time_us, pt_clock_monotonic_us() - begin_us,
                              memory_order_relaxed);
}

enum peat_status pt_wait_for_room(struct peat_db *db, uint64_t count, uint64_t size)
{
    uint64_t memory_max = db->options.memory_size_max;
    uint64_t log_max = db->options.log_size_max;
    uint64_t cost = pt_log_cost(count, size);
    uint64_t memory = pt_memory_used(db) + size;
    uint64_t log = pt_log_budget_used(&db->log_budget) + cost;
    uint64_t memory_delay =
        anything_sealed(db) ? delay_ns(size, memory, memory_max / 8 * 5, memory_max) : 0;
    uint64_t log_delay = delay_ns(cost, log, log_max / 4 * 3, log_max);
    bool memory_low = memory > memory_max - memory_max / 8;
    bool log_short = log > log_max && pt_log_budget_sealed(&db->log_budget) > 0;
    enum peat_status status = PEAT_OK;
    uint64_t begin_us;
    bool waited = false;

    if (memory_delay + log_delay == 0 && !memory_low && !log_short)
        return PEAT_OK;
    begin_us = pt_clock_monotonic_us();
    if (memory_low || log_short) {
        waited = log_short || anything_sealed(db) || memory > memory_max;
        status = wait_for_log(db, cost);
        if (status >= 0)
            status = wait_for_memory(db, size);
    } else {
        waited = sleep_for(&db->queue, memory_delay > log_delay ? memory_delay : log_delay);
    }
    if (waited)
        count_stall(db, begin_us);
    return status < 0 ? status : PEAT_OK;
}

enum peat_status pt_wait_for_place(struct peat_db *db)
{
    enum peat_status status = PEAT_OK;
    uint64_t begin_us;

    if (!pt_shelf_full(&db->shelf))
        return PEAT_OK;
    begin_us = pt_clock_monotonic_us();
    while (status >= 0 && pt_shelf_full(&db->shelf))
        status = wait_for_flush(db);
    count_stall(db, begin_us);
    return status < 0 ? status : PEAT_OK;
}
