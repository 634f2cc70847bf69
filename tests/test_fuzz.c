/*
 * The property: no bytes lead the library, or the readers of the command's formats, astray. Replays the
 * inputs of tests/corpus, which libFuzzer and those who found bugs have left there, and then changes them
 * at random. The targets are those of fuzz.h.
 *
 *     test_fuzz [TARGET [FILE...]]     all targets, one, or one on these files
 *     test_fuzz --seeds TARGET DIRECTORY
 *                                      write the inputs that the target begins with
 *
 * PEAT_SEED=n repeats a run, PEAT_SECONDS=n is how long each target's inputs are changed (default 2). An
 * input that ends the program with a signal is left in fuzz-TARGET.input.
 */
#include "tests/fuzz.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { INPUTS_MAX = 4096, SECONDS_DEFAULT = 2, SECONDS_HANG = 120, CHANGES_MAX = 6 };

struct input {
    uint8_t *data; /* owned */
    size_t size;
};

struct corpus {
    size_t count;
    struct input inputs[INPUTS_MAX];
};

/* ---- What runs, should a signal end it ---- */

static const struct pt_fuzz_target *running;
static const uint8_t *running_data;
static size_t running_size;

static void on_signal(int number)
{
    static const char words[] = "a signal ended the target; the input is in ";
    static char name[64];
    const char *last;
    int fd;

    (void)signal(number, SIG_DFL);
    if (running != NULL) {
        (void)snprintf(name, sizeof(name), "fuzz-%s.input", running->name);
        fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
        if (fd >= 0 && write(fd, running_data, running_size) == (ssize_t)running_size) {
            last = strchr(name, '\0');
            (void)!write(STDERR_FILENO, words, sizeof(words) - 1);
            (void)!write(STDERR_FILENO, name, (size_t)(last - name));
            (void)!write(STDERR_FILENO, "\n", 1);
        }
    }
    (void)raise(number);
}

static void run(const struct pt_fuzz_target *target, const uint8_t *data, size_t size)
{
    running_data = data;
    running_size = size;
    running = target;
    (void)alarm(SECONDS_HANG);
    pt_fuzz_run(target, data, size);
    running = NULL;
}

/* ---- Corpora ---- */

static void input_add(void *context, const void *data, size_t size)
{
    struct corpus *corpus = context;
    struct input *input = &corpus->inputs[corpus->count];

    PT_REQUIRE(corpus->count++ < INPUTS_MAX);
    input->size = size;
    input->data = malloc(size + 1);
    PT_REQUIRE(input->data != NULL);
    if (size > 0)
        memcpy(input->data, data, size);
}

static bool file_add(struct corpus *corpus, const char *path)
{
    static uint8_t bytes[1 << 20];
    FILE *file = fopen(path, "rb");

    if (file == NULL)
        return false;
    input_add(corpus, bytes, fread(bytes, 1, sizeof(bytes), file));
    (void)fclose(file);
    return true;
}

/* The inputs in the order of their names, which stand for their bytes. */
static void corpus_read(struct corpus *corpus, const char *name)
{
    const char *root = getenv("top_srcdir");
    struct dirent **entries = NULL;
    char path[4096];
    int count;

    (void)snprintf(path, sizeof(path), "%s/tests/corpus/%s", root == NULL ? "." : root, name);
    count = scandir(path, &entries, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        if (entries[i]->d_name[0] != '.') {
            (void)snprintf(path, sizeof(path), "%s/tests/corpus/%s/%s", root == NULL ? "." : root,
                           name, entries[i]->d_name);
            PT_REQUIRE(file_add(corpus, path));
        }
        free(entries[i]);
    }
    free(entries);
}

static void corpus_free(struct corpus *corpus)
{
    for (size_t i = 0; i < corpus->count; i++)
        free(corpus->inputs[i].data);
    free(corpus);
}

/* ---- Changes ---- */

static void number_put(uint8_t *place, struct pt_dice *dice, size_t room)
{
    static const uint64_t numbers[] = {
        0,         1, 7, 8, 0x7f, 0xff, 0xffff, 0x10000, 0x7fffffff, 0xffffffff, 0x7fffffffffffffff,
        UINT64_MAX};
    uint64_t number = numbers[pt_dice_below(dice, sizeof(numbers) / sizeof(numbers[0]))];
    size_t size = (size_t)1 << pt_dice_below(dice, 4);

    for (size_t i = 0; i < size && i < room; i++)
        place[i] = (uint8_t)(number >> 8 * i);
}

