/*
 * What peat-repl-bench measures, of Redis on the same machine: redis-server as primary and as replica, both of them processes of
 * their own, without files. And of a plain socket, which shows how much of a lag is the machine's.
 *
 *  1. Commands go over a unix socket, as they are on the wire, so nothing of a client library is on the clock.
 *  2. What a replica shows is told by its keyspace events: one message for each SET, in order, all of one size.
 *  3. Replication is over tcp on loopback, not encrypted, and neither side keeps a file: Redis has less to do than peat.
 */
#include "bench/repl_choices.h"
#include "bench/report.h"
#include "bench/stopwatch.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    KEY_SIZE = 16,
    VALUE_SIZE = 100,
    BURST_MAX = 20,
    ENTRIES = 1000000,
    TIMES_MAX = 4000000,
    READ_SIZE = 1 << 16,
    LOOK_US = 10000,
    PORT = 26379
};

struct bench {
    struct pt_repl_choices choices;
    struct pt_report report;
};

static _Noreturn void die(const char *what, const char *why)
{
    (void)fprintf(stderr, "redis-repl-bench: %s: %s\n", what, why);
    exit(2);
}

/* ---- Servers ---- */

struct server {
    pid_t child;
    char socket_path[108];
};

static void server_start(const struct bench *bench, struct server *server, const char *name,
                         unsigned port, bool replica)
{
    char port_text[16];

    (void)snprintf(server->socket_path, sizeof(server->socket_path), "%s/redis-%s.socket",
                   bench->choices.dir, name);
    (void)snprintf(port_text, sizeof(port_text), "%u", port);
    server->child = fork();
    if (server->child < 0)
        die("a process", strerror(errno));
    if (server->child > 0)
        return;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)execlp("redis-server", "redis-server", "--port", port_text, "--bind", "127.0.0.1",
                 "--unixsocket", server->socket_path, "--dir", bench->choices.dir, "--save", "",
                 "--appendonly", "no", "--loglevel", "warning", "--logfile", "/dev/null",
                 "--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0",
                 "--repl-diskless-load", "swapdb", "--enable-debug-command", "local",
                 "--client-output-buffer-limit", "replica 0 0 0", "--client-output-buffer-limit",
                 "pubsub 0 0 0", "--notify-keyspace-events", replica ? "E$" : "", (char *)NULL);
    die("redis-server", strerror(errno));
}

static void server_stop(struct server *server)
{
    (void)kill(server->child, SIGKILL);
    (void)waitpid(server->child, NULL, 0);
    (void)unlink(server->socket_path);
}

static int server_connect(const struct server *server)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", server->socket_path);
    for (unsigned i = 0; connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0; i++) {
        if (i == 500 || waitpid(server->child, NULL, WNOHANG) != 0)
            die(server->socket_path, "redis-server does not answer: is it installed?");
        (void)usleep(LOOK_US);
    }
    return fd;
}

static void send_all(int fd, const void *data, size_t size)
{
    const char *place = data;

    while (size > 0) {
        ssize_t sent = send(fd, place, size, MSG_NOSIGNAL);

        if (sent <= 0)
            die("redis-server", "the connection is gone");
        place += sent;
        size -= (size_t)sent;
    }
}

/* What comes next is of this size, and nothing else is under way. */
static void receive_all(int fd, char *data, size_t size)
{
    while (size > 0) {
        ssize_t came = recv(fd, data, size, 0);

        if (came <= 0)
            die("redis-server", "the connection is gone");
        data += came;
        size -= (size_t)came;
    }
}

/* A command in words; the beginning of its answer, as far as it has come when there is some. */
static void command(int fd, const char *words, char answer[READ_SIZE])
{
    ssize_t came;

    send_all(fd, words, strlen(words));
    send_all(fd, "\r\n", 2);
    came = recv(fd, answer, READ_SIZE - 1, 0);
    if (came <= 0)
        die(words, "no answer");
    answer[came] = '\0';
    if (answer[0] == '-')
        die(words, answer);
}

