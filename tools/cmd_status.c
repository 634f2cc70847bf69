#include "repl/peat_repl.h"
#include "tools/command.h"
#include "tools/output.h"
#include "tools/target.h"

static bool piece_write(void *context, const char *text, size_t size)
{
    (void)context;
    pt_output_write(text, size);
    return !pt_output_failed();
}

static enum pt_exit status_show(const char *store, enum peat_report_format format)
{
    struct peat_report_options options;
    struct pt_target target = {0};
    enum peat_status status;
    enum pt_exit outcome = pt_target_open_read(&target, store, NULL);

    peat_report_options_init(&options);
    options.format = format;
    options.store = store;
    if (outcome == PT_EXIT_DONE) {
        status = peat_replication_report(target.db, &options, piece_write, NULL);
        if (status < 0)
            outcome = pt_complain_status(store, status);
    }
    return pt_target_close(&target, outcome);
}

static enum pt_exit status_run(int argc, char **argv)
{
    static const struct option long_options[] = {{"json", no_argument, NULL, 'j'},
                                                 {"openmetrics", no_argument, NULL, 'o'},
                                                 {"help", no_argument, NULL, PT_OPTION_HELP},
                                                 {0}};
    enum peat_report_format format = PEAT_REPORT_TEXT;
    int code;

    while ((code = pt_command_option(&pt_command_status, argc, argv, ":jo", long_options)) != -1) {
        if (code != 'j' && code != 'o')
            return code == PT_OPTION_HELPED ? PT_EXIT_DONE : PT_EXIT_USAGE;
        if (format != PEAT_REPORT_TEXT)
            return pt_complain_usage("--json or --openmetrics, and once");
        format = code == 'j' ? PEAT_REPORT_JSON : PEAT_REPORT_OPENMETRICS;
    }
    if (!pt_command_arguments(argc, 1, 1))
        return PT_EXIT_USAGE;
    return status_show(argv[optind], format);
}

const struct pt_command pt_command_status = {
    .name = "status",
    .summary = "say where the store stands in replication",
    .help =
        "usage: peat status [OPTION]... STORE\n"
        "\n"
        "Write what STORE's file says of its replication: role, epochs, position, and its feeds\n"
        "with their lag; those of followers are among them. It works beside the process that\n"
        "writes to STORE. Who is connected only that one knows: 'peat serve --status FILE' and\n"
        "'peat follow --status FILE' write it into a file each second.\n"
        "\n"
        "  -j, --json         write one JSON object; sizes are bytes, times microseconds\n"
        "  -o, --openmetrics  write OpenMetrics, which Prometheus reads\n",
    .run = status_run,
};
