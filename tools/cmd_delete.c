#include "tools/command.h"
#include "tools/target.h"

struct delete_options {
    const char *path; /* of the collection, or NULL */
    enum peat_durability durability;
    uint64_t file_size_max; /* bytes; 0: any */
    bool is_hex;
    bool is_forced;
};

/* The run of a command over its keys. */
struct delete_work {
    const struct delete_options *options;
    struct pt_target target;
    struct peat_snapshot *before; /* tells which keys there are */
    struct peat_batch *batch;
};

/* Look one key up and add its deletion to the batch. PT_EXIT_NOT_FOUND: it was not there. */
static enum pt_exit key_delete(struct delete_work *work, const char *word)
{
    struct pt_textbuf key;
    struct peat_bytes value;
    enum peat_status status;
    enum pt_exit outcome = PT_EXIT_USAGE;

    if (!pt_command_bytes(word, work->options->is_hex, &key))
        goto done;
    outcome = PT_EXIT_DONE;
    status = peat_get(work->before, work->target.collection, pt_textbuf_bytes(&key), &value);
    if (status == PEAT_NOT_FOUND && !work->options->is_forced) {
        pt_complain(work->target.store, "no key '%s'", word);
        outcome = PT_EXIT_NOT_FOUND;
    }
    /* A damaged value is no reason to keep the key: deleting it is a remedy. */
    if (status == PEAT_OK || status == PEAT_CORRUPT)
        status = peat_batch_delete(work->batch, work->target.collection, pt_textbuf_bytes(&key));
    if (status < 0)
        outcome = pt_complain_status(work->target.store, status);
done:
    pt_textbuf_fini(&key);
    return outcome;
}

/* Delete the keys that are there in one commit. */
static enum pt_exit keys_delete(struct delete_work *work, int count, char **words)
{
    enum pt_exit outcome = PT_EXIT_DONE;
    enum peat_status status;

    for (int i = 0; i < count; i++) {
        enum pt_exit found = key_delete(work, words[i]);

        if (found > PT_EXIT_NOT_FOUND)
            return found;
        if (found == PT_EXIT_NOT_FOUND)
            outcome = found;
    }
    status = peat_write(work->target.db, work->batch, work->options->durability, NULL);
    return status == PEAT_OK ? outcome : pt_complain_status(work->target.store, status);
}

static enum pt_exit store_delete(const struct delete_options *options, int count, char **words)
{
    struct delete_work work = {.options = options};
    enum peat_status status;
    enum pt_exit outcome;

    outcome =
        pt_target_open_write(&work.target, words[0], options->path, 0, options->file_size_max);
    if (outcome != PT_EXIT_DONE)
        goto done;
    work.batch = peat_batch_new(0);
    status = work.batch == NULL ? PEAT_NO_MEMORY : peat_snapshot_open(work.target.db, &work.before);
    if (status != PEAT_OK)
        outcome = pt_complain_status(words[0], status);
    else
        outcome = keys_delete(&work, count - 1, words + 1);
done:
    peat_snapshot_close(work.before);
    peat_batch_free(work.batch);
    return pt_target_close(&work.target, outcome);
}

static enum pt_exit delete_run(int argc, char **argv)
{
    static const struct option long_options[] = {
        {"collection", required_argument, NULL, 'c'},
        {"durability", required_argument, NULL, 'd'},
        {"force", no_argument, NULL, 'f'},
        {"hex", no_argument, NULL, 'x'},
        {"file-size-max", required_argument, NULL, PT_OPTION_FILE_SIZE},
        {"help", no_argument, NULL, PT_OPTION_HELP},
        {0}};
    struct delete_options options = {.durability = PEAT_DEFAULT};
    int code;

    while ((code = pt_command_option(&pt_command_delete, argc, argv, ":c:d:fx", long_options)) !=
           -1) {
        if (code == 'c')
            options.path = optarg;
        else if (code == 'f')
            options.is_forced = true;
        else if (code == 'x')
            options.is_hex = true;
        else if (code == PT_OPTION_FILE_SIZE) {
            if (!pt_command_file_size(optarg, &options.file_size_max))
                return PT_EXIT_USAGE;
        } else if (code != 'd')
            return code == PT_OPTION_HELPED ? PT_EXIT_DONE : PT_EXIT_USAGE;
        else if (!pt_command_durability(optarg, PEAT_DISK, &options.durability))
            return PT_EXIT_USAGE;
    }
    if (!pt_command_arguments(argc, 2, argc))
        return PT_EXIT_USAGE;
    return store_delete(&options, argc - optind, argv + optind);
}

const struct pt_command pt_command_delete = {
    .name = "delete",
    .summary = "delete keys",
    .help = "usage: peat delete [OPTION]... STORE KEY...\n"
            "\n"
            "Delete the keys, in one commit. Exit code 1: at least one was not there (the others\n"
            "are deleted).\n"
            "\n"
            "  -c, --collection PATH   in this collection (names with '/' between them)\n"
            "  -d, --durability LEVEL  what the commit survives: memory, os (the default) or disk\n"
            "  -f, --force             a key that is not there is no failure\n"
            "      --file-size-max N   let the store grow to N bytes at most\n"
            "  -x, --hex               the keys are hexadecimal\n",
    .run = delete_run,
};
