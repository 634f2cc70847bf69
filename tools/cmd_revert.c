#include "tools/command.h"
#include "tools/kept_state.h"
#include "tools/target.h"

static enum pt_exit revert(const char *store, const char *state, uint64_t file_size_max)
{
    struct pt_target target = {0};
    uint64_t generation = 0;
    enum pt_exit outcome = pt_target_open_write(&target, store, NULL, 0, file_size_max);
    enum peat_status status;

    if (outcome == PT_EXIT_DONE)
        outcome = pt_kept_state_find(target.db, store, state, &generation);
    if (outcome == PT_EXIT_DONE) {
        status = peat_revert(target.db, NULL, generation, NULL);
        if (status != PEAT_OK)
            outcome = pt_complain_status(store, status);
    }
    return pt_target_close(&target, outcome);
}

static enum pt_exit revert_run(int argc, char **argv)
{
    static const struct option long_options[] = {
        {"file-size-max", required_argument, NULL, PT_OPTION_FILE_SIZE},
        {"help", no_argument, NULL, PT_OPTION_HELP},
        {0}};
    uint64_t file_size_max = 0;
    int code;

    while ((code = pt_command_option(&pt_command_revert, argc, argv, ":", long_options)) != -1) {
        if (code != PT_OPTION_FILE_SIZE)
            return code == PT_OPTION_HELPED ? PT_EXIT_DONE : PT_EXIT_USAGE;
        if (!pt_command_file_size(optarg, &file_size_max))
            return PT_EXIT_USAGE;
    }
    if (!pt_command_arguments(argc, 2, 2))
        return PT_EXIT_USAGE;
    return revert(argv[optind], argv[optind + 1], file_size_max);
}

const struct pt_command pt_command_revert = {
    .name = "revert",
    .summary = "go back to a state that is kept",
    .help = "usage: peat revert [OPTION]... STORE STATE\n"
            "\n"
            "Make the store what it was in a kept state: its name, number or commit, as 'peat\n"
            "history' lists them. What the store shows now is kept, too, as the one of the kind\n"
            "before-revert: reverting to that undoes it.\n"
            "\n"
            "      --file-size-max N  let the store grow to N bytes at most\n",
    .run = revert_run,
};
