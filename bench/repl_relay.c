/* A relay: what goes to the follower through it is counted, and can be cut off. */
#include "bench/repl_bench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LOOK_MS = 5, PIECE_SIZE = 256 << 10 };

static struct sockaddr_in address_of(unsigned port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                .sin_port = htons((uint16_t)port)};
}

static int listener_open(unsigned *port_out)
{
    struct sockaddr_in address = address_of(0);
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(fd, 4) != 0 || getsockname(fd, (struct sockaddr *)&address, &size) != 0)
        pt_repl_die("relay", strerror(errno));
    *port_out = ntohs(address.sin_port);
    return fd;
}

static int upstream_open(unsigned port)
{
    struct sockaddr_in address = address_of(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    (void)close(fd);
    return -1;
}

/* Carry on what has come from @p from. The bytes; 0: the connection has ended. */
static size_t carry(int from, int to)
{
    static uint8_t bytes[PIECE_SIZE];
    ssize_t size = recv(from, bytes, sizeof(bytes), 0);

    for (ssize_t sent = 0; sent < size;) {
        ssize_t part = send(to, bytes + sent, (size_t)(size - sent), MSG_NOSIGNAL);

        if (part <= 0)
            return 0;
        sent += part;
    }
    return size > 0 ? (size_t)size : 0;
}

/* One connection, until either end or the relay ends it. */
static void relay_once(struct pt_repl_shared *shared, int down, int up)
{
    struct pollfd ends[] = {{.fd = down, .events = POLLIN}, {.fd = up, .events = POLLIN}};
    size_t size = 1;

    while (size > 0 && !atomic_load(&shared->cut) && !atomic_load(&shared->over)) {
        if (poll(ends, 2, LOOK_MS) <= 0)
            continue;
        if (ends[0].revents != 0)
            size = carry(down, up);
        if (size > 0 && ends[1].revents != 0) {
            size = carry(up, down);
            atomic_fetch_add(&shared->shipped, size);
        }
    }
}

void pt_repl_relay(struct pt_repl_bench *bench, const void *context)
{
    struct pt_repl_shared *shared = bench->shared;
    unsigned port;
    int listener = listener_open(&port);
    (void)context;

    atomic_store(&shared->relay_port, port);
    while (!atomic_load(&shared->over)) {
        struct pollfd waiting = {.fd = listener, .events = POLLIN};
        int on = 1;
        int down;
        int up;

        if (poll(&waiting, 1, LOOK_MS) <= 0)
            continue;
        down = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        up = atomic_load(&shared->cut) ? -1 : upstream_open(atomic_load(&shared->port));
        if (down >= 0 && up >= 0) {
            (void)setsockopt(down, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
            (void)setsockopt(up, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
            relay_once(shared, down, up);
        }
        (void)close(up);
        (void)close(down);
    }
    (void)close(listener);
}
