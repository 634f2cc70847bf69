/*
 * A key file is read if it is one, and nobody but its owner can have read or written it; what is refused names the file,
 * and says what to do. A new key is like no other, and takes no file's place.
 */
#include "repl/key_file.h"

#include "tests/support.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define ID     "000102030405060708090a0b0c0d0e0f"
#define SECRET "101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f"
#define LINE   "peat-key 1 " ID " " SECRET "\n"

static const char *const no_key_file = "peat keygen makes one";

static void file_write(const char *path, const char *text)
{
    FILE *file;

    (void)unlink(path);
    file = fopen(path, "w");
    PT_REQUIRE(file != NULL && fputs(text, file) >= 0 && fclose(file) == 0);
    PT_REQUIRE(chmod(path, 0600) == 0);
}

/* Reading @p path fails so, with its name and @p words; nothing of a key is left. */
static void require_refused(const char *path, enum peat_status expected, const char *words)
{
    static const struct pt_channel_key nothing;
    struct pt_channel_key key = nothing;
    struct peat_repl_error error = {""};

    PT_REQUIRE_STATUS(pt_key_file_read(path, &key, &error), expected);
    if (strstr(error.words, words) == NULL || strstr(error.words, path) == NULL)
        pt_test_fail(__FILE__, __LINE__, "'%s' instead of '%s'", error.words, words);
    assert_memory_equal(&key, &nothing, sizeof(key));
}

static void a_key_that_was_made_reads_as_it_was_told(void **state)
{
    const char *path = pt_test_path("made.key");
    struct peat_repl_error error;
    char id[PEAT_KEY_ID_TEXT_SIZE];
    char others_id[PEAT_KEY_ID_TEXT_SIZE];
    struct pt_channel_key key;
    struct pt_channel_key others;
    struct stat info;
    char digits[3];
    (void)state;

    PT_REQUIRE_OK(peat_key_make(path, id, &error));
    PT_REQUIRE_OK(pt_key_file_read(path, &key, &error));
    assert_int_equal(strlen(id), 2 * sizeof(key.id));
    for (size_t i = 0; i < sizeof(key.id); i++) {
        (void)snprintf(digits, sizeof(digits), "%02x", key.id[i]);
        assert_memory_equal(digits, id + 2 * i, 2);
    }
    PT_REQUIRE(stat(path, &info) == 0);
    assert_int_equal(info.st_mode & 07777, 0600);

    PT_REQUIRE_STATUS(peat_key_make(path, others_id, &error), PEAT_EXISTS);
    assert_non_null(strstr(error.words, path));
    PT_REQUIRE_OK(pt_key_file_read(path, &others, &error));
    assert_memory_equal(&others, &key, sizeof(key)); /* it was left alone */
    PT_REQUIRE(unlink(path) == 0);
    PT_REQUIRE_OK(peat_key_make(path, others_id, NULL));
    PT_REQUIRE_OK(pt_key_file_read(path, &others, &error));
    assert_memory_not_equal(others.id, key.id, sizeof(key.id));
    assert_memory_not_equal(others.secret, key.secret, sizeof(key.secret));
}

static void the_line_of_the_format_is_read(void **state)
{
    const char *path = pt_test_path("written.key");
    struct peat_repl_error error;
    struct pt_channel_key key;
    (void)state;

    file_write(path, LINE);
    PT_REQUIRE_OK(pt_key_file_read(path, &key, &error));
    for (size_t i = 0; i < sizeof(key.id); i++)
        assert_int_equal(key.id[i], i);
    for (size_t i = 0; i < sizeof(key.secret); i++)
        assert_int_equal(key.secret[i], i + 16);
}

