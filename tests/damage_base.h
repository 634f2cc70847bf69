/*
 * The damage campaign's files: stores in states that differ in kind, each made by a few steps on the simulated disk.
 */
#ifndef PEAT_TESTS_DAMAGE_BASE_H
#define PEAT_TESTS_DAMAGE_BASE_H

#include "core/arena/arena.h"
#include "tests/session.h"

/* How one is made. */
struct pt_damage_base {
    const char *name;
    const struct pt_step *steps;
    size_t count;
    size_t
        older_at;   /* the image before this step (of a follower: this record) is the earlier one */
    unsigned flags; /* beside those of a session; PEAT_FOLLOWER: the steps are its primary's */
    bool closed;    /* cleanly */
    bool keeps;     /* the state after each flush gets a name */
    bool merging;   /* at last a merge begins, whose sync fails */
    bool feeds;     /* it has a feed with a name (feed_look.h), for which log is kept */
    uint64_t
        unsure; /* so many of the last commits may be lost without a word: the log's last sync */
};

/* One as it was made. */
struct pt_damage_image {
    uint8_t *bytes; /* owned */
    uint64_t size;
    uint8_t
        *older; /* owned; an earlier one, as large as bytes; zeros where there was nothing yet */
    uint64_t older_size; /* that it had then */
    struct pt_commits history;
    struct pt_extent *segments; /* owned: where the ruling manifest says that they are */
    size_t segment_count;
};

size_t pt_damage_base_count(void);
const struct pt_damage_base *pt_damage_base(size_t index);
/* Make it, in @p image, on the simulated disk, which is started and stopped. */
void pt_damage_base_make(const struct pt_damage_base *base, struct pt_damage_image *image);

#endif
