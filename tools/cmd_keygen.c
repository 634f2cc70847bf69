#include "repl/peat_repl.h"
#include "tools/command.h"
#include "tools/output.h"

static enum pt_exit keygen_run(int argc, char **argv)
{
    static const struct option long_options[] = {{"help", no_argument, NULL, PT_OPTION_HELP}, {0}};
    char id[PEAT_KEY_ID_TEXT_SIZE];
    struct peat_repl_error error;
    int code;

    while ((code = pt_command_option(&pt_command_keygen, argc, argv, ":", long_options)) != -1)
        return code == PT_OPTION_HELPED ? PT_EXIT_DONE : PT_EXIT_USAGE;
    if (!pt_command_arguments(argc, 1, 1))
        return PT_EXIT_USAGE;
    if (peat_key_make(argv[optind], id, &error) != PEAT_OK) {
        pt_complain(NULL, "%s", error.words);
        return PT_EXIT_ERROR;
    }
    pt_output_format("key %s\n", id);
    return PT_EXIT_DONE;
}

const struct pt_command pt_command_keygen = {
    .name = "keygen",
    .summary = "make a key for primaries and followers",
    .help =
        "usage: peat keygen KEYFILE\n"
        "\n"
        "Make a key, and KEYFILE, which must not be there yet and which you alone can read. Both\n"
        "sides need the same file: 'peat serve --key KEYFILE', 'peat follow --key KEYFILE'. Copy\n"
        "it as you would a password. The key's number, which is no secret, is written.\n",
    .run = keygen_run,
};
