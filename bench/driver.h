/*
 * A driver: one store behind the calls that the workloads measure.
 *
 * Each peer has one, in driver_NAME.c; driver.c lists them. A driver that meets an error ends the
 * program with words (pt_driver_die()): a benchmark has nobody to hand it to, and the workloads
 * stay free of checks that would be measured with them. Keys and values are struct peat_bytes for
 * every driver.
 */
#ifndef PEAT_BENCH_DRIVER_H
#define PEAT_BENCH_DRIVER_H

#include "core/peat.h"

/* What a commit survives: see enum peat_durability. */
enum pt_level { PT_LEVEL_OS, PT_LEVEL_DISK };

/* How a scan goes. */
enum pt_direction {
    PT_FORWARD,
    PT_FORWARD_MANY, /* many entries a call, where the store has such a call; else like PT_FORWARD */
    PT_BACKWARD
};

/* What a scan saw. Two stores with the same entries give the same. */
struct pt_seen {
    uint64_t count; /* entries */
    uint64_t sum;   /* of the sizes and first bytes of keys and values */
};

/* What a store knows about its own work since it was opened; zeros: unknown. */
struct pt_own_figures {
    uint64_t bytes_put;     /* keys and values handed in */
    uint64_t bytes_written; /* to the file, all in all */
    uint64_t bytes_logged;  /* of these, to the log */
    uint64_t bytes_flushed; /* of these, by flushes */
    uint64_t bytes_merged;  /* of these, by merges */
    uint64_t stall_time_us;
    uint64_t replayed_commits; /* at open */
    uint64_t replayed_size;    /* bytes, at open */
};

/* Stores and readers are the driver's own structs. A reader is one consistent view (a snapshot or a
 * read transaction) with one cursor, used by one thread. */
struct pt_driver {
    const char *name;
    const char *os_mode; /* its settings at PT_LEVEL_OS, for the report */
    const char *(*version)(void);

    /* Open the store in the file @p path, made if it is not there; it will hold at most
     * @p entry_count_max entries of @p entry_size bytes. */
    void *(*open)(const char *path, enum pt_level level, uint64_t entry_count_max,
                  size_t entry_size);
    void (*close)(void *store);
    void (*remove)(const char *path); /* the file and what lies beside it; fine if not there */
    void (*settle)(void *store);      /* return when work in the background is done */
    void (*sync)(void *store);        /* return when all is on the disk */
    struct pt_own_figures (*own_figures)(void *store);

    /* One commit of @p count entries; @p append: they are in key order and follow all others. */
    void (*write)(void *store, const struct peat_entry *entries, size_t count, bool append);
    /* One commit of one entry, by the shortest way there is. */
    void (*put)(void *store, const struct peat_entry *entry);

    void *(*reader_open)(void *store);
    void (*reader_close)(void *reader);
    bool (*get)(void *reader, struct peat_bytes key, struct peat_bytes *value_out);
    /* data NULL: not there. */
    void (*get_many)(void *reader, const struct peat_bytes *keys, size_t count,
                     struct peat_bytes *values_out);
    struct pt_seen (*scan)(void *reader, enum pt_direction direction);
    /* The first entry >= @p key and those after it, @p count at most. */
    struct pt_seen (*seek)(void *reader, struct peat_bytes key, unsigned count);
    /* Take and release @p count views, one after the other; from several threads at a time. */
    void (*snapshots)(void *store, uint64_t count);
};

extern const struct pt_driver pt_driver_peat;
extern const struct pt_driver pt_driver_lmdb;

/* The driver of that name among the peers of peat, or NULL. */
const struct pt_driver *pt_driver_find_peer(const char *name);

/* "bench: NAME: WHAT: WHY", and the end of the program. */
void pt_driver_die(const char *name, const char *what, const char *why) __attribute__((noreturn));

/* What a scan adds up for one entry. */
static inline void pt_seen_add(struct pt_seen *seen, struct peat_bytes key, struct peat_bytes value)
{
    seen->count++;
    seen->sum += key.size + value.size;
    seen->sum += key.size > 0 ? *(const unsigned char *)key.data : 0;
    seen->sum += value.size > 0 ? *(const unsigned char *)value.data : 0;
}

#endif
