#include "repl/peat_repl.h"
#include "tools/command.h"
#include "tools/event_lines.h"
#include "tools/fork_save.h"
#include "tools/interrupt.h"
#include "tools/output.h"
#include "tools/status_file.h"
#include "tools/target.h"

#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { LOOK_MS = 100 };

struct follow_options {
    struct peat_follower_options follower;
    const char *listen;      /* NULL: nobody follows this one */
    uint64_t until;          /* stop when this commit is there; 0: never */
    const char *status_path; /* NULL: none */
};

struct follow_work {
    const struct follow_options *options;
    struct pt_target target;
    struct pt_fork_save save;
    struct peat_follower *follower;
    struct peat_primary *primary;
    struct pt_status_file *status_file;
};

/* A line. */
static void state_write(struct follow_work *work, enum peat_follower_state state, uint64_t commit,
                        const char *words)
{
    if (state == PEAT_FOLLOWER_SEEDING)
        words = (work->options->follower.flags & PEAT_FOLLOWER_HEAL) != 0
                    ? "a state is taken, for what is damaged here or missing"
                    : "the log that is missing here is gone there, so a state is taken";
    pthread_mutex_lock(&work->save.output_mutex);
    pt_output_format("%s at commit %" PRIu64 "%s%s\n", peat_follower_state_name(state), commit,
                     words[0] != '\0' ? ": " : "", words);
    pt_output_flush();
    pthread_mutex_unlock(&work->save.output_mutex);
}

static void state_came(void *context, const struct peat_follower_event *event)
{
    state_write(context, event->state, event->position.commit, event->words);
}

static bool output_failed(struct follow_work *work)
{
    bool failed;

    pthread_mutex_lock(&work->save.output_mutex);
    failed = pt_output_failed();
    pthread_mutex_unlock(&work->save.output_mutex);
    return failed;
}

static enum pt_exit start(struct follow_work *work)
{
    const struct follow_options *options = work->options;
    struct peat_follower_options follower = options->follower;
    struct peat_position position = {.commit = 0};
    struct peat_primary_options primary;
    struct peat_repl_error error;
    enum peat_status status;

    peat_primary_options_init(&primary);
    primary.flags = options->follower.flags & PEAT_REPL_INSECURE;
    primary.urls = &options->listen;
    primary.url_count = options->listen != NULL ? 1 : 0;
    primary.key_paths = &options->follower.key_path;
    primary.key_count = options->follower.key_path != NULL ? 1 : 0;
    primary.event = pt_event_line;
    primary.event_context = (void *)(uintptr_t)work->target.store; /* which only reads it */
    follower.event = state_came;
    follower.event_context = work;
    (void)peat_position_get(work->target.db, &position);
    state_write(work, PEAT_FOLLOWER_CONNECTING, position.commit, "");
    if ((follower.flags & PEAT_FOLLOWER_REJOIN) != 0) {
        follower.save = pt_fork_save;
        follower.save_context = &work->save;
    }
    status = peat_follower_start(work->target.db, &follower, &work->follower, &error);
    if (status == PEAT_OK && options->listen != NULL)
        status = peat_primary_start(work->target.db, &primary, &work->primary, &error);
    if (status == PEAT_OK)
        return pt_status_file_start(options->status_path, work->target.store, work->target.db,
                                    work->primary, work->follower, &work->status_file);
    pt_complain(work->target.store, "%s", error.words);
    return PT_EXIT_ERROR;
}

/* Whether the commit to stop at is there. Before an old primary has rejoined its numbers say nothing, and
 * what is to be healed is so before it follows, or not at all. */
static bool has_come(const struct follow_work *work, const struct peat_follower_status *status)
{
    const struct follow_options *options = work->options;
    bool waits = (options->follower.flags & (PEAT_FOLLOWER_REJOIN | PEAT_FOLLOWER_HEAL)) != 0;

    return options->until > 0 && status->position.commit >= options->until &&
           (!waits || status->state == PEAT_FOLLOWER_FOLLOWING);
}

static enum pt_exit follow_on(struct follow_work *work)
{
    struct peat_follower_status status = {.struct_size = sizeof(status)};

    while (!pt_interrupt_came() && !output_failed(work)) {
        peat_follower_status_get(work->follower, &status);
        if (has_come(work, &status)) {
            if (status.damaged_segments == 0)
                return PT_EXIT_DONE;
            pt_complain(work->target.store, "damaged segments that are not healed: %" PRIu64,
                        status.damaged_segments);
            return PT_EXIT_ERROR;
        }
        if (status.state == PEAT_FOLLOWER_DIVERGED || status.state == PEAT_FOLLOWER_FAILED) {
            pt_complain(work->target.store, "%s", status.words);
            return PT_EXIT_ERROR;
        }
        (void)poll(NULL, 0, LOOK_MS);
    }
    return PT_EXIT_DONE;
}

static enum pt_exit follow(const struct follow_options *options, const char *store)
{
    struct follow_work work = {.options = options,
                               .save = {.store = store, .output_mutex = PTHREAD_MUTEX_INITIALIZER}};
    struct peat_repl_error error;
    enum pt_exit outcome;

