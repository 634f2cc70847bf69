#include "tests/private_memory.h"

#include "tests/support.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static struct {
    pthread_t thread;
    atomic_bool stop;
    uint64_t base;
    _Atomic uint64_t highest;
} watch;

/* Without the heap: this must not change what it measures. */
uint64_t pt_private_memory(void)
{
    char text[4096];
    const char *line;
    ssize_t size;
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);

    PT_REQUIRE(fd >= 0);
    size = read(fd, text, sizeof(text) - 1);
    PT_REQUIRE(size > 0);
    (void)close(fd);
    text[size] = '\0';
    line = strstr(text, "RssAnon:");
    PT_REQUIRE(line != NULL);
    return strtoull(line + sizeof("RssAnon:") - 1, NULL, 10) * 1024;
}

bool pt_private_memory_counts(void)
{
    return !pt_test_is_sanitized();
}

static void look(void)
{
    uint64_t now = pt_private_memory();

    if (now > atomic_load(&watch.highest))
        atomic_store(&watch.highest, now);
}

static void *look_on(void *context)
{
    const struct timespec pause = {0, 500000};

    (void)context;
    while (!atomic_load(&watch.stop)) {
        look();
        (void)nanosleep(&pause, NULL);
    }
    return NULL;
}

void pt_private_memory_watch(void)
{
    atomic_store(&watch.stop, false);
    atomic_store(&watch.highest, 0);
    PT_REQUIRE(pthread_create(&watch.thread, NULL, look_on, NULL) == 0);
    watch.base = pt_private_memory();
}

uint64_t pt_private_memory_peak(void)
{
    uint64_t highest;

    look();
    atomic_store(&watch.stop, true);
    PT_REQUIRE(pthread_join(watch.thread, NULL) == 0);
    highest = atomic_load(&watch.highest);
    return highest > watch.base ? highest - watch.base : 0;
}
