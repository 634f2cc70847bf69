/*
 * Group commit.
 *
 * Committers queue. Whoever stands at the head is the leader: it takes all that wait, gives out
 * commit numbers, appends their batches to the log, makes the log as durable as the strictest member
 * asks, adds the entries to the write buffer, publishes the last number, and wakes the rest; then the
 * next head leads. While a leader waits for the disk, the next group forms behind it.
 *
 *  1. Only the leader appends to the log, adds to the active buffer, seals it, or gives out numbers.
 *  2. A batch is in the log, at its level, before a reader can see it.
 *  3. Room in the write buffer is found before the log is touched: after the append nothing can fail
 *     but the medium, and that poisons the store.
 */
#include "core/db/commit_parts.h"

#include "core/base/alloc.h"
#include "core/base/bug.h"
#include "core/base/clock.h"

enum {
    STAGE_SIZE_MIN = 16384, /* bytes: from here on one write is cheaper than faulting pages in */
    PREFETCH_DISTANCE = 12  /* entries: the misses of the hash index overlap */
};

void pt_commit_queue_init(struct pt_commit_queue *queue)
{
    pt_mutex_init(&queue->mutex);
    pt_condition_init(&queue->arrived);
    pt_condition_init(&queue->led);
}

void pt_commit_queue_fini(struct pt_commit_queue *queue)
{
    pt_condition_fini(&queue->led);
    pt_condition_fini(&queue->arrived);
    pt_mutex_fini(&queue->mutex);
}

/* Count up what only the leader counts: no need for a locked instruction. */
static void count_up(_Atomic uint64_t *counter, uint64_t amount)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + amount,
                          memory_order_relaxed);
}

/* ---- The write buffer ---- */

/* Hash and prefetch ahead of adding, so that the cache misses of neighbouring entries overlap. */
void pt_group_add(const struct peat_db *db, struct pt_held_buffer *active,
                  struct peat_bytes payload, uint64_t commit)
{
    struct pt_write_buffer *buffer = active->buffer;
    struct pt_batch_cursor ahead = {payload.data, payload.size, {{NULL, 0}, {NULL, 0}, PT_OP_PUT}};
    struct pt_batch_cursor cursor = ahead;
    uint64_t hashes[PREFETCH_DISTANCE];
    size_t looked = 0;
    size_t added = 0;

    for (;;) {
        uint64_t hash;

        while (looked < added + PREFETCH_DISTANCE && pt_batch_cursor_next(&ahead)) {
            hash = pt_hash(pt_hash_seed(db), ahead.entry.key.data, ahead.entry.key.size);
            hashes[looked++ % PREFETCH_DISTANCE] = hash;
            pt_write_buffer_prefetch(buffer, hash);
        }
        if (!pt_batch_cursor_next(&cursor))
            break;
        hash = hashes[added++ % PREFETCH_DISTANCE];
        if (cursor.entry.op == PT_OP_DELETE_RANGE)
            pt_write_buffer_add_range(buffer, cursor.entry.key, cursor.entry.value, commit);
        else
            pt_write_buffer_add(buffer, cursor.entry.op, cursor.entry.key, cursor.entry.value, hash,
                                commit);
    }
}

/* Operations from a log that verified, yet count them: a payload is a sequence of whole entries. */
enum peat_status pt_count_operations(struct peat_bytes payload, size_t *count_out)
{
    struct pt_batch_cursor cursor = {payload.data, payload.size, {{NULL, 0}, {NULL, 0}, PT_OP_PUT}};
    bool sound = true;

    *count_out = 0;
    while (sound && pt_batch_cursor_next(&cursor)) {
        sound = cursor.entry.op != PT_OP_DELETE_RANGE ||
                pt_bytes_compare(cursor.entry.key, cursor.entry.value) < 0;
        ++*count_out;
    }
    if (!sound || cursor.rest != 0)
        return pt_fail(PEAT_CORRUPT, "a log record holds a malformed operation");
    return PEAT_OK;
}

