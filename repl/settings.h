/* What both roles need to start: keys, addresses, words for errors, and the clock. */
#ifndef PEAT_REPL_SETTINGS_H
#define PEAT_REPL_SETTINGS_H

#include "repl/channel.h"
#include "repl/peat_repl.h"

#include <pthread.h>
#include <time.h>

enum { PT_KEYS_MAX = 64 };

struct pt_keys {
    struct pt_channel_key keys[PT_KEYS_MAX];
    size_t count;
};

/* @p status again, with words in @p error. */
enum peat_status pt_repl_fail(struct peat_repl_error *error, enum peat_status status,
                              const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Fails as peat_primary_start(). */
enum peat_status pt_keys_read(const char *const *paths, size_t count, struct pt_keys *keys_out,
                              struct peat_repl_error *error);
void pt_keys_forget(struct pt_keys *keys);
/* Whether it may be used. PEAT_INVALID. */
enum peat_status pt_url_check(const char *url, bool has_key, unsigned flags,
                              struct peat_repl_error *error);

/* What never goes back, in microseconds. */
uint64_t pt_now_us(void);
/* The clock on the wall, in microseconds since 1970. */
uint64_t pt_wall_us(void);
/* By how much @p high is above @p low; 0: it is not. */
static inline uint64_t pt_above(uint64_t high, uint64_t low)
{
    return high > low ? high - low : 0;
}
void pt_sleep_ms(unsigned ms);
/* A condition that waits by the same clock, and the time in @p ms from now for it. */
void pt_condition_make(pthread_cond_t *condition);
void pt_deadline(unsigned ms, struct timespec *until_out);

/*
 * Take a caller's options, which begin with their struct_size, over the defaults that @p options has: those of an older program
 * end sooner, but not before @p least. false: struct_size is none that peat has set.
 */
bool pt_options_take(void *options, size_t size, const void *given, size_t least);
/* Copy as much as the caller has room for, by the struct_size that @p to begins with, which stays. */
void pt_struct_copy(void *to, const void *from, size_t size);

#endif
