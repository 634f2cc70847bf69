#include "tools/command.h"
#include "tools/source.h"
#include "tools/target.h"

#include <errno.h>
#include <string.h>

struct put_options {
    const char *path; /* of the collection, or NULL */
    enum peat_durability durability;
    uint64_t file_size_max; /* bytes; 0: any */
    bool is_hex;
};

/* Read all of standard input. */
static bool input_read(struct pt_textbuf *value)
{
    static const bool no_stops[256] = {false};
    struct pt_source source;
    int error_number;

    pt_textbuf_init(value, PEAT_VALUE_SIZE_MAX);
    if (!pt_source_open(&source, "-")) {
        pt_complain("standard input", "%s", strerror(errno));
        return false;
    }
    (void)pt_source_span(&source, no_stops, value);
    error_number = source.error_number;
    pt_source_close(&source);
    if (error_number != 0)
        pt_complain("standard input", "%s", strerror(error_number));
    else if (value->status == PEAT_TOO_LARGE)
        pt_complain("standard input", "a value has at most %zu bytes", PEAT_VALUE_SIZE_MAX);
    else if (value->status != PEAT_OK)
        pt_complain("standard input", "no memory for the value");
    return error_number == 0 && value->status == PEAT_OK;
}

static enum peat_status commit(const struct put_options *options, struct pt_target *target,
                               struct peat_bytes key, struct peat_bytes value)
{
    struct peat_batch *batch = peat_batch_new(key.size + value.size);
    enum peat_status status = PEAT_NO_MEMORY;

    if (batch != NULL)
        status = peat_batch_put(batch, target->collection, key, value);
    if (status == PEAT_OK)
        status = peat_write(target->db, batch, options->durability, NULL);
    peat_batch_free(batch);
    return status;
}

static enum pt_exit put(const struct put_options *options, char **words)
{
    struct pt_target target = {0};
    struct pt_textbuf key, value;
    enum peat_status status;
    enum pt_exit outcome = PT_EXIT_USAGE;

    pt_textbuf_init(&value, 0);
    if (!pt_command_bytes(words[1], options->is_hex, &key))
        goto done;
    if (strcmp(words[2], "-") == 0) {
        outcome = PT_EXIT_ERROR;
        if (!input_read(&value))
            goto done;
    } else if (!pt_command_bytes(words[2], options->is_hex, &value)) {
        goto done;
    }
    outcome =
        pt_target_open_write(&target, words[0], options->path, PEAT_CREATE, options->file_size_max);
    if (outcome != PT_EXIT_DONE)
        goto done;
    status = commit(options, &target, pt_textbuf_bytes(&key), pt_textbuf_bytes(&value));
    if (status != PEAT_OK)
        outcome = pt_complain_status(words[0], status);
done:
    pt_textbuf_fini(&key);
    pt_textbuf_fini(&value);
    return pt_target_close(&target, outcome);
}

static enum pt_exit put_run(int argc, char **argv)
{
    static const struct option long_options[] = {
        {"collection", required_argument, NULL, 'c'},
        {"durability", required_argument, NULL, 'd'},
        {"hex", no_argument, NULL, 'x'},
        {"file-size-max", required_argument, NULL, PT_OPTION_FILE_SIZE},
        {"help", no_argument, NULL, PT_OPTION_HELP},
        {0}};
    struct put_options options = {.durability = PEAT_DEFAULT};
    int code;

    while ((code = pt_command_option(&pt_command_put, argc, argv, ":c:d:x", long_options)) != -1) {
        if (code == 'c')
            options.path = optarg;
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
    if (!pt_command_arguments(argc, 3, 3))
        return PT_EXIT_USAGE;
    return put(&options, argv + optind);
}

const struct pt_command pt_command_put = {
    .name = "put",
    .summary = "set the value of a key",
    .help =
        "usage: peat put [OPTION]... STORE KEY VALUE\n"
        "\n"
        "Set the value of KEY, in one commit. VALUE '-': the bytes of standard input, as they\n"
        "are. STORE and the collection are created if they do not exist.\n"
        "\n"
        "  -c, --collection PATH   in this collection (names with '/' between them)\n"
        "  -d, --durability LEVEL  what the commit survives: memory (nothing yet), os (the end\n"
        "                          of the process; the default), disk (a power cut)\n"
        "      --file-size-max N   let the store grow to N bytes at most\n"
        "  -x, --hex               KEY and VALUE are hexadecimal\n",
    .run = put_run,
};
