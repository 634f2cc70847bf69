#include "tools/command.h"
#include "tools/human.h"
#include "tools/interrupt.h"
#include "tools/json_write.h"
#include "tools/output.h"
#include "tools/torture_kill.h"
#include "tools/torture_power.h"
#include "tools/torture_sync.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SECONDS_DEFAULT = 30, SYNC_SHARE = 8, PATH_SIZE = 4096 };

enum mode { MODE_KILL, MODE_PREPARE, MODE_VERIFY };

struct arguments {
    enum mode mode;
    uint64_t seconds; /* 0: not said */
    uint64_t seed;    /* 0: not said */
    bool is_json;
    bool is_kept;             /* the store stays */
    const char *acknowledged; /* file of the numbers; NULL: none */
    const char *directory;
    char store[PATH_SIZE];
};

/* ---- The reports ---- */

static struct peat_bytes text_of(const char *text)
{
    return (struct peat_bytes){text, strlen(text)};
}

static void kills_json_write(const struct arguments *arguments,
                             const struct pt_torture_kills *kills,
                             const struct pt_torture_sync *sync)
{
    pt_output_byte('{');
    pt_json_member_write("directory", text_of(arguments->directory));
    pt_output_format(",\"seed\":%" PRIu64 ",\"kills\":%" PRIu64 ",\"kills_while_opened\":%" PRIu64
                     ",\"readers_killed\":%" PRIu64 ",\"batches_acknowledged\":%" PRIu64
                     ",\"batches_unacknowledged_lost\":%" PRIu64 ",\"failed\":%" PRIu64,
                     arguments->seed, kills->kills, kills->while_opened, kills->readers,
                     kills->acknowledged, kills->lost, kills->failed);
    pt_output_format(",\"durable_commits\":%" PRIu64 ",\"durable_commits_per_second\":%.1f"
                     ",\"durable_commit_median_us\":%.1f,\"durable_commit_worst_us\":%.1f"
                     ",\"sync_median_us\":%.1f,\"sync_is_plausible\":%s",
                     sync->commits, sync->commits_per_second, sync->commit_median_us,
                     sync->commit_worst_us, sync->sync_median_us,
                     sync->suspicion == NULL ? "true" : "false");
    if (kills->failed > 0) {
        pt_output_byte(',');
        pt_json_member_write("finding", text_of(kills->finding));
        pt_output_byte(',');
        pt_json_member_write("kept", text_of(arguments->store));
    }
    pt_output_string("}\n");
}

static void kills_text_write(const struct arguments *arguments,
                             const struct pt_torture_kills *kills,
                             const struct pt_torture_sync *sync)
{
    pt_output_format("torture of a store in %s, seed %" PRIu64 "\n\n", arguments->directory,
                     arguments->seed);
    pt_output_format("processes killed      %s that wrote, %s of them while they opened the store; "
                     "%s that read\n",
                     pt_human_count(kills->kills).text, pt_human_count(kills->while_opened).text,
                     pt_human_count(kills->readers).text);
    pt_output_format("acknowledged batches  %s, none may be missing\n",
                     pt_human_count(kills->acknowledged).text);
    pt_output_format("others                %s were begun and are not there, as they may\n",
                     pt_human_count(kills->lost).text);
    pt_output_format("durable commits       %.0f a second, one after the other; %.0f us in the "
                     "middle, %.0f at worst\n",
                     sync->commits_per_second, sync->commit_median_us, sync->commit_worst_us);
    pt_output_format("a page and its sync   %.0f us in the middle\n", sync->sync_median_us);
    pt_output_format("can that be           %s\n",
                     sync->suspicion == NULL
                         ? "yes; whether a power cut is survived only one can tell: --prepare"
                         : sync->suspicion);
    pt_output_format("\n%s kills, %s failed\n", pt_human_count(kills->kills).text,
                     pt_human_count(kills->failed).text);
}

