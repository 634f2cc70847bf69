#include "tools/torture_sync.h"

#include "tools/torture_kill.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

enum {
    PAGE = 4096,
    SAMPLES_MAX = 20000,
    PLAUSIBLE_US = 15 /* no medium that keeps what it has without power answers faster */
};

static int by_size(const void *a, const void *b)
{
    const uint64_t *first = a;
    const uint64_t *second = b;

    return *first < *second ? -1 : *first > *second;
}

/* Time after time, what @p act does, in nanoseconds; false: it failed. */
static bool sample(bool (*act)(void *context), void *context, double seconds, uint64_t *samples,
                   size_t *count_out)
{
    uint64_t end = pt_torture_now_ns() + (uint64_t)(seconds * 1e9);
    size_t count = 0;

    while (count < SAMPLES_MAX && (count == 0 || pt_torture_now_ns() < end)) {
        uint64_t begin = pt_torture_now_ns();

        if (!act(context))
            return false;
        samples[count++] = pt_torture_now_ns() - begin;
    }
    qsort(samples, count, sizeof(*samples), by_size);
    *count_out = count;
    return true;
}

/* ---- A plain file ---- */

static bool page_sync(void *context)
{
    static const uint8_t page[PAGE];
    int fd = *(const int *)context;

    return pwrite(fd, page, PAGE, 0) == PAGE && fdatasync(fd) == 0;
}

static enum pt_exit plain_measure(const char *store, double seconds, uint64_t *samples,
                                  struct pt_torture_sync *sync)
{
    char path[4200];
    size_t count = 0;
    bool done;
    int fd;

    (void)snprintf(path, sizeof(path), "%s.page", store);
    fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    done = fd >= 0 && page_sync(&fd) && sample(page_sync, &fd, seconds, samples, &count);
    if (!done)
        pt_complain(path, "%s", strerror(errno));
    if (fd >= 0) {
        (void)close(fd);
        (void)unlink(path);
    }
    if (done)
        sync->sync_median_us = (double)samples[count / 2] / 1000;
    return done ? PT_EXIT_DONE : PT_EXIT_ERROR;
}

/* ---- Commits ---- */

struct commits {
    struct peat_db *db;
    struct peat_collection *collection;
    uint64_t number;
};

static bool commit(void *context)
{
    struct commits *commits = context;

    return pt_load_write(commits->db, commits->collection, 1, ++commits->number, PEAT_DISK) ==
           PEAT_OK;
}

static enum pt_exit commits_measure(const char *store, double seconds, uint64_t *samples,
                                    struct pt_torture_sync *sync)
{
    struct commits commits = {.db = NULL};
    struct peat_options options;
    uint64_t begin;
    size_t count = 0;
    enum peat_status status;
    bool done;

    peat_options_init(&options);
    options.flags = PEAT_CREATE | PEAT_EXCLUSIVE;
    status = peat_open(store, &options, &commits.db);
    if (status == PEAT_OK)
        status = pt_load_collection(commits.db, &commits.collection);
    begin = pt_torture_now_ns();
    done = status == PEAT_OK && sample(commit, &commits, seconds, samples, &count);
    if (!done)
        (void)pt_complain_status(store, status == PEAT_OK ? PEAT_IO : status);
    if (done) {
        sync->commits = count;
        sync->commits_per_second = (double)count * 1e9 / (double)(pt_torture_now_ns() - begin);
        sync->commit_median_us = (double)samples[count / 2] / 1000;
        sync->commit_worst_us = (double)samples[count - 1] / 1000;
    }
    peat_collection_close(commits.collection);
    if (commits.db != NULL)
        (void)peat_abort(commits.db);
    (void)unlink(store);
    return done ? PT_EXIT_DONE : PT_EXIT_ERROR;
}

/* ---- Both ---- */

static const char *suspicion(const char *directory, const struct pt_torture_sync *sync)
{
    struct statfs about;

    if (statfs(directory, &about) == 0 &&
        (about.f_type == TMPFS_MAGIC || about.f_type == RAMFS_MAGIC))
        return "the directory is in memory: nothing in it outlives a power cut";
    if (sync->sync_median_us < PLAUSIBLE_US)
        return "syncs return faster than any medium that keeps its contents without power can: "
               "something on the way does not pass them on";
    return NULL;
}

enum pt_exit pt_torture_sync(const char *directory, const char *store, double seconds,
                             struct pt_torture_sync *sync_out)
{
    uint64_t *samples = malloc(SAMPLES_MAX * sizeof(*samples));
    enum pt_exit outcome = PT_EXIT_ERROR;

    memset(sync_out, 0, sizeof(*sync_out));
    if (samples == NULL)
        pt_complain(NULL, "no memory");
    else
        outcome = plain_measure(store, seconds / 2, samples, sync_out);
    if (outcome == PT_EXIT_DONE)
        outcome = commits_measure(store, seconds / 2, samples, sync_out);
    if (outcome == PT_EXIT_DONE)
        sync_out->suspicion = suspicion(directory, sync_out);
    free(samples);
    return outcome;
}
