#include "repl/peat_repl.h"
#include "tools/command.h"
#include "tools/event_lines.h"
#include "tools/interrupt.h"
#include "tools/load_work.h"
#include "tools/output.h"
#include "tools/status_file.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { URLS_MAX = 8, KEYS_MAX = 64 };

struct serve_options {
    struct pt_load_options load;
    struct peat_primary_options primary;
    const char *urls[URLS_MAX];
    const char *keys[KEYS_MAX];
    const char *status_path; /* NULL: none */
};

/* Until something can be read from standard input, or it is to stop. */
static bool input_comes(void)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    int count = 0;

    while (count == 0 && !pt_interrupt_came())
        count = poll(&input, 1, 100);
    return !pt_interrupt_came();
}

static void wait_for_the_end(void)
{
    while (!pt_interrupt_came())
        (void)poll(NULL, 0, 100);
}

static enum pt_exit primary_start(const struct serve_options *options, struct pt_load_work *work,
                                  struct peat_primary **primary_out)
{
    struct peat_primary_status status = {.struct_size = sizeof(status)};
    struct peat_repl_error error;

    if (peat_primary_start(work->target.db, &options->primary, primary_out, &error) != PEAT_OK) {
        pt_complain(work->target.store, "%s", error.words);
        return PT_EXIT_ERROR;
    }
    peat_primary_status_get(*primary_out, &status);
    for (size_t i = 0; i < options->primary.url_count; i++)
        pt_output_format("listening on %s\n", options->urls[i]);
    if (status.port != 0)
        pt_output_format("port %u\n", status.port);
    pt_output_flush();
    return PT_EXIT_DONE;
}

static enum pt_exit serve(struct serve_options *options, struct pt_load_work *work,
                          const char *store)
{
    struct peat_primary *primary = NULL;
    struct pt_status_file *status_file = NULL;
    enum pt_exit outcome = pt_target_open_write(&work->target, store, NULL, PEAT_CREATE, 0);

    options->primary.event = pt_event_line;
    options->primary.event_context = (void *)(uintptr_t)store; /* which only reads it */
    if (outcome == PT_EXIT_DONE)
        outcome = primary_start(options, work, &primary);
    if (outcome == PT_EXIT_DONE)
        outcome = pt_status_file_start(options->status_path, store, work->target.db, primary, NULL,
                                       &status_file);
    if (outcome == PT_EXIT_DONE && input_comes())
        outcome = pt_load_files(work, 0, NULL);
    if (outcome == PT_EXIT_DONE)
        wait_for_the_end();
    pt_status_file_stop(status_file);
    peat_primary_stop(primary);
    return pt_load_finish(work, outcome);
}

/* ---- The command ---- */

static bool list_add(const char **list, size_t *count, size_t max, const char *what)
{
    if (*count == max) {
        (void)pt_complain_usage("%s: at most %zu", what, max);
        return false;
    }
    list[(*count)++] = optarg;
    return true;
}

static bool option_take(struct serve_options *options, int code)
{
    switch (code) {
    case 'd':
        return pt_command_durability(optarg, PEAT_REPLICAS, &options->load.durability);
    case 'f':
        return pt_load_format_take(&options->load, optarg);
    case 'i':
        options->primary.flags |= PEAT_REPL_INSECURE;
        return true;
    case 'k':
        return list_add(options->keys, &options->primary.key_count, KEYS_MAX, "--key");
    case 'l':
        return list_add(options->urls, &options->primary.url_count, URLS_MAX, "--listen");
    case 's':
        options->status_path = optarg;
        return true;
    default:
        options->load.is_report = true;
        return true;
    }
}

static enum pt_exit serve_run(int argc, char **argv)
{
    static const struct option long_options[] = {{"durability", required_argument, NULL, 'd'},
                                                 {"format", required_argument, NULL, 'f'},
                                                 {"insecure", no_argument, NULL, 'i'},
                                                 {"key", required_argument, NULL, 'k'},
                                                 {"listen", required_argument, NULL, 'l'},
                                                 {"report", no_argument, NULL, 'r'},
                                                 {"status", required_argument, NULL, 's'},
                                                 {"help", no_argument, NULL, PT_OPTION_HELP},
                                                 {0}};
    struct serve_options options = {.load = PT_LOAD_OPTIONS_DEFAULT};
    struct pt_load_work *work;
    enum pt_exit outcome;
    int code;

    peat_primary_options_init(&options.primary);
    options.primary.urls = options.urls;
    options.primary.key_paths = options.keys;
    while ((code = pt_command_option(&pt_command_serve, argc, argv,
                                     ":d:f:ik:l:rs:", long_options)) != -1) {
        if (code == PT_OPTION_HELPED)
            return PT_EXIT_DONE;
        if (code == PT_OPTION_BAD || !option_take(&options, code))
            return PT_EXIT_USAGE;
    }
    if (!pt_command_arguments(argc, 1, 1))
        return PT_EXIT_USAGE;
    if (options.primary.url_count == 0)
        return pt_complain_usage("--listen is missing");
    work = calloc(1, sizeof(*work)); /* the cache is large for a stack */
    if (work == NULL)
        return pt_complain_status(NULL, PEAT_NO_MEMORY);
    work->options = &options.load;
    pt_interrupt_catch();
    outcome = serve(&options, work, argv[optind]);
    free(work);
    return outcome;
}

const struct pt_command pt_command_serve = {
    .name = "serve",
    .summary = "let followers follow the store",
    .help =
        "usage: peat serve --listen URL [OPTION]... STORE\n"
        "\n"
        "Offer STORE, which is created if it does not exist, to followers ('peat follow') until\n"
        "interrupted, and load what comes on standard input as 'peat load' does. What listens is\n"
        "said on standard output.\n"
        "\n"
        "  -l, --listen URL        tcp://HOST:PORT or ipc://PATH; may be given up to 8 times\n"
        "  -k, --key FILE          whoever has this key ('peat keygen') may follow; up to 64\n"
        "  -i, --insecure          without a key, listen on addresses that other machines can\n"
        "                          reach: whoever reaches them can read everything\n"
        "  -f, --format FORMAT     of standard input: tsv, json, dump or deb822; without it, the\n"
        "                          first line decides\n"
        "  -d, --durability LEVEL  what each commit survives: memory, os (default), disk, or\n"
        "                          replicas: on a follower's disk, too; without one it waits\n"
        "  -r, --report            after each commit write how many entries are committed\n"
        "  -s, --status FILE       write into FILE each second how it goes: OpenMetrics if its\n"
        "                          name ends in .prom, JSON if it ends in .json, else text\n"
        "\n"
        "Followers that come and go are told on standard error.\n",
    .run = serve_run,
};