static void power_write(const struct arguments *arguments, const struct pt_torture_power *power)
{
    if (arguments->is_json) {
        pt_output_byte('{');
        pt_json_member_write("directory", text_of(arguments->directory));
        pt_output_format(",\"batch\":%" PRIu64 ",\"acknowledged\":%" PRIu64 ",\"failed\":%d",
                         power->batch, power->acknowledged, power->right ? 0 : 1);
        if (!power->right) {
            pt_output_byte(',');
            pt_json_member_write("finding", text_of(power->finding));
        }
        pt_output_string("}\n");
        return;
    }
    pt_output_format("the store ends with   batch %" PRIu64 "\n", power->batch);
    if (power->acknowledged > 0)
        pt_output_format("acknowledged          batch %" PRIu64 "\n", power->acknowledged);
    else
        pt_output_string(
            "acknowledged          not known: only that batches are whole was looked at\n");
    pt_output_format("verdict               %s\n",
                     power->right ? "everything that was acknowledged is there, and right"
                                  : power->finding);
}

/* ---- The modes ---- */

static enum pt_exit directory_check(const char *path)
{
    struct stat about;

    if (stat(path, &about) != 0) {
        pt_complain(path, "%s", strerror(errno));
        return PT_EXIT_ERROR;
    }
    if (S_ISDIR(about.st_mode))
        return PT_EXIT_DONE;
    pt_complain(path, "it is no directory");
    return PT_EXIT_ERROR;
}

static enum pt_exit kills_do(struct arguments *arguments)
{
    uint64_t seconds = arguments->seconds == 0 ? SECONDS_DEFAULT : arguments->seconds;
    uint64_t begin_ns = pt_torture_now_ns();
    struct pt_torture_kills kills = {.kills = 0};
    struct pt_torture_sync sync;
    enum pt_exit outcome;

    if (arguments->seed == 0)
        arguments->seed = pt_load_mix(begin_ns ^ (uint64_t)getpid() << 40) >> 40;
    (void)snprintf(arguments->store, sizeof(arguments->store), "%s/peat-torture-%d.peat",
                   arguments->directory, (int)getpid());
    outcome = pt_torture_sync(arguments->directory, arguments->store, (double)seconds / SYNC_SHARE,
                              &sync);
    if (outcome == PT_EXIT_DONE)
        outcome = pt_torture_kill(arguments->store, arguments->seed,
                                  begin_ns + seconds * 1000000000, &kills);
    if (outcome == PT_EXIT_DAMAGE)
        pt_complain(arguments->directory,
                    "seed %" PRIu64 ", kill %" PRIu64
                    ": %s; kept: %s; repeat: peat torture --seed %" PRIu64 " %s",
                    arguments->seed, kills.kills, kills.finding, arguments->store, arguments->seed,
                    arguments->directory);
    else if (!arguments->is_kept)
        (void)unlink(arguments->store);
    if (outcome != PT_EXIT_DONE && outcome != PT_EXIT_DAMAGE)
        return outcome;
    (arguments->is_json ? kills_json_write : kills_text_write)(arguments, &kills, &sync);
    return outcome;
}

static enum pt_exit prepare_do(struct arguments *arguments)
{
    uint64_t begin_ns = pt_torture_now_ns();
    uint64_t end_ns =
        arguments->seconds == 0 ? UINT64_MAX : begin_ns + arguments->seconds * 1000000000;

    if (arguments->seed == 0)
        arguments->seed = pt_load_mix(begin_ns) >> 40;
    return pt_torture_prepare(arguments->store, arguments->seed, end_ns);
}

static enum pt_exit verify_do(struct arguments *arguments)
{
    struct pt_torture_power power;
    enum pt_exit outcome;

    if (access(arguments->store, F_OK) != 0) {
        pt_complain(arguments->store, "%s; --prepare makes it", strerror(errno));
        return PT_EXIT_ERROR;
    }
    outcome = pt_torture_verify(arguments->store, arguments->acknowledged, &power);
    if (outcome != PT_EXIT_DONE && outcome != PT_EXIT_DAMAGE)
        return outcome;
    power_write(arguments, &power);
    if (outcome == PT_EXIT_DONE && !arguments->is_kept)
        (void)unlink(arguments->store);
    return outcome;
}

static enum pt_exit torture(struct arguments *arguments)
{
    enum pt_exit outcome = directory_check(arguments->directory);

    if (strlen(arguments->directory) + 64 > PATH_SIZE)
        return pt_complain_usage("the directory's name is too long");
    if (outcome != PT_EXIT_DONE)
        return outcome;
    (void)snprintf(arguments->store, sizeof(arguments->store), "%s/peat-torture-power.peat",
                   arguments->directory);
    pt_interrupt_catch();
    if (arguments->mode == MODE_PREPARE)
        outcome = prepare_do(arguments);
    else if (arguments->mode == MODE_VERIFY)
        outcome = verify_do(arguments);
    else
        outcome = kills_do(arguments);
    pt_output_flush();
    if (outcome == PT_EXIT_DONE)
        pt_interrupt_obey();
    return outcome;
}

