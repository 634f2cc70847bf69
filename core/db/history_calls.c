/* The public calls on the history. Changing it takes a checkpoint. */
#include "core/base/alloc.h"
#include "core/db/db.h"
#include "core/db/history_parts.h"
#include "core/db/manifest_format.h"

#include <inttypes.h>

/* ---- Names ---- */

/* Bytes of the UTF-8 character at @p text, which ends with a NUL; 0: it is none. Overlong forms,
 * surrogates and what is above U+10FFFF are none. */
static size_t character_size(const unsigned char *text)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t size = text[0] < 0x80 ? 1 : 0;
    uint32_t code;

    if (text[0] >= 0xc2 && text[0] <= 0xf4)
        size = text[0] < 0xe0 ? 2 : (text[0] < 0xf0 ? 3 : 4);
    if (size < 2)
        return size;
    code = text[0] & (0x7fu >> size);
    for (size_t i = 1; i < size; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (text[i] & 0x3fu);
    }
    return code < least[size] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000) ? 0 : size;
}

static enum peat_status check_name(const char *name)
{
    size_t size = name == NULL ? 0 : strnlen(name, PEAT_NAME_SIZE_MAX + 1);
    const unsigned char *text = (const unsigned char *)name;

    if (size == 0 || size > PEAT_NAME_SIZE_MAX)
        return pt_fail(PEAT_INVALID, "the name of a kept state has 1 to %zu bytes",
                       PEAT_NAME_SIZE_MAX);
    while (*text != '\0') {
        size = character_size(text);
        if (size == 0)
            return pt_fail(PEAT_INVALID, "the name of a kept state is not UTF-8");
        text += size;
    }
    return PEAT_OK;
}

static enum peat_status check_writable(const struct peat_db *db)
{
    return db->read_only ? pt_fail(PEAT_NOT_WRITABLE, "the store was opened read-only") : PEAT_OK;
}

static enum peat_status refuse_damaged(const struct pt_kept *kept)
{
    return pt_fail(PEAT_CORRUPT,
                   "the kept state of generation %" PRIu64 " is damaged: it can only be dropped",
                   kept->row.generation);
}

/* ---- Listing ---- */

/* The states as they were at one moment. */
struct listing {
    struct peat_history_entry *entries; /* owned */
    char *names;                        /* owned: what the entries point to */
    size_t count;
};

static enum peat_status listing_reserve_locked(const struct pt_history *history,
                                               struct listing *listing) PT_REQUIRES(history->mutex)
{
    size_t name_size = 0;

    for (size_t i = 0; i < history->count; i++)
        name_size += history->kept[i]->row.name.size + 1;
    listing->entries = pt_calloc(history->count + 1, sizeof(*listing->entries));
    listing->names = pt_malloc(name_size + 1);
    listing->count = history->count;
    if (listing->entries == NULL || listing->names == NULL)
        return pt_fail(PEAT_NO_MEMORY, "history of %zu states", history->count);
    return PEAT_OK;
}

static void listing_fill_locked(const struct pt_history *history, const struct pt_kept_size *sizes,
                                struct listing *listing) PT_REQUIRES(history->mutex)
{
    char *name = listing->names;

    for (size_t i = 0; i < history->count; i++) {
        const struct pt_manifest_kept *row = &history->kept[i]->row;

        memcpy(name, history->kept[i]->name, row->name.size + 1);
        listing->entries[i] = (struct peat_history_entry){
            .struct_size = sizeof(struct peat_history_entry),
            .generation = row->generation,
            .commit = row->commit,
            .time_us = row->time_us,
            .name = name,
            .size = sizes[i].all,
            .own_size = sizes[i].own,
            .is_newest = i + 1 == history->count,
            .is_before_revert = (row->flags & PT_KEPT_BEFORE_REVERT) != 0,
            .is_damaged = (row->flags & PT_KEPT_DAMAGED) != 0,
        };
        name += row->name.size + 1;
    }
}