static void info_await(int fd, const char *words, uint64_t give_up_ns)
{
    static char answer[READ_SIZE];

    for (;;) {
        command(fd, "INFO replication", answer);
        if (strstr(answer, words) != NULL)
            return;
        if (pt_stopwatch_ns() > give_up_ns)
            die("the replica", "it does not get in touch");
        (void)usleep(LOOK_US);
    }
}

/* The replica has all; and the primary sends it what is new, which may be a second later. */
static void replica_await(int replica_fd, int primary_fd)
{
    uint64_t give_up_ns = pt_stopwatch_ns() + UINT64_C(600000000000);

    info_await(replica_fd, "master_link_status:up", give_up_ns);
    info_await(primary_fd, "state=online", give_up_ns);
}

static void replica_of(int fd, unsigned port)
{
    static char answer[READ_SIZE];
    char words[64];

    (void)snprintf(words, sizeof(words), "REPLICAOF 127.0.0.1 %u", port);
    command(fd, words, answer);
}

/* ---- Commands that set ---- */

/* The command that sets entry @p number; all have one size. */
static size_t set_make(char *room, uint64_t number)
{
    uint64_t key = pt_mix(pt_spread(pt_mix(number), ENTRIES));
    int size = snprintf(room, 64, "*3\r\n$3\r\nSET\r\n$16\r\n%016llx\r\n$100\r\n",
                        (unsigned long long)key);

    memset(room + size, (int)('a' + number % 26), VALUE_SIZE);
    memcpy(room + size + VALUE_SIZE, "\r\n", 2);
    return (size_t)size + VALUE_SIZE + 2;
}

/* Set @p count entries from @p number on, and wait for the answers, "+OK" each. */
static void set_some(int fd, uint64_t number, unsigned count)
{
    char room[BURST_MAX * 256];
    size_t size = 0;

    for (unsigned i = 0; i < count; i++)
        size += set_make(room + size, number + i);
    send_all(fd, room, size);
    receive_all(fd, room, (size_t)count * 5);
}

/* ---- Lag ---- */

static uint64_t returned_ns[TIMES_MAX];
static uint64_t seen_ns[TIMES_MAX];
static double times[TIMES_MAX];

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return (x > y) - (x < y);
}

static void lag_report(struct bench *bench, const char *name, uint64_t count)
{
    size_t kept = 0;

    for (uint64_t i = count / 10; i < count; i++) /* the first tenth fills caches */
        times[kept++] =
            seen_ns[i] > returned_ns[i] ? (double)(seen_ns[i] - returned_ns[i]) / 1e6 : 0;
    qsort(times, kept, sizeof(times[0]), compare);
    pt_report_bound(&bench->report, name, "lag, p50", times[kept / 2], "ms", pt_none_required);
    pt_report_bound(&bench->report, name, "lag, p99", times[kept * 99 / 100], "ms",
                    pt_none_required);
}

struct watch {
    int fd;
    size_t message_size;
    uint64_t count; /* messages to come */
};

/* Note when each message came. */
static void *watch_run(void *context)
{
    const struct watch *watch = context;
    static char bytes[READ_SIZE];
    uint64_t size = 0;
    uint64_t seen = 0;

    while (seen < watch->count) {
        ssize_t came = recv(watch->fd, bytes, sizeof(bytes), 0);
        uint64_t now_ns = pt_stopwatch_ns();

        if (came <= 0)
            die("who watches", "the connection is gone");
        size += (uint64_t)came;
        while (seen < watch->count && (seen + 1) * watch->message_size <= size)
            seen_ns[seen++] = now_ns;
    }
    return NULL;
}