/* ---- The command line ---- */

/* PT_EXIT_DONE: go on. */
static enum pt_exit option_take(struct arguments *arguments, int code)
{
    switch (code) {
    case 't':
        return pt_command_number("--seconds", optarg, 1, 1u << 30, &arguments->seconds)
                   ? PT_EXIT_DONE
                   : PT_EXIT_USAGE;
    case 's':
        return pt_command_number("--seed", optarg, 1, UINT64_MAX, &arguments->seed) ? PT_EXIT_DONE
                                                                                    : PT_EXIT_USAGE;
    case 'j':
        arguments->is_json = true;
        return PT_EXIT_DONE;
    case 'k':
        arguments->is_kept = true;
        return PT_EXIT_DONE;
    case 'a':
        arguments->acknowledged = optarg;
        return PT_EXIT_DONE;
    default: /* p and v */
        if (arguments->mode != MODE_KILL)
            return pt_complain_usage("--prepare comes before the power cut, --verify after it");
        arguments->mode = code == 'p' ? MODE_PREPARE : MODE_VERIFY;
        return PT_EXIT_DONE;
    }
}

static enum pt_exit torture_run(int argc, char **argv)
{
    static const struct option long_options[] = {{"seconds", required_argument, NULL, 't'},
                                                 {"seed", required_argument, NULL, 's'},
                                                 {"json", no_argument, NULL, 'j'},
                                                 {"keep", no_argument, NULL, 'k'},
                                                 {"prepare", no_argument, NULL, 'p'},
                                                 {"verify", no_argument, NULL, 'v'},
                                                 {"acknowledged", required_argument, NULL, 'a'},
                                                 {"help", no_argument, NULL, PT_OPTION_HELP},
                                                 {0}};
    struct arguments arguments = {.mode = MODE_KILL};
    int code;

    while ((code = pt_command_option(&pt_command_torture, argc, argv,
                                     ":t:s:jkpva:", long_options)) != -1) {
        if (code == PT_OPTION_HELPED || code == PT_OPTION_BAD)
            return code == PT_OPTION_HELPED ? PT_EXIT_DONE : PT_EXIT_USAGE;
        if (option_take(&arguments, code) != PT_EXIT_DONE)
            return PT_EXIT_USAGE;
    }
    if (arguments.acknowledged != NULL && arguments.mode != MODE_VERIFY)
        return pt_complain_usage("--acknowledged goes with --verify");
    if (arguments.is_json && arguments.mode == MODE_PREPARE)
        return pt_complain_usage("--prepare writes numbers, no JSON");
    if (!pt_command_arguments(argc, 1, 1))
        return PT_EXIT_USAGE;
    arguments.directory = argv[optind];
    return torture(&arguments);
}

const struct pt_command pt_command_torture = {
    .name = "torture",
    .summary = "try on this machine what a store survives",
    .help =
        "usage: peat torture [OPTION]... DIRECTORY\n"
        "\n"
        "Let processes write to a store in DIRECTORY and read it, kill them at random moments,\n"
        "and verify after each kill that everything acknowledged is there, right, and whole.\n"
        "Measure how fast commits become durable there, and whether that can be true. Writes\n"
        "one page, and leaves nothing behind; after a failure (exit code 4) the store stays.\n"
        "\n"
        "  -t, --seconds N           take about so long (default 30)\n"
        "  -s, --seed N              what is done; the moments differ all the same\n"
        "  -j, --json                write one JSON object\n"
        "  -k, --keep                let the store stay\n"
        "\n"
        "For a real power cut, in two phases with a store that stays in between:\n"
        "  -p, --prepare             commit durably, and write the number of each commit that\n"
        "                            is acknowledged, for another machine to keep; until the\n"
        "                            power is cut, or for --seconds\n"
        "  -v, --verify              verify what is there afterwards, and remove it\n"
        "  -a, --acknowledged FILE   with --verify: the numbers; '-' is standard input\n",
    .run = torture_run,
};