static enum peat_status listing_take_locked(struct peat_db *db, struct listing *listing)
    PT_REQUIRES(db->history.mutex)
{
    struct pt_kept_size *sizes = pt_calloc(db->history.count + 1, sizeof(*sizes));
    enum peat_status status = listing_reserve_locked(&db->history, listing);

    if (sizes == NULL)
        status = pt_fail(PEAT_NO_MEMORY, "sizes of %zu states", db->history.count);
    if (status == PEAT_OK)
        status = pt_history_measure_locked(db, sizes);
    if (status == PEAT_OK)
        listing_fill_locked(&db->history, sizes, listing);
    pt_free(sizes);
    return status;
}

enum peat_status peat_history_list(struct peat_db *db,
                                   bool (*callback)(void *context,
                                                    const struct peat_history_entry *entry),
                                   void *context)
{
    struct listing listing = {NULL, NULL, 0};
    enum peat_status status;

    if (db == NULL || callback == NULL)
        return pt_fail_null();
    pt_mutex_lock(&db->refresh_mutex); /* in a reader manifests are read: they must stay */
    pt_mutex_lock(&db->history.mutex);
    status = listing_take_locked(db, &listing);
    pt_mutex_unlock(&db->history.mutex);
    pt_mutex_unlock(&db->refresh_mutex);
    for (size_t i = 0; i < listing.count && status == PEAT_OK; i++)
        if (!callback(context, &listing.entries[i]))
            break;
    pt_free(listing.entries);
    pt_free(listing.names);
    return status;
}

/* ---- Opening ---- */

/* A stack of @p runs with an empty write buffer on top, whose commit is the state's. */
static enum peat_status state_stack(struct peat_db *db, struct pt_run *const *runs,
                                    size_t run_count, uint64_t commit, struct pt_stack **stack_out)
{
    struct pt_log_point start = {.commit = commit};

    return pt_stack_begin(db, pt_write_buffer_capacity_for(0, 0), pt_hash_seed(db), &start, runs,
                          run_count, stack_out);
}

/* In a reader: the segments that are open in any stack, with refresh_mutex held, so that none goes. */
static enum peat_status note_stacks(struct peat_db *db, struct pt_known_segments *known)
    PT_REQUIRES(db->refresh_mutex)
{
    const struct pt_stack *stack;
    enum peat_status status;

    pt_mutex_lock(&db->shelf.mutex);
    stack = db->shelf.current;
    status = pt_known_segments_add(known, stack->runs, stack->run_count);
    for (stack = db->shelf.replaced; stack != NULL && status == PEAT_OK; stack = stack->next)
        status = pt_known_segments_add(known, stack->runs, stack->run_count);
    pt_mutex_unlock(&db->shelf.mutex);
    return status;
}

/* In a reader: read the manifest and open its segments. refresh_mutex is held, and so the generation
 * that names them; the stack carries it, so it stays held as long as the stack is pinned. */
static enum peat_status read_state(struct peat_db *db, const struct pt_kept *kept,
                                   struct pt_stack **stack_out) PT_REQUIRES(db->refresh_mutex)
{
    struct pt_known_segments known = {NULL, 0, 0};
    struct pt_run **runs = NULL;
    struct pt_manifest manifest;
    uint8_t *block = NULL;
    bool rules = kept->row.manifest_generation ==
                 atomic_load_explicit(&db->generation, memory_order_relaxed);
    enum peat_status status = pt_kept_manifest(db, kept, &manifest, &block);

    if (status == PEAT_OK)
        status = note_stacks(db, &known);
    if (status == PEAT_OK) /* the one that rules opens around damage, as the store does */
        status = pt_manifest_runs(db, &manifest, &known, rules, &runs);
    if (status == PEAT_OK)
        status = state_stack(db, runs, manifest.run_count, kept->row.commit, stack_out);
    pt_runs_free(runs, runs == NULL ? 0 : manifest.run_count);
    pt_known_segments_fini(&known);
    pt_manifest_fini(&manifest);
    pt_free(block);
    return status;
}

static enum peat_status open_state(struct peat_db *db, const char *name, uint64_t generation,
                                   struct pt_stack **stack_out) PT_REQUIRES(db->refresh_mutex)
{
    const struct pt_kept *kept;
    enum peat_status status = PEAT_NOT_FOUND;

