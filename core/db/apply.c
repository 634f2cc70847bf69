/*
 * Applying the records of another store's log to a follower's.
 *
 *  1. A record is applied only where its history goes on: position and chain are those of the follower's log, and
 *     its own chain is what follows. So both logs say the same, byte for byte, but for what is local to a
 *     file; and whatever is wrong with a record is seen before anything is written.
 *  2. What is there already is passed over. It must be of the epoch that it has here, and the last of it must
 *     have the chain that the log has: else the histories have parted.
 *  3. Seals are the primary's: a follower writes none of its own, since they are in the chain. It may end a
 *     write buffer where it likes, without a word in the log.
 *  4. As in commit.c, a group of batches has its room first, then is in the log at its level, then visible, all at
 *     once. A seal ends a group.
 */
#include "core/base/alloc.h"
#include "core/base/bug.h"
#include "core/db/batch.h"
#include "core/db/commit_parts.h"
#include "wal/log_format.h"

#include <inttypes.h>

/* A call of peat_apply(). */
struct applying {
    const struct peat_record *records;
    size_t count;
    size_t done; /* of them are applied, or were there */
    enum peat_durability durability;
    bool relief;      /* they only delete, and there was no space without the reserve */
    uint8_t *scratch; /* room for what the largest record takes in the log, or its largest part */
};

/* Batches that become visible together. */
struct group {
    size_t end;   /* number of the record behind the last one */
    size_t count; /* operations */
    size_t size;  /* bytes */
};

/* ---- Checking ---- */

static enum pt_record_kind kind_of(const struct peat_record *record)
{
    return record->kind == PEAT_RECORD_BATCH ? PT_RECORD_BATCH : PT_RECORD_SEAL;
}

static struct pt_record record_of(const struct peat_record *record)
{
    struct pt_record made = {.kind = kind_of(record),
                             .epoch = record->epoch,
                             .commit = record->commit,
                             .time_us = record->time_us,
                             .payload = record->payload};

    return made;
}

/* It is one that a log can hold. */
static enum peat_status check_form(const struct peat_record *record)
{
    size_t count;

    if (record->kind == PEAT_RECORD_BATCH && record->payload.data != NULL)
        return pt_count_operations(record->payload, &count);
    if (record->kind == PEAT_RECORD_SEAL && record->payload.size == 0)
        return PEAT_OK;
    return pt_fail(PEAT_INVALID, "a record of kind %d and %zu bytes is none", (int)record->kind,
                   record->payload.size);
}

static bool has_chain(const struct peat_record *record, const struct pt_log_point *point)
{
    return PT_BUG(APPLY_UNCHECKED) ||
           memcmp(record->chain, point->chain.bytes, sizeof(record->chain)) == 0;
}

/* (2): @p record begins before @p point, where the log ends. */
static enum peat_status check_there(struct peat_db *db, const struct peat_record *record,
                                    const struct pt_log_point *point)
{
    struct pt_lineage lineage = pt_epochs_copy(db);
    uint64_t epoch = pt_lineage_at(&lineage, record->position);
    uint64_t end = record->position + pt_log_payload_extent(record->payload.size);

    if (epoch > 0 && record->epoch != epoch)
        return pt_fail(PEAT_CORRUPT,
                       "commit %" PRIu64 " is of epoch %" PRIu64 ", and here of epoch %" PRIu64
                       ": the histories have parted",
                       record->commit, record->epoch, epoch);
    if (end > point->position || (end == point->position && !has_chain(record, point)))
        return pt_fail(PEAT_CORRUPT,
                       "commit %" PRIu64 " is another one here: the histories have parted",
                       record->commit);
    return PEAT_OK;
}

