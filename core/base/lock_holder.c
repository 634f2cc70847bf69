/*
 * An open-file-description lock belongs to an open file, not to a process, so the kernel answers
 * F_OFD_GETLK with process id -1. But /proc/PID/fdinfo/FD lists the locks of just that open file:
 *
 *   lock:   1: OFDLCK ADVISORY  WRITE -1 fe:00:262158 4611686018427387904 4611686018427387904
 *
 * The device in that line is the filesystem's, which is not what stat() gives everywhere, so the
 * file is recognised by a stat() of /proc/PID/fd/FD, and only the range is read from the line.
 */
#include "core/base/lock_holder.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* What is looked for. */
struct wanted {
    uint64_t device;
    uint64_t inode;
    uint64_t offset; /* the lock's first byte */
};

static bool is_number(const char *name)
{
    return name[0] >= '0' && name[0] <= '9';
}

static bool line_matches(const char *line, const struct wanted *wanted)
{
    uint64_t first;

    return strncmp(line, "lock:", 5) == 0 && strstr(line, " OFDLCK ") != NULL &&
           sscanf(line, "%*[^W]WRITE %*s %*s %" SCNu64, &first) == 1 && first == wanted->offset;
}

static bool descriptor_holds(const char *pid, const char *fd, const struct wanted *wanted)
{
    char path[600];
    char line[256];
    struct stat about;
    FILE *info;
    bool found = false;

    (void)snprintf(path, sizeof(path), "/proc/%s/fd/%s", pid, fd);
    if (stat(path, &about) != 0 || (uint64_t)about.st_dev != wanted->device ||
        (uint64_t)about.st_ino != wanted->inode)
        return false;
    (void)snprintf(path, sizeof(path), "/proc/%s/fdinfo/%s", pid, fd);
    info = fopen(path, "re");
    if (info == NULL)
        return false;
    while (!found && fgets(line, sizeof(line), info) != NULL)
        found = line_matches(line, wanted);
    (void)fclose(info);
    return found;
}

static bool process_holds(const char *pid, const struct wanted *wanted)
{
    char path[300];
    const struct dirent *entry;
    DIR *descriptors;
    bool found = false;

    (void)snprintf(path, sizeof(path), "/proc/%s/fd", pid);
    descriptors = opendir(path);
    if (descriptors == NULL)
        return false;
    while (!found && (entry = readdir(descriptors)) != NULL)
        found = is_number(entry->d_name) && descriptor_holds(pid, entry->d_name, wanted);
    (void)closedir(descriptors);
    return found;
}

long pt_lock_holder_find(uint64_t device, uint64_t inode, uint64_t offset)
{
    const struct wanted wanted = {device, inode, offset};
    const struct dirent *entry;
    DIR *processes = opendir("/proc");
    long holder = 0;

    if (processes == NULL)
        return 0;
    while (holder == 0 && (entry = readdir(processes)) != NULL)
        if (is_number(entry->d_name) && process_holds(entry->d_name, &wanted))
            holder = strtol(entry->d_name, NULL, 10);
    (void)closedir(processes);
    return holder;
}
