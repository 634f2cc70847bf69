/* A store that is offered, and stores that follow it, over real connections: for tests of the replication library as programs get it. */
#ifndef PEAT_TESTS_LINK_H
#define PEAT_TESTS_LINK_H

#include "repl/peat_repl.h"
#include "tests/support.h"

enum {
    PT_LINK_SOON_MS = 120000, /* for what has to come, on a loaded machine */
    PT_LINK_LOOK_US = 2000    /* between two looks */
};

struct pt_link {
    struct peat_db *db; /* the primary's */
    struct peat_primary *primary;
    struct peat_primary_options options; /* url and keys are filled in at each start */
    char url[256];                       /* to dial */
    char key_path[256];
};

/* A new key in a file of that name. */
void pt_link_key_make(const char *name, char path[256]);
/* A new store "primary", with a key, offered at @p url; @p options: NULL, or with what is to be called at events. */
void pt_link_begin(struct pt_link *link, const char *url,
                   const struct peat_primary_options *options);
/* Offer it again. */
void pt_link_start(struct pt_link *link, const char *url);
void pt_link_stop(struct pt_link *link);
void pt_link_end(struct pt_link *link);

/* Options of a follower under that name, with the link's key. */
struct peat_follower_options pt_link_options(const struct pt_link *link, const char *name);
struct peat_follower *pt_link_follow(struct peat_db *db,
                                     const struct peat_follower_options *options);
struct peat_follower_status pt_link_status(struct peat_follower *follower);
struct peat_primary_status pt_link_primary_status(struct pt_link *link);

/* @p count commits with a value of that size; the last one's number. */
uint64_t pt_link_write(struct peat_db *db, unsigned count, size_t size);
/* Both show the same. */
void pt_link_require_same(struct peat_db *one, struct peat_db *other);

/* Look until @p condition holds. */
#define PT_LINK_UNTIL(condition)                                                 \
    do {                                                                         \
        uint64_t link_begun_us = pt_test_now_us();                               \
        while (!(condition)) {                                                   \
            if (pt_test_now_us() - link_begun_us > PT_LINK_SOON_MS * 1000ull)    \
                pt_test_fail(__FILE__, __LINE__, "never holds: %s", #condition); \
            (void)usleep(PT_LINK_LOOK_US);                                       \
        }                                                                        \
    } while (0)

#endif
