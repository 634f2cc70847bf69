#include "repl/connection_list.h"

#include "repl/connection.h"
#include "repl/settings.h"

#include <string.h>

void pt_connection_list_init(struct pt_connection_list *list)
{
    (void)pthread_mutex_init(&list->mutex, NULL);
    pt_condition_make(&list->left);
}

void pt_connection_list_fini(struct pt_connection_list *list)
{
    (void)pthread_cond_destroy(&list->left);
    (void)pthread_mutex_destroy(&list->mutex);
}

/* ---- Coming and going ---- */

bool pt_connection_list_let_in(struct pt_connection_list *list)
{
    bool let_in;

    pthread_mutex_lock(&list->mutex);
    let_in = list->stranger_count < PT_STRANGERS_MAX;
    list->accepted++;
    list->refused += !let_in;
    if (!let_in)
        (void)strcpy(list->stranger_words, "too many at once have not shown a key yet");
    list->stranger_count += let_in;
    list->connection_count += let_in;
    pthread_mutex_unlock(&list->mutex);
    return let_in;
}

void pt_connection_list_take_back(struct pt_connection_list *list)
{
    pthread_mutex_lock(&list->mutex);
    list->stranger_count--;
    list->connection_count--;
    list->refused++;
    pthread_cond_broadcast(&list->left);
    pthread_mutex_unlock(&list->mutex);
}

void pt_connection_list_enter(struct pt_connection_list *list, struct pt_connection *connection)
{
    pthread_mutex_lock(&list->mutex);
    connection->next = list->first;
    list->first = connection;
    pthread_mutex_unlock(&list->mutex);
}

bool pt_connection_list_admit(struct pt_connection_list *list, struct pt_connection *connection)
{
    bool admitted;

    pthread_mutex_lock(&list->mutex);
    admitted = list->follower_count < PT_FOLLOWERS_MAX;
    if (admitted && connection->is_stranger) {
        connection->is_stranger = false;
        list->stranger_count--;
        list->follower_count++;
    }
    pthread_mutex_unlock(&list->mutex);
    return admitted;
}

void pt_connection_list_name(struct pt_connection_list *list, struct pt_connection *connection)
{
    if (connection->name[0] != '\0' || pt_primary_session_feed(connection->session) == NULL)
        return;
    pthread_mutex_lock(&list->mutex);
    (void)strcpy(connection->name, pt_primary_session_name(connection->session));
    pthread_mutex_unlock(&list->mutex);
}

void pt_connection_list_leave(struct pt_connection_list *list, struct pt_connection *connection)
{
    const struct pt_peer *base = pt_primary_session_base(connection->session);
    struct pt_connection **link = &list->first;

    pthread_mutex_lock(&connection->mutex);
    pthread_mutex_lock(&list->mutex);
    while (*link != connection)
        link = &(*link)->next;
    *link = connection->next;
    if (connection->is_stranger) {
        list->stranger_count--;
        list->refused++;
        (void)strcpy(list->stranger_words, base->words);
    } else {
        list->follower_count--;
        list->damaged += base->is_damaged;
        (void)strcpy(list->words, base->words);
    }
    pthread_mutex_unlock(&list->mutex);
    pthread_mutex_unlock(&connection->mutex);
}

/* ---- Pins ---- */

size_t pt_connection_list_pin(struct pt_connection_list *list,
                              struct pt_connection *pinned[PT_CONNECTIONS_MAX])
{
    size_t count = 0;

    pthread_mutex_lock(&list->mutex);
    for (struct pt_connection *each = list->first; each != NULL; each = each->next) {
        each->pins++;
        pinned[count++] = each;
    }
    pthread_mutex_unlock(&list->mutex);
    return count;
}

void pt_connection_list_unpin(struct pt_connection_list *list, struct pt_connection *connection)
{
    bool last;

    pthread_mutex_lock(&list->mutex);
    last = --connection->pins == 0;
    pthread_mutex_unlock(&list->mutex);
    if (!last)
        return;
    pt_connection_free(connection);
    pthread_mutex_lock(&list->mutex);
    list->connection_count--;
    pthread_cond_broadcast(&list->left);
    pthread_mutex_unlock(&list->mutex);
}

/* ---- Shutting ---- */

void pt_connection_list_shut(struct pt_connection_list *list, const char *name)
{
    pthread_mutex_lock(&list->mutex);
    for (struct pt_connection *each = list->first; each != NULL; each = each->next)
        if (strcmp(each->name, name) == 0)
            pt_stream_shut(each->stream);
    pthread_mutex_unlock(&list->mutex);
}

void pt_connection_list_wait_gone(struct pt_connection_list *list, unsigned ms)
{
    struct timespec until;

    pt_deadline(ms, &until);
    pthread_mutex_lock(&list->mutex);
    while (list->connection_count > 0 &&
           pthread_cond_timedwait(&list->left, &list->mutex, &until) == 0)
        ;
    for (struct pt_connection *each = list->first; each != NULL; each = each->next)
        pt_stream_shut(each->stream);
    while (list->connection_count > 0)
        (void)pthread_cond_wait(&list->left, &list->mutex);
    pthread_mutex_unlock(&list->mutex);
}

/* ---- What became of them ---- */

void pt_connection_list_count(struct pt_connection_list *list, enum peat_primary_event_kind kind)
{
    pthread_mutex_lock(&list->mutex);
    list->turned_away += kind == PEAT_PRIMARY_REFUSED;
    list->seeds_begun += kind == PEAT_PRIMARY_SEED_BEGUN;
    list->seeds_done += kind == PEAT_PRIMARY_SEED_DONE;
    pthread_mutex_unlock(&list->mutex);
}

uint64_t pt_connection_list_refused(struct pt_connection_list *list, char words[PT_PEER_WORDS_MAX])
{
    uint64_t refused;

    pthread_mutex_lock(&list->mutex);
    refused = list->refused;
    (void)strcpy(words, list->stranger_words);
    pthread_mutex_unlock(&list->mutex);
    return refused;
}

void pt_connection_list_about(struct pt_connection_list *list,
                              struct peat_primary_status *status_out)
{
    pthread_mutex_lock(&list->mutex);
    status_out->connected = list->follower_count;
    status_out->strangers = list->stranger_count;
    status_out->accepted = list->accepted;
    status_out->refused = list->refused;
    status_out->turned_away = list->turned_away;
    status_out->damaged = list->damaged;
    status_out->seeds_begun = list->seeds_begun;
    status_out->seeds_done = list->seeds_done;
    memcpy(status_out->words, list->words, sizeof(status_out->words));
    pthread_mutex_unlock(&list->mutex);
    status_out->sent_size = atomic_load(&list->sent_size);
    status_out->received_size = atomic_load(&list->received_size);
    status_out->sent_records = atomic_load(&list->sent_records);
}
