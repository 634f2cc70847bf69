#include "tools/command.h"
#include "tools/kept_state.h"
#include "tools/target.h"

static enum pt_exit revert(const char *store, const char *state)
{
    struct pt_target target = {0};
    uint64_t generation = 0;
    enum pt_exit outcome = pt_target_open_write(&target, store, NULL, 0, 0);
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
    static const struct option long_options[] = {{"help", no_argument, NULL, PT_OPTION_HELP}, {0}};
    int code;

    while ((code = pt_command_option(&pt_command_revert, argc, argv, ":", long_options)) != -1)
        return code == PT_OPTION_HELPED ? PT_EXIT_DONE : PT_EXIT_USAGE;
    if (!pt_command_arguments(argc, 2, 2))
        return PT_EXIT_USAGE;
    return revert(argv[optind], argv[optind + 1]);
}

const struct pt_command pt_command_revert = {
    .name = "revert",
    .summary = "go back to a state that is kept",
    .help = "usage: peat revert STORE STATE\n"
            "\n"
            "Make the store what it was in a kept state: its name, number or commit, as 'peat\n"
            "history' lists them. What the store shows now is kept, too, as the one of the kind\n"
            "before-revert: reverting to that undoes it.\n",
    .run = revert_run,
};
