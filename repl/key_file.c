#include "repl/key_file.h"

#include "repl/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEAD "peat-key 1 "

enum {
    ID_DIGITS = 2 * PT_KEY_ID_SIZE,
    SECRET_DIGITS = 2 * PT_KEY_SECRET_SIZE,
    ID_BEGIN = sizeof(HEAD) - 1,
    SECRET_BEGIN = ID_BEGIN + ID_DIGITS + 1,
    LINE_SIZE = SECRET_BEGIN + SECRET_DIGITS + 1 /* with its end */
};
_Static_assert(PEAT_KEY_ID_TEXT_SIZE == ID_DIGITS + 1, "digits and a NUL");

/* ---- Reading ---- */

/* Whether nobody but us can have read or written it. */
static enum peat_status file_check(int fd, const char *path, struct peat_repl_error *error)
{
    struct stat info;

    if (fstat(fd, &info) != 0)
        return pt_repl_fail(error, PEAT_IO, "%s: %s", path, strerror(errno));
    if (!S_ISREG(info.st_mode))
        return pt_repl_fail(error, PEAT_INVALID, "%s: a key file is a regular file", path);
    if (info.st_uid != geteuid() && info.st_uid != 0)
        return pt_repl_fail(error, PEAT_INVALID, "%s: belongs to another user, who could know it",
                            path);
    if ((info.st_mode & 077) != 0)
        return pt_repl_fail(error, PEAT_INVALID,
                            "%s: others can read it: chmod 600, or make a new one", path);
    return PEAT_OK;
}

static bool digits_take(const char *text, size_t count, uint8_t *bytes)
{
    size_t size;

    return sodium_hex2bin(bytes, count / 2, text, count, NULL, &size, NULL) == 0 &&
           size == count / 2;
}

static bool line_take(const char line[LINE_SIZE], struct pt_channel_key *key_out)
{
    static const uint8_t no_id[PT_KEY_ID_SIZE];

    return memcmp(line, HEAD, ID_BEGIN) == 0 && line[SECRET_BEGIN - 1] == ' ' &&
           line[LINE_SIZE - 1] == '\n' && digits_take(line + ID_BEGIN, ID_DIGITS, key_out->id) &&
           digits_take(line + SECRET_BEGIN, SECRET_DIGITS, key_out->secret) &&
           memcmp(key_out->id, no_id, sizeof(no_id)) != 0;
}

enum peat_status pt_key_file_read(const char *path, struct pt_channel_key *key_out,
                                  struct peat_repl_error *error)
{
    char line[LINE_SIZE + 1];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    enum peat_status status;
    ssize_t size;

    if (fd < 0)
        return pt_repl_fail(error, errno == ENOENT ? PEAT_NOT_FOUND : PEAT_INVALID, "%s: %s%s",
                            path, errno == ELOOP ? "a symbolic link, no key file" : strerror(errno),
                            errno == ENOENT ? "; peat keygen makes one" : "");
    status = file_check(fd, path, error);
    if (status == PEAT_OK) {
        size = read(fd, line, sizeof(line));
        if (size < 0)
            status = pt_repl_fail(error, PEAT_IO, "%s: %s", path, strerror(errno));
        else if (size != LINE_SIZE || !line_take(line, key_out))
            status =
                pt_repl_fail(error, PEAT_INVALID, "%s is no key file; peat keygen makes one", path);
    }
    if (status != PEAT_OK)
        sodium_memzero(key_out, sizeof(*key_out));
    sodium_memzero(line, sizeof(line));
    (void)close(fd);
    return status;
}

/* ---- Making ---- */

/* false: errno says why. */
static bool write_all(int fd, const char *text, size_t size)
{
    while (size > 0) {
        ssize_t written = write(fd, text, size);

        if (written < 0 && errno != EINTR)
            return false;
        if (written > 0) {
            text += written;
            size -= (size_t)written;
        }
    }
    return fsync(fd) == 0;
}

enum peat_status peat_key_make(const char *path, char id_out[PEAT_KEY_ID_TEXT_SIZE],
                               struct peat_repl_error *error_out)
{
    struct peat_repl_error unwanted;
    struct peat_repl_error *error = error_out == NULL ? &unwanted : error_out;
    struct pt_channel_key key;
    char line[LINE_SIZE + 1];
    char secret[SECRET_DIGITS + 1];
    int error_number;
    int fd;

    if (path == NULL || id_out == NULL)
        return pt_repl_fail(error, PEAT_INVALID, "an argument is missing");
    if (sodium_init() < 0)
        return pt_repl_fail(error, PEAT_UNSUPPORTED, "libsodium cannot be used here");
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return pt_repl_fail(error, errno == EEXIST ? PEAT_EXISTS : PEAT_IO, "%s: %s%s", path,
                            strerror(errno), errno == EEXIST ? "; it is left as it is" : "");
    randombytes_buf(&key, sizeof(key));
    (void)sodium_bin2hex(id_out, PEAT_KEY_ID_TEXT_SIZE, key.id, sizeof(key.id));
    (void)sodium_bin2hex(secret, sizeof(secret), key.secret, sizeof(key.secret));
    (void)snprintf(line, sizeof(line), HEAD "%s %s\n", id_out, secret);
    error_number = write_all(fd, line, LINE_SIZE) ? 0 : errno;
    if (close(fd) != 0 && error_number == 0)
        error_number = errno;
    sodium_memzero(&key, sizeof(key));
    sodium_memzero(secret, sizeof(secret));
    sodium_memzero(line, sizeof(line));
    if (error_number == 0)
        return PEAT_OK;
    (void)unlink(path);
    return pt_repl_fail(error, PEAT_IO, "%s: %s; it was not made", path, strerror(error_number));
}