void pt_note_catalogue(struct peat_db *db, struct peat_bytes payload)
{
    struct pt_batch_cursor cursor = {payload.data, payload.size, {{NULL, 0}, {NULL, 0}, PT_OP_PUT}};

    while (pt_batch_cursor_next(&cursor))
        pt_catalogue_note(db->catalogue, &cursor.entry);
}

enum peat_status pt_replay_batch(struct peat_db *db, struct pt_held_buffer *active,
                                 struct peat_bytes payload, uint64_t commit)
{
    size_t count;
    enum peat_status status = pt_count_operations(payload, &count);

    if (status == PEAT_OK && pt_write_buffer_range_count(active->buffer) >= PT_BUFFER_RANGES_MAX)
        return PEAT_TOO_LARGE;
    if (status == PEAT_OK)
        status = pt_write_buffer_reserve(active->buffer, count, payload.size);
    if (status < 0)
        return status;
    pt_group_add(db, active, payload, commit);
    pt_note_catalogue(db, payload);
    pt_write_buffer_publish(active->buffer, commit);
    pt_held_buffer_account(active);
    return PEAT_OK;
}

size_t pt_buffer_capacity(const struct peat_db *db, size_t count, size_t size)
{
    size_t usual =
        db->options.write_buffer_size + pt_write_buffer_capacity_for(0, PT_GROUP_SIZE_MAX);
    size_t needed = pt_write_buffer_capacity_for(count, size);

    return needed > usual ? needed : usual;
}

enum peat_status pt_seal(struct peat_db *db, const struct pt_log_point *start, size_t count,
                         size_t size)
{
    struct pt_held_buffer *buffers[PT_STACK_BUFFERS_MAX];
    struct pt_held_buffer *fresh = NULL;
    struct pt_stack *stack = NULL;
    size_t capacity = pt_buffer_capacity(db, count, size);
    enum peat_status status;

    pt_mutex_lock(&db->shelf.mutex);
    {
        struct pt_stack *current = db->shelf.current;

        /* Entries to expect: what the one before had. */
        status = current->buffer_count == PT_STACK_BUFFERS_MAX
                     ? pt_fail(PEAT_NO_MEMORY, "%d write buffers wait to be flushed",
                               PT_STACK_BUFFERS_MAX)
                     : pt_held_buffer_open(capacity,
                                           pt_write_buffer_entry_count(current->buffers[0]->buffer),
                                           pt_hash_seed(db), start, &db->buffer_memory, &fresh);
        if (status == PEAT_OK) {
            buffers[0] = fresh;
            memcpy(buffers + 1, current->buffers, current->buffer_count * sizeof(buffers[0]));
            status = pt_stack_new(buffers, current->buffer_count + 1, current->runs,
                                  current->run_count, current->generation, current->floor, &stack);
        }
        if (status == PEAT_OK) {
            atomic_fetch_add_explicit(&db->sealed_size,
                                      pt_write_buffer_data_size(current->buffers[0]->buffer),
                                      memory_order_relaxed);
            pt_shelf_publish_locked(&db->shelf, stack);
            db->queue.active = fresh;
        }
    }
    pt_mutex_unlock(&db->shelf.mutex);
    pt_held_buffer_unpin(fresh); /* the stack's now */
    (void)pt_shelf_reap(&db->shelf);
    (void)pt_memory_look(db);
    return status;
}

/* ---- The leader ---- */

/* Neighbours in the queue, committed together. More requests may queue up behind the last one while
 * the leader works, so its next is not the leader's to read. */
struct commit_group {
    struct pt_commit_request *first; /* the leader's own */
    struct pt_commit_request *last;
    size_t count;
};

static struct pt_commit_request *group_next(const struct commit_group *group,
                                            const struct pt_commit_request *request)
{
    return request == group->last ? NULL : request->next;
}