/* (1): *point is where the history has come to; behind the record, if that follows. */
static enum peat_status check_next(const struct applying *applying,
                                   const struct peat_record *record, struct pt_log_point *point)
{
    struct pt_record next = record_of(record);
    uint64_t step = record->kind == PEAT_RECORD_BATCH ? 1 : 0;
    enum peat_status status = check_form(record);
    struct pt_log_point behind;

    if (status < 0)
        return status;
    if (record->commit != point->commit + step || record->epoch < point->epoch)
        return pt_fail(PEAT_CORRUPT, "commit %" PRIu64 " cannot follow commit %" PRIu64,
                       record->commit, point->commit);
    behind = pt_log_point_behind(point, &next, applying->scratch);
    if (!pt_log_point_can_go_on(&behind) || behind.epoch > PT_EPOCH_MAX)
        return pt_fail(PEAT_CORRUPT,
                       "commit %" PRIu64 ", epoch %" PRIu64 ": numbers are about to run out",
                       record->commit, record->epoch);
    if (!has_chain(record, &behind))
        return pt_fail(PEAT_CORRUPT,
                       "commit %" PRIu64
                       " does not go on from this store's history: it is damaged, "
                       "or the histories have parted",
                       record->commit);
    *point = behind;
    return PEAT_OK;
}

/* Check all that is left before anything is changed; what is there already is done. */
static enum peat_status check_all(struct peat_db *db, struct applying *applying)
{
    struct pt_log_point point = pt_log_point(db->log);
    enum peat_status status = PEAT_OK;

    for (size_t i = applying->done; i < applying->count && status == PEAT_OK; i++) {
        const struct peat_record *record = &applying->records[i];

        if (record->position > point.position)
            return pt_fail(PEAT_GAP,
                           "commit %" PRIu64 " does not follow commit %" PRIu64
                           ", which is the last one here: %" PRIu64 " bytes of log are missing",
                           record->commit, point.commit, record->position - point.position);
        if (record->position < point.position && i == applying->done) {
            status = check_there(db, record, &point);
            applying->done += status == PEAT_OK;
        } else if (record->position < point.position) {
            return pt_fail(PEAT_INVALID, "record %zu is out of order", i);
        } else {
            status = check_next(applying, record, &point);
        }
    }
    return status;
}

/* ---- Applying ---- */

static size_t count_ranges(struct peat_bytes payload)
{
    struct pt_batch_cursor cursor = {payload.data, payload.size, {{NULL, 0}, {NULL, 0}, PT_OP_PUT}};
    size_t count = 0;

    while (pt_batch_cursor_next(&cursor))
        count += cursor.entry.op == PT_OP_DELETE_RANGE;
    return count;
}

static struct group group_form(const struct applying *applying)
{
    struct group group = {.end = applying->done};
    size_t ranges = 0;

    while (group.end < applying->count) {
        const struct peat_record *record = &applying->records[group.end];
        size_t count = 0;

        if (record->kind != PEAT_RECORD_BATCH ||
            group.end - applying->done >= PT_GROUP_MEMBERS_MAX || ranges >= PT_BUFFER_RANGES_MAX ||
            (group.size > 0 && group.size + record->payload.size > PT_GROUP_SIZE_MAX))
            break;
        (void)pt_count_operations(record->payload, &count); /* it has been checked */
        ranges += count_ranges(record->payload);
        group.count += count;
        group.size += record->payload.size;
        group.end++;
    }
    return group;
}

static enum peat_status append(struct peat_db *db, const struct peat_record *record)
{
    struct pt_log_point point = pt_log_point(db->log);
    struct pt_record made = record_of(record);
    struct pt_id chain;
    enum peat_status status;

    if (record->epoch > point.epoch) { /* the lineage is never behind the log */
        pt_epochs_note(db, record->epoch, &point);
        pt_log_begin_epoch(db->log, record->epoch);
    }
    memcpy(chain.bytes, record->chain, sizeof(chain.bytes));
    status = pt_log_append_chained(db->log, &made, &chain);
    if (status == PEAT_IO || status == PEAT_POISONED)
        atomic_store_explicit(&db->poisoned, true, memory_order_release);
    return status;
}

