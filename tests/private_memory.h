/* How much private memory this process has, watched from a thread while something goes on. */
#ifndef PEAT_TESTS_PRIVATE_MEMORY_H
#define PEAT_TESTS_PRIVATE_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

/* Bytes of anonymous memory in use now (RssAnon of /proc/self/status). */
uint64_t pt_private_memory(void);

/* Whether that says something: under sanitizers memory is used for much besides. */
bool pt_private_memory_counts(void);

/* Watch from now on: what there is now is the base. One at a time. */
void pt_private_memory_watch(void);
/* Stop watching: bytes above the base at the highest moment. */
uint64_t pt_private_memory_peak(void);

#endif
