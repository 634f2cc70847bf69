/*
 * The two that replicate in test_network, each a process of its own: what they share with each other and with the test, which has
 * no store open, and what they find out by themselves.
 */
#ifndef PEAT_TESTS_NETWORK_NODES_H
#define PEAT_TESTS_NETWORK_NODES_H

#include "tests/bad_relay.h"
#include "tests/netspace.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    PT_NETWORK_PRIMARY_PORT = 7000,
    PT_NETWORK_RELAY_PORT = 7001,
    PT_NETWORK_DIGEST_SIZE = 32,
    PT_NETWORK_SOON_US = 60000000, /* by when what must come has come */
    PT_NETWORK_LOOK_US = 1000
};

enum pt_network_role { PT_NETWORK_PRIMARY, PT_NETWORK_FOLLOWER, PT_NETWORK_TEST };

/* What all processes see. */
struct pt_network {
    uint64_t seed;
    _Atomic uint64_t cycle;
    atomic_bool stop;  /* close, check, and end */
    atomic_bool pause; /* no commits */
    /* The primary's. */
    atomic_bool primary_is_up;
    _Atomic uint64_t commits; /* prints[] are known up to this one */
    _Atomic uint64_t acknowledged;
    _Atomic uint64_t replicated; /* the newest that the follower was told to have on its disk */
    _Atomic uint64_t paused_at;  /* the newest commit, while there are none; 0: there are */
    _Atomic uint64_t connected;  /* followers, as it sees it */
    uint8_t paused_digest[PT_NETWORK_DIGEST_SIZE];
    /* The follower's. */
    _Atomic uint64_t seen;    /* the newest commit that was found right */
    _Atomic uint64_t same_as; /* the commit at which both had one digest */
    _Atomic int state;
    _Atomic uint64_t states_taken;
    atomic_bool through_relay;       /* it is to follow that way */
    _Atomic int64_t clock_jump_s[2]; /* of either */
    struct pt_bad_relay relay;
    struct pt_netspace netspace;
    char primary_path[512];
    char follower_path[512];
    char key_path[512];
    uint64_t commits_max;
    uint64_t prints[]; /* of what each commit shows */
};

/* For pt_child_start(), with the struct as its context: until stopped or killed. The primary commits, unless it is to pause. */
void pt_network_primary_run(void *context);
/* The follower, at the far end, looks: it requires what it sees to be what the primary showed. */
void pt_network_follower_run(void *context);
/* For failures: who, which cycle, and how it is repeated. */
void pt_network_context_set(const struct pt_network *network, enum pt_network_role role);

#endif