enum peat_status pt_group_seal(struct peat_db *db, const struct pt_log_point *point, size_t count,
                               size_t size)
{
    enum peat_status status = pt_seal(db, point, count, size);

    if (status < 0)
        return status;
    pt_log_budget_seal(&db->log_budget, point->position);
    pt_merger_wake(db);
    return PEAT_OK;
}

/*
 * End the active buffer here: the log says so, and what follows goes to a new one. A follower's
 * log says what its primary's does, so there nothing is said; nor by who closes the store: its
 * followers are gone, and would have it to get before one of them may be promoted.
 */
static enum peat_status seal_active(struct peat_db *db, size_t count, size_t size)
{
    struct pt_log_point point;
    enum peat_status status = pt_wait_for_place(db);

    if (status < 0)
        return status;
    if (pt_role_is(db, 0) && !db->is_closing)
        status =
            pt_log_append(db->log, PT_RECORD_SEAL, db->queue.commit, db->queue.time_us, NULL, 0);
    /* A backup may say that it stands behind the seal: the process may not take it with it. */
    if (status == PEAT_OK)
        status = pt_log_push(db->log);
    if (status < 0 && status != PEAT_NO_SPACE) /* a full log is to be flushed, told or not */
        return status;
    point = pt_log_point(db->log);
    return pt_group_seal(db, &point, count, size);
}

/* Whether the active buffer has had its share: of memory, of the log's budget, of range deletes. */
static bool active_full(const struct peat_db *db)
{
    const struct pt_write_buffer *buffer = db->queue.active->buffer;
    const struct pt_log_budget *budget = &db->log_budget;

    return pt_write_buffer_data_size(buffer) >= pt_buffer_size_max(db) ||
           pt_write_buffer_range_count(buffer) >= PT_BUFFER_RANGES_MAX ||
           pt_log_budget_used(budget) - pt_log_budget_sealed(budget) >=
               db->options.log_size_max / PT_LOG_BUDGET_BUFFERS;
}

/* Find room for @p count operations of @p size bytes, in the active buffer or a new one. */
enum peat_status pt_group_make_room(struct peat_db *db, size_t count, size_t size,
                                    struct pt_held_buffer **active_out)
{
    bool full = active_full(db);
    enum peat_status status = PEAT_TOO_LARGE;

    *active_out = db->queue.active;
    if (!full) {
        status = pt_wait_for_room(db, count, size);
        if (status == PEAT_OK)
            status = pt_write_buffer_reserve(db->queue.active->buffer, count, size);
    }
    if (status != PEAT_TOO_LARGE)
        return status;
    status = seal_active(db, count, size);
    if (status == PEAT_OK && full)
        status = pt_wait_for_room(db, count, size);
    if (status < 0)
        return status;
    *active_out = db->queue.active;
    return pt_write_buffer_reserve(db->queue.active->buffer, count, size);
}

/* Whether the log may cost @p count operations of @p size bytes more before it is flushed. */
enum peat_status pt_group_check_reserve(struct peat_db *db, size_t count, size_t size, bool relief)
{
    uint64_t cost = pt_log_budget_used(&db->log_budget) + pt_log_cost(count, size);
    enum peat_status status;

    if (cost <= atomic_load_explicit(&db->reserve.covered, memory_order_relaxed))
        return PEAT_OK;
    status = pt_reserve_cover(db, cost, relief);
    if (status == PEAT_IO) /* as for the log's own space */
        atomic_store_explicit(&db->poisoned, true, memory_order_release);
    return status;
}

static enum peat_status check_collections(const struct pt_commit_request *request)
{
    for (size_t i = 0; i < request->collection_count; i++) {
        if (atomic_load_explicit(&request->collections[i]->dropped, memory_order_relaxed))
            return pt_fail(PEAT_NOT_FOUND,
                           "a collection of the batch was dropped: open it again by name");
    }
    return PEAT_OK;
}

