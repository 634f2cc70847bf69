/* The feeds that have a name, and the operations in what feeds hand out. */
#include "core/base/alloc.h"
#include "core/db/feed.h"

#include <inttypes.h>

/* ---- The list ---- */

/* The feeds as they were at one moment. */
struct listing {
    struct peat_feed_info *infos; /* owned */
    char *names;                  /* owned: what they point to */
    size_t count;
};

/* Bytes of @p count pieces from number @p first on, but for the one in which the log begins. */
static uint64_t size_of(const struct pt_log_piece *pieces, size_t first, size_t count,
                        const struct pt_id *log_nonce)
{
    uint64_t size = 0;

    for (size_t i = first; i < count; i++)
        if (memcmp(&pieces[i].start.nonce, log_nonce, sizeof(*log_nonce)) != 0)
            size += pieces[i].start.region.size;
    return size;
}

/* What is held for @p slot, where the log goes on at @p log_start behind the pieces. */
static void info_fill_locked(const struct peat_db *db, const struct pt_feed_slot *slot,
                             const struct pt_feed_places *all, const struct pt_id *log_nonce,
                             char *name, struct peat_feed_info *info) PT_REQUIRES(db->feeds.mutex)
{
    const struct pt_feeds *feeds = &db->feeds;
    size_t begin = slot->is_lost ? SIZE_MAX
                                 : pt_feeds_begin(all->pieces, all->count, slot->acknowledged,
                                                  slot->has_seals);

    memcpy(name, slot->name, slot->name_size + 1);
    *info = (struct peat_feed_info){
        .struct_size = sizeof(*info),
        .name = name,
        .acknowledged = slot->acknowledged,
        .is_open = slot->feed != NULL,
        .is_gone = begin == SIZE_MAX,
        .has_seals = slot->has_seals,
    };
    if (begin < feeds->piece_count)
        info->held_size = size_of(feeds->pieces, begin, feeds->piece_count, log_nonce);
}

/* All places, with the feeds' mutex held: the pieces, and what the log adds to them. */
static enum peat_status places_gather_locked(struct peat_db *db, struct pt_feed_places *all)
    PT_REQUIRES(db->refresh_mutex) PT_REQUIRES(db->feeds.mutex)
{
    const struct pt_feeds *feeds = &db->feeds;
    size_t own = db->log == NULL ? 1 : pt_log_pieces(db->log, NULL, 0);

    all->pieces = pt_calloc(feeds->piece_count + own, sizeof(*all->pieces));
    if (all->pieces == NULL)
        return pt_fail(PEAT_NO_MEMORY, "list of %zu log regions", feeds->piece_count + own);
    if (feeds->piece_count > 0)
        memcpy(all->pieces, feeds->pieces, feeds->piece_count * sizeof(*all->pieces));
    all->count = feeds->piece_count + own;
    if (db->log != NULL)
        (void)pt_log_pieces(db->log, all->pieces + feeds->piece_count, own);
    else
        all->pieces[feeds->piece_count] = (struct pt_log_piece){db->log_start, true};
    return PEAT_OK;
}

static enum peat_status listing_take_locked(struct peat_db *db, struct listing *listing)
    PT_REQUIRES(db->refresh_mutex) PT_REQUIRES(db->feeds.mutex)
{
    static const struct pt_id none;
    const struct pt_id *log_nonce = db->read_only ? &db->log_start.nonce : &none;
    const struct pt_feeds *feeds = &db->feeds;
    struct pt_feed_places all = {.pieces = NULL};
    size_t name_size = 0;
    char *name;
    enum peat_status status = places_gather_locked(db, &all);

    for (size_t i = 0; i < feeds->slot_count; i++)
        name_size += feeds->slots[i]->name_size + 1;
    listing->infos = pt_calloc(feeds->slot_count + 1, sizeof(*listing->infos));
    listing->names = name = pt_malloc(name_size + 1);
    if (status == PEAT_OK && (listing->infos == NULL || name == NULL))
        status = pt_fail(PEAT_NO_MEMORY, "list of %zu feeds", feeds->slot_count);
    for (size_t i = 0; i < feeds->slot_count && status == PEAT_OK; i++) {
        info_fill_locked(db, feeds->slots[i], &all, log_nonce, name, &listing->infos[i]);
        name += feeds->slots[i]->name_size + 1;
        listing->count++;
    }
    pt_free(all.pieces);
    return status;
}