static void sleep_until(uint64_t ns)
{
    struct timespec until = {(time_t)(ns / 1000000000), (long)(ns % 1000000000)};

    (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
}

/* @p count of what @p send_some sends, at a pace, @p burst at a time. */
static void pace(unsigned per_second, unsigned burst, uint64_t count, int fd,
                 void (*send_some)(int fd, uint64_t number, unsigned count))
{
    uint64_t step_ns = UINT64_C(1000000000) * burst / per_second;
    uint64_t begin_ns = pt_stopwatch_ns();

    for (uint64_t i = 0; i < count; i += burst) {
        uint64_t now_ns;

        sleep_until(begin_ns + i / burst * step_ns);
        send_some(fd, i, burst);
        now_ns = pt_stopwatch_ns();
        for (unsigned k = 0; k < burst; k++)
            returned_ns[i + k] = now_ns;
    }
}

static uint64_t paced_count(const struct bench *bench, unsigned per_second, unsigned burst)
{
    uint64_t count = (uint64_t)per_second * bench->choices.seconds / burst * burst;

    if (count > TIMES_MAX)
        die("--seconds", "too many");
    return count;
}

static void redis_lag(struct bench *bench, const char *name, unsigned per_second, unsigned burst)
{
    static const char subscribe[] = "SUBSCRIBE __keyevent@0__:set";
    static const char told[] = "*3\r\n$7\r\nmessage\r\n$18\r\n__keyevent@0__:set\r\n$16\r\n";
    static char answer[READ_SIZE];
    struct server servers[2];
    struct watch watch = {.message_size = sizeof(told) - 1 + KEY_SIZE + 2,
                          .count = paced_count(bench, per_second, burst)};
    pthread_t thread;
    int fds[3];

    server_start(bench, &servers[0], "primary", PORT, false);
    server_start(bench, &servers[1], "replica", PORT + 1, true);
    fds[0] = server_connect(&servers[0]);
    fds[1] = server_connect(&servers[1]);
    watch.fd = fds[2] = server_connect(&servers[1]);
    replica_of(fds[1], PORT);
    replica_await(fds[1], fds[0]);
    command(watch.fd, subscribe, answer);
    if (pthread_create(&thread, NULL, watch_run, &watch) != 0)
        die("a thread", "none");
    pace(per_second, burst, watch.count, fds[0], set_some);
    (void)pthread_join(thread, NULL);
    lag_report(bench, name, watch.count);
    for (unsigned i = 0; i < 3; i++)
        (void)close(fds[i]);
    server_stop(&servers[1]);
    server_stop(&servers[0]);
}

static void lag(struct bench *bench)
{
    redis_lag(bench, "lag, 10 k commits/s", 10000, 1);
    redis_lag(bench, "lag, 100 k puts/s", 100000, BURST_MAX);
}

/* ---- A plain socket ---- */

static void bytes_send(int fd, uint64_t number, unsigned count)
{
    (void)number;
    send_all(fd, "--------------------------------", count);
}

static void plain_socket(struct bench *bench)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct watch watch = {.message_size = 1, .count = paced_count(bench, 10000, 1)};
    pthread_t thread;
    int on = 1;

    if (bind(listener, (struct sockaddr *)&address, size) != 0 || listen(listener, 1) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &size) != 0 ||
        connect(fd, (struct sockaddr *)&address, size) != 0)
        die("a socket", strerror(errno));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    watch.fd = accept(listener, NULL, NULL);
    if (pthread_create(&thread, NULL, watch_run, &watch) != 0)
        die("a thread", "none");
    pace(10000, 1, watch.count, fd, bytes_send);
    (void)pthread_join(thread, NULL);
    lag_report(bench, "a byte, 10 k/s", watch.count);
    (void)close(watch.fd);
    (void)close(listener);
    (void)close(fd);
}

/* ---- Rate ---- */

static double rate(const struct bench *bench, int fd)
{
    uint64_t begin_ns = pt_stopwatch_ns();
    uint64_t end_ns = begin_ns + UINT64_C(1000000000) * bench->choices.seconds;
    uint64_t count = 0;

    for (; pt_stopwatch_ns() < end_ns; count += BURST_MAX)
        set_some(fd, count, BURST_MAX);
    return (double)count * 1e9 / (double)(pt_stopwatch_ns() - begin_ns);
}