/* What is appended in between may draw from the reserve, if it only deletes. */
static void reserve_use(struct peat_db *db, const struct applying *applying)
{
    if (applying->relief)
        pt_log_use_reserve(db->log, pt_reserve_for_relief(db));
}

static void reserve_leave(struct peat_db *db, const struct applying *applying)
{
    pt_log_use_reserve(db->log, PT_KEEP_ALL);
    if (applying->relief)
        pt_reserve_drawn(db);
}

/* Append the batches of the group, as far as there is space: *end_out. */
static enum peat_status group_append(struct peat_db *db, const struct applying *applying,
                                     const struct group *group, size_t *end_out)
{
    enum peat_status status = PEAT_OK;

    reserve_use(db, applying);
    pt_log_stage(db->log, applying->durability >= PEAT_DISK);
    for (*end_out = applying->done; *end_out < group->end && status == PEAT_OK; ++*end_out) {
        const struct peat_record *record = &applying->records[*end_out];
        size_t count = 0;

        status = append(db, record);
        if (status < 0)
            break;
        (void)pt_count_operations(record->payload, &count);
        db->queue.commit = record->commit;
        db->queue.time_us = record->time_us;
        pt_log_budget_spend(&db->log_budget, pt_log_cost(count, record->payload.size));
    }
    reserve_leave(db, applying);
    return status;
}

/* Show the records up to number @p end. */
static void group_show(struct peat_db *db, struct applying *applying, struct pt_held_buffer *active,
                       size_t end)
{
    uint64_t size = 0;

    for (size_t i = applying->done; i < end; i++) {
        const struct peat_record *record = &applying->records[i];

        pt_group_add(db, active, record->payload, record->commit);
        pt_note_catalogue(db, record->payload);
        size += record->payload.size;
    }
    pt_write_buffer_publish(active->buffer, db->queue.commit);
    pt_held_buffer_account(active);
    atomic_fetch_add_explicit(&db->counters.commits, end - applying->done, memory_order_relaxed);
    atomic_fetch_add_explicit(&db->counters.commit_groups, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&db->counters.bytes_put, size, memory_order_relaxed);
    applying->done = end;
}

static enum peat_status group_apply(struct peat_db *db, struct applying *applying,
                                    const struct group *group)
{
    struct pt_held_buffer *active = NULL;
    enum peat_status durable;
    size_t end;
    enum peat_status status = pt_group_make_room(db, group->count, group->size, &active);

    if (status == PEAT_OK)
        status = pt_group_check_reserve(db, group->count, group->size, applying->relief);
    if (status < 0)
        return status;
    status = group_append(db, applying, group, &end);
    if (end == applying->done)
        return status;
    durable = pt_group_make_durable(db, applying->durability);
    if (durable < 0) {
        atomic_store_explicit(&db->poisoned, true, memory_order_release);
        return durable;
    }
    group_show(db, applying, active, end);
    return status;
}

static enum peat_status seal_apply(struct peat_db *db, struct applying *applying)
{
    const struct peat_record *record = &applying->records[applying->done];
    struct pt_log_point point;
    enum peat_status status;

    reserve_use(db, applying);
    status = append(db, record);
    reserve_leave(db, applying);
    if (status < 0)
        return status;
    applying->done++;
    if (pt_write_buffer_entry_count(db->queue.active->buffer) == 0)
        return PEAT_OK;
    status = pt_wait_for_place(
        db); /* a buffer that is not ended here is no harm: the seal is in the log */
    point = pt_log_point(db->log);
    return status < 0 ? status : pt_group_seal(db, &point, 0, 0);
}

static enum peat_status check_follows(const struct peat_db *db)
{
    if (pt_role_is(db, PT_ROLE_FOLLOWER) && !db->read_only)
        return PEAT_OK;
    return pt_fail(PEAT_INVALID,
                   "the store was not opened with PEAT_FOLLOWER, or was promoted since: it has "
                   "commits of its own");
}

