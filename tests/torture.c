/*
 * peat-torture-tests: the campaigns, for as long as one likes. tests/README.md says what they do.
 *
 *   --seconds N     how long (default 40; 0: until every sequence has been done)
 *   --scripts KIND  only "sequences", "random" or "threads"; instead of power cuts: "faults", "damage",
 *                   and of processes "places" (once each: take --seconds 0) or "kills"
 *   --seed N        of the random scripts (default: from the clock); with --scripts: that script alone
 *   --states N      tried of each script, about (default 100; 0: all)
 *   --kills N       of "kills": until so many, however long that takes
 *   --base NAME     of "damage": that file alone
 *   --jobs N        worker processes (default: one for each processor)
 *   --failures N    then it ends (default 10)
 *   --from FILE --point N --state N   repeat one state of a failure
 *
 * The last line is "N states, M failed", or kills, or damaged opens. Exits 1 if anything failed.
 */
#include "tests/campaign.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct arguments {
    struct pt_campaign campaign;
    bool seeded;
    const char *from; /* NULL: nothing is repeated */
    uint64_t point;
    uint64_t state;
};

static bool scripts_read(const char *name, enum pt_campaign_scripts *scripts_out)
{
    for (unsigned i = PT_SCRIPTS_ALL; i <= PT_SCRIPTS_KILLS; i++) {
        if (strcmp(name, pt_campaign_scripts_name(i)) == 0) {
            *scripts_out = i;
            return true;
        }
    }
    return false;
}

static bool argument_take(struct arguments *arguments, int option, const char *text)
{
    struct pt_campaign *campaign = &arguments->campaign;
    uint64_t number = text == NULL ? 0 : strtoull(text, NULL, 0);

    switch (option) {
    case 't':
        campaign->seconds = number;
        return true;
    case 's':
        campaign->seed = number;
        arguments->seeded = true;
        return true;
    case 'k':
        campaign->kills = number;
        campaign->seconds = 0;
        return true;
    case 'j':
        campaign->jobs = (unsigned)number;
        return true;
    case 'n':
        campaign->states = (unsigned)number;
        return true;
    case 'm':
        campaign->failures_max = (unsigned)number;
        return true;
    case 'c':
        return scripts_read(text, &campaign->scripts);
    case 'b':
        campaign->base = text;
        return true;
    case 'f':
        arguments->from = text;
        return true;
    case 'p':
        arguments->point = number;
        return true;
    case 'i':
        arguments->state = number;
        return true;
    default:
        return false;
    }
}

static bool arguments_read(int argc, char **argv, struct arguments *arguments)
{
    static const struct option options[] = {
        {"seconds", required_argument, NULL, 't'},  {"seed", required_argument, NULL, 's'},
        {"jobs", required_argument, NULL, 'j'},     {"states", required_argument, NULL, 'n'},
        {"scripts", required_argument, NULL, 'c'},  {"from", required_argument, NULL, 'f'},
        {"point", required_argument, NULL, 'p'},    {"state", required_argument, NULL, 'i'},
        {"failures", required_argument, NULL, 'm'}, {"base", required_argument, NULL, 'b'},
        {"kills", required_argument, NULL, 'k'},    {NULL, 0, NULL, 0}};
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
        if (!argument_take(arguments, option, optarg))
            return false;
    arguments->campaign.single = arguments->seeded && arguments->campaign.scripts != PT_SCRIPTS_ALL;
    return optind == argc;
}

static int repeat(const struct arguments *arguments)
{
    struct pt_power_cut_counts counts = {.failed = 0};
    struct pt_power_cut power_cut;
    bool right;

    pt_disk_start();
    pt_power_cut_init(&power_cut, &counts);
    power_cut.program = arguments->campaign.program;
    power_cut.nested_one_in = 0;
    power_cut.faulty_one_in = 1;
    right = pt_power_cut_repeat(&power_cut, arguments->from, arguments->point, arguments->state);
    pt_power_cut_fini(&power_cut);
    pt_disk_stop();
    printf("%s\n", right ? "it does not fail" : "it fails");
    return right ? 0 : 1;
}

/* The last line says how many, and how many failed. */
static void summary_print(const struct pt_campaign *campaign, const struct pt_fault_counts *counts,
                          uint64_t seconds)
{
    const struct pt_kill_counts *kills = &counts->kills;

    switch (campaign->scripts) {
    case PT_SCRIPTS_DAMAGE:
        printf("%" PRIu64 " of them refused, %" PRIu64 " shown whole, in %" PRIu64 " s\n%" PRIu64
               " damaged opens, %" PRIu64 " failed\n",
               counts->damage.refused, counts->damage.whole, seconds, counts->damage.opens,
               counts->cuts.failed);
        return;
    case PT_SCRIPTS_PLACES:
    case PT_SCRIPTS_KILLS:
        printf("%" PRIu64 " of readers, %" PRIu64 " while a store was opened, %" PRIu64
               " looks at %" PRIu64 " acknowledged commits, in %" PRIu64 " s\n%" PRIu64
               " kills, %" PRIu64 " failed\n",
               kills->readers, kills->recoveries, kills->verifications, kills->commits, seconds,
               kills->kills, counts->cuts.failed);
        return;
    case PT_SCRIPTS_FAULTS:
        printf("%" PRIu64 " fault runs, in %" PRIu64 " of them something failed, in %" PRIu64
               " a commit was left open\n",
               counts->runs, counts->hit, counts->broken);
        break;
    case PT_SCRIPTS_ALL:
    case PT_SCRIPTS_SEQUENCES:
    case PT_SCRIPTS_RANDOM:
    case PT_SCRIPTS_THREADS:
        break;
    }
    printf("%" PRIu64 " scripts, cut at %" PRIu64 " points, %" PRIu64
           " recoveries cut short, %" PRIu64 " of them with a fault, in %" PRIu64 " s\n%" PRIu64
           " states, %" PRIu64 " failed\n",
           counts->cuts.scripts, counts->cuts.points, counts->cuts.recoveries, counts->cuts.faulty,
           seconds, counts->cuts.states, counts->cuts.failed);
}

int main(int argc, char **argv)
{
    struct arguments arguments = {.campaign = pt_campaign_default()};
    struct pt_fault_counts counts;
    uint64_t begin_us = pt_test_now_us();

    pt_test_start();
    (void)alarm(0);
    arguments.campaign.program = argv[0];
    if (!arguments_read(argc, argv, &arguments)) {
        fprintf(stderr,
                "usage: %s [--seconds N] [--scripts "
                "sequences|random|threads|faults|damage|places|kills] [--seed N] [--states N] "
                "[--kills N] [--base NAME] [--jobs N] [--failures N] [--from FILE --point N "
                "--state N]\n",
                argv[0]);
        return 2;
    }
    if (arguments.from != NULL)
        return repeat(&arguments);
    if (!arguments.seeded)
        arguments.campaign.seed = pt_test_seed();
    pt_campaign_run(&arguments.campaign, &counts);
    summary_print(&arguments.campaign, &counts, (pt_test_now_us() - begin_us) / 1000000);
    return counts.cuts.failed == 0 ? 0 : 1;
}
