#include "tools/command.h"
#include "tools/output.h"

static void overview_write(void)
{
    pt_output_string("peat: an ordered key/value store in one file\n"
                     "\n"
                     "usage: peat COMMAND [OPTION]... STORE [ARGUMENT]...\n"
                     "\n");
    for (size_t i = 0; pt_commands[i] != NULL; i++)
        pt_output_format("  %-8s %s\n", pt_commands[i]->name, pt_commands[i]->summary);
    pt_output_string("\n"
                     "'peat help COMMAND' says more; peat --version gives the version.\n"
                     "STORE is the store's file. Commands that only read work while another\n"
                     "process writes to it.\n"
                     "\n"
                     "Exit codes: 0 done, 1 not found, 2 wrong usage, 3 error, 4 damage found.\n"
                     "Manual pages: peat(1), peat-text(5).\n");
}

static enum pt_exit help_run(int argc, char **argv)
{
    static const struct option options[] = {{"help", no_argument, NULL, PT_OPTION_HELP}, {0}};
    const struct pt_command *command;
    int code;

    while ((code = pt_command_option(&pt_command_help, argc, argv, ":", options)) != -1)
        return code == PT_OPTION_HELPED ? PT_EXIT_DONE : PT_EXIT_USAGE;
    if (optind >= argc) {
        overview_write();
        return PT_EXIT_DONE;
    }
    if (!pt_command_arguments(argc, 0, 1))
        return PT_EXIT_USAGE;
    command = pt_command_find(argv[optind]);
    if (command == NULL)
        return pt_complain_usage("no command '%s'", argv[optind]);
    pt_output_string(command->help);
    return PT_EXIT_DONE;
}

const struct pt_command pt_command_help = {
    .name = "help",
    .summary = "say how a command is used",
    .help = "usage: peat help [COMMAND]\n"
            "\n"
            "Without COMMAND, list the commands.\n",
    .run = help_run,
};