static void what_is_no_key_file_is_refused(void **state)
{
    static const char *const texts[] = {
        "",
        "\n",
        "peat-key 1 " ID " " SECRET,
        LINE "\n",
        LINE LINE,
        " " LINE,
        "peat-key 2 " ID " " SECRET "\n",
        "peat-key 1 " SECRET " " ID "\n",
        "peat-key 1 " ID "  " SECRET "\n",
        "peat-key 1 00000000000000000000000000000000 " SECRET "\n",
    };
    const char *path = pt_test_path("wrong.key");
    (void)state;

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        file_write(path, texts[i]);
        require_refused(path, PEAT_INVALID, no_key_file);
    }
    for (size_t i = 0; i < sizeof(LINE) - 1; i++) { /* each character another one, and none */
        static const char others[] = {'g', '\n', ' ', '\0'};

        for (size_t k = 0; k < sizeof(others); k++) {
            char line[] = LINE;
            FILE *file;

            if (line[i] == others[k])
                continue;
            line[i] = others[k];
            file = fopen(path, "w");
            PT_REQUIRE(file != NULL && fwrite(line, 1, sizeof(line) - 1, file) == sizeof(line) - 1);
            PT_REQUIRE(fclose(file) == 0);
            require_refused(path, PEAT_INVALID, no_key_file);
        }
    }
}

static void what_is_not_its_owners_alone_is_refused(void **state)
{
    static const mode_t modes[] = {0640, 0604, 0620, 0602, 0610, 0601, 0666, 0777};
    char path[4096];
    char link_path[4096];
    (void)state;

    (void)snprintf(path, sizeof(path), "%s", pt_test_path("open.key"));
    (void)snprintf(link_path, sizeof(link_path), "%s", pt_test_path("link.key"));
    file_write(path, LINE);
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        PT_REQUIRE(chmod(path, modes[i]) == 0);
        require_refused(path, PEAT_INVALID, "chmod 600");
    }
    PT_REQUIRE(chmod(path, 0600) == 0);
    PT_REQUIRE(symlink(path, link_path) == 0);
    require_refused(link_path, PEAT_INVALID, "symbolic link");
    PT_REQUIRE(unlink(link_path) == 0 && mkdir(link_path, 0700) == 0);
    require_refused(link_path, PEAT_INVALID, "regular file");
    PT_REQUIRE(rmdir(link_path) == 0 && mkfifo(link_path, 0600) == 0);
    require_refused(link_path, PEAT_INVALID, "regular file"); /* and nobody waits for a writer */
    PT_REQUIRE(unlink(link_path) == 0);
    require_refused(link_path, PEAT_NOT_FOUND, no_key_file);
    /* Another owner: only root can give a file away, and a container may have no other user. */
    if (geteuid() == 0 && chown(path, 12345, (gid_t)-1) == 0)
        require_refused(path, PEAT_INVALID, "another user");
    else
        print_message("# another owner: skipped, this user can give no file away\n");
}

static void a_key_that_cannot_be_made_leaves_nothing(void **state)
{
    char path[4096];
    char id[PEAT_KEY_ID_TEXT_SIZE];
    struct peat_repl_error error;
    struct rlimit before;
    struct rlimit none;
    (void)state;

    (void)snprintf(path, sizeof(path), "%s", pt_test_path("absent"));
    (void)strncat(path, "/new.key", sizeof(path) - strlen(path) - 1);
    PT_REQUIRE_STATUS(peat_key_make(path, id, &error), PEAT_IO);
    assert_non_null(strstr(error.words, path));
    PT_REQUIRE_STATUS(peat_key_make(NULL, id, &error), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_key_make(path, NULL, NULL), PEAT_INVALID);

    (void)snprintf(path, sizeof(path), "%s", pt_test_path("full.key"));
    PT_REQUIRE(getrlimit(RLIMIT_FSIZE, &before) == 0);
    none = before;
    none.rlim_cur = 40; /* bytes: the line is cut short */
    (void)fflush(NULL);
    PT_REQUIRE(setrlimit(RLIMIT_FSIZE, &none) == 0);
    (void)signal(SIGXFSZ, SIG_IGN);
    PT_REQUIRE_STATUS(peat_key_make(path, id, &error), PEAT_IO);
    PT_REQUIRE(setrlimit(RLIMIT_FSIZE, &before) == 0);
    assert_non_null(strstr(error.words, "File too large"));
    assert_int_equal(access(path, F_OK), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_that_was_made_reads_as_it_was_told),
        cmocka_unit_test(the_line_of_the_format_is_read),
        cmocka_unit_test(what_is_no_key_file_is_refused),
        cmocka_unit_test(what_is_not_its_owners_alone_is_refused),
        cmocka_unit_test(a_key_that_cannot_be_made_leaves_nothing),
    };
    int failed;

    pt_test_start();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed;
}
