/* A follower as its program has it: it starts, is promoted and stops. follower_parts.h says how it works. */
#include "repl/follower_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    LEAVE_MS = 1000, /* to say that it stops; after that the connection is shut */
    WINDOW_MIN = 64 << 10,
    WINDOW_DEFAULT = 8 << 20
};

#define WINDOW_MAX (UINT64_C(1) << 40) /* credit is counted from a session's beginning in 64 bits */

/* ---- Starting and stopping ---- */

void peat_follower_options_init(struct peat_follower_options *options)
{
    if (options != NULL)
        *options = (struct peat_follower_options){.struct_size = sizeof(*options),
                                                  .durability = PEAT_DISK,
                                                  .window_size = WINDOW_DEFAULT,
                                                  .record_size_max = UINT64_C(1) << 30};
}

static enum peat_status options_check(const struct peat_follower_options *options,
                                      struct peat_repl_error *error)
{
    size_t size = options->name == NULL ? 0 : strnlen(options->name, PEAT_NAME_SIZE_MAX + 1);

    if (options->url == NULL)
        return pt_repl_fail(error, PEAT_INVALID, "no address to follow from");
    if ((options->flags & ~(PEAT_REPL_INSECURE | PEAT_FOLLOWER_REJOIN | PEAT_FOLLOWER_HEAL)) != 0)
        return pt_repl_fail(error, PEAT_INVALID, "unknown flags 0x%x", options->flags);
    if (size == 0 || size > PEAT_NAME_SIZE_MAX)
        return pt_repl_fail(error, PEAT_INVALID, "a follower's name has 1 to %zu bytes",
                            (size_t)PEAT_NAME_SIZE_MAX);
    if (options->durability < PEAT_MEMORY || options->durability > PEAT_DISK)
        return pt_repl_fail(error, PEAT_INVALID, "durability %d cannot be a follower's",
                            (int)options->durability);
    if (options->window_size < WINDOW_MIN || options->window_size > WINDOW_MAX)
        return pt_repl_fail(error, PEAT_INVALID, "a window of %llu bytes: %d to %llu",
                            (unsigned long long)options->window_size, WINDOW_MIN,
                            (unsigned long long)WINDOW_MAX);
    if (options->record_size_max == 0)
        return pt_repl_fail(error, PEAT_INVALID, "no batch is so small as record_size_max, 0");
    return PEAT_OK;
}

/* What they ask for that is outside of the store. Close *dialer_out, which may be NULL, and forget the keys in any case. */
static enum peat_status means_open(const struct peat_follower_options *options,
                                   struct pt_keys *keys, struct pt_dialer **dialer_out,
                                   struct peat_repl_error *error)
{
    const char *why = "";
    enum peat_status status =
        pt_keys_read(&options->key_path, options->key_path != NULL ? 1 : 0, keys, error);

    if (status == PEAT_OK)
        status =
            pt_url_check(options->url, keys->count > 0, options->flags & PEAT_REPL_INSECURE, error);
    if (status != PEAT_OK)
        return status;
    status = pt_dialer_open(options->url, dialer_out, &why);
    if (status != PEAT_OK)
        return pt_repl_fail(error, status, "cannot dial %s: %s", options->url, why);
    return PEAT_OK;
}

static enum peat_status options_take(struct peat_follower_options *taken,
                                     const struct peat_follower_options *given,
                                     struct peat_repl_error *error)
{
    peat_follower_options_init(taken);
    if (given == NULL || !pt_options_take(taken, sizeof(*taken), given,
                                          offsetof(struct peat_follower_options, event)))
        return pt_repl_fail(error, PEAT_INVALID,
                            "an argument is missing, or its options are not set up");
    return PEAT_OK;
}

enum peat_status peat_follower_check(const struct peat_follower_options *given,
                                     struct peat_repl_error *error_out)
{
    struct peat_repl_error unwanted;
    struct peat_repl_error *error = error_out == NULL ? &unwanted : error_out;
    struct peat_follower_options options;
    struct pt_dialer *dialer = NULL;
    struct pt_keys keys;
    enum peat_status status = options_take(&options, given, error);

    if (status == PEAT_OK)
        status = options_check(&options, error);
    if (status != PEAT_OK)
        return status;
    status = means_open(&options, &keys, &dialer, error);
    pt_dialer_close(dialer);
    pt_keys_forget(&keys);
    return status;
}

static enum peat_status follower_make(struct peat_follower *follower,
                                      const struct peat_follower_options *options,
                                      struct peat_repl_error *error)
{
    enum peat_status status = means_open(options, &follower->keys, &follower->dialer, error);

    if (status != PEAT_OK)
        return status;
    (void)snprintf(follower->name, sizeof(follower->name), "%s", options->name);
    follower->session_options =
        (struct pt_follower_session_options){.name = follower->name,
                                             .window_size = options->window_size,
                                             .record_size_max = options->record_size_max,
                                             .durability = options->durability,
                                             .taker = &follower->taker};
    follower->session_options.rejoin = &follower->rejoin;
    follower->rejoin = (struct pt_rejoin){.allowed = (options->flags & PEAT_FOLLOWER_REJOIN) != 0,
                                          .save = options->save,
                                          .context = options->save_context};
    status = pt_seed_taker_open(&follower->taker, follower->db);
    if (status != PEAT_OK)
        return pt_repl_fail(error, status, "%s", peat_last_error());
    if (pthread_create(&follower->thread, NULL, pt_follower_run, follower) != 0)
        return pt_repl_fail(error, PEAT_NO_MEMORY, "no thread could be started");
    return PEAT_OK;
}

