#include "repl/overview.h"

#include <stddef.h>
#include <string.h>

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
/* A number as it is now, and one that only grows. */
#define NOW(type, field, metric, kind, words)                                        \
    {                                                                                \
#field, metric, words, PT_FIGURE_##kind, false, offsetof(struct type, field) \
    }
#define SUM(type, field, metric, kind, words)                                       \
    {                                                                               \
#field, metric, words, PT_FIGURE_##kind, true, offsetof(struct type, field) \
    }

static const struct pt_figure feed[] = {
    NOW(pt_overview_feed, acknowledged, "acknowledged_commit", COUNT, "newest commit dealt with"),
    NOW(pt_overview_feed, lag, "lag_commits", COUNT, "commits behind the store"),
    NOW(pt_overview_feed, held_size, "log", SIZE, "log kept for it"),
    NOW(pt_overview_feed, is_open, "is_open", FLAG, "it is open in this process"),
    NOW(pt_overview_feed, is_gone, "is_gone", FLAG, "what it wants next is gone"),
    NOW(pt_overview_feed, is_follower, "is_follower", FLAG, "it is a follower's"),
};
const struct pt_figures pt_feed_figures = {"feed", feed, COUNT_OF(feed)};

static const struct pt_figure primary[] = {
    NOW(peat_primary_status, connected, "followers", COUNT, "followers that are connected"),
    NOW(peat_primary_status, strangers, "strangers", COUNT, "connections without a key yet"),
    SUM(peat_primary_status, accepted, "connections", COUNT, "connections so far"),
    SUM(peat_primary_status, refused, "refused", COUNT, "of them, without a key"),
    SUM(peat_primary_status, turned_away, "turned_away", COUNT, "with a key, but not served"),
    SUM(peat_primary_status, damaged, "damaged", COUNT, "with a key, ended over damage"),
    SUM(peat_primary_status, sent_size, "sent", SIZE, "sent"),
    SUM(peat_primary_status, received_size, "received", SIZE, "received"),
    SUM(peat_primary_status, sent_records, "sent_records", COUNT, "records of log sent"),
    SUM(peat_primary_status, seeds_begun, "seeds_begun", COUNT, "states begun to be taken"),
    SUM(peat_primary_status, seeds_done, "seeds_done", COUNT, "states taken whole"),
};
const struct pt_figures pt_primary_figures = {"primary", primary, COUNT_OF(primary)};

static const struct pt_figure primary_follower[] = {
    NOW(peat_primary_follower, received, "received_commit", COUNT, "newest commit it has"),
    NOW(peat_primary_follower, durable, "durable_commit", COUNT, "on its disk"),
    NOW(peat_primary_follower, applied, "applied_commit", COUNT, "that its readers see"),
    NOW(peat_primary_follower, lag, "lag_commits", COUNT, "commits it is behind"),
    NOW(peat_primary_follower, lag_bytes, "lag", SIZE, "log it is behind"),
    NOW(peat_primary_follower, lag_us, "lag", TIME, "time it is behind"),
    NOW(peat_primary_follower, silent_us, "silent", TIME, "since it was heard"),
    NOW(peat_primary_follower, connected_us, "connected", TIME, "since it connected"),
    NOW(peat_primary_follower, is_seeding, "is_seeding", FLAG, "it takes a state"),
    SUM(peat_primary_follower, sent_size, "sent", SIZE, "sent since then"),
    SUM(peat_primary_follower, received_size, "received", SIZE, "received since then"),
    SUM(peat_primary_follower, sent_records, "sent_records", COUNT,
        "records of log sent since then"),
};
const struct pt_figures pt_primary_follower_figures = {"primary_follower", primary_follower,
                                                       COUNT_OF(primary_follower)};

static const struct pt_figure follower[] = {
    NOW(peat_follower_status, state_us, "state", TIME, "since it is in this state"),
    NOW(peat_follower_status, primary.commit, "primary_commit", COUNT, "newest commit there"),
    NOW(peat_follower_status, lag_commits, "lag_commits", COUNT, "commits behind"),
    NOW(peat_follower_status, lag_bytes, "lag", SIZE, "log behind"),
    NOW(peat_follower_status, lag_us, "lag", TIME, "time behind"),
    NOW(peat_follower_status, silent_us, "silent", TIME, "since the primary was heard"),
    SUM(peat_follower_status, connections, "connections", COUNT, "connections so far"),
    SUM(peat_follower_status, failed_dials, "failed_dials", COUNT, "times nobody answered"),
    SUM(peat_follower_status, damaged, "damaged", COUNT, "connections ended over damage"),
    SUM(peat_follower_status, received_size, "received", SIZE, "received"),
    SUM(peat_follower_status, sent_size, "sent", SIZE, "sent"),
    SUM(peat_follower_status, records, "records", COUNT, "records of log applied"),
    SUM(peat_follower_status, seed_count, "seeds", COUNT, "states taken"),
    NOW(peat_follower_status, seed_size, "seed", SIZE, "the last state"),
    NOW(peat_follower_status, seed_missing, "seed_missing", SIZE, "of that, not here yet"),
    SUM(peat_follower_status, rejoin_count, "rejoins", COUNT, "histories left"),
    NOW(peat_follower_status, damaged_segments, "damaged_segments", COUNT,
        "segments found damaged, not healed"),
    SUM(peat_follower_status, healed_segments, "healed_segments", COUNT, "segments healed"),
};
const struct pt_figures pt_follower_figures = {"follower", follower, COUNT_OF(follower)};

uint64_t pt_figure_value(const struct pt_figure *figure, const void *of)
{
    const char *place = (const char *)of + figure->offset;
    uint64_t value;
    bool flag;

    if (figure->kind == PT_FIGURE_FLAG) {
        memcpy(&flag, place, sizeof(flag));
        return flag;
    }
    memcpy(&value, place, sizeof(value));
    return value;
}

const char *pt_role_name(enum peat_role role)
{
    static const char *const names[PT_ROLE_COUNT] = {"primary", "follower", "fenced"};

    return (size_t)role < PT_ROLE_COUNT ? names[role] : "unknown";
}
