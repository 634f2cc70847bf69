#include "tools/coding.h"
#include "tools/collection_path.h"
#include "tools/collection_tree.h"
#include "tools/command.h"
#include "tools/json_write.h"
#include "tools/kept_state.h"
#include "tools/output.h"

#include <string.h>

enum diff_format { FORMAT_TEXT, FORMAT_HEX, FORMAT_JSON };

struct diff_work {
    struct pt_target to;
    struct pt_target from; /* the same open store with another snapshot */
    const char *path; /* of the one collection wanted, or NULL: all */
    enum diff_format format;
    struct peat_bytes shown; /* path of the collection that is being compared */
    bool is_titled;          /* its title was written */
};

/* ---- Writing ---- */

static void field_write(enum diff_format format, struct peat_bytes bytes)
{
    if (format == FORMAT_HEX)
        pt_hex_write(bytes);
    else
        pt_escaped_write(bytes);
}

static void line_write(const struct diff_work *work, int sign, struct peat_bytes key,
                       struct peat_bytes value)
{
    if (value.data == NULL)
        return;
    pt_output_byte(sign);
    field_write(work->format, key);
    pt_output_byte('\t');
    field_write(work->format, value);
    pt_output_byte('\n');
}

static void object_write(const struct diff_work *work, const struct peat_difference *difference)
{
    pt_output_byte('{');
    if (work->shown.size > 0) {
        pt_json_path_write(work->shown);
        pt_output_byte(',');
    }
    pt_json_member_write("key", difference->key);
    if (difference->from.data != NULL) {
        pt_output_byte(',');
        pt_json_member_write("from", difference->from);
    }
    if (difference->to.data != NULL) {
        pt_output_byte(',');
        pt_json_member_write("to", difference->to);
    }
    pt_output_string("}\n");
}

static bool difference_write(void *context, const struct peat_difference *difference)
{
    struct diff_work *work = context;

    if (work->format == FORMAT_JSON) {
        object_write(work, difference);
        return !pt_output_failed();
    }
    if (work->shown.size > 0 && !work->is_titled) {
        pt_output_byte('@');
        pt_output_write(work->shown.data, work->shown.size);
        pt_output_byte('\n');
    }
    work->is_titled = true;
    line_write(work, '-', difference->key, difference->from);
    line_write(work, '+', difference->key, difference->to);
    return !pt_output_failed();
}

/* ---- Comparing ---- */

static enum pt_exit compare(struct diff_work *work, struct peat_collection *collection,
                            struct peat_bytes path)
{
    enum peat_status status;

    work->shown = path;
    work->is_titled = false;
    status = peat_diff(work->from.snapshot, work->to.snapshot, collection, difference_write, work);
    return status == PEAT_OK ? PT_EXIT_DONE : pt_complain_status(work->to.store, status);
}

/* A collection that there is on the newer side. */
static enum pt_exit newer_compare(void *context, struct peat_collection *collection,
                                  struct peat_bytes path)
{
    return compare(context, collection, path);
}

/* A collection of the older side: compared already, unless the newer one has none there, or another
 * (a handle stands for one collection, however often it is opened). */
static enum pt_exit older_compare(void *context, struct peat_collection *collection,
                                  struct peat_bytes path)
{
    struct diff_work *work = context;
    struct peat_collection *newer = NULL;
    enum peat_status status = pt_path_open_at(work->to.snapshot, path, &newer);
    enum pt_exit outcome = PT_EXIT_DONE;

    if (status < 0)
        outcome = pt_complain_status(work->to.store, status);
    else if (status == PEAT_NOT_FOUND || newer != collection)
        outcome = compare(work, collection, path);
    peat_collection_close(newer);
    return outcome;
}

static enum pt_exit one_compare(struct diff_work *work, const struct pt_target *side,
                                enum pt_exit (*visit)(void *context,
                                                      struct peat_collection *collection,
                                                      struct peat_bytes path),
                                bool *found)
{
    struct peat_bytes path = {work->path, strlen(work->path)};
    struct peat_collection *collection = NULL;
    enum peat_status status = pt_path_open_at(side->snapshot, path, &collection);
    enum pt_exit outcome = PT_EXIT_DONE;

    if (status < 0)
        outcome = pt_complain_status(side->store, status);
    else if (status == PEAT_OK)
        outcome = visit(work, collection, path);
    *found = *found || status == PEAT_OK;
    peat_collection_close(collection);
    return outcome;
}

