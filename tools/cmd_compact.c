#include "tools/command.h"
#include "tools/human.h"
#include "tools/interrupt.h"
#include "tools/output.h"
#include "tools/progress.h"
#include "tools/target.h"

#include <sys/stat.h>

/* What the command line asks for. */
struct compact_wish {
    const char *path;       /* of the collection, or NULL */
    uint64_t file_size_max; /* bytes; 0: any */
    const char *low;
    const char *high;
    bool is_hex;
    bool is_quiet;
};

struct compact_work {
    struct pt_progress progress;
    struct pt_textbuf low;
    struct pt_textbuf high;
};

static bool progress_show(void *context, uint64_t done, uint64_t total)
{
    struct compact_work *work = context;

    work->progress.size_expected = total;
    pt_progress_show(&work->progress, 0, done);
    return !pt_interrupt_came();
}

/* Bytes of disk that the file takes; 0: it cannot be told. */
static uint64_t disk_size(const char *store)
{
    struct stat file;

    return stat(store, &file) == 0 ? (uint64_t)file.st_blocks * 512 : 0;
}

/* Make @p range, which borrows from @p work, of the bounds that are given. */
static bool range_read(const struct compact_wish *wish, struct compact_work *work,
                       struct peat_range *range)
{
    if (wish->low != NULL) {
        if (!pt_command_bytes(wish->low, wish->is_hex, &work->low))
            return false;
        range->low = pt_textbuf_bytes(&work->low);
    }
    if (wish->high != NULL) {
        if (!pt_command_bytes(wish->high, wish->is_hex, &work->high))
            return false;
        range->high = pt_textbuf_bytes(&work->high);
    }
    return true;
}

static enum pt_exit compact(const struct compact_wish *wish, const char *store)
{
    bool is_whole = wish->path == NULL && wish->low == NULL && wish->high == NULL;
    struct compact_work work;
    struct pt_target target = {0};
    struct peat_range range = {.flags = 0};
    uint64_t before = disk_size(store);
    enum pt_exit outcome = PT_EXIT_USAGE;
    enum peat_status status;

    pt_textbuf_init(&work.low, 0);
    pt_textbuf_init(&work.high, 0);
    if (!range_read(wish, &work, &range))
        goto done;
    outcome = pt_target_open_write(&target, store, wish->path, 0, wish->file_size_max);
    if (outcome != PT_EXIT_DONE)
        goto done;
    pt_progress_init(&work.progress, NULL, 0);
    status =
        peat_compact(target.db, target.collection, is_whole ? NULL : &range, progress_show, &work);
    pt_progress_wipe();
    if (status < 0)
        outcome = pt_complain_status(store, status);
    else if (status == PEAT_DONE)
        outcome = PT_EXIT_ERROR; /* the signal says the rest */
done:
    pt_textbuf_fini(&work.low);
    pt_textbuf_fini(&work.high);
    outcome = pt_target_close(&target, outcome);
    if (outcome == PT_EXIT_DONE && !wish->is_quiet)
        pt_output_format("%s of disk before, %s now\n", pt_human_size(before).text,
                         pt_human_size(disk_size(store)).text);
    return outcome;
}

static enum pt_exit compact_run(int argc, char **argv)
{
    static const struct option long_options[] = {
        {"collection", required_argument, NULL, 'c'},
        {"hex", no_argument, NULL, 'x'},
        {"high", required_argument, NULL, 'h'},
        {"low", required_argument, NULL, 'l'},
        {"quiet", no_argument, NULL, 'q'},
        {"file-size-max", required_argument, NULL, PT_OPTION_FILE_SIZE},
        {"help", no_argument, NULL, PT_OPTION_HELP},
        {0}};
    struct compact_wish wish = {.path = NULL};
    enum pt_exit outcome;
    int code;

    while ((code = pt_command_option(&pt_command_compact, argc, argv, ":c:xh:l:q", long_options)) !=
           -1) {
        if (code == 'c')
            wish.path = optarg;
        else if (code == 'x')
            wish.is_hex = true;
        else if (code == 'h')
            wish.high = optarg;
        else if (code == 'l')
            wish.low = optarg;
        else if (code == 'q')
            wish.is_quiet = true;
        else if (code != PT_OPTION_FILE_SIZE)
            return code == PT_OPTION_HELPED ? PT_EXIT_DONE : PT_EXIT_USAGE;
        else if (!pt_command_file_size(optarg, &wish.file_size_max))
            return PT_EXIT_USAGE;
    }
    if (!pt_command_arguments(argc, 1, 1))
        return PT_EXIT_USAGE;
    pt_interrupt_catch();
    outcome = compact(&wish, argv[optind]);
    pt_interrupt_obey();
    return outcome;
}

const struct pt_command pt_command_compact = {
    .name = "compact",
    .summary = "merge what was written, and give free space back",
    .help =
        "usage: peat compact [OPTION]... STORE\n"
        "\n"
        "Merge the store into one run without deletions and overwritten values, and give the\n"
        "space that becomes free back to the filesystem. With bounds or a collection only that\n"
        "part is merged. It can be interrupted at any time: what is done stays done.\n"
        "\n"
        "  -l, --low KEY          from this key on\n"
        "  -h, --high KEY         up to, not including, this key\n"
        "  -x, --hex              the bounds are hexadecimal\n"
        "  -c, --collection PATH  in this collection (names with '/' between them)\n"
        "      --file-size-max N  let the store grow to N bytes at most\n"
        "  -q, --quiet            do not tell the size before and after\n",
    .run = compact_run,
};
