#include "repl/overview.h"

#include "repl/settings.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

void peat_report_options_init(struct peat_report_options *options)
{
    if (options != NULL)
        *options = (struct peat_report_options){.struct_size = sizeof(*options)};
}

/* Room for one more, zeros, at the end of a list; NULL: there is none, and the list is as it was. */
static void *list_add(void **list, size_t *count, size_t size)
{
    void *grown = *list;
    void *added;

    if ((*count & (*count + 1)) == 0) { /* room is made at 0, 1, 3, 7 and so on */
        grown = reallocarray(*list, 2 * *count + 1, size);
        if (grown == NULL)
            return NULL;
        *list = grown;
    }
    added = (char *)grown + (*count)++ * size;
    memset(added, 0, size);
    return added;
}

struct taking {
    struct pt_overview *view;
    bool out_of_memory;
};

static bool feed_take(void *context, const struct peat_feed_info *info)
{
    struct taking *taking = context;
    struct pt_overview *view = taking->view;
    void *list = view->feeds;
    struct pt_overview_feed *feed = list_add(&list, &view->feed_count, sizeof(*feed));

    view->feeds = list;
    taking->out_of_memory = feed == NULL;
    if (feed == NULL)
        return false;
    strncpy(feed->name, info->name, PEAT_NAME_SIZE_MAX);
    feed->acknowledged = info->acknowledged;
    if (view->position.commit > info->acknowledged)
        feed->lag = view->position.commit - info->acknowledged;
    feed->held_size = info->held_size;
    feed->is_open = info->is_open;
    feed->is_gone = info->is_gone;
    feed->is_follower = info->has_seals;
    return true;
}

/* Newest connections come first: an older one of the same name is dead. */
static bool follower_take(void *context, const struct peat_primary_follower *about)
{
    struct taking *taking = context;
    struct pt_overview *view = taking->view;
    void *list = view->followers;
    struct pt_overview_follower *follower;

    for (size_t i = 0; i < view->follower_count; i++)
        if (strcmp(view->followers[i].name, about->name) == 0)
            return true;
    follower = list_add(&list, &view->follower_count, sizeof(*follower));
    view->followers = list;
    taking->out_of_memory = follower == NULL;
    if (follower == NULL)
        return false;
    follower->about = *about;
    follower->about.name = NULL; /* the caller's */
    strncpy(follower->name, about->name, PEAT_NAME_SIZE_MAX);
    return true;
}

/* What the file says. */
static enum peat_status store_take(struct peat_db *db, struct pt_overview *view)
{
    struct peat_stats stats = {.struct_size = sizeof(stats)};
    struct taking taking = {.view = view};
    enum peat_status status = peat_stats_get(db, &stats);

    view->time_us = pt_wall_us();
    memcpy(view->store_id, stats.store_id, sizeof(view->store_id));
    if (status == PEAT_OK)
        status = peat_role_get(db, &view->role);
    if (status == PEAT_OK)
        status = peat_position_get(db, &view->position);
    if (status == PEAT_OK)
        status = peat_epochs_get(db, view->epochs, PEAT_EPOCHS_MAX, &view->epoch_count);
    if (view->epoch_count > PEAT_EPOCHS_MAX)
        view->epoch_count = PEAT_EPOCHS_MAX;
    if (status == PEAT_OK)
        status = peat_feed_list(db, feed_take, &taking);
    return taking.out_of_memory ? PEAT_NO_MEMORY : status;
}

/* What the process knows besides. */
static enum peat_status process_take(const struct peat_report_options *options,
                                     struct pt_overview *view)
{
    struct taking taking = {.view = view};

    view->is_primary = options->primary != NULL;
    view->is_follower = options->follower != NULL;
    view->primary.struct_size = sizeof(view->primary);
    view->follower.struct_size = sizeof(view->follower);
    if (view->is_primary) {
        peat_primary_status_get(options->primary, &view->primary);
        peat_primary_list(options->primary, follower_take, &taking);
    }
    if (view->is_follower)
        peat_follower_status_get(options->follower, &view->follower);
    return taking.out_of_memory ? PEAT_NO_MEMORY : PEAT_OK;
}

enum peat_status peat_replication_report(
    struct peat_db *db, const struct peat_report_options *given,
    bool (*write)(void *context, const char *text, size_t size), void *context)
{
    static void (*const formats[])(const struct pt_overview *, struct pt_sink *) = {
        pt_overview_text, pt_overview_json, pt_overview_openmetrics};
    struct peat_report_options options;
    struct pt_overview *view;
    struct pt_sink sink;
    enum peat_status status;

    peat_report_options_init(&options);
    if (db == NULL || given == NULL || write == NULL ||
        !pt_options_take(&options, sizeof(options), given,
                         offsetof(struct peat_report_options, primary)) ||
        (size_t)options.format >= sizeof(formats) / sizeof(formats[0]))
        return PEAT_INVALID;
    view = calloc(1, sizeof(*view)); /* large for a stack */
    if (view == NULL)
        return PEAT_NO_MEMORY;
    view->store = options.store != NULL ? options.store : "";
    status = store_take(db, view);
    if (status == PEAT_OK)
        status = process_take(&options, view);
    if (status == PEAT_OK) {
        pt_sink_init(&sink, write, context);
        formats[options.format](view, &sink);
        status = pt_sink_finish(&sink) ? PEAT_OK : PEAT_DONE;
    }
    free(view->feeds);
    free(view->followers);
    free(view);
    return status;
}
