#include "tools/status_file.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct pt_status_file {
    const char *path;
    char *next_path; /* what gets its name when it is whole: .new behind it */
    struct peat_db *db;
    struct peat_report_options options;
    bool failed; /* and complained about */
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t stop_wanted;
    bool stopping;
};

/* ---- Writing ---- */

static bool piece_write(void *context, const char *text, size_t size)
{
    return fwrite(text, 1, size, context) == size;
}

/* Nobody else's file is written to: it is made here, or not at all. */
static FILE *next_open(const struct pt_status_file *file)
{
    int fd;
    FILE *stream;

    (void)unlink(file->next_path);
    fd = open(file->next_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0)
        return NULL;
    stream = fdopen(fd, "w");
    if (stream == NULL)
        (void)close(fd);
    return stream;
}

static void file_write(struct pt_status_file *file)
{
    FILE *stream = next_open(file);
    bool written = stream != NULL;
    int error = errno;

    if (written) {
        errno = 0;
        written = peat_replication_report(file->db, &file->options, piece_write, stream) == PEAT_OK;
        error = errno != 0 ? errno : ENOMEM;
        if (fclose(stream) != 0 && written) {
            written = false;
            error = errno;
        }
    }
    if (written && rename(file->next_path, file->path) != 0) {
        written = false;
        error = errno;
    }
    if (!written) {
        (void)unlink(file->next_path);
        if (!file->failed)
            pt_complain(file->path,
                        "the status cannot be written, and is tried again each second: %s",
                        strerror(error));
    }
    file->failed = !written;
}

static void *file_run(void *context)
{
    struct pt_status_file *file = context;
    struct timespec until;

    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    pthread_mutex_lock(&file->mutex);
    while (!file->stopping) {
        pthread_mutex_unlock(&file->mutex);
        file_write(file);
        (void)clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec++;
        pthread_mutex_lock(&file->mutex);
        while (!file->stopping &&
               pthread_cond_timedwait(&file->stop_wanted, &file->mutex, &until) == 0)
            ;
    }
    pthread_mutex_unlock(&file->mutex);
    return NULL;
}

/* ---- Starting and stopping ---- */

static bool ends(const char *path, const char *with)
{
    size_t size = strlen(path);

    return size >= strlen(with) && strcmp(path + size - strlen(with), with) == 0;
}

static void file_free(struct pt_status_file *file)
{
    (void)pthread_cond_destroy(&file->stop_wanted);
    (void)pthread_mutex_destroy(&file->mutex);
    free(file->next_path);
    free(file);
}

static struct pt_status_file *file_new(const char *path)
{
    struct pt_status_file *file = calloc(1, sizeof(*file));
    pthread_condattr_t attributes;

    if (file == NULL)
        return NULL;
    file->path = path;
    if (asprintf(&file->next_path, "%s.new", path) < 0) {
        free(file);
        return NULL;
    }
    (void)pthread_mutex_init(&file->mutex, NULL);
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&file->stop_wanted, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    return file;
}

static enum peat_report_format format_of(const char *path)
{
    if (ends(path, ".prom"))
        return PEAT_REPORT_OPENMETRICS;
    return ends(path, ".json") ? PEAT_REPORT_JSON : PEAT_REPORT_TEXT;
}

/* Whether nothing is lost if the file at @p path is replaced: it is not there, or empty, or an older status in @p format. */
static bool may_replace(const char *path, enum peat_report_format format)
{
    static const char *const begins[] = {[PEAT_REPORT_TEXT] = "store  ",
                                         [PEAT_REPORT_JSON] = "{\"store",
                                         [PEAT_REPORT_OPENMETRICS] = "# TYPE peat_"};
    const char *begin = begins[format];
    char bytes[16];
    struct stat about;
    ssize_t size;
    int fd;

    if (stat(path, &about) != 0)
        return true; /* else writing says why not */
    if (!S_ISREG(about.st_mode))
        return false;
    fd = open(path, O_RDONLY | O_CLOEXEC);
    size = fd < 0 ? -1 : pread(fd, bytes, sizeof(bytes), 0);
    if (fd >= 0)
        (void)close(fd);
    return size == 0 ||
           (size >= (ssize_t)strlen(begin) && memcmp(bytes, begin, strlen(begin)) == 0);
}

/* The same of both files that a status needs; complains. */
static bool is_ours(const char *path, enum peat_report_format format)
{
    if (may_replace(path, format))
        return true;
    pt_complain(path, "it is there, and no status of this format: give --status another name");
    return false;
}

enum pt_exit pt_status_file_start(const char *path, const char *store, struct peat_db *db,
                                  struct peat_primary *primary, struct peat_follower *follower,
                                  struct pt_status_file **file_out)
{
    enum peat_report_format format;
    struct pt_status_file *file;

    *file_out = NULL;
    if (path == NULL)
        return PT_EXIT_DONE;
    format = format_of(path);
    file = file_new(path);
    if (file != NULL && !(is_ours(path, format) && is_ours(file->next_path, format))) {
        file_free(file);
        return PT_EXIT_ERROR;
    }
    if (file != NULL) {
        file->db = db;
        peat_report_options_init(&file->options);
        file->options.format = format;
        file->options.store = store;
        file->options.primary = primary;
        file->options.follower = follower;
        if (pthread_create(&file->thread, NULL, file_run, file) == 0) {
            *file_out = file;
            return PT_EXIT_DONE;
        }
        file_free(file);
    }
    pt_complain(path, "out of memory");
    return PT_EXIT_ERROR;
}

void pt_status_file_stop(struct pt_status_file *file)
{
    if (file == NULL)
        return;
    pthread_mutex_lock(&file->mutex);
    file->stopping = true;
    pthread_cond_signal(&file->stop_wanted);
    pthread_mutex_unlock(&file->mutex);
    (void)pthread_join(file->thread, NULL);
    (void)unlink(file->path);
    file_free(file);
}