enum peat_status peat_feed_list(struct peat_db *db,
                                bool (*callback)(void *context, const struct peat_feed_info *info),
                                void *context)
{
    struct listing listing = {NULL, NULL, 0};
    enum peat_status status;

    if (db == NULL || callback == NULL)
        return pt_fail_null();
    pt_mutex_lock(&db->refresh_mutex); /* in a reader a refresh replaces them */
    pt_mutex_lock(&db->feeds.mutex);
    status = listing_take_locked(db, &listing);
    pt_mutex_unlock(&db->feeds.mutex);
    pt_mutex_unlock(&db->refresh_mutex);
    for (size_t i = 0; status == PEAT_OK && i < listing.count; i++)
        if (!callback(context, &listing.infos[i]))
            break;
    pt_free(listing.infos);
    pt_free(listing.names);
    return status;
}

/* ---- Operations ---- */

/* Take a collection's number off the front of @p stored. */
static bool number_take(struct peat_bytes *stored, uint64_t *number_out)
{
    const uint8_t *bytes = stored->data;
    size_t size = 1;

    if (stored->size == 0)
        return false;
    *number_out = bytes[0];
    if (bytes[0] >= 240) {
        size += bytes[0] - 239u;
        if (size > PT_ID_PREFIX_MAX || size > stored->size)
            return false;
        *number_out = 0;
        for (size_t i = 1; i < size; i++)
            *number_out = *number_out << 8 | bytes[i];
    }
    *stored = pt_bytes(bytes + size, stored->size - size);
    return true;
}

/* The bound of a range delete in the collection @p number: data NULL: as far as that goes. */
static bool high_take(struct peat_bytes stored, uint64_t number, struct peat_bytes *high_out)
{
    struct pt_id_prefix end = pt_id_prefix_end(pt_id_prefix(number));
    uint64_t other;

    *high_out = pt_bytes(NULL, 0);
    if (pt_bytes_equal(stored, pt_id_prefix_bytes(&end)))
        return true;
    if (!number_take(&stored, &other) || other != number)
        return false;
    *high_out = stored;
    return true;
}

/* An entry of the catalogue: a collection comes or goes. */
static bool catalogue_decode(const struct pt_entry *entry, struct peat_operation *operation)
{
    operation->kind = PEAT_OPERATION_DROP;
    if (!number_take(&operation->key, &operation->parent))
        return false;
    if (entry->op == PT_OP_DELETE)
        return true;
    operation->kind = PEAT_OPERATION_CREATE;
    operation->value = pt_bytes(NULL, 0);
    if (entry->op != PT_OP_PUT || entry->value.size != 8)
        return false;
    operation->collection = pt_read_le64(entry->value.data);
    return true;
}

static bool operation_decode(const struct pt_entry *entry, struct peat_operation *operation)
{
    *operation = (struct peat_operation){.key = entry->key, .value = entry->value};
    if (!number_take(&operation->key, &operation->collection))
        return false;
    if (operation->collection == PT_CATALOGUE_ID)
        return catalogue_decode(entry, operation);
    operation->kind = PEAT_OPERATION_PUT;
    if (entry->op == PT_OP_DELETE)
        operation->kind = PEAT_OPERATION_DELETE;
    if (entry->op != PT_OP_DELETE_RANGE)
        return true;
    operation->kind = PEAT_OPERATION_DELETE_RANGE;
    return high_take(entry->value, operation->collection, &operation->value);
}

enum peat_status peat_record_operation(const struct peat_record *record, size_t *place,
                                       struct peat_operation *operation_out)
{
    struct pt_batch_cursor cursor;

    if (record == NULL || place == NULL || operation_out == NULL)
        return pt_fail_null();
    if (*place > record->payload.size)
        return pt_fail(PEAT_INVALID, "%zu is no place in a record of %zu bytes", *place,
                       record->payload.size);
    if (record->kind != PEAT_RECORD_BATCH || *place == record->payload.size)
        return PEAT_DONE;
    cursor = (struct pt_batch_cursor){(const uint8_t *)record->payload.data + *place,
                                      record->payload.size - *place,
                                      {{NULL, 0}, {NULL, 0}, PT_OP_PUT}};
    if (!pt_batch_cursor_next(&cursor) || !operation_decode(&cursor.entry, operation_out))
        return pt_fail(PEAT_CORRUPT, "commit %" PRIu64 " holds a malformed operation at byte %zu",
                       record->commit, *place);
    *place = record->payload.size - cursor.rest;
    return PEAT_OK;
}
