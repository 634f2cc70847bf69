/* The command peat: finds the subcommand, runs it, and sees to it that its output arrived. */
#include "tools/command.h"
#include "tools/output.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

/*
 * A process may be started with standard input, output or error closed. The next file opened then
 * takes that number, and what is meant for the terminal would be written into the store: so the
 * numbers are taken first. Writing to such an output fails, as it should.
 */
static bool standard_files_open(void)
{
    int fd;

    do
        fd = open("/dev/null", O_RDONLY);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd < 0)
        return false;
    (void)close(fd);
    return true;
}

static enum pt_exit run(int argc, char **argv)
{
    const struct pt_command *command;
    const char *name = argc > 1 ? argv[1] : NULL;

    if (name == NULL)
        return pt_complain_usage("which command?");
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
        pt_output_format("peat %s\n", peat_version());
        return PT_EXIT_DONE;
    }
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        return pt_command_help.run(1, argv);
    command = pt_command_find(name);
    if (command == NULL)
        return pt_complain_usage("no command '%s'", name);
    pt_complain_as(command->name);
    return command->run(argc - 1, argv + 1);
}

int main(int argc, char **argv)
{
    enum pt_exit outcome;
    enum pt_exit closed;

    if (!standard_files_open())
        return PT_EXIT_ERROR;
    /* A reader that goes away shows as EPIPE, and the store is closed in order. */
    (void)signal(SIGPIPE, SIG_IGN);
    outcome = run(argc, argv);
    closed = pt_output_close();
    return (int)(outcome == PT_EXIT_DONE ? closed : outcome);
}
