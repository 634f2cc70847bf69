#include "tools/fork_save.h"

#include "tools/feed_json.h"
#include "tools/interrupt.h"
#include "tools/output.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct saving {
    struct pt_fork_save *save;
    struct peat_db *db;
    const struct peat_fork *fork;
    struct peat_repl_error *error;
    char path[PATH_MAX];
    char part[PATH_MAX]; /* of the file until it is whole */
};

static enum peat_status fail(const struct saving *saving, enum peat_status status,
                             const char *format, ...) __attribute__((format(printf, 3, 4)));

static enum peat_status fail(const struct saving *saving, enum peat_status status,
                             const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(saving->error->words, sizeof(saving->error->words), format, arguments);
    va_end(arguments);
    return status;
}

static enum peat_status fail_file(const struct saving *saving, const char *path, int number)
{
    return fail(saving, number == ENOSPC || number == EDQUOT ? PEAT_NO_SPACE : PEAT_IO,
                "%s cannot be written: %s", path, strerror(number));
}

/* ---- The commits ---- */

/* Names of the collections that there are now. */
static enum peat_status names_load(const struct saving *saving, struct pt_feed_json *json)
{
    struct pt_target target = {.store = saving->save->store, .db = saving->db};
    enum peat_status status = peat_snapshot_open(saving->db, &target.snapshot);

    if (status == PEAT_OK && pt_collection_names_load(&json->names, &target) != PT_EXIT_DONE)
        status = PEAT_CORRUPT; /* it has been complained about */
    peat_snapshot_close(target.snapshot);
    return status;
}

/* All that the feed hands out: each commit behind the fork, or it fails. */
static enum peat_status records_write(const struct saving *saving, struct peat_feed *feed,
                                      struct pt_feed_json *json)
{
    uint64_t commit = saving->fork->commit;
    enum peat_status status = PEAT_OK;

    while (status == PEAT_OK && commit < saving->fork->ours.commit) {
        struct peat_record record;

        if (pt_interrupt_came())
            return fail(saving, PEAT_TIMEOUT, "interrupted: it begins anew the next time");
        status = peat_feed_next(feed, 0, &record);
        if (status == PEAT_OK && record.commit != commit + 1)
            status = PEAT_GAP;
        if (status != PEAT_OK)
            break;
        status = pt_feed_json_write(json, &record);
        commit = record.commit;
    }
    return status == PEAT_TIMEOUT ? PEAT_GAP : status;
}

static enum peat_status commits_write(const struct saving *saving)
{
    struct pt_feed_json json;
    struct peat_feed *feed = NULL;
    enum peat_status status = peat_feed_open(saving->db, saving->fork->commit + 1, NULL, 0, &feed);

    pt_feed_json_init(&json);
    if (status == PEAT_OK)
        status = names_load(saving, &json);
    if (status == PEAT_OK)
        status = records_write(saving, feed, &json);
    pt_feed_json_fini(&json);
    peat_feed_close(feed);
    if (status != PEAT_OK && status != PEAT_TIMEOUT && status != PEAT_GAP)
        return fail(saving, status, "the commits behind %" PRIu64 " cannot be read: %s",
                    saving->fork->commit, peat_last_error());
    return status;
}

/* ---- The file ---- */

/* With the rights that the store's file has. What an earlier try has left goes; nothing that is there is written to, nor where a
 * link leads. */
