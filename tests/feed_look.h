/* The feed of a session: whether it hands out what the history says. */
#ifndef PEAT_TESTS_FEED_LOOK_H
#define PEAT_TESTS_FEED_LOOK_H

#include "tests/script.h"

#define PT_FEED_LOOK_NAME "feed"

/*
 * Whether the feed that the session's store has under that name hands out the commits of @p history, from the first
 * that it has not acknowledged to the last, but for reverts, which it says are a gap. @p acknowledge: and
 * acknowledges all; it is made if it is not there. *status_out: PEAT_NOT_FOUND, PEAT_GAP where there must
 * not be one, or an error, where *difference_out says nothing more.
 */
bool pt_feed_look(struct peat_db *db, const struct pt_commits *history, bool acknowledge,
                  struct pt_difference *difference_out);

#endif
