/*
 * A network of its own, on one machine: two network namespaces that a cable joins, and a small disk. They belong to
 * this process and its children, have no names, and are gone with the last of them, however that ends.
 */
#ifndef PEAT_TESTS_NETSPACE_H
#define PEAT_TESTS_NETSPACE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define PT_NETSPACE_NEAR "10.99.0.1" /* the addresses of this process's end of the cable */
#define PT_NETSPACE_FAR  "10.99.0.2" /* and of the other one's */

enum pt_net_trouble {
    PT_NET_LOSS,      /* a share of all packets is lost, in both directions */
    PT_NET_PARTITION, /* all of them are */
    PT_NET_ONE_WAY,   /* all that come from the far end are */
    PT_NET_RESET_FAR, /* what the far end sends is answered by a reset */
    PT_NET_RESET_NEAR /* and what the near end does */
};

struct pt_netspace {
    int near_fd; /* the namespaces */
    int far_fd;
    bool has_loss; /* what iptables can do here */
    bool has_reset;
};

/*
 * Move this process, which must have one thread, into namespaces of its own, with a file system of @p disk_size bytes
 * mounted at @p disk_path. false: they are not permitted here, or a command is missing; @p why_out says what. Then this process may be
 * in some of them already.
 */
bool pt_netspace_open(struct pt_netspace *netspace, const char *disk_path, size_t disk_size,
                      char why_out[256]);
/* In a child process: go over to the far end. */
void pt_netspace_go_far(const struct pt_netspace *netspace);
/* Have that trouble, beside what there is. Between processes at the near end there is loss alone. */
void pt_netspace_trouble(enum pt_net_trouble trouble);
/* Have none. */
void pt_netspace_heal(void);

#endif