/* Change something in @p bytes, which have room for @p room. */
static void change(const struct corpus *corpus, struct pt_dice *dice, uint8_t *bytes, size_t *size,
                   size_t room)
{
    const struct input *other = &corpus->inputs[pt_dice_below(dice, corpus->count)];
    size_t at = pt_dice_below(dice, *size + 1);
    size_t count = 1 + pt_dice_below(dice, 16);

    switch (pt_dice_below(dice, 7)) {
    case 0: /* a bit */
        if (at < *size)
            bytes[at] ^= (uint8_t)(1u << pt_dice_below(dice, 8));
        break;
    case 1: /* a byte */
        if (at < *size)
            bytes[at] = (uint8_t)pt_dice_next(dice);
        break;
    case 2:
        number_put(bytes + at, dice, *size - at);
        break;
    case 3: /* take out */
        if (count <= *size - at) {
            memmove(bytes + at, bytes + at + count, *size - at - count);
            *size -= count;
        }
        break;
    case 4: /* put in */
        if (count <= room - *size) {
            memmove(bytes + at + count, bytes + at, *size - at);
            pt_value_fill(pt_dice_next(dice), bytes + at, count);
            *size += count;
        }
        break;
    case 5: /* a part of another, over it */
        if (other->size > 0) {
            size_t from = pt_dice_below(dice, other->size);

            for (size_t i = 0; i < count && from + i < other->size && at + i < *size; i++)
                bytes[at + i] = other->data[from + i];
        }
        break;
    default: /* the end of another */
        if (at < other->size && other->size <= room) {
            memcpy(bytes + at, other->data + at, other->size - at);
            *size = other->size;
        }
        break;
    }
}

static uint64_t changes_try(const struct pt_fuzz_target *target, const struct corpus *corpus,
                            struct pt_dice *dice)
{
    uint64_t end = pt_test_now_us() + pt_test_number("PEAT_SECONDS", SECONDS_DEFAULT) * 1000000;
    uint8_t *bytes = malloc(target->size_max);
    uint64_t count = 0;

    PT_REQUIRE(bytes != NULL);
    while (corpus->count > 0 && pt_test_now_us() < end) {
        const struct input *input = &corpus->inputs[pt_dice_below(dice, corpus->count)];
        size_t size = input->size < target->size_max ? input->size : target->size_max;
        uint64_t changes = 1 + pt_dice_below(dice, CHANGES_MAX);

        memcpy(bytes, input->data, size);
        for (uint64_t i = 0; i < changes; i++)
            change(corpus, dice, bytes, &size, target->size_max);
        run(target, bytes, size);
        count++;
    }
    free(bytes);
    return count;
}

/* ---- As a test ---- */

static uint64_t seed;

static void target_test(void **state)
{
    const struct pt_fuzz_target *target = *state;
    struct corpus *corpus = calloc(1, sizeof(*corpus));
    struct pt_dice dice = {seed};
    size_t begin;

    assert_non_null(corpus);
    if (target->seeds != NULL)
        target->seeds(input_add, corpus);
    begin = corpus->count;
    corpus_read(corpus, target->name);
    assert_true(corpus->count > begin); /* else it was not found */
    for (size_t i = 0; i < corpus->count; i++)
        run(target, corpus->inputs[i].data, corpus->inputs[i].size);
    printf("# %s: %zu inputs replayed", target->name, corpus->count);
    (void)fflush(stdout);
    printf(", %" PRIu64 " changed ones\n", changes_try(target, corpus, &dice));
    corpus_free(corpus);
}

/* ---- By hand ---- */

static void seed_write(void *context, const void *data, size_t size)
{
    static unsigned number;
    char path[4096];
    FILE *file;

    (void)snprintf(path, sizeof(path), "%s/seed-%02u", (const char *)context, number++);
    file = fopen(path, "wb");
    if (file == NULL || fwrite(data, 1, size, file) != size || fclose(file) != 0) {
        perror(path);
        exit(1);
    }
}

static int files_run(const struct pt_fuzz_target *target, char **paths)
{
    struct corpus *corpus = calloc(1, sizeof(*corpus));

    PT_REQUIRE(corpus != NULL);
    for (; *paths != NULL; paths++) {
        if (!file_add(corpus, *paths)) {
            perror(*paths);
            return 1;
        }
    }
    for (size_t i = 0; i < corpus->count; i++)
        run(target, corpus->inputs[i].data, corpus->inputs[i].size);
    printf("%zu inputs\n", corpus->count);
    corpus_free(corpus);
    return 0;
}

int main(int argc, char **argv)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGALRM};
    const bool write_seeds = argc == 4 && strcmp(argv[1], "--seeds") == 0;
    const char *name = write_seeds ? argv[2] : argc > 1 ? argv[1] : NULL;
    const struct pt_fuzz_target *only = name == NULL ? NULL : pt_fuzz_find(name);
    struct CMUnitTest tests[32] = {{0}};
    size_t count = 0;
    int failed;

    pt_test_start();
    if (name != NULL && only == NULL) {
        fprintf(stderr, "no target %s\n", name);
        return 2;
    }
    pt_fuzz_start();
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        (void)signal(signals[i], on_signal);
    if (write_seeds) {
        only->seeds(seed_write, argv[3]);
        return 0;
    }
    if (argc > 2)
        return files_run(only, argv + 2);
    seed = pt_test_seed();
    for (size_t i = 0; pt_fuzz_targets[i] != NULL; i++) {
        union {
            const struct pt_fuzz_target *target;
            void *state;
        } initial = {pt_fuzz_targets[i]};

        if (only == NULL || only == pt_fuzz_targets[i])
            tests[count++] = (struct CMUnitTest){.name = pt_fuzz_targets[i]->sentence,
                                                 .test_func = target_test,
                                                 .initial_state = initial.state};
    }
    failed = _cmocka_run_group_tests("fuzz", tests, count, NULL, NULL);
    pt_test_end();
    return failed;
}
