#include "bench/repl_choices.h"

#include "bench/names.h"

#include <getopt.h>
#include <stdlib.h>

bool pt_repl_choices_take(struct pt_repl_choices *choices, int argc, char **argv)
{
    static const struct option options[] = {{"dir", required_argument, NULL, 'd'},
                                            {"seconds", required_argument, NULL, 's'},
                                            {"megabytes", required_argument, NULL, 'm'},
                                            {"only", required_argument, NULL, 'o'},
                                            {"tsv", no_argument, NULL, 't'},
                                            {NULL, 0, NULL, 0}};
    int code;

    while ((code = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (code) {
        case 'd':
            choices->dir = optarg;
            break;
        case 's':
            choices->seconds = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'm':
            choices->megabytes = strtoull(optarg, NULL, 10);
            break;
        case 'o':
            choices->only = optarg;
            break;
        case 't':
            choices->tsv = true;
            break;
        default:
            return false;
        }
    }
    return optind == argc && choices->seconds > 0 && choices->megabytes > 0;
}

bool pt_repl_choices_have(const struct pt_repl_choices *choices, const char *name)
{
    return choices->only == NULL || pt_name_is_among(name, choices->only);
}
