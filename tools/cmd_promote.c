#include "tools/command.h"
#include "tools/output.h"
#include "tools/target.h"

#include <inttypes.h>

/* Whether it can be: to open it as a follower first would make it one. */
static enum pt_exit check(const char *store)
{
    struct pt_target target = {0};
    enum peat_role role = PEAT_ROLE_PRIMARY;
    enum pt_exit outcome = pt_target_open_read(&target, store, NULL);

    if (outcome == PT_EXIT_DONE) {
        (void)peat_role_get(target.db, &role);
        outcome = pt_target_close(&target, outcome);
    }
    if (outcome != PT_EXIT_DONE || role == PEAT_ROLE_FOLLOWER)
        return outcome;
    pt_complain(
        store, "%s",
        role == PEAT_ROLE_FENCED
            ? "it is fenced: its history goes on in another store; have it follow that first"
            : "it follows no other store: it takes commits of its own already");
    return PT_EXIT_ERROR;
}

static enum pt_exit promote(const char *store)
{
    struct pt_target target = {0};
    struct peat_position position = {.commit = 0};
    uint64_t epoch = 0;
    enum pt_exit outcome = check(store);
    enum peat_status status;

    if (outcome == PT_EXIT_DONE)
        outcome = pt_target_open_write(&target, store, NULL, PEAT_FOLLOWER, 0);
    if (outcome != PT_EXIT_DONE)
        return outcome;
    status = peat_promote(target.db, 0, &epoch);
    if (status == PEAT_OK)
        status = peat_position_get(target.db, &position);
    if (status != PEAT_OK)
        outcome = pt_complain_status(store, status);
    outcome = pt_target_close(&target, outcome);
    if (outcome == PT_EXIT_DONE)
        pt_output_format("promoted: epoch %" PRIu64 " begins after commit %" PRIu64 "\n", epoch,
                         position.commit);
    return outcome;
}

static enum pt_exit promote_run(int argc, char **argv)
{
    static const struct option long_options[] = {{"help", no_argument, NULL, PT_OPTION_HELP}, {0}};
    int code = pt_command_option(&pt_command_promote, argc, argv, ":", long_options);

    if (code != -1)
        return code == PT_OPTION_HELPED ? PT_EXIT_DONE : PT_EXIT_USAGE;
    if (!pt_command_arguments(argc, 1, 1))
        return PT_EXIT_USAGE;
    return promote(argv[optind]);
}

const struct pt_command pt_command_promote = {
    .name = "promote",
    .summary = "have a store that follows take commits of its own",
    .help =
        "usage: peat promote STORE\n"
        "\n"
        "Have STORE, which 'peat follow' has filled, follow no more, and take commits of its own\n"
        "from the newest one that it has on. These are of a new epoch, so that they can be told\n"
        "from what the store that it followed has committed since.\n"
        "\n"
        "Nothing asks whether that store is still written to: see to it that it is not, or what\n"
        "it commits is in another history. To follow this one it has to have nothing that this\n"
        "one has not. Stop 'peat follow' before.\n",
    .run = promote_run,
};