/* Fetch the index slot of the first key while the batch is checksummed and appended: all that a
 * single put can overlap. */
static void prefetch_first(const struct peat_db *db, const struct pt_held_buffer *active,
                           struct peat_bytes payload)
{
    struct pt_batch_cursor cursor = {payload.data, payload.size, {{NULL, 0}, {NULL, 0}, PT_OP_PUT}};

    if (pt_batch_cursor_next(&cursor))
        pt_write_buffer_prefetch(active->buffer, pt_hash(pt_hash_seed(db), cursor.entry.key.data,
                                                         cursor.entry.key.size));
}

static enum peat_status append(struct peat_db *db, const struct pt_held_buffer *active,
                               struct pt_commit_request *request)
{
    struct pt_commit_queue *queue = &db->queue;
    enum peat_status status;

    if (request->count == 0) /* a wish to seal, no batch */
        return PEAT_OK;
    status = pt_role_check_commits(db); /* it may have been fenced while this one waited */
    if (status == PEAT_OK)
        status = check_collections(request);
    prefetch_first(db, active, request->payload);
    if (status == PEAT_OK)
        status = pt_log_append(db->log, PT_RECORD_BATCH, queue->commit + 1, queue->time_us,
                               &request->payload, 1);
    if (status < 0 || status == PEAT_NOT_FOUND)
        return status;
    request->commit = ++queue->commit;
    pt_log_budget_spend(&db->log_budget, pt_log_cost(request->count, request->payload.size));
    for (size_t i = 0; i < request->dropped_count; i++)
        pt_catalogue_mark_dropped(db->catalogue, request->dropped_ids[i]);
    return PEAT_OK;
}

/* Make what was appended as durable as @p durability asks. */
enum peat_status pt_group_make_durable(struct peat_db *db, enum peat_durability durability)
{
    enum peat_status status;
    uint64_t begin_us;

    if (durability < PEAT_DISK) {
        status = durability == PEAT_OS && !PT_BUG(OS_KEPT_BACK) ? pt_log_push(db->log) : PEAT_OK;
        pt_syncer_note(db, pt_log_prepare_wanted(db->log));
        return status;
    }
    begin_us = pt_clock_monotonic_us();
    status = pt_log_sync(db->log);
    db->queue.sync_time_us =
        (db->queue.sync_time_us * 7 + (pt_clock_monotonic_us() - begin_us)) / 8;
    if (pt_log_prepare_wanted(db->log))
        pt_syncer_note(db, true);
    atomic_fetch_add_explicit(&db->counters.syncs, 1, memory_order_relaxed);
    return status;
}

static void fail_request(struct pt_commit_request *request, enum peat_status status)
{
    request->status = status;
    (void)strncpy(request->error, peat_last_error(), sizeof(request->error) - 1);
    request->error[sizeof(request->error) - 1] = '\0';
}

static void apply_group(struct peat_db *db, const struct commit_group *group,
                        struct pt_held_buffer *active)
{
    uint64_t commits = 0;
    uint64_t put_size = 0;

    for (struct pt_commit_request *request = group->first; request != NULL;
         request = group_next(group, request)) {
        if (request->status != PEAT_OK || request->count == 0)
            continue;
        pt_group_add(db, active, request->payload, request->commit);
        put_size += request->put_size;
        commits++;
    }
    pt_write_buffer_publish(active->buffer, db->queue.commit);
    pt_held_buffer_account(active);
    count_up(&db->counters.commits, commits);
    count_up(&db->counters.commit_groups, 1);
    count_up(&db->counters.bytes_put, put_size);
}

/* Seal for those of the group that asked for it. */
static void seal_group(struct peat_db *db, const struct commit_group *group)
{
    for (struct pt_commit_request *request = group->first; request != NULL;
         request = group_next(group, request)) {
        enum peat_status status = PEAT_OK;

        if (!request->seal || request->status != PEAT_OK ||
            pt_write_buffer_entry_count(db->queue.active->buffer) == 0)
            continue;
        status = seal_active(db, 0, 0);
        if (status < 0)
            fail_request(request, status);
    }
}

