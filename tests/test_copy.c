/*
 * The property: a copy of the file that was made as cp does it, piece by piece, while another process
 * commits, flushes and merges, either opens as some committed state or is refused; it never shows wrong
 * data, neither opened for reading nor for writing.
 *
 *     test_copy [COPIES]       PEAT_SEED=n repeats the copier's choices, not the writer's pace
 */
#include "tests/support.h"

#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum {
    COPIES_DEFAULT = 60,
    GROUPS = 4,
    GROUP = 60, /* keys in each */
    VALUE_SIZE =
        4000, /* bytes: segments of several chunks, so that a part of one may be of another time */
    BATCHES_PER_OPEN = 150, /* then the writer closes the store and opens it again */
    PIECE_MAX = 1 << 20,    /* bytes */
    PAUSES_MAX = 4,         /* in which the writer goes on while a copy is made */
    PATH_SIZE = 512
};

struct copying {
    struct pt_dice dice;
    char store[PATH_SIZE];
    char copy[PATH_SIZE];
    _Atomic uint64_t *newest; /* shared with the writer: its last commit */
    pid_t writer;
    uint64_t start;  /* the dice's state before this copy */
    unsigned number; /* of this copy */
    bool is_quiet;   /* the writer is no more */
    unsigned shown;  /* copies that opened and showed a whole state */
    unsigned partly; /* that opened, and of which a part was refused */
    unsigned refused;
};

static unsigned copies_wanted;

/* ---- The writer ---- */

static struct peat_bytes key_of(char text[32], uint64_t group, unsigned i)
{
    struct peat_bytes key = {
        text, (size_t)snprintf(text, 32, "group%u-%03u", (unsigned)(group % GROUPS), i)};

    return key;
}

/*
 * Batch n is commit n. It sets all keys of group n to n, and deletes group n + 2 by its range. So at
 * commit n there are the groups n and n - 1, and nothing else.
 */
static void batch_fill(struct peat_batch *batch, uint64_t n)
{
    uint8_t value[VALUE_SIZE];
    char text[32];
    char low[32];

    pt_value_fill(n, value, sizeof(value));
    for (unsigned i = 0; i < GROUP; i++)
        PT_REQUIRE_OK(peat_batch_put(batch, NULL, key_of(text, n, i),
                                     (struct peat_bytes){value, sizeof(value)}));
    PT_REQUIRE_OK(
        peat_batch_delete_range(batch, NULL, key_of(low, n + 2, 0), key_of(text, n + 2, 999)));
}

static struct peat_options writer_options(void)
{
    struct peat_options options = pt_test_options(PEAT_CREATE);

    pt_test_options_tiny(&options);
    options.sync_interval_ms = 5;
    return options;
}

static void write_on(void *context)
{
    const struct copying *copying = context;
    struct peat_options options = writer_options();
    struct peat_batch *batch = peat_batch_new(0);
    uint64_t commit = 0;
    struct peat_db *db;

    for (;;) {
        pt_test_context("the writer, commit %llu, flags %#x", (unsigned long long)commit,
                        options.flags);
        PT_REQUIRE_OK(peat_open(copying->store, &options, &db));
        for (unsigned i = 0; i < BATCHES_PER_OPEN; i++) {
            peat_batch_clear(batch);
            batch_fill(batch, commit + 1);
            PT_REQUIRE_OK(peat_write(db, batch, i % 16 == 7 ? PEAT_DISK : PEAT_DEFAULT, &commit));
            atomic_store(copying->newest, commit);
        }
        PT_REQUIRE_OK(commit % 2 == 0 ? peat_abort(db) : peat_close(db));
        options.flags ^= PEAT_LOG_PWRITE;
    }
}

/* ---- The copier ---- */

static uint64_t size_of(int fd)
{
    struct stat status;

    PT_REQUIRE(fstat(fd, &status) == 0);
    return (uint64_t)status.st_size;
}

static void piece_copy(int from, int to, uint64_t offset, uint64_t size)
{
    static uint8_t piece[PIECE_MAX];
    ssize_t got = pread(from, piece, size, (off_t)offset);

    PT_REQUIRE(got >= 0 && pwrite(to, piece, (size_t)got, (off_t)offset) == got);
}

static uint64_t common_factor(uint64_t a, uint64_t b)
{
    return b == 0 ? a : common_factor(b, a % b);
}

