#include "tools/torture_power.h"

#include "tools/interrupt.h"
#include "tools/output.h"
#include "tools/torture_kill.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NUMBER_DIGITS = 24, FLUSH_EACH = 500 /* batches: so that merges are under way, too */ };

/* ---- The first phase ---- */

/* Where an earlier first phase left off; its seed stays. */
static enum peat_status position_find(struct peat_db *db, uint64_t *batch_out, uint64_t *seed)
{
    struct peat_snapshot *snapshot;
    uint64_t seed_found;
    enum peat_status status = peat_snapshot_open(db, &snapshot);

    if (status != PEAT_OK)
        return status;
    status = pt_load_position(snapshot, batch_out, &seed_found);
    peat_snapshot_close(snapshot);
    if (status == PEAT_OK && *batch_out > 0)
        *seed = seed_found;
    return status;
}

enum pt_exit pt_torture_prepare(const char *store, uint64_t seed, uint64_t end_ns)
{
    struct peat_collection *collection = NULL;
    struct peat_options options;
    struct peat_db *db = NULL;
    enum pt_exit outcome = PT_EXIT_DONE;
    uint64_t batch = 0;
    enum peat_status status;

    peat_options_init(&options);
    options.flags = PEAT_CREATE;
    options.write_buffer_size = 1 << 20;
    status = peat_open(store, &options, &db);
    if (status == PEAT_OK)
        status = pt_load_collection(db, &collection);
    if (status == PEAT_OK)
        status = position_find(db, &batch, &seed);
    while (status == PEAT_OK && pt_torture_now_ns() < end_ns && !pt_interrupt_came() &&
           !pt_output_failed()) {
        status = pt_load_write(db, collection, seed, ++batch, PEAT_DISK);
        if (status != PEAT_OK)
            break;
        pt_output_format("%" PRIu64 "\n", batch);
        pt_output_flush(); /* who sees the number has a right to the commit */
        if (batch % FLUSH_EACH == 0)
            status = peat_flush(db);
    }
    if (status != PEAT_OK)
        outcome = pt_complain_status(store, status);
    peat_collection_close(collection);
    if (db != NULL && peat_close(db) != PEAT_OK && outcome == PT_EXIT_DONE)
        outcome = PT_EXIT_ERROR;
    return outcome;
}

/* ---- The second ---- */

/* The last number of a whole line: the line at which the power was cut may be torn. */
static enum pt_exit acknowledged_read(const char *path, uint64_t *number_out)
{
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    char line[NUMBER_DIGITS];
    bool failed;

    *number_out = 0;
    if (file == NULL) {
        pt_complain(path, "%s", strerror(errno));
        return PT_EXIT_ERROR;
    }
    while (fgets(line, sizeof(line), file) != NULL) {
        char *end;
        uint64_t number = strtoull(line, &end, 10);

        if (end > line && *end == '\n' && number > *number_out)
            *number_out = number;
    }
    failed = ferror(file) != 0;
    if (failed)
        pt_complain(path, "%s", strerror(errno));
    if (file != stdin)
        (void)fclose(file);
    return failed ? PT_EXIT_ERROR : PT_EXIT_DONE;
}

static bool found(struct pt_torture_power *power, const char *words)
{
    (void)snprintf(power->finding, sizeof(power->finding), "%s", words);
    return false;
}

static bool store_verify(const char *store, struct pt_torture_power *power)
{
    struct pt_load *load = calloc(1, sizeof(*load));
    struct peat_db *db = NULL;
    uint64_t seed = 0;
    bool right;

    if (load == NULL)
        return found(power, "no memory");
    right = peat_open(store, NULL, &db) == PEAT_OK || found(power, peat_last_error());
    if (right && position_find(db, &power->batch, &seed) != PEAT_OK)
        right = found(power, "a batch is there by half, or cannot be read");
    if (right) {
        pt_load_init(load, seed);
        right = pt_torture_look(load, db, &power->batch) || found(power, load->finding);
    }
    if (right && power->batch < power->acknowledged) {
        (void)snprintf(power->finding, sizeof(power->finding),
                       "batch %" PRIu64 " was acknowledged; the store ends with %" PRIu64,
                       power->acknowledged, power->batch);
        right = false;
    }
    if (db != NULL)
        (void)peat_close(db);
    free(load);
    return right;
}

enum pt_exit pt_torture_verify(const char *store, const char *acknowledged,
                               struct pt_torture_power *power_out)
{
    enum pt_exit outcome = PT_EXIT_DONE;

    memset(power_out, 0, sizeof(*power_out));
    if (acknowledged != NULL)
        outcome = acknowledged_read(acknowledged, &power_out->acknowledged);
    if (outcome != PT_EXIT_DONE)
        return outcome;
    power_out->right = store_verify(store, power_out);
    return power_out->right ? PT_EXIT_DONE : PT_EXIT_DAMAGE;
}