/* Commit the group. Sets each member's status. */
static void lead(struct peat_db *db, const struct commit_group *group)
{
    enum peat_durability durability = PEAT_MEMORY;
    struct pt_held_buffer *active = NULL;
    enum peat_status status = PEAT_OK;
    uint64_t now_us = pt_clock_wall_us();
    uint64_t before = db->queue.commit;
    size_t count = 0;
    size_t size = 0;

    for (struct pt_commit_request *request = group->first; request != NULL;
         request = group_next(group, request)) {
        count += request->count;
        size += request->payload.size;
        if (request->durability > durability)
            durability = request->durability;
    }
    if (atomic_load_explicit(&db->poisoned, memory_order_acquire))
        status = pt_fail(PEAT_POISONED, "an earlier write or sync failed: reopen the store");
    if (status == PEAT_OK && count > 0)
        status = pt_group_make_room(db, count, size, &active);
    if (status == PEAT_OK && count > 0)
        status = pt_group_check_reserve(db, count, size, group->first->relief);
    if (group->first->relief)
        pt_log_use_reserve(db->log, pt_reserve_for_relief(db));
    pt_log_stage(db->log, durability >= PEAT_DISK || size >= STAGE_SIZE_MIN);
    if (now_us > db->queue.time_us) /* commit times never go back */
        db->queue.time_us = now_us;
    for (struct pt_commit_request *request = group->first; request != NULL;
         request = group_next(group, request)) {
        enum peat_status appended = status == PEAT_OK ? append(db, active, request) : status;

        request->status = PEAT_OK;
        if (appended != PEAT_OK)
            fail_request(request, appended);
        if (status == PEAT_OK && (appended == PEAT_IO || appended == PEAT_POISONED))
            atomic_store_explicit(&db->poisoned, true, memory_order_release); /* the log failed */
        /* The log is full or broken: what follows fails alike. Who is fenced lets seals through. */
        if (appended < 0 && appended != PEAT_FENCED)
            status = appended;
    }
    pt_log_use_reserve(db->log, PT_KEEP_ALL);
    if (group->first->relief) /* perhaps it has drawn */
        pt_reserve_drawn(db);
    if (db->queue.commit != before) {
        status = pt_group_make_durable(db, durability);
        if (status == PEAT_OK)
            apply_group(db, group, active);
    }
    if (status >= 0 || db->queue.commit == before) /* who did not fail alike still wants it */
        seal_group(db, group);
    if (status >= 0 || db->queue.commit == before)
        return;
    atomic_store_explicit(&db->poisoned, true, memory_order_release);
    for (struct pt_commit_request *request = group->first; request != NULL;
         request = group_next(group, request)) {
        if (request->status == PEAT_OK)
            fail_request(request, status);
    }
}

/*
 * For a durable group: give the members of the last group, who are just being woken, the time of
 * about one sync to come back, else the first to arrive would sync alone each time.
 */
static void wait_for_group_locked(struct pt_commit_queue *queue, enum peat_durability durability)
    PT_REQUIRES(queue->mutex)
{
    uint64_t until_us;

    if (durability < PEAT_DISK || queue->last_group <= 1 || queue->waiting >= queue->last_group)
        return;
    until_us = pt_clock_monotonic_us() + queue->sync_time_us;
    queue->leader_wants = queue->last_group;
    while (queue->waiting < queue->leader_wants &&
           pt_condition_wait_until(&queue->arrived, &queue->mutex, until_us))
        ;
    queue->leader_wants = 0;
}