/* As the leader of the commit queue. */
static enum peat_status apply_alone(struct peat_db *db, void *context)
{
    struct applying *applying = context;
    enum peat_status status;

    if (atomic_load_explicit(&db->poisoned, memory_order_acquire))
        return pt_fail(PEAT_POISONED, "an earlier write or sync failed: reopen the store");
    status = check_follows(db);
    if (status == PEAT_OK)
        status = check_all(db, applying);
    while (status == PEAT_OK && applying->done < applying->count) {
        struct group group = group_form(applying);

        if (group.end > applying->done)
            status = group_apply(db, applying, &group);
        else
            status = seal_apply(db, applying);
    }
    return status;
}

/* ---- Full disk ---- */

static bool is_relief(const struct applying *applying)
{
    for (size_t i = applying->done; i < applying->count; i++)
        if (!pt_reserve_is_relief(applying->records[i].payload))
            return false;
    return true;
}

/* There was no space. Try once more, as commits do, if anything may be different then. */
static enum peat_status retry(struct peat_db *db, struct applying *applying)
{
    enum peat_status status;
    bool relieved;

    applying->relief = is_relief(applying);
    relieved = pt_reserve_relieve(db, applying->relief, false);
    if (!relieved && !applying->relief)
        return pt_fail(PEAT_NO_SPACE, "no space to apply commit %" PRIu64,
                       applying->records[applying->done].commit);
    status = pt_commit_alone(db, apply_alone, applying);
    if (status != PEAT_NO_SPACE || !applying->relief)
        return status;
    (void)pt_reserve_relieve(db, true, true);
    pt_reserve_regain(db);
    return pt_commit_alone(db, apply_alone, applying);
}

/* ---- The call ---- */

static enum peat_status check_call(const struct peat_db *db, enum peat_durability durability)
{
    enum peat_status status = check_follows(db);

    if (status == PEAT_OK && durability == PEAT_REPLICAS)
        status = pt_fail(PEAT_INVALID,
                         "what is applied waits for no followers: PEAT_DISK is the highest level");
    return status < 0 ? status : pt_check_durability(durability);
}

/* What checking the records needs. Mostly they are small: to map and unmap a large piece takes longer than to apply them. */
static size_t scratch_size(const struct peat_record *records, size_t count)
{
    uint64_t size = pt_log_payload_extent(0);

    for (size_t i = 0; i < count; i++) {
        uint64_t extent = pt_log_payload_extent(records[i].payload.size);

        if (extent > size)
            size = extent;
    }
    return size < PT_LOG_RECORD_SIZE_MAX ? (size_t)size : (size_t)PT_LOG_RECORD_SIZE_MAX;
}

enum peat_status peat_apply(struct peat_db *db, const struct peat_record *records, size_t count,
                            enum peat_durability durability, uint64_t *commit_out)
{
    struct applying applying = {.records = records, .count = count, .durability = durability};
    enum peat_status status;
    size_t size;

    if (db == NULL || (records == NULL && count > 0))
        return pt_fail_null();
    status = check_call(db, durability);
    if (status < 0)
        return status;
    if (durability == PEAT_DEFAULT) /* where that is PEAT_REPLICAS, it is as PEAT_DISK */
        applying.durability = db->options.durability;
    size = scratch_size(records, count);
    applying.scratch = pt_block_alloc(size);
    if (applying.scratch == NULL)
        return pt_fail(PEAT_NO_MEMORY, "%zu bytes to check records", size);
    status = pt_commit_alone(db, apply_alone, &applying);
    if (status == PEAT_NO_SPACE)
        status = retry(db, &applying);
    pt_block_free(applying.scratch, size);
    if (commit_out != NULL)
        *commit_out = pt_newest_commit(db);
    return status;
}
