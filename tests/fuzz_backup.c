/*
 * Target: the headers of a full backup and an increment on it behind right checksums, inspected and
 * restored. What a restore makes is what the headers say, or it is not made.
 */
#include "core/base/file.h"
#include "tests/forge.h"
#include "tests/fuzz_store.h"
#include "tests/thin_file.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What the first byte of an input asks for; the headers follow. */
enum { SEAL_FULL = 1, SEAL_INCREMENT = 2, FULL_ALONE = 4 };
enum { INPUT_MAX = 1 + 2 * PT_BACKUP_HEADER_SIZE };

static char paths[2][4096];
static struct pt_backup_page pages[2]; /* as they are in the files to begin with */

static int done(int fd)
{
    (void)fd;
    return 0;
}

static int directory_done(const char *path)
{
    (void)path;
    return 0;
}

/* The files, once; and nobody waits for a disk. */
static void files_make(void)
{
    static const char *const names[] = {"full", "increment"};
    static struct pt_file_calls calls;

    calls = *pt_file_calls_real();
    calls.sync = done;
    calls.sync_directory = directory_done;
    pt_file_set_calls(&calls);
    if (paths[0][0] != '\0')
        return;
    for (size_t i = 0; i < 2; i++) {
        uint64_t size;
        uint8_t *bytes = pt_fuzz_data(names[i], &size);

        (void)strcpy(paths[i], pt_test_path(names[i]));
        pt_file_make(paths[i], bytes, size);
        memcpy(&pages[i], bytes + PT_BACKUP_HEADER_OFFSET, sizeof(pages[i]));
        free(bytes);
    }
}

static void header_put(const char *path, const struct pt_backup_page *page)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    PT_REQUIRE(fd >= 0);
    PT_REQUIRE(pwrite(fd, page, sizeof(*page), PT_BACKUP_HEADER_OFFSET) == sizeof(*page));
    PT_REQUIRE(close(fd) == 0);
}

static bool came_through(enum peat_status status)
{
    if (status != PEAT_CORRUPT && status != PEAT_VERSION && status != PEAT_INVALID)
        PT_REQUIRE_STATUS(status, PEAT_OK);
    return status == PEAT_OK;
}

/* The restored store holds what @p info says. */
static void require_told(const char *path, const struct peat_backup_info *info)
{
    struct peat_options options = pt_test_options(PEAT_READ_ONLY);
    struct peat_snapshot *snapshot;
    struct peat_db *db;
    uint8_t digest[32];
    uint64_t count;

    options.address_space_size = (size_t)64 << 20;
    PT_REQUIRE_OK(peat_open(path, &options, &db));
    PT_REQUIRE_OK(peat_snapshot_open(db, &snapshot));
    PT_REQUIRE_OK(peat_digest(snapshot, NULL, NULL, digest, &count));
    PT_REQUIRE(memcmp(digest, info->digest, sizeof(digest)) == 0 && count == info->entry_count);
    PT_REQUIRE(peat_snapshot_commit(snapshot) == info->commit);
    peat_snapshot_close(snapshot);
    PT_REQUIRE_OK(peat_close(db));
}

static void run(const uint8_t *data, size_t size)
{
    const char *const chain[] = {paths[0], paths[1]};
    struct pt_fuzz_input input = {data, size};
    uint8_t flags = pt_fuzz_byte(&input);
    struct peat_backup_info info = {.struct_size = sizeof(info)};
    char target[4096];

    files_make();
    for (size_t i = 0; i < 2; i++) {
        struct pt_backup_page page = pages[i];
        size_t taken = input.size < sizeof(page) ? input.size : sizeof(page);

        memcpy(&page, input.data, taken);
        input.data += taken;
        input.size -= taken;
        if ((flags & (SEAL_FULL << i)) != 0)
            pt_forge_backup(&page);
        header_put(paths[i], &page);
        (void)came_through(peat_backup_inspect(paths[i], &info));
    }
    (void)strcpy(target, pt_test_path("restored"));
    if (came_through(
            peat_restore(target, chain, (flags & FULL_ALONE) != 0 ? 1 : 2, NULL, NULL, &info)))
        require_told(target, &info);
    else
        PT_REQUIRE(access(target, F_OK) != 0);
    (void)unlink(target);
    pt_file_set_calls(NULL);
}

static void seeds(void (*give)(void *context, const void *data, size_t size), void *context)
{
    static const uint8_t flags[] = {SEAL_FULL | SEAL_INCREMENT, SEAL_FULL | FULL_ALONE, 0};
    uint8_t bytes[INPUT_MAX];

    files_make();
    pt_file_set_calls(NULL);
    for (size_t i = 0; i < sizeof(flags); i++) {
        bytes[0] = flags[i];
        memcpy(bytes + 1, pages, sizeof(pages));
        give(context, bytes, sizeof(bytes));
    }
}

const struct pt_fuzz_target pt_fuzz_backup = {
    .name = "backup",
    .sentence = "forged backup headers give errors, or what they say",
    .size_max = INPUT_MAX,
    .run = run,
    .seeds = seeds};
