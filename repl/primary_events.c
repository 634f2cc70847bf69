#include "repl/primary_events.h"

void pt_primary_events_init(struct pt_primary_events *events,
                            const struct peat_primary_options *options)
{
    *events =
        (struct pt_primary_events){.callback = options->event, .context = options->event_context};
    (void)pthread_mutex_init(&events->mutex, NULL);
}

void pt_primary_events_fini(struct pt_primary_events *events)
{
    (void)pthread_mutex_destroy(&events->mutex);
}

void pt_primary_events_tell(struct pt_primary_events *events, struct peat_primary_event event)
{
    if (events->callback == NULL)
        return;
    event.struct_size = sizeof(event);
    if (event.name == NULL)
        event.name = "";
    if (event.words == NULL)
        event.words = "";
    if (event.kind != PEAT_PRIMARY_STRANGERS)
        event.count = 1;
    pthread_mutex_lock(&events->mutex);
    events->callback(events->context, &event);
    pthread_mutex_unlock(&events->mutex);
}

void pt_primary_events_strangers(struct pt_primary_events *events, uint64_t refused,
                                 const char *words, uint64_t now_us, bool is_last)
{
    struct peat_primary_event event = {.kind = PEAT_PRIMARY_STRANGERS, .words = words};

    if (refused == events->strangers_told || (now_us < events->strangers_due_us && !is_last))
        return;
    event.count = refused - events->strangers_told;
    events->strangers_told = refused;
    events->strangers_due_us = now_us + PT_STRANGERS_US;
    pt_primary_events_tell(events, event);
}

const char *peat_primary_event_name(enum peat_primary_event_kind kind)
{
    static const char *const names[] = {"connected", "disconnected", "refused", "seed begun",
                                        "seed done", "strangers",    "fenced"};

    return (size_t)kind < sizeof(names) / sizeof(names[0]) ? names[kind] : "unknown";
}
