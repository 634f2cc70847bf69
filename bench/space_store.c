#include "bench/space.h"

#include "bench/stopwatch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    LOOK_US = 2000, /* between two looks of the watch */
    SETTLE_MS = 1000000,
    DEFAULT_LIVE_SIZE = 1 << 30,  /* bytes of live data for which the default options are; less: */
    BUFFER_SIZE_MIN = 512 * 1024, /* buffers, memory and log in proportion, down to these */
    MEMORY_SIZE_MIN = 16 << 20,
    LOG_SIZE_MIN = 2 << 20
};

void pt_space_die(const char *what)
{
    (void)fprintf(stderr, "peat-space: %s: %s\n", what, peat_last_error());
    exit(2);
}

static void need(enum peat_status status, const char *what)
{
    if (status != PEAT_OK)
        pt_space_die(what);
}

static struct peat_stats stats_of(const struct pt_space_store *store)
{
    struct peat_stats stats = {.struct_size = sizeof(stats)};

    need(peat_stats_get(store->db, &stats), "statistics");
    return stats;
}

/* ---- The watch ---- */

static void look(struct pt_space_store *store)
{
    struct peat_stats stats = stats_of(store);
    double live = (double)atomic_load(&store->live_size);
    double worst = (double)stats.allocated_size / live;
    double longest = (double)stats.file_size / live;

    store->look_count++;
    store->run_sum += stats.run_count;
    if (stats.run_count > store->run_max)
        store->run_max = stats.run_count;
    if (worst > store->worst)
        store->worst = worst;
    if (longest > store->longest)
        store->longest = longest;
}

static void *watch(void *context)
{
    struct pt_space_store *store = context;

    while (!atomic_load(&store->stop)) {
        if (atomic_load(&store->measured))
            look(store);
        (void)usleep(LOOK_US);
    }
    return NULL;
}

/* ---- Opening and closing ---- */

static uint64_t in_proportion(uint64_t value, const struct pt_space_plan *plan, uint64_t min)
{
    if (plan->live_size >= DEFAULT_LIVE_SIZE)
        return value;
    value = (uint64_t)((double)value * ((double)plan->live_size / DEFAULT_LIVE_SIZE));
    return value > min ? value : min;
}

void pt_space_open(struct pt_space_store *store, const struct pt_space_plan *plan, const char *name)
{
    struct peat_options options;

    memset(store, 0, sizeof(*store));
    store->plan = plan;
    store->entry_count = plan->live_size / (PT_SPACE_KEY_SIZE + plan->value_size);
    (void)snprintf(store->path, sizeof(store->path), "%s/peat-space-%ld-%s.peat", plan->directory,
                   (long)getpid(), name);
    for (size_t i = 0; i < sizeof(store->pool); i += 8) {
        uint64_t noise = pt_mix(i);

        memcpy(store->pool + i, &noise, sizeof(noise));
    }
    peat_options_init(&options);
    options.flags = PEAT_CREATE | PEAT_EXCLUSIVE;
    options.write_buffer_size = in_proportion(options.write_buffer_size, plan, BUFFER_SIZE_MIN);
    options.memory_size_max = in_proportion(options.memory_size_max, plan, MEMORY_SIZE_MIN);
    options.log_size_max = in_proportion(options.log_size_max, plan, LOG_SIZE_MIN);
    need(peat_open(store->path, &options, &store->db), store->path);
    store->batch = peat_batch_new(0);
    if (store->batch == NULL || pthread_create(&store->watch, NULL, watch, store) != 0)
        pt_space_die("no memory");
}

void pt_space_close(struct pt_space_store *store, uint64_t start_ns,
                    struct pt_space_figures *figures_out)
{
    uint64_t written_ns = pt_stopwatch_ns();
    struct peat_stats stats;
    double put;

    need(peat_wait_idle(store->db, SETTLE_MS), "coming to rest");
    figures_out->seconds = (double)(written_ns - start_ns) / 1e9;
    figures_out->settle_seconds = (double)(pt_stopwatch_ns() - written_ns) / 1e9;
    atomic_store(&store->stop, true);
    (void)pthread_join(store->watch, NULL);
    stats = stats_of(store);
    put = (double)stats.bytes_put;
    figures_out->put_size = stats.bytes_put;
    figures_out->logged = (double)stats.bytes_logged / put;
    figures_out->flushed = (double)stats.bytes_flushed / put;
    figures_out->merged = (double)stats.bytes_merged / put;
    figures_out->runs_mean =
        store->look_count == 0 ? 0 : (double)store->run_sum / (double)store->look_count;
    figures_out->runs_max = store->run_max;
    figures_out->worst = store->worst;
    figures_out->longest = store->longest;
    figures_out->pause_ms = (double)store->pause_ns / 1e6;
    figures_out->idle = (double)stats.allocated_size / (double)atomic_load(&store->live_size);
    need(peat_close(store->db), "closing");
    peat_batch_free(store->batch);
    (void)remove(store->path);
}

/* ---- Operations ---- */

static struct peat_bytes key_of(uint64_t number, bool scattered, uint8_t bytes[PT_SPACE_KEY_SIZE])
{
    uint64_t first = scattered ? pt_mix(number) : number;

    for (unsigned i = 0; i < 8; i++) {
        bytes[i] = (uint8_t)(first >> (56 - 8 * i));
        bytes[8 + i] = (uint8_t)(number >> (56 - 8 * i));
    }
    return (struct peat_bytes){bytes, PT_SPACE_KEY_SIZE};
}

void pt_space_put(struct pt_space_store *store, uint64_t number, bool scattered)
{
    size_t size = store->plan->value_size;
    uint8_t key[PT_SPACE_KEY_SIZE];
    void *place = NULL;

    need(peat_batch_put_reserve(store->batch, NULL, key_of(number, scattered, key), size, &place),
         "put");
    for (size_t done = 0; done < size; done += sizeof(store->pool)) {
        size_t piece = size - done < sizeof(store->pool) ? size - done : sizeof(store->pool);
        size_t start = (size_t)pt_spread(pt_mix(number + done), sizeof(store->pool) - piece + 1);

        memcpy((uint8_t *)place + done, store->pool + start, piece);
    }
}

void pt_space_delete(struct pt_space_store *store, uint64_t number, bool scattered)
{
    uint8_t key[PT_SPACE_KEY_SIZE];

    need(peat_batch_delete(store->batch, NULL, key_of(number, scattered, key)), "delete");
}

void pt_space_delete_below(struct pt_space_store *store, uint64_t number)
{
    uint8_t key[PT_SPACE_KEY_SIZE];

    need(peat_batch_delete_range(store->batch, NULL, (struct peat_bytes){NULL, 0},
                                 key_of(number, false, key)),
         "range delete");
}

void pt_space_commit(struct pt_space_store *store, uint64_t come, uint64_t gone)
{
    uint64_t entry_size = PT_SPACE_KEY_SIZE + store->plan->value_size;
    uint64_t pause_ns = pt_stopwatch_ns();

    need(peat_write(store->db, store->batch, PEAT_DEFAULT, NULL), "commit");
    pause_ns = pt_stopwatch_ns() - pause_ns;
    if (pause_ns > store->pause_ns)
        store->pause_ns = pause_ns;
    peat_batch_clear(store->batch);
    /* In one step: what the watch divides by is never too small. */
    (void)atomic_fetch_add(&store->live_size, (come - gone) * entry_size);
}