static int part_open(const struct saving *saving)
{
    struct stat about;
    mode_t mode = stat(saving->save->store, &about) == 0 ? about.st_mode & 0666 : 0600;

    (void)unlink(saving->part);
    return open(saving->part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
}

static enum peat_status part_write(const struct saving *saving)
{
    int fd = part_open(saving);
    enum peat_status status;
    int failed;

    if (fd < 0)
        return fail_file(saving, saving->part, errno);
    pthread_mutex_lock(&saving->save->output_mutex);
    pt_output_to(fd);
    status = commits_write(saving);
    failed = pt_output_back();
    pthread_mutex_unlock(&saving->save->output_mutex);
    if (status == PEAT_OK && failed == 0 && fsync(fd) != 0)
        failed = errno;
    if (close(fd) != 0 && failed == 0)
        failed = errno;
    return status == PEAT_OK && failed != 0 ? fail_file(saving, saving->part, failed) : status;
}

/* Whether two files have the same in them. */
static bool is_same(const char *path, const char *other_path)
{
    FILE *files[] = {fopen(path, "re"), fopen(other_path, "re")};
    bool same = files[0] != NULL && files[1] != NULL;
    int byte = 0;

    while (same && byte != EOF) {
        byte = getc(files[0]);
        same = byte == getc(files[1]) && ferror(files[0]) == 0 && ferror(files[1]) == 0;
    }
    for (unsigned i = 0; i < 2; i++)
        if (files[i] != NULL)
            (void)fclose(files[i]);
    return same;
}

static enum peat_status folder_sync(const struct saving *saving)
{
    char folder[PATH_MAX];
    int fd;
    int failed = 0;

    memcpy(folder, saving->path, sizeof(folder));
    fd = open(dirname(folder), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0)
        failed = errno;
    if (fd >= 0)
        (void)close(fd);
    return failed == 0 ? PEAT_OK : fail_file(saving, saving->path, failed);
}

/* The file is whole: give it its name, unless another one has that. */
static enum peat_status part_name(const struct saving *saving)
{
    if (link(saving->part, saving->path) != 0) {
        if (errno != EEXIST)
            return fail_file(saving, saving->path, errno);
        if (!is_same(saving->part, saving->path))
            return fail(saving, PEAT_EXISTS,
                        "%s is there already, and has something else in it: move it away",
                        saving->path);
    }
    (void)unlink(saving->part);
    return folder_sync(saving);
}

/* ---- Without the log ---- */

/* Whether the backup at @p path is of what the store shows. */
static bool is_backup_of(const struct saving *saving, const char *path)
{
    struct peat_backup_info info = {.struct_size = sizeof(info)};
    struct peat_snapshot *snapshot = NULL;
    uint8_t digest[sizeof(info.digest)];
    bool same = peat_backup_inspect(path, &info) == PEAT_OK && !info.is_increment &&
                info.commit == saving->fork->ours.commit &&
                peat_snapshot_open(saving->db, &snapshot) == PEAT_OK;

    same = same && peat_digest(snapshot, NULL, NULL, digest, NULL) == PEAT_OK &&
           memcmp(digest, info.digest, sizeof(digest)) == 0;
    peat_snapshot_close(snapshot);
    return same;
}

/* The log has not all of the commits any more: save what they have led to, all of it. */
static enum peat_status whole_save(const struct saving *saving)
{
    struct peat_backup_options options;
    char path[PATH_MAX];
    int size =
        snprintf(path, sizeof(path), "%s.%s.backup", saving->save->store, saving->fork->name);
    enum peat_status status;

    if (size < 0 || (size_t)size >= sizeof(path))
        return fail(saving, PEAT_INVALID, "%s: the name is too long", saving->save->store);
    peat_backup_options_init(&options);
    options.path = path;
    status = peat_backup(saving->db, NULL, &options, NULL);
    if (status == PEAT_EXISTS && is_backup_of(saving, path))
        return PEAT_OK;
    if (status == PEAT_EXISTS)
        return fail(saving, status, "%s is there already, and is none of this store: move it away",
                    path);
    if (status != PEAT_OK)
        return fail(saving, status, "%s cannot be written: %s", path, peat_last_error());
    return PEAT_OK;
}

enum peat_status pt_fork_save(void *context, struct peat_db *db, const struct peat_fork *fork,
                              struct peat_repl_error *error_out)
{
    struct saving saving = {.save = context, .db = db, .fork = fork, .error = error_out};
    int size =
        snprintf(saving.path, sizeof(saving.path), "%s.%s.jsonl", saving.save->store, fork->name);
    enum peat_status status;

    if (size < 0 || (size_t)size + sizeof(".part") > sizeof(saving.path))
        return fail(&saving, PEAT_INVALID, "%s: the name is too long", saving.save->store);
    memcpy(saving.part, saving.path, (size_t)size);
    memcpy(saving.part + size, ".part", sizeof(".part"));
    status = part_write(&saving);
    if (status == PEAT_OK)
        status = part_name(&saving);
    if (status != PEAT_OK)
        (void)unlink(saving.part);
    return status == PEAT_GAP ? whole_save(&saving) : status;
}
