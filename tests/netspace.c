#include "tests/netspace.h"
#include "tests/support.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

/* iptables may be run by others, too, and waits for them; what it says when something is not there is not shown. */
#define RUN_IPTABLES "iptables -w 20 "
#define RUN_QUIETLY  " >/dev/null 2>&1"

static bool run(const char *format, ...) __attribute__((format(printf, 1, 2)));

static bool run(const char *format, ...)
{
    char command[512];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(command, sizeof(command), format, arguments);
    va_end(arguments);
    return system(command) == 0;
}

static void require_run(const char *command)
{
    if (!run("%s", command))
        pt_test_fail(__FILE__, __LINE__, "this failed: %s", command);
}

static bool text_write(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

    if (fd >= 0)
        (void)close(fd);
    return written;
}

/* Who is not root is that in a user namespace of its own, where one may make them. */
static bool root_become(void)
{
    char map[2][64];

    (void)snprintf(map[0], sizeof(map[0]), "0 %u 1", (unsigned)geteuid());
    (void)snprintf(map[1], sizeof(map[1]), "0 %u 1", (unsigned)getegid());
    return unshare(CLONE_NEWUSER) == 0 && text_write("/proc/self/setgroups", "deny") &&
           text_write("/proc/self/uid_map", map[0]) && text_write("/proc/self/gid_map", map[1]);
}

/* Mounts of this process are its own; iptables has a place for its lock. */
static bool disk_mount(const char *path, size_t size)
{
    char options[64];

    (void)snprintf(options, sizeof(options), "size=%zu,mode=0700", size);
    if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("peat-test", path, "tmpfs", 0, options) != 0)
        return false;
    return geteuid() != 0 || access("/run", W_OK) == 0 ||
           mount("peat-test", "/run", "tmpfs", 0, "size=1m") == 0;
}

/* Both ends of the cable. This process is at the far end, and goes back. */
static bool cable_lay(const struct pt_netspace *netspace)
{
    bool laid = run("ip link add peat-far type veth peer name peat-near netns %d" RUN_QUIETLY,
                    (int)getppid()) &&
                run("ip address add " PT_NETSPACE_FAR "/24 dev peat-far && ip link set peat-far up "
                    "&& ip link set lo up");

    return setns(netspace->near_fd, CLONE_NEWNET) == 0 && laid &&
           run("ip address add " PT_NETSPACE_NEAR "/24 dev peat-near && "
               "ip link set peat-near up && ip link set lo up");
}

/* In a child of whom the near end belongs to: make the far end, hold it until it has been opened. */
static void far_make(int ready, int go_on, const struct pt_netspace *netspace)
{
    char byte = 0;

    if (unshare(CLONE_NEWNET) != 0 || !pt_pipe_write(ready, &byte, 1) ||
        !pt_pipe_read(go_on, &byte, 1))
        _exit(1);
    _exit(cable_lay(netspace) ? 0 : 1);
}

struct far_context {
    int ready[2]; /* pipes */
    int go_on[2];
    const struct pt_netspace *netspace;
};

static void far_run(void *context)
{
    const struct far_context *far = context;

    (void)close(far->ready[0]);
    (void)close(far->go_on[1]);
    far_make(far->ready[1], far->go_on[0], far->netspace);
}

static bool far_open(struct pt_netspace *netspace)
{
    struct far_context far = {.netspace = netspace};
    char path[64];
    char byte;
    pid_t child;
    int outcome;

    PT_REQUIRE(pipe(far.ready) == 0 && pipe(far.go_on) == 0);
    child = pt_child_start(far_run, &far);
    (void)close(far.ready[1]);
    (void)close(far.go_on[0]);
    if (pt_pipe_read(far.ready[0], &byte, 1)) {
        (void)snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)child);
        netspace->far_fd = open(path, O_RDONLY | O_CLOEXEC);
    }
    (void)close(far.ready[0]);
    if (netspace->far_fd >= 0)
        (void)pt_pipe_write(far.go_on[1], "", 1);
    (void)close(far.go_on[1]);
    PT_REQUIRE(waitpid(child, &outcome, 0) == child);
    return outcome == 0 && netspace->far_fd >= 0;
}

static bool can(const char *rule)
{
    return run(RUN_IPTABLES "-A INPUT %s" RUN_QUIETLY, rule) &&
           run(RUN_IPTABLES "-D INPUT %s" RUN_QUIETLY, rule);
}

bool pt_netspace_open(struct pt_netspace *netspace, const char *disk_path, size_t disk_size,
                      char why_out[256])
{
    const char *what = "";

    *netspace = (struct pt_netspace){.near_fd = -1, .far_fd = -1};
    if (strstr(getenv("PATH") == NULL ? "" : getenv("PATH"), "/sbin") == NULL)
        (void)setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
    if (!run("ip -V" RUN_QUIETLY) || !run(RUN_IPTABLES "-V" RUN_QUIETLY))
        what = "ip and iptables are not installed";
    else if (geteuid() != 0 && !root_become())
        what = "this is not root, and there are no user namespaces for others";
    else if (unshare(CLONE_NEWNET | CLONE_NEWNS) != 0)
        what = "network namespaces are not permitted";
    else if (!disk_mount(disk_path, disk_size))
        what = "a tmpfs cannot be mounted";
    else if ((netspace->near_fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC)) < 0)
        what = "/proc has no namespaces";
    else if (!far_open(netspace))
        what = "two namespaces cannot be joined by a veth cable";
    else if (!can("-s " PT_NETSPACE_FAR " -j DROP"))
        what = "iptables cannot drop packets";
    (void)snprintf(why_out, 256, "%s", what);
    if (what[0] != '\0')
        return false;
    netspace->has_loss = can("-m statistic --mode random --probability 0.1 -j DROP");
    netspace->has_reset = can("-p tcp -j REJECT --reject-with tcp-reset");
    return true;
}

void pt_netspace_go_far(const struct pt_netspace *netspace)
{
    PT_REQUIRE(setns(netspace->far_fd, CLONE_NEWNET) == 0);
}

void pt_netspace_trouble(enum pt_net_trouble trouble)
{
    switch (trouble) {
    case PT_NET_LOSS:
        require_run(RUN_IPTABLES "-A INPUT -m statistic --mode random --probability 0.15 -j DROP");
        require_run(RUN_IPTABLES "-A OUTPUT -m statistic --mode random --probability 0.15 -j DROP");
        break;
    case PT_NET_PARTITION:
        require_run(RUN_IPTABLES "-A OUTPUT -d " PT_NETSPACE_FAR " -j DROP");
        require_run(RUN_IPTABLES "-A INPUT -s " PT_NETSPACE_FAR " -j DROP");
        break;
    case PT_NET_ONE_WAY:
        require_run(RUN_IPTABLES "-A INPUT -s " PT_NETSPACE_FAR " -j DROP");
        break;
    case PT_NET_RESET_FAR:
        require_run(RUN_IPTABLES "-A INPUT -s " PT_NETSPACE_FAR
                                 " -p tcp -j REJECT --reject-with tcp-reset");
        break;
    case PT_NET_RESET_NEAR:
        require_run(RUN_IPTABLES "-A OUTPUT -d " PT_NETSPACE_FAR
                                 " -p tcp -j REJECT --reject-with tcp-reset");
        break;
    default:
        PT_REQUIRE(false);
    }
}

void pt_netspace_heal(void)
{
    require_run(RUN_IPTABLES "-F");
}
