#include "core/base/thread.h"

#include "core/base/clock.h"

#include <signal.h>
#include <time.h>

void pt_mutex_init(struct pt_mutex *mutex)
{
    PT_ASSERT(pthread_mutex_init(&mutex->handle, NULL) == 0);
}

void pt_mutex_fini(struct pt_mutex *mutex)
{
    PT_ASSERT(pthread_mutex_destroy(&mutex->handle) == 0);
}

void pt_mutex_lock(struct pt_mutex *mutex) PT_NO_ANALYSIS
{
    PT_ASSERT(pthread_mutex_lock(&mutex->handle) == 0);
}

bool pt_mutex_try_lock(struct pt_mutex *mutex) PT_NO_ANALYSIS
{
    return pthread_mutex_trylock(&mutex->handle) == 0;
}

void pt_mutex_unlock(struct pt_mutex *mutex) PT_NO_ANALYSIS
{
    PT_ASSERT(pthread_mutex_unlock(&mutex->handle) == 0);
}

void pt_condition_init(struct pt_condition *condition)
{
    pthread_condattr_t attributes;

    PT_ASSERT(pthread_condattr_init(&attributes) == 0);
    PT_ASSERT(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0);
    PT_ASSERT(pthread_cond_init(&condition->handle, &attributes) == 0);
    PT_ASSERT(pthread_condattr_destroy(&attributes) == 0);
}

void pt_condition_fini(struct pt_condition *condition)
{
    PT_ASSERT(pthread_cond_destroy(&condition->handle) == 0);
}

void pt_condition_wait(struct pt_condition *condition, struct pt_mutex *mutex)
{
    PT_ASSERT(pthread_cond_wait(&condition->handle, &mutex->handle) == 0);
}

bool pt_condition_wait_until(struct pt_condition *condition, struct pt_mutex *mutex,
                             uint64_t time_us)
{
    uint64_t system_us = pt_clock_system_us(time_us);
    struct timespec until = {.tv_sec = (time_t)(system_us / 1000000),
                             .tv_nsec = (long)(system_us % 1000000) * 1000};

    return pthread_cond_timedwait(&condition->handle, &mutex->handle, &until) == 0;
}

void pt_condition_signal(struct pt_condition *condition)
{
    PT_ASSERT(pthread_cond_signal(&condition->handle) == 0);
}

void pt_condition_broadcast(struct pt_condition *condition)
{
    PT_ASSERT(pthread_cond_broadcast(&condition->handle) == 0);
}

enum peat_status pt_thread_start(struct pt_thread *thread, const char *name, void *(*run)(void *),
                                 void *context)
{
    sigset_t all;
    sigset_t before;
    int error;

    (void)sigfillset(&all);
    PT_ASSERT(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
    error = pthread_create(&thread->handle, NULL, run, context);
    PT_ASSERT(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    thread->started = error == 0;
    if (error != 0)
        return pt_fail(PEAT_NO_MEMORY, "thread %s", name);
    (void)pthread_setname_np(thread->handle, name);
    return PEAT_OK;
}

void pt_thread_join(struct pt_thread *thread)
{
    if (!thread->started)
        return;
    PT_ASSERT(pthread_join(thread->handle, NULL) == 0);
    thread->started = false;
}

unsigned pt_thread_slot(void)
{
    static _Atomic unsigned next_slot;
    static _Thread_local unsigned slot; /* 0: not yet given */

    if (slot == 0)
        slot = atomic_fetch_add_explicit(&next_slot, 1, memory_order_relaxed) + 1;
    return slot;
}
