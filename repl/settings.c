#include "repl/settings.h"

#include "repl/key_file.h"
#include "repl/stream.h"

#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum peat_status pt_repl_fail(struct peat_repl_error *error, enum peat_status status,
                              const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(error->words, sizeof(error->words), format, arguments);
    va_end(arguments);
    return status;
}

enum peat_status pt_keys_read(const char *const *paths, size_t count, struct pt_keys *keys_out,
                              struct peat_repl_error *error)
{
    enum peat_status status = PEAT_OK;

    if (sodium_init() < 0)
        return pt_repl_fail(error, PEAT_UNSUPPORTED, "libsodium cannot be used here");
    keys_out->count = 0;
    if (count > PT_KEYS_MAX)
        return pt_repl_fail(error, PEAT_INVALID, "%zu keys: at most %d", count, PT_KEYS_MAX);
    for (; keys_out->count < count && status == PEAT_OK; keys_out->count++)
        status = pt_key_file_read(paths[keys_out->count], &keys_out->keys[keys_out->count], error);
    return status;
}

void pt_keys_forget(struct pt_keys *keys)
{
    sodium_memzero(keys, sizeof(*keys));
}

enum peat_status pt_url_check(const char *url, bool has_key, unsigned flags,
                              struct peat_repl_error *error)
{
    if (has_key || (flags & PEAT_REPL_INSECURE) != 0 || pt_url_is_local(url))
        return PEAT_OK;
    return pt_repl_fail(error, PEAT_INVALID,
                        "%s can be reached from other machines: give both sides a key (peat "
                        "keygen), or say that it is to be insecure",
                        url);
}

uint64_t pt_now_us(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

uint64_t pt_wall_us(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

void pt_sleep_ms(unsigned ms)
{
    struct timespec time = {ms / 1000, ms % 1000 * 1000000L};

    (void)nanosleep(&time, NULL);
}

void pt_condition_make(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;

    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(condition, &attributes);
    (void)pthread_condattr_destroy(&attributes);
}

void pt_deadline(unsigned ms, struct timespec *until_out)
{
    uint64_t until_us = pt_now_us() + (uint64_t)ms * 1000;

    until_out->tv_sec = (time_t)(until_us / 1000000);
    until_out->tv_nsec = (long)(until_us % 1000000 * 1000);
}

bool pt_options_take(void *options, size_t size, const void *given, size_t least)
{
    size_t given_size;

    memcpy(&given_size, given, sizeof(given_size));
    if (given_size < least || given_size > 4096)
        return false;
    memcpy(options, given, given_size < size ? given_size : size);
    return true;
}

void pt_struct_copy(void *to, const void *from, size_t size)
{
    size_t room;

    memcpy(&room, to, sizeof(room));
    memcpy(to, from, room < size ? room : size);
    memcpy(to, &room, sizeof(room));
}
