#include "tools/command.h"
#include "tools/entry_walk.h"
#include "tools/output.h"

#include <inttypes.h>
#include <string.h>

struct scan_options {
    const char *path; /* of the collection, or NULL */
    const char *at;   /* the kept state, or NULL */
    const char *low;
    const char *high;
    const char *prefix;
    const char *format;
    uint64_t limit;
    bool is_hex;
    bool is_reverse;
    bool is_count;
    bool keys_only;
};

/* The bytes of the bounds, as far as they are given. */
struct scan_bounds {
    struct pt_textbuf low;
    struct pt_textbuf high;
    struct pt_textbuf prefix;
    struct pt_textbuf after_prefix; /* the smallest key above all that start with prefix */
};

static int bytes_compare(struct peat_bytes a, struct peat_bytes b)
{
    int order = memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

/* Narrow @p range to keys that start with the prefix. A prefix of bytes 0xff has no key above. */
static void prefix_apply(struct scan_bounds *bounds, struct peat_range *range)
{
    struct peat_bytes prefix = pt_textbuf_bytes(&bounds->prefix);
    struct pt_textbuf *after = &bounds->after_prefix;

    if (range->low.data == NULL || bytes_compare(range->low, prefix) < 0)
        range->low = prefix;
    pt_textbuf_append(after, prefix.data, prefix.size);
    while (after->size > 0 && (unsigned char)after->data[after->size - 1] == 0xff)
        after->size--;
    if (after->size == 0)
        return;
    after->data[after->size - 1]++;
    if (range->high.data == NULL || bytes_compare(pt_textbuf_bytes(after), range->high) < 0)
        range->high = pt_textbuf_bytes(after);
}

/* Read the bounds and make @p range of them, which borrows from @p bounds. */
static bool range_read(const struct scan_options *options, struct scan_bounds *bounds,
                       struct peat_range *range)
{
    if (options->low != NULL) {
        if (!pt_command_bytes(options->low, options->is_hex, &bounds->low))
            return false;
        range->low = pt_textbuf_bytes(&bounds->low);
    }
    if (options->high != NULL) {
        if (!pt_command_bytes(options->high, options->is_hex, &bounds->high))
            return false;
        range->high = pt_textbuf_bytes(&bounds->high);
    }
    if (options->prefix != NULL) {
        if (!pt_command_bytes(options->prefix, options->is_hex, &bounds->prefix))
            return false;
        prefix_apply(bounds, range);
    }
    range->flags = options->keys_only || options->is_count ? PEAT_KEYS_ONLY : 0;
    return true;
}

/* The format by its name; "text" is the tsv format, so a scan can be loaded. */
static const struct pt_text_format *format_of(const struct scan_options *options)
{
    if (options->format == NULL)
        return options->is_hex ? &pt_text_hex : &pt_text_tsv;
    if (strcmp(options->format, "text") == 0)
        return &pt_text_tsv;
    if (strcmp(options->format, "hex") == 0)
        return &pt_text_hex;
    return strcmp(options->format, "json") == 0 ? &pt_text_json : NULL;
}

static enum pt_exit scan(const struct scan_options *options, const char *store)
{
    struct pt_entry_writer writer = {.format = format_of(options), .keys_only = options->keys_only};
    struct pt_entry_walk walk = {.limit = options->limit, .is_reverse = options->is_reverse};
    struct pt_target target = {0};
    struct scan_bounds bounds;
    enum pt_exit outcome = PT_EXIT_USAGE;

    pt_textbuf_init(&bounds.low, 0);
    pt_textbuf_init(&bounds.high, 0);
    pt_textbuf_init(&bounds.prefix, 0);
    pt_textbuf_init(&bounds.after_prefix, PEAT_VALUE_SIZE_MAX);
    if (writer.format == NULL)
        return pt_complain_usage("--format takes text, hex or json, not '%s'", options->format);
    if (!range_read(options, &bounds, &walk.range))
        goto done;
    outcome = pt_target_open_at(&target, store, options->path, options->at);
    if (outcome != PT_EXIT_DONE)
        goto done;
    outcome = pt_entry_walk(&walk, &target, target.collection, options->is_count ? NULL : &writer);
    if (outcome == PT_EXIT_DONE && options->is_count)
        pt_output_format("%" PRIu64 "\n", walk.count);
done:
    pt_textbuf_fini(&bounds.low);
    pt_textbuf_fini(&bounds.high);
    pt_textbuf_fini(&bounds.prefix);
    pt_textbuf_fini(&bounds.after_prefix);
    return pt_target_close(&target, outcome);
}

/* One option into @p options; false: its value is wrong and complained about. */
static bool option_take(struct scan_options *options, int code)
{
    switch (code) {
    case 'a':
        options->at = optarg;
        return true;
    case 'c':
        options->path = optarg;
        return true;
    case 'f':
        options->format = optarg;
        return true;
    case 'h':
        options->high = optarg;
        return true;
    case 'l':
        options->low = optarg;
        return true;
    case 'p':
        options->prefix = optarg;
        return true;
    case 'k':
        options->keys_only = true;
        return true;
    case 'r':
        options->is_reverse = true;
        return true;
    case 'C':
        options->is_count = true;
        return true;
    case 'x':
        options->is_hex = true;
        return true;
    case 'n':
        return pt_command_number("--limit", optarg, 0, UINT64_MAX, &options->limit);
    default:
        return false;
    }
}

static enum pt_exit scan_run(int argc, char **argv)
{
    static const struct option long_options[] = {{"at", required_argument, NULL, 'a'},
                                                 {"collection", required_argument, NULL, 'c'},
                                                 {"count", no_argument, NULL, 'C'},
                                                 {"format", required_argument, NULL, 'f'},
                                                 {"hex", no_argument, NULL, 'x'},
                                                 {"high", required_argument, NULL, 'h'},
                                                 {"keys-only", no_argument, NULL, 'k'},
                                                 {"limit", required_argument, NULL, 'n'},
                                                 {"low", required_argument, NULL, 'l'},
                                                 {"prefix", required_argument, NULL, 'p'},
                                                 {"reverse", no_argument, NULL, 'r'},
                                                 {"help", no_argument, NULL, PT_OPTION_HELP},
                                                 {0}};
    struct scan_options options = {.limit = UINT64_MAX};
    int code;

    while ((code = pt_command_option(&pt_command_scan, argc, argv, ":a:c:Cf:xh:kn:l:p:r",
                                     long_options)) != -1) {
        if (code == PT_OPTION_HELPED)
            return PT_EXIT_DONE;
        if (!option_take(&options, code))
            return PT_EXIT_USAGE;
    }
    if (!pt_command_arguments(argc, 1, 1))
        return PT_EXIT_USAGE;
    return scan(&options, argv[optind]);
}

const struct pt_command pt_command_scan = {
    .name = "scan",
    .summary = "write or count the entries of a key range",
    .help = "usage: peat scan [OPTION]... STORE\n"
            "\n"
            "Write the entries of one collection in key order, a line for each.\n"
            "\n"
            "  -l, --low KEY          from this key on\n"
            "  -h, --high KEY         up to, not including, this key\n"
            "  -p, --prefix KEY       only keys that start so\n"
            "  -r, --reverse          from the last to the first\n"
            "  -n, --limit N          at most N entries\n"
            "  -k, --keys-only        without the values\n"
            "  -C, --count            write only how many there are\n"
            "  -f, --format FORMAT    text: key, tab, value, with escapes (the default)\n"
            "                         hex:  key, tab, value, in hexadecimal\n"
            "                         json: an object\n"
            "  -x, --hex              the bounds are hexadecimal; the format is hex by default\n"
            "  -a, --at STATE         as of a kept state: its name, number or commit\n"
            "  -c, --collection PATH  in this collection (names with '/' between them)\n",
    .run = scan_run,
};
