#include "tests/bad_relay.h"
#include "repl/channel_format.h"
#include "repl/le.h"
#include "tests/support.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    BAD_ONE_IN = 4,
    DELAY_US_MAX = 30000,
    FRAME_MAX = (int)sizeof(struct pt_wire_frame) + PT_FRAME_BODY_MAX + PT_FRAME_TAG_SIZE
};

static struct pt_bad_relay *relay;

/* Two sockets, and a thread for each direction. */
struct pair {
    int fds[2];
    _Atomic unsigned threads;
};

struct direction {
    struct pair *pair;
    int from; /* index of the socket */
    struct pt_dice dice;
    size_t held_size; /* of a frame that changes places with the next one; 0: none */
    uint8_t bytes[FRAME_MAX];
    uint8_t held[FRAME_MAX];
};

/* ---- Sockets ---- */

static struct sockaddr_in address_of(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};

    PT_REQUIRE(inet_pton(AF_INET, relay->address, &address.sin_addr) == 1);
    return address;
}

static int socket_make(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int yes = 1;

    PT_REQUIRE(fd >= 0);
    PT_REQUIRE(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) == 0);
    PT_REQUIRE(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes)) == 0);
    return fd;
}

static bool read_all(int fd, uint8_t *bytes, size_t size)
{
    return pt_pipe_read(fd, bytes, size);
}

static bool write_all(int fd, const uint8_t *bytes, size_t size)
{
    return pt_pipe_write(fd, bytes, size);
}

/* ---- Frames ---- */

static bool frame_read(int fd, uint8_t bytes[FRAME_MAX], size_t *size_out)
{
    const size_t head_size = sizeof(struct pt_wire_frame);
    size_t body_size;

    if (!read_all(fd, bytes, head_size))
        return false;
    body_size = pt_wire_u32(bytes);
    *size_out = head_size + body_size + PT_FRAME_TAG_SIZE;
    return body_size <= PT_FRAME_BODY_MAX &&
           read_all(fd, bytes + head_size, body_size + PT_FRAME_TAG_SIZE);
}

/* What is held back goes behind the one that came after it. */
static bool frame_write(struct direction *direction, int to, size_t size)
{
    size_t held_size = direction->held_size;

    direction->held_size = 0;
    return write_all(to, direction->bytes, size) && write_all(to, direction->held, held_size);
}

/* false: the connection is to end. */
static bool frame_spoil(struct direction *direction, int to, size_t size)
{
    struct pt_dice *dice = &direction->dice;
    uint8_t *bytes = direction->bytes;

    atomic_fetch_add(&relay->spoilt, 1);
    switch (pt_dice_below(dice, 6)) {
    case 0: /* left out */
        return true;
    case 1: /* repeated */
        return write_all(to, bytes, size) && frame_write(direction, to, size);
    case 2: /* cut */
        (void)write_all(to, bytes, pt_dice_below(dice, size));
        return false;
    case 3: /* flipped */
        bytes[pt_dice_below(dice, size)] ^= (uint8_t)(1 + pt_dice_below(dice, 255));
        return frame_write(direction, to, size);
    case 4: /* swapped */
        if (direction->held_size > 0)
            return frame_write(direction, to, size);
        memcpy(direction->held, bytes, size);
        direction->held_size = size;
        return true;
    default: /* late */
        (void)usleep((unsigned)pt_dice_below(dice, DELAY_US_MAX));
        return frame_write(direction, to, size);
    }
}

static void carry(struct direction *direction)
{
    int from = direction->pair->fds[direction->from];
    int to = direction->pair->fds[1 - direction->from];
    size_t size = direction->from == 0 ? sizeof(struct pt_wire_opening) : PT_WIRE_NOISE_SIZE;
    bool goes_on = read_all(from, direction->bytes, size) && write_all(to, direction->bytes, size);

    while (goes_on && frame_read(from, direction->bytes, &size))
        if (atomic_load(&relay->is_bad) && pt_dice_one_in(&direction->dice, BAD_ONE_IN))
            goes_on = frame_spoil(direction, to, size);
        else
            goes_on = frame_write(direction, to, size);
}

static void *direction_run(void *context)
{
    struct direction *direction = context;
    struct pair *pair = direction->pair;

    carry(direction);
    free(direction);
    (void)shutdown(pair->fds[0], SHUT_RDWR);
    (void)shutdown(pair->fds[1], SHUT_RDWR);
    if (atomic_fetch_sub(&pair->threads, 1) == 1) {
        (void)close(pair->fds[0]);
        (void)close(pair->fds[1]);
        free(pair);
    }
    return NULL;
}

/* ---- Connections ---- */

static void direction_start(struct pair *pair, int from, uint64_t seed)
{
    struct direction *direction = malloc(sizeof(*direction));
    pthread_t thread;

    PT_REQUIRE(direction != NULL);
    direction->pair = pair;
    direction->from = from;
    direction->dice = (struct pt_dice){seed};
    direction->held_size = 0;
    PT_REQUIRE(pthread_create(&thread, NULL, direction_run, direction) == 0);
    (void)pthread_detach(thread);
}

/* Whoever comes while the peer is away is sent away. */
static void pair_start(int fd, struct pt_dice *dice)
{
    struct sockaddr_in address = address_of(relay->peer_port);
    struct pair *pair;
    int other = socket_make();

    if (connect(other, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        (void)close(other);
        (void)close(fd);
        return;
    }
    pair = malloc(sizeof(*pair));
    PT_REQUIRE(pair != NULL);
    pair->fds[0] = fd;
    pair->fds[1] = other;
    atomic_init(&pair->threads, 2);
    direction_start(pair, 0, pt_dice_next(dice));
    direction_start(pair, 1, pt_dice_next(dice));
}

void pt_bad_relay_run(void *context)
{
    struct pt_dice dice;
    struct sockaddr_in address;
    int listener;

    relay = context;
    dice = (struct pt_dice){relay->seed};
    address = address_of(relay->port);
    listener = socket_make();
    PT_REQUIRE(bind(listener, (const struct sockaddr *)&address, sizeof(address)) == 0);
    PT_REQUIRE(listen(listener, 16) == 0);
    atomic_store(&relay->listens, true);
    for (;;) {
        int fd = accept(listener, NULL, NULL);

        if (fd >= 0)
            pair_start(fd, &dice);
    }
}