/* Until the writer has made commit number @p commit. */
static void writer_wait(const struct copying *copying, uint64_t commit)
{
    while (atomic_load(copying->newest) < commit) {
        pt_child_check(copying->writer);
        (void)sched_yield();
    }
}

/* Let the writer go on for some commits, so that what is copied next is of another time. */
static void writer_pass(struct copying *copying)
{
    uint64_t commit = atomic_load(copying->newest) + 1 + pt_dice_below(&copying->dice, 10);

    if (!copying->is_quiet)
        writer_wait(copying, commit);
}

/* Each piece once, in the order of a walk with a step that shares no factor with their number. */
static void pieces_copy(struct copying *copying, int from, int to)
{
    uint64_t piece_size = (uint64_t)4096 << pt_dice_below(&copying->dice, 9);
    uint64_t size = size_of(from);
    uint64_t count = (size + piece_size - 1) / piece_size;
    uint64_t pauses = pt_dice_below(&copying->dice, PAUSES_MAX + 1);
    uint64_t step = 1;
    uint64_t at = 0;

    switch (pt_dice_below(&copying->dice, 4)) {
    case 0: /* from front to back, as cp does */
        break;
    case 1: /* from back to front */
        step = count == 1 ? 1 : count - 1;
        at = count - 1;
        break;
    default: /* mixed */
        at = pt_dice_below(&copying->dice, count);
        do
            step = 1 + pt_dice_below(&copying->dice, count);
        while (common_factor(step, count) != 1);
        break;
    }
    for (uint64_t i = 0; i < count; i++) {
        if (pauses > 0 && pt_dice_below(&copying->dice, count) < PAUSES_MAX) {
            writer_pass(copying);
            pauses--;
        }
        piece_copy(from, to, at * piece_size, piece_size);
        at = (at + step) % count;
    }
    /* What was appended meanwhile. */
    if (pt_dice_one_in(&copying->dice, 2))
        for (uint64_t offset = size; offset < size_of(from); offset += piece_size)
            piece_copy(from, to, offset, piece_size);
}