/* The group that the head leads now. */
static struct commit_group group_form_locked(const struct pt_commit_queue *queue)
    PT_REQUIRES(queue->mutex)
{
    struct commit_group group = {queue->head, queue->head, 1};
    size_t size = queue->head->payload.size;

    while (group.first->alone == NULL && group.last->next != NULL &&
           group.last->next->alone == NULL && group.last->next->relief == group.first->relief &&
           group.count < PT_GROUP_MEMBERS_MAX &&
           size + group.last->next->payload.size <= PT_GROUP_SIZE_MAX) {
        group.last = group.last->next;
        group.count++;
        size += group.last->payload.size;
    }
    return group;
}

/* Take the finished group off the queue, wake its members, and hand the lead on. */
static void group_dismiss_locked(struct pt_commit_queue *queue, const struct commit_group *group)
    PT_REQUIRES(queue->mutex)
{
    struct pt_commit_request *request = group->first;

    queue->head = group->last->next;
    if (queue->head == NULL)
        queue->tail = NULL;
    else
        pt_condition_signal(&queue->head->wake);
    while (request != NULL) {
        struct pt_commit_request *next =
            group_next(group, request); /* it is gone once it is woken */

        request->done = true;
        if (request != group->first) /* the leader itself */
            pt_condition_signal(&request->wake);
        request = next;
    }
}

static void enqueue_locked(struct pt_commit_queue *queue, struct pt_commit_request *request)
    PT_REQUIRES(queue->mutex)
{
    if (queue->tail == NULL)
        queue->head = request;
    else
        queue->tail->next = request;
    queue->tail = request;
    queue->waiting++;
    if (queue->leader_wants != 0 && queue->waiting >= queue->leader_wants)
        pt_condition_signal(&queue->arrived);
}

/* Lead @p group, whose first is ours. */
static void lead_locked(struct peat_db *db, struct pt_commit_queue *queue,
                        const struct commit_group *group) PT_REQUIRES(queue->mutex)
{
    queue->waiting -= group->count;
    pt_mutex_unlock(&queue->mutex);
    if (group->first->alone != NULL)
        group->first->status = group->first->alone(db, group->first->context);
    else
        lead(db, group);
    pt_mutex_lock(&queue->mutex);
    queue->last_group = group->count;
    queue->led_count++;
    if (queue->led_waiting > 0)
        pt_condition_broadcast(&queue->led);
    group_dismiss_locked(queue, group);
}

static void commit_request(struct peat_db *db, struct pt_commit_request *request)
{
    struct pt_commit_queue *queue = &db->queue;
    struct commit_group group;

    pt_condition_init(&request->wake);
    pt_mutex_lock(&queue->mutex);
    enqueue_locked(queue, request);
    while (!request->done && queue->head != request)
        pt_condition_wait(&request->wake, &queue->mutex);
    if (!request->done) {
        wait_for_group_locked(queue, request->durability);
        group = group_form_locked(queue);
        lead_locked(db, queue, &group);
    }
    pt_mutex_unlock(&queue->mutex);
    pt_condition_fini(&request->wake);
}

/* ---- Public calls ---- */

enum peat_status pt_check_durability(enum peat_durability durability)
{
    if (durability < PEAT_DEFAULT || durability > PEAT_REPLICAS)
        return pt_fail(PEAT_INVALID, "durability %d is none of enum peat_durability",
                       (int)durability);
    return PEAT_OK;
}

static enum peat_status check_writable(struct peat_db *db, enum peat_durability durability)
{
    enum peat_status status = pt_role_check_commits(db);

    return status < 0 ? status : pt_check_durability(durability);
}

/* There was no space for it. Try once more, if anything may be different then. */
static void retry(struct peat_db *db, struct pt_commit_request *request)
{
    bool relieved;

    request->relief = pt_reserve_is_relief(request->payload);
    relieved = pt_reserve_relieve(db, request->relief, false);
    if (!relieved && !request->relief)
        return;
    request->done = false;
    commit_request(db, request);
    if (request->status != PEAT_NO_SPACE || !request->relief)
        return;
    (void)pt_reserve_relieve(db, true, true);
    pt_reserve_regain(db);
    request->done = false;
    commit_request(db, request);
}

