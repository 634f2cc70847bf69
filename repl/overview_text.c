/* A report for people: a line for each figure. */
#include "repl/overview.h"

#include <inttypes.h>
#include <time.h>

enum { COLUMN = 32 };

static void begin(struct pt_sink *sink, const char *words)
{
    pt_sink_format(sink, "%-*s", COLUMN, words);
}

static void time_write(struct pt_sink *sink, uint64_t time_us)
{
    time_t seconds = (time_t)(time_us / 1000000);
    struct tm parts;
    char text[64] = "?";

    if (gmtime_r(&seconds, &parts) != NULL)
        (void)strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S UTC", &parts);
    pt_sink_string(sink, text);
}

static void figures_write(struct pt_sink *sink, const struct pt_figures *figures, const void *of)
{
    for (size_t i = 0; i < figures->count; i++) {
        const struct pt_figure *figure = &figures->figures[i];
        uint64_t value = pt_figure_value(figure, of);

        pt_sink_format(sink, "  %-*s", COLUMN - 2, figure->words);
        if (figure->kind == PT_FIGURE_FLAG)
            pt_sink_string(sink, value != 0 ? "yes" : "no");
        else if (figure->kind == PT_FIGURE_TIME)
            pt_sink_format(sink, "%" PRIu64 ".%03" PRIu64 " s", value / 1000000,
                           value % 1000000 / 1000);
        else
            pt_sink_format(sink, "%" PRIu64 "%s", value,
                           figure->kind == PT_FIGURE_SIZE ? " bytes" : "");
        pt_sink_string(sink, "\n");
    }
}

static void name_line(struct pt_sink *sink, const char *what, const char *name)
{
    begin(sink, what);
    pt_sink_shown(sink, name);
    pt_sink_string(sink, "\n");
}

static void store_write(const struct pt_overview *view, struct pt_sink *sink)
{
    const struct peat_epoch *epoch = &view->epochs[view->epoch_count - 1];

    name_line(sink, "store", view->store);
    begin(sink, "id");
    pt_sink_hex(sink, view->store_id, sizeof(view->store_id));
    pt_sink_string(sink, "\n");
    begin(sink, "as of");
    time_write(sink, view->time_us);
    pt_sink_string(sink, "\n");
    name_line(sink, "role", pt_role_name(view->role));
    begin(sink, "epoch");
    pt_sink_format(sink, "%" PRIu64 ", from commit %" PRIu64 " on\n", view->position.epoch,
                   epoch->first_commit);
    begin(sink, "newest commit");
    pt_sink_format(sink, "%" PRIu64, view->position.commit);
    if (view->position.time_us > 0) {
        pt_sink_string(sink, ", of ");
        time_write(sink, view->position.time_us);
    }
    pt_sink_string(sink, "\n");
    begin(sink, "position");
    pt_sink_format(sink, "%" PRIu64 " bytes of log\n", view->position.position);
    begin(sink, "chain");
    pt_sink_hex(sink, view->position.chain, sizeof(view->position.chain));
    pt_sink_string(sink, "\n");
    for (size_t i = 0; i < view->feed_count; i++) {
        name_line(sink, "feed", view->feeds[i].name);
        figures_write(sink, &pt_feed_figures, &view->feeds[i]);
    }
}

void pt_overview_text(const struct pt_overview *view, struct pt_sink *sink)
{
    store_write(view, sink);
    if (view->is_primary) {
        pt_sink_string(sink, "it is offered to followers\n");
        figures_write(sink, &pt_primary_figures, &view->primary);
        if (view->primary.words[0] != '\0')
            name_line(sink, "  the last connection ended", view->primary.words);
    }
    for (size_t i = 0; i < view->follower_count; i++) {
        name_line(sink, "follower", view->followers[i].name);
        figures_write(sink, &pt_primary_follower_figures, &view->followers[i].about);
    }
    if (view->is_follower) {
        pt_sink_string(sink, "it follows another one\n");
        name_line(sink, "  state", peat_follower_state_name(view->follower.state));
        figures_write(sink, &pt_follower_figures, &view->follower);
        if (view->follower.words[0] != '\0')
            name_line(sink, "  the last connection ended", view->follower.words);
    }
}