static void file_copy(struct copying *copying)
{
    int from = open(copying->store, O_RDONLY | O_CLOEXEC);
    int to = open(copying->copy, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    PT_REQUIRE(from >= 0 && to >= 0);
    if (size_of(from) > 0)
        pieces_copy(copying, from, to);
    PT_REQUIRE(close(from) == 0 && close(to) == 0);
}

/* ---- The judge ---- */

/* Key number @p place at commit @p commit, in order, and what it was set to; false: there is none. */
static bool entry_expected(uint64_t commit, unsigned place, char text[32], uint64_t *n_out)
{
    uint64_t groups[2] = {commit, commit - 1}; /* in the order of their keys */
    unsigned count = commit < 2 ? (unsigned)commit : 2;

    if (count == 2 && groups[1] % GROUPS < groups[0] % GROUPS) {
        groups[0] = commit - 1;
        groups[1] = commit;
    }
    if (place >= count * GROUP)
        return false;
    *n_out = groups[place / GROUP];
    (void)key_of(text, *n_out, place % GROUP);
    return true;
}

/* What is shown must be what the commit left. False: a part was refused. */
static bool state_is_whole(struct peat_db *db)
{
    struct peat_snapshot *snapshot;
    struct peat_iterator *iterator;
    enum peat_status status;
    unsigned place = 0;
    uint64_t commit;
    char text[32];
    uint64_t n;

    PT_REQUIRE_OK(peat_snapshot_open(db, &snapshot));
    commit = peat_snapshot_commit(snapshot);
    status = peat_iterator_open(snapshot, NULL, NULL, &iterator);
    if (status == PEAT_OK) {
        for (status = peat_iterator_first(iterator); status == PEAT_OK;
             status = peat_iterator_next(iterator)) {
            PT_REQUIRE(entry_expected(commit, place++, text, &n));
            PT_REQUIRE(pt_same(peat_iterator_key(iterator), pt_text(text)));
            PT_REQUIRE(pt_value_matches(n, peat_iterator_value(iterator)));
        }
        peat_iterator_close(iterator);
    }
    PT_REQUIRE(status == PEAT_DONE || status == PEAT_CORRUPT || status == PEAT_IO);
    if (status == PEAT_DONE)
        PT_REQUIRE(!entry_expected(commit, place, text, &n));
    for (unsigned i = 0; entry_expected(commit, i, text, &n); i++) {
        struct peat_bytes value;
        enum peat_status found = peat_get(snapshot, NULL, pt_text(text), &value);

        PT_REQUIRE(found == PEAT_OK || found == PEAT_CORRUPT || found == PEAT_IO);
        if (found == PEAT_OK)
            PT_REQUIRE(pt_value_matches(n, value));
        else
            status = found;
    }
    peat_snapshot_close(snapshot);
    return status == PEAT_DONE;
}

/* Open the copy with @p flags. *status_out is what opening came to. Whether all of it was shown. */
static bool copy_judge(const struct copying *copying, unsigned flags, enum peat_status *status_out)
{
    struct peat_options options = pt_test_options(flags);
    struct peat_db *db;
    bool whole;
    bool clean;

    *status_out = peat_open(copying->copy, &options, &db);
    if (*status_out != PEAT_OK) {
        PT_REQUIRE(*status_out == PEAT_CORRUPT || *status_out == PEAT_INVALID ||
                   *status_out == PEAT_NOT_FOUND || *status_out == PEAT_IO);
        PT_REQUIRE(peat_last_error()[0] != '\0');
        return false;
    }
    whole = state_is_whole(db);
    clean = peat_check(db, NULL, NULL, NULL) == PEAT_OK;
    PT_REQUIRE(whole || !clean);
    (void)peat_close(db); /* what is damaged may not be mergeable */
    return whole && clean;
}

/* For failures and hangs: what is being done to the copy. */
static void context_set(const struct copying *copying, const char *what)
{
    pt_test_context("copy %u, from dice %llu, %s", copying->number,
                    (unsigned long long)copying->start, what);
}

static void copy_take(struct copying *copying)
{
    enum peat_status reading;
    enum peat_status writing;
    bool whole;

    copying->start = copying->dice.state;
    context_set(copying, "being made");
    file_copy(copying);
    context_set(copying, "read");
    whole = copy_judge(copying, PEAT_READ_ONLY, &reading);
    context_set(copying, "opened for writing");
    (void)copy_judge(copying, 0, &writing);
    if (whole)
        copying->shown++;
    else if (reading == PEAT_OK)
        copying->partly++;
    else
        copying->refused++;
    /* What can be read whole may yet be refused for writing: pieces of two moments may claim the same
     * region, which a reader, who claims none, need not see. But the store at rest may not. */
    if (whole)
        PT_REQUIRE(writing == PEAT_OK || (writing == PEAT_CORRUPT && !copying->is_quiet));
}

static void p3_a_copy_of_a_file_in_use_never_shows_wrong_data(void **state)
{
    struct copying copying = {.dice = {pt_test_seed()}};

    (void)state;
    copying.newest = mmap(NULL, sizeof(*copying.newest), PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    PT_REQUIRE(copying.newest != MAP_FAILED);
    (void)snprintf(copying.store, sizeof(copying.store), "%s", pt_test_path("store"));
    (void)snprintf(copying.copy, sizeof(copying.copy), "%s", pt_test_path("copy"));
    copying.writer = pt_child_start(write_on, &copying);
    writer_wait(&copying, 1);
    for (; copying.number < copies_wanted; copying.number++)
        copy_take(&copying);
    pt_child_kill(copying.writer);
    copying.is_quiet = true;
    printf("# %llu commits; %u copies showed one of them, %u a part of one, %u were refused\n",
           (unsigned long long)atomic_load(copying.newest), copying.shown, copying.partly,
           copying.refused);
    /* Nobody writes any more: a copy is the store. */
    copying.shown = 0;
    copy_take(&copying);
    PT_REQUIRE(copying.shown == 1);
    (void)munmap(copying.newest, sizeof(*copying.newest));
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(p3_a_copy_of_a_file_in_use_never_shows_wrong_data),
    };
    int failed;

    pt_test_start();
    copies_wanted = (unsigned)pt_test_number("PEAT_COPIES", COPIES_DEFAULT);
    if (argc > 1)
        copies_wanted = (unsigned)strtoul(argv[1], NULL, 0);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed == 0 ? 0 : 1;
}