enum peat_status pt_commit(struct peat_db *db, struct peat_batch *batch,
                           enum peat_durability durability, const uint64_t *dropped_ids,
                           size_t dropped_count, uint64_t *commit_out)
{
    struct pt_commit_request request = {.payload = {batch->data, batch->size},
                                        .count = batch->count,
                                        .put_size = batch->put_size,
                                        .durability = durability,
                                        .collections = batch->collections,
                                        .collection_count = batch->collection_count,
                                        .dropped_ids = dropped_ids,
                                        .dropped_count = dropped_count};
    enum peat_status status = check_writable(db, durability);

    if (status < 0)
        return status;
    /* A batch is of one store, so its first collection speaks for all. */
    if (batch->collection_count > 0 && !pt_collection_is_of(batch->collections[0], db->catalogue))
        return pt_fail_foreign();
    if (durability == PEAT_DEFAULT)
        request.durability = db->options.durability;
    if (batch->count == 0) {
        struct pt_pin pin = pt_shelf_pin(&db->shelf);

        if (commit_out != NULL)
            *commit_out = pt_stack_commit(pin.stack);
        pt_shelf_unpin(&db->shelf, pin);
        return PEAT_OK;
    }
    commit_request(db, &request);
    if (request.status == PEAT_NO_SPACE)
        retry(db, &request);
    if (request.status != PEAT_OK)
        return pt_fail_passed_on(request.status, request.error);
    if (commit_out != NULL)
        *commit_out = request.commit;
    return PEAT_OK;
}

enum peat_status pt_commit_seal(struct peat_db *db)
{
    struct pt_commit_request request = {.durability = PEAT_MEMORY, .seal = true};

    commit_request(db, &request);
    if (request.status != PEAT_OK)
        return pt_fail_passed_on(request.status, request.error);
    return PEAT_OK;
}

enum peat_status pt_commit_alone(struct peat_db *db,
                                 enum peat_status (*alone)(struct peat_db *db, void *context),
                                 void *context)
{
    struct pt_commit_request request = {
        .durability = PEAT_MEMORY, .alone = alone, .context = context};

    commit_request(db, &request); /* it is always its own leader, so the words are this thread's */
    return request.status;
}

enum peat_status pt_commit_seal_alone(struct peat_db *db)
{
    if (atomic_load_explicit(&db->poisoned, memory_order_acquire))
        return pt_fail(PEAT_POISONED, "an earlier write or sync failed: reopen the store");
    if (pt_write_buffer_entry_count(db->queue.active->buffer) == 0)
        return PEAT_OK;
    return seal_active(db, 0, 0);
}

enum peat_status pt_commit_seal_idle(struct peat_db *db)
{
    struct pt_commit_request request = {.durability = PEAT_MEMORY, .seal = true};
    struct commit_group alone = {&request, &request, 1};
    struct pt_commit_queue *queue = &db->queue;

    pt_condition_init(&request.wake);
    pt_mutex_lock(&queue->mutex);
    if (queue->head != NULL || pt_shelf_full(&db->shelf)) {
        request.status = PEAT_DONE;
    } else {
        enqueue_locked(queue, &request);
        lead_locked(db, queue, &alone);
    }
    pt_mutex_unlock(&queue->mutex);
    pt_condition_fini(&request.wake);
    return request.status;
}

/* Commit, then wait for followers if that was asked for: the commit is done by then, and the next group does not wait. */
static enum peat_status commit_and_wait(struct peat_db *db, struct peat_batch *batch,
                                        enum peat_durability durability, uint64_t *commit_out)
{
    uint64_t commit = 0;
    enum peat_status status = pt_commit(db, batch, durability, NULL, 0, &commit);