    pt_mutex_lock(&db->history.mutex);
    kept = pt_history_find(&db->history, name, generation);
    if (kept != NULL && (kept->row.flags & PT_KEPT_DAMAGED) != 0)
        status = refuse_damaged(kept);
    else if (kept != NULL && kept->runs != NULL)
        status = state_stack(db, kept->runs, kept->run_count, kept->row.commit, stack_out);
    else if (kept != NULL)
        status = read_state(db, kept, stack_out);
    pt_mutex_unlock(&db->history.mutex);
    return status;
}

enum peat_status peat_history_open(struct peat_db *db, const char *name, uint64_t generation,
                                   struct peat_snapshot **snapshot_out)
{
    struct peat_snapshot *snapshot;
    struct pt_stack *stack = NULL;
    enum peat_status status;

    if (db == NULL || snapshot_out == NULL)
        return pt_fail_null();
    *snapshot_out = NULL;
    snapshot = pt_malloc(sizeof(*snapshot));
    if (snapshot == NULL)
        return pt_fail(PEAT_NO_MEMORY, "snapshot");
    pt_mutex_lock(&db->refresh_mutex);
    status = open_state(db, name, generation, &stack);
    if (status == PEAT_OK) { /* before a refresh can give the generation up */
        snapshot->db = db;
        snapshot->commit = pt_stack_commit(stack);
        snapshot->pin = pt_shelf_adopt(&db->shelf, stack);
        *snapshot_out = snapshot;
        snapshot = NULL; /* the caller's now */
    }
    pt_mutex_unlock(&db->refresh_mutex);
    pt_free(snapshot);
    return status;
}

/* ---- Changing ---- */

/* What a caller names. */
struct wish {
    const char *name;
    uint64_t generation;
};

static enum peat_status choose_name(struct peat_db *db, void *context,
                                    struct pt_history_change *change)
{
    const struct wish *wish = context;

    if (pt_history_find(&db->history, wish->name, 0) != NULL)
        return pt_fail(PEAT_EXISTS, "there is a kept state '%s' already", wish->name);
    change->name = wish->name;
    return PEAT_OK;
}

/* The number of the state of that name; 0: another thread has dropped it. */
static uint64_t generation_of(struct peat_db *db, const char *name)
{
    const struct pt_kept *kept;
    uint64_t generation = 0;

    pt_mutex_lock(&db->history.mutex);
    kept = pt_history_find(&db->history, name, 0);
    if (kept != NULL)
        generation = kept->row.generation;
    pt_mutex_unlock(&db->history.mutex);
    return generation;
}

enum peat_status peat_snapshot_persist(struct peat_db *db, const char *name,
                                       uint64_t *generation_out)
{
    struct wish wish = {.name = name};
    enum peat_status status;

    if (db == NULL || name == NULL)
        return pt_fail_null();
    status = check_writable(db);
    if (status == PEAT_OK)
        status = check_name(name);
    if (status == PEAT_OK)
        status = pt_merger_flush(db);
    if (status == PEAT_OK)
        status = pt_checkpoint_change(db, choose_name, &wish);
    if (status == PEAT_OK && generation_out != NULL)
        *generation_out = generation_of(db, name);
    return status;
}

static enum peat_status choose_drop(struct peat_db *db, void *context,
                                    struct pt_history_change *change)
{
    const struct wish *wish = context;
    const struct pt_kept *kept = pt_history_find(&db->history, wish->name, wish->generation);

    if (kept == NULL)
        return PEAT_NOT_FOUND;
    if (kept == db->history.kept[db->history.count - 1] && kept->row.name.size == 0)
        return pt_fail(PEAT_INVALID, "the newest state has no name to lose, and is always kept");
    change->drop_generation = kept->row.generation;
    return PEAT_OK;
}

enum peat_status peat_history_drop(struct peat_db *db, const char *name, uint64_t generation)
{
    struct wish wish = {name, generation};
    enum peat_status status;

    if (db == NULL)
        return pt_fail_null();
    status = check_writable(db);
    if (status == PEAT_OK)
        status = pt_checkpoint_change(db, choose_drop, &wish);
    if (status == PEAT_OK)
        pt_merger_wake(db); /* to give the space back */
    return status;
}