static enum pt_exit path_compare(struct diff_work *work)
{
    bool found = false;
    enum pt_exit outcome;

    if (!pt_path_valid((struct peat_bytes){work->path, strlen(work->path)}))
        return pt_complain_usage("'%s' is no path of a collection", work->path);
    if (work->path[0] == '/')
        work->path++;
    outcome = one_compare(work, &work->to, newer_compare, &found);
    if (outcome == PT_EXIT_DONE)
        outcome = one_compare(work, &work->from, older_compare, &found);
    if (outcome == PT_EXIT_DONE && !found) {
        pt_complain(work->to.store, "no collection '%s' on either side", work->path);
        return PT_EXIT_NOT_FOUND;
    }
    return outcome;
}

static enum pt_exit all_compare(struct diff_work *work)
{
    enum pt_exit outcome = pt_tree_walk(&work->to, newer_compare, work);

    return outcome == PT_EXIT_DONE ? pt_tree_walk(&work->from, older_compare, work) : outcome;
}

/* @p words: the store, the older state, perhaps the newer one. */
static enum pt_exit diff(struct diff_work *work, int count, char **words)
{
    enum pt_exit outcome =
        pt_target_open_at(&work->to, words[0], NULL, count > 2 ? words[2] : NULL);

    if (outcome == PT_EXIT_DONE) {
        work->from.store = words[0];
        work->from.db = work->to.db;
        outcome = pt_kept_state_open(work->to.db, words[0], words[1], &work->from.snapshot);
    }
    if (outcome == PT_EXIT_DONE)
        outcome = work->path == NULL ? all_compare(work) : path_compare(work);
    peat_snapshot_close(work->from.snapshot);
    return pt_target_close(&work->to, outcome);
}

static bool format_read(const char *text, enum diff_format *format_out)
{
    static const char *const names[] = {"text", "hex", "json"};

    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(names[i], text) == 0) {
            *format_out = (enum diff_format)i;
            return true;
        }
    }
    (void)pt_complain_usage("--format takes text, hex or json, not '%s'", text);
    return false;
}

static enum pt_exit diff_run(int argc, char **argv)
{
    static const struct option long_options[] = {{"collection", required_argument, NULL, 'c'},
                                                 {"format", required_argument, NULL, 'f'},
                                                 {"help", no_argument, NULL, PT_OPTION_HELP},
                                                 {0}};
    struct diff_work work = {.format = FORMAT_TEXT};
    int code;

    while ((code = pt_command_option(&pt_command_diff, argc, argv, ":c:f:", long_options)) != -1) {
        if (code == 'c')
            work.path = optarg;
        else if (code != 'f')
            return code == PT_OPTION_HELPED ? PT_EXIT_DONE : PT_EXIT_USAGE;
        else if (!format_read(optarg, &work.format))
            return PT_EXIT_USAGE;
    }
    if (!pt_command_arguments(argc, 2, 3))
        return PT_EXIT_USAGE;
    return diff(&work, argc - optind, argv + optind);
}

const struct pt_command pt_command_diff = {
    .name = "diff",
    .summary = "write what differs between two states",
    .help =
        "usage: peat diff [OPTION]... STORE FROM [TO]\n"
        "\n"
        "Write the entries that differ between two kept states, each by its name, number or\n"
        "commit as 'peat history' lists them; without TO, between FROM and the store as it is\n"
        "now. A collection's entries are in key order; collections without entries are not\n"
        "shown. What the two states share is not read.\n"
        "\n"
        "  -f, --format FORMAT    text: '-' and the old entry, '+' and the new one, each as key,\n"
        "                         tab, value with escapes, on lines of their own (the default);\n"
        "                         a line '@path' before those of a collection\n"
        "                         hex:  the same in hexadecimal\n"
        "                         json: objects with the values as \"from\" and \"to\"\n"
        "  -c, --collection PATH  only this collection (names with '/' between them; '/' is\n"
        "                         the root), without those below it\n",
    .run = diff_run,
};