    if (status != PEAT_OK)
        return status;
    if (commit_out != NULL)
        *commit_out = commit;
    if (durability == PEAT_DEFAULT)
        durability = db->options.durability;
    if (durability != PEAT_REPLICAS || batch->count == 0)
        return PEAT_OK;
    return pt_replicas_wait(db, commit, db->options.replica_count, db->options.replica_timeout_ms,
                            NULL);
}

enum peat_status peat_write(struct peat_db *db, struct peat_batch *batch,
                            enum peat_durability durability, uint64_t *commit_out)
{
    if (db == NULL || batch == NULL)
        return pt_fail_null();
    return commit_and_wait(db, batch, durability, commit_out);
}

/* Commit a batch of one operation, encoded at @p place, which has room for it. */
static enum peat_status write_at(struct peat_db *db, struct peat_collection *collection,
                                 enum pt_op op, struct peat_bytes key, struct peat_bytes value,
                                 void *place, size_t capacity)
{
    struct peat_batch batch;
    enum peat_status status;

    pt_batch_init(&batch);
    batch.collections = &collection;
    batch.collection_count = collection != NULL;
    batch.data = place;
    batch.capacity = capacity;
    status = pt_batch_add(&batch, op, pt_collection_prefix(collection), key, value, NULL);
    PT_ASSERT(batch.data == place); /* it has not grown */
    if (status == PEAT_OK)
        status = commit_and_wait(db, &batch, PEAT_DEFAULT, NULL);
    return status;
}

/* A batch of one operation in memory of the caller's stack where it fits. */
static enum peat_status write_one(struct peat_db *db, struct peat_collection *collection,
                                  enum pt_op op, struct peat_bytes key, struct peat_bytes value)
{
    enum peat_status status = pt_check_bytes(key, value);
    uint64_t place[256]; /* 2 KiB, aligned */
    size_t size;
    void *block;

    if (status < 0)
        return status;
    if (db == NULL)
        return pt_fail(PEAT_INVALID, "NULL given as store");
    size = pt_entry_size(pt_collection_prefix(collection)->size + key.size, value.size);
    if (size <= sizeof(place))
        return write_at(db, collection, op, key, value, place, sizeof(place));
    pt_put_memory_take(db, size);
    block = pt_block_alloc(size);
    status = block == NULL ? pt_fail(PEAT_NO_MEMORY, "a copy of %zu bytes to commit", size)
                           : write_at(db, collection, op, key, value, block, size);
    pt_block_free(block, size);
    pt_put_memory_give(db, size);
    return status;
}

enum peat_status peat_put(struct peat_db *db, struct peat_collection *collection,
                          struct peat_bytes key, struct peat_bytes value)
{
    return write_one(db, collection, PT_OP_PUT, key, value);
}

enum peat_status peat_delete(struct peat_db *db, struct peat_collection *collection,
                             struct peat_bytes key)
{
    return write_one(db, collection, PT_OP_DELETE, key, pt_bytes(NULL, 0));
}

enum peat_status peat_merge(struct peat_db *db, struct peat_collection *collection,
                            struct peat_bytes key, struct peat_bytes operand)
{
    (void)db;
    return peat_batch_merge(NULL, collection, key, operand);
}

enum peat_status peat_sync(struct peat_db *db)
{
    enum peat_status status;

    if (db == NULL)
        return pt_fail_null();
    if (db->read_only)
        return pt_fail(PEAT_NOT_WRITABLE, "the store was opened read-only");
    /* The log knows of its own failures only, not of an install's. */
    if (atomic_load_explicit(&db->poisoned, memory_order_acquire))
        return pt_fail(PEAT_POISONED, "an earlier write or sync failed: reopen the store");
    status = pt_log_sync(db->log);
    atomic_fetch_add_explicit(&db->counters.syncs, 1, memory_order_relaxed);
    if (status < 0)
        atomic_store_explicit(&db->poisoned, true, memory_order_release);
    return status;
}