static void load(struct bench *bench)
{
    struct server servers[2];
    double alone;
    double followed;
    int fds[2];

    server_start(bench, &servers[0], "primary", PORT, false);
    fds[0] = server_connect(&servers[0]);
    (void)rate(bench, fds[0]); /* memory is there then */
    alone = rate(bench, fds[0]);
    server_start(bench, &servers[1], "replica", PORT + 1, false);
    fds[1] = server_connect(&servers[1]);
    replica_of(fds[1], PORT);
    replica_await(fds[1], fds[0]);
    followed = rate(bench, fds[0]);
    pt_report_bound(&bench->report, "random load", "primary alone", alone, "/s", pt_none_required);
    pt_report_bound(&bench->report, "random load", "primary with a replica", followed, "/s",
                    pt_none_required);
    pt_report_bound(&bench->report, "random load", "rate that it keeps", followed / alone * 100,
                    "%", pt_none_required);
    for (unsigned i = 2; i-- > 0;) {
        (void)close(fds[i]);
        server_stop(&servers[i]);
    }
}

/* ---- A full synchronisation ---- */

static void seed(struct bench *bench)
{
    static char answer[READ_SIZE];
    uint64_t count = bench->choices.megabytes * 1000000 / (KEY_SIZE + VALUE_SIZE);
    struct server servers[2];
    uint64_t begin_ns;
    char words[64];
    int fds[2];

    server_start(bench, &servers[0], "primary", PORT, false);
    server_start(bench, &servers[1], "replica", PORT + 1, false);
    fds[0] = server_connect(&servers[0]);
    fds[1] = server_connect(&servers[1]);
    /* Keys are "key-is-16:" and a number. */
    (void)snprintf(words, sizeof(words), "DEBUG POPULATE %llu key-is-1 %d",
                   (unsigned long long)count, VALUE_SIZE);
    command(fds[0], words, answer);
    begin_ns = pt_stopwatch_ns();
    replica_of(fds[1], PORT);
    info_await(fds[1], "master_link_status:up", begin_ns + UINT64_C(600000000000));
    pt_report_bound(&bench->report, "full synchronisation", "keys and values",
                    (double)(count * (KEY_SIZE + VALUE_SIZE)) * 1e3 /
                        (double)(pt_stopwatch_ns() - begin_ns),
                    "MB/s", pt_none_required);
    for (unsigned i = 2; i-- > 0;) {
        (void)close(fds[i]);
        server_stop(&servers[i]);
    }
}

/* ---- The program ---- */

static const struct {
    const char *name;
    void (*run)(struct bench *bench);
} workloads[] = {{"socket", plain_socket}, {"lag", lag}, {"load", load}, {"seed", seed}};

static const char usage[] = "usage: redis-repl-bench [OPTION]...\n"
                            "\n"
                            "  --dir DIR        where the sockets are made (default: .)\n"
                            "  --seconds N      of each load (default: 10)\n"
                            "  --megabytes N    of entries to synchronise (default: 256)\n"
                            "  --only NAMES     of socket, lag, load, seed; with commas\n"
                            "  --tsv            for programs\n";

int main(int argc, char **argv)
{
    static struct bench bench;

    bench.choices = pt_repl_choices_default;
    if (!pt_repl_choices_take(&bench.choices, argc, argv)) {
        (void)fputs(usage, stderr);
        return 2;
    }
    (void)prctl(PR_SET_TIMERSLACK, 1UL); /* a pace of 100 us is kept */
    bench.report.tsv = bench.choices.tsv;
    pt_report_context(&bench.report, "redis-server, tcp over loopback, %ld processors",
                      sysconf(_SC_NPROCESSORS_ONLN));
    for (size_t i = 0; i < sizeof(workloads) / sizeof(workloads[0]); i++)
        if (pt_repl_choices_have(&bench.choices, workloads[i].name))
            workloads[i].run(&bench);
    pt_report_finish(&bench.report);
    return 0;
}