    if (peat_follower_check(&options->follower, &error) != PEAT_OK) {
        pt_complain(store, "%s", error.words);
        return PT_EXIT_ERROR;
    }
    outcome = pt_target_open_write(&work.target, store, NULL, PEAT_CREATE | PEAT_FOLLOWER, 0);
    if (outcome == PT_EXIT_DONE)
        outcome = start(&work);
    if (outcome == PT_EXIT_DONE)
        outcome = follow_on(&work);
    pt_status_file_stop(work.status_file);
    peat_primary_stop(work.primary);
    peat_follower_stop(work.follower);
    return pt_target_close(&work.target, outcome);
}

/* ---- The command ---- */

static bool option_take(struct follow_options *options, int code)
{
    switch (code) {
    case 'd':
        return pt_command_durability(optarg, PEAT_DISK, &options->follower.durability);
    case 'F':
        options->follower.url = optarg;
        return true;
    case 'H':
        options->follower.flags |= PEAT_FOLLOWER_HEAL;
        return true;
    case 'i':
        options->follower.flags |= PEAT_REPL_INSECURE;
        return true;
    case 'k':
        options->follower.key_path = optarg;
        return true;
    case 'l':
        options->listen = optarg;
        return true;
    case 's':
        options->status_path = optarg;
        return true;
    case 'R':
        options->follower.flags |= PEAT_FOLLOWER_REJOIN;
        return true;
    case 'u':
        return pt_command_number("--until", optarg, 1, UINT64_MAX, &options->until);
    default:
        options->follower.name = optarg;
        return true;
    }
}

static enum pt_exit follow_run(int argc, char **argv)
{
    static const struct option long_options[] = {{"durability", required_argument, NULL, 'd'},
                                                 {"from", required_argument, NULL, 'F'},
                                                 {"heal", no_argument, NULL, 'H'},
                                                 {"insecure", no_argument, NULL, 'i'},
                                                 {"key", required_argument, NULL, 'k'},
                                                 {"listen", required_argument, NULL, 'l'},
                                                 {"name", required_argument, NULL, 'n'},
                                                 {"rejoin", no_argument, NULL, 'R'},
                                                 {"status", required_argument, NULL, 's'},
                                                 {"until", required_argument, NULL, 'u'},
                                                 {"help", no_argument, NULL, PT_OPTION_HELP},
                                                 {0}};
    struct follow_options options = {.listen = NULL};
    int code;

    peat_follower_options_init(&options.follower);
    options.follower.name = "follower";
    while ((code = pt_command_option(&pt_command_follow, argc, argv,
                                     ":d:F:Hik:l:n:Rs:u:", long_options)) != -1) {
        if (code == PT_OPTION_HELPED)
            return PT_EXIT_DONE;
        if (code == PT_OPTION_BAD || !option_take(&options, code))
            return PT_EXIT_USAGE;
    }
    if (!pt_command_arguments(argc, 1, 1))
        return PT_EXIT_USAGE;
    if (options.follower.url == NULL)
        return pt_complain_usage("--from is missing");
    pt_interrupt_catch();
    return follow(&options, argv[optind]);
}

const struct pt_command pt_command_follow = {
    .name = "follow",
    .summary = "have the store follow another one",
    .help =
        "usage: peat follow --from URL [OPTION]... STORE\n"
        "\n"
        "Have STORE hold what the store at URL ('peat serve') holds, commit by commit, until\n"
        "interrupted. STORE is created if it does not exist; it is new, or was made by 'peat\n"
        "restore' of a backup of the other one. Other processes read it meanwhile. Each change\n"
        "of state is a line on standard output.\n"
        "\n"
        "  -F, --from URL          tcp://HOST:PORT or ipc://PATH\n"
        "  -k, --key FILE          the key that both sides have ('peat keygen')\n"
        "  -n, --name NAME         no other follower's ('follower'): the other store keeps its\n"
        "                          log under it; 'peat feed --drop' forgets it\n"
        "  -l, --listen URL        let others follow this one, with the same key\n"
        "  -d, --durability LEVEL  of what is applied: disk (default), os, memory\n"
        "  -s, --status FILE       write into FILE each second how it goes: OpenMetrics if its\n"
        "                          name ends in .prom, JSON if it ends in .json, else text\n"
        "  -H, --heal              read STORE's segments first, and take the damaged ones anew\n"
        "                          from the other store; kept states and the log stay as they\n"
        "                          are\n"
        "  -R, --rejoin            where STORE, an old primary, has commits that the other one\n"
        "                          has not: write them to STORE.forked-EPOCH-COMMIT.jsonl as\n"
        "                          'peat feed' does (where the log of them is gone, a backup of\n"
        "                          the whole to STORE.forked-EPOCH-COMMIT.backup), keep the\n"
        "                          present state under that name, then go back to what both\n"
        "                          have, and follow\n"
        "  -u, --until COMMIT      stop when that commit is here\n"
        "  -i, --insecure          without a key, use addresses of other machines: whoever is\n"
        "                          on the way can read, and change, everything\n",
    .run = follow_run,
};
