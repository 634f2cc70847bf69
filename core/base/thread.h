/* Threads, locks and condition variables, annotated for clang's -Wthread-safety. */
#ifndef PEAT_CORE_BASE_THREAD_H
#define PEAT_CORE_BASE_THREAD_H

#include "core/base/status.h"

#include <pthread.h>
#include <stdatomic.h>

#if defined(__clang__)
#define PT_ATTRIBUTE(x) __attribute__((x))
#else
#define PT_ATTRIBUTE(x)
#endif
#define PT_CAPABILITY(name) PT_ATTRIBUTE(capability(name))
/* In C, clang resolves the member names in this only with late parsing, which most versions lack:
 * there it is for human readers. */
#define PT_GUARDED_BY(lock)
#define PT_REQUIRES(lock)     PT_ATTRIBUTE(requires_capability(lock))
#define PT_ACQUIRES(lock)     PT_ATTRIBUTE(acquire_capability(lock))
#define PT_RELEASES(lock)     PT_ATTRIBUTE(release_capability(lock))
#define PT_TRY_ACQUIRES(lock) PT_ATTRIBUTE(try_acquire_capability(true, lock))
#define PT_NO_ANALYSIS        PT_ATTRIBUTE(no_thread_safety_analysis)

enum { PT_CACHE_LINE = 64 };

struct PT_CAPABILITY("mutex") pt_mutex {
    pthread_mutex_t handle;
};

struct pt_condition {
    pthread_cond_t handle; /* on CLOCK_MONOTONIC */
};

struct pt_thread {
    pthread_t handle;
    bool started;
};

void pt_mutex_init(struct pt_mutex *mutex);
void pt_mutex_fini(struct pt_mutex *mutex);
void pt_mutex_lock(struct pt_mutex *mutex) PT_ACQUIRES(*mutex);
bool pt_mutex_try_lock(struct pt_mutex *mutex) PT_TRY_ACQUIRES(*mutex);
void pt_mutex_unlock(struct pt_mutex *mutex) PT_RELEASES(*mutex);

void pt_condition_init(struct pt_condition *condition);
void pt_condition_fini(struct pt_condition *condition);
void pt_condition_wait(struct pt_condition *condition, struct pt_mutex *mutex) PT_REQUIRES(*mutex);
/* False when @p time_us (of pt_clock_monotonic_us()) passed first. */
bool pt_condition_wait_until(struct pt_condition *condition, struct pt_mutex *mutex,
                             uint64_t time_us) PT_REQUIRES(*mutex);
void pt_condition_signal(struct pt_condition *condition);
void pt_condition_broadcast(struct pt_condition *condition);

/* Run @p run(context) with all signals blocked: they are the host program's. PEAT_NO_MEMORY. */
enum peat_status pt_thread_start(struct pt_thread *thread, const char *name, void *(*run)(void *),
                                 void *context);
void pt_thread_join(struct pt_thread *thread); /* a thread that was not started is done */

/* A small number for the calling thread, spread evenly: which shard of a sharded counter it uses. */
unsigned pt_thread_slot(void);

#endif