static void follower_free(struct peat_follower *follower)
{
    pt_dialer_close(follower->dialer);
    pt_seed_taker_close(&follower->taker);
    (void)pthread_cond_destroy(&follower->changed);
    (void)pthread_mutex_destroy(&follower->mutex);
    pt_keys_forget(&follower->keys);
    free(follower);
}

enum peat_status peat_follower_start(struct peat_db *db, const struct peat_follower_options *given,
                                     struct peat_follower **follower_out,
                                     struct peat_repl_error *error_out)
{
    struct peat_repl_error unwanted;
    struct peat_repl_error *error = error_out == NULL ? &unwanted : error_out;
    struct peat_follower_options taken;
    const struct peat_follower_options *options = &taken;
    struct peat_follower *follower;
    enum peat_status status;

    if (follower_out != NULL)
        *follower_out = NULL;
    status = options_take(&taken, db == NULL || follower_out == NULL ? NULL : given, error);
    if (status != PEAT_OK)
        return status;
    if ((peat_flags(db) & PEAT_FOLLOWER) == 0)
        return pt_repl_fail(error, PEAT_INVALID,
                            "the store was not opened with PEAT_FOLLOWER: it has commits of its "
                            "own");
    status = options_check(options, error);
    if (status != PEAT_OK)
        return status;
    follower = calloc(1, sizeof(*follower));
    if (follower == NULL)
        return pt_repl_fail(error, PEAT_NO_MEMORY, "out of memory");
    follower->db = db;
    follower->heals = (options->flags & PEAT_FOLLOWER_HEAL) != 0;
    follower->event = options->event;
    follower->event_context = options->event_context;
    follower->state_us = pt_now_us();
    (void)pthread_mutex_init(&follower->mutex, NULL);
    pt_condition_make(&follower->changed);
    status = follower_make(follower, options, error);
    if (status != PEAT_OK) {
        follower_free(follower);
        return status;
    }
    *follower_out = follower;
    return PEAT_OK;
}

/* Have the thread end. */
static void follower_end(struct peat_follower *follower)
{
    struct timespec until;

    if (follower->joined)
        return;
    pt_deadline(LEAVE_MS, &until);
    pthread_mutex_lock(&follower->mutex);
    atomic_store(&follower->stopping, true);
    pthread_cond_broadcast(&follower->changed);
    pthread_mutex_unlock(&follower->mutex);
    pt_dialer_cancel(follower->dialer);
    pthread_mutex_lock(&follower->mutex);
    while (!follower->is_over &&
           pthread_cond_timedwait(&follower->changed, &follower->mutex, &until) == 0)
        ;
    if (follower->stream != NULL) /* a primary that reads nothing holds it up */
        pt_stream_shut(follower->stream);
    pthread_mutex_unlock(&follower->mutex);
    (void)pthread_join(follower->thread, NULL);
    follower->joined = true;
}

void peat_follower_stop(struct peat_follower *follower)
{
    if (follower == NULL)
        return;
    follower_end(follower);
    follower_free(follower);
}

enum peat_status peat_follower_promote(struct peat_follower *follower, unsigned flags,
                                       uint64_t *epoch_out, struct peat_repl_error *error_out)
{
    struct peat_repl_error unwanted;
    struct peat_repl_error *error = error_out == NULL ? &unwanted : error_out;
    enum peat_status status;
    bool sees_primary;

    if (follower == NULL || (flags & ~PEAT_PROMOTE_FORCED) != 0)
        return pt_repl_fail(error, PEAT_INVALID, "no follower, or unknown flags 0x%x", flags);
    if ((peat_flags(follower->db) & PEAT_FOLLOWER) == 0)
        return pt_repl_fail(error, PEAT_INVALID, "it was promoted: it follows nobody any more");
    pthread_mutex_lock(&follower->mutex);
    sees_primary = pt_follower_is_connected(follower->state);
    pthread_mutex_unlock(&follower->mutex);
    if (sees_primary && (flags & PEAT_PROMOTE_FORCED) == 0)
        return pt_repl_fail(error, PEAT_BUSY,
                            "the primary is alive, and takes commits: stop it first");
    atomic_store(&follower->promoting, true);
    follower_end(follower);
    status = peat_promote(follower->db, 0, epoch_out);
    if (status != PEAT_OK) {
        pt_follower_ended(follower, PEAT_FOLLOWER_FAILED, peat_last_error());
        pt_follower_tell(follower);
        return pt_repl_fail(error, status, "%s", peat_last_error());
    }
    pt_follower_ended(follower, PEAT_FOLLOWER_PROMOTED, "it was promoted");
    pt_follower_tell(follower);
    return PEAT_OK;
}
