/*
 * A process between two peers that carries their frames, and when it is told to, not as they are: it leaves out, repeats, swaps,
 * cuts, flips and delays. It knows where a frame ends, and nothing of what is in it.
 */
#ifndef PEAT_TESTS_BAD_RELAY_H
#define PEAT_TESTS_BAD_RELAY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* In memory that processes share. */
struct pt_bad_relay {
    uint64_t seed;
    const char *address; /* IPv4, its own and the peer's */
    uint16_t port;       /* where it listens */
    uint16_t peer_port;  /* whom it dials for whoever comes */
    atomic_bool listens;
    atomic_bool is_bad;      /* one frame in four is not carried as it is */
    _Atomic uint64_t spoilt; /* frames */
};

/* For pt_child_start(): carry until killed. @p context is the struct. */
void pt_bad_relay_run(void *context);

#endif
