#include "tools/event_lines.h"

#include "tools/complain.h"

#include <inttypes.h>
#include <stdio.h>

enum { SHOWN_MAX = 4 * PEAT_NAME_SIZE_MAX + 1 };

/* A peer's name may have any bytes: a terminal gets none but those that it shows. */
static void name_show(const char *name, char shown[SHOWN_MAX])
{
    size_t used = 0;

    for (; *name != '\0'; name++) {
        unsigned char byte = (unsigned char)*name;
        bool is_plain = byte >= ' ' && byte <= '~' && byte != '\\';

        used += (size_t)snprintf(shown + used, SHOWN_MAX - used, is_plain ? "%c" : "\\x%02x", byte);
    }
    shown[used] = '\0';
}

void pt_event_line(void *store, const struct peat_primary_event *event)
{
    char name[SHOWN_MAX];
    const char *colon = event->words[0] != '\0' ? ": " : "";

    name_show(event->name, name);
    if (event->kind == PEAT_PRIMARY_STRANGERS)
        pt_complain(store, "%" PRIu64 " connections without a key were refused, the last one: %s",
                    event->count, event->words);
    else if (event->kind == PEAT_PRIMARY_FENCED)
        pt_complain(store, "fenced: follower %s has told of a newer epoch", name);
    else
        pt_complain(store, "follower %s %s, at commit %" PRIu64 "%s%s",
                    name[0] != '\0' ? name : "?", peat_primary_event_name(event->kind),
                    event->position.commit, colon, event->words);
}
