/*
 * peat_salvage(): a backup of what can be read (backup_job.h) of the newest state that can be found
 * (salvage_source.h), under a new store id.
 *
 * Collections whose names are lost get others: entries of the catalogue that are written besides.
 */
#include "core/db/backup_job.h"
#include "core/db/places.h"
#include "core/db/salvage_source.h"

#include <stdio.h>
#include <stdlib.h>

enum { NAME_SIZE = 48 };

/* One salvage; owned by its thread. */
struct salvage {
    struct peat_salvage_options options;
    struct peat_salvage_info info;
    struct pt_places places;
    struct pt_state_walk *extras; /* owned; their keys and values too */
    size_t extra_count;
};

void peat_salvage_options_init(struct peat_salvage_options *options)
{
    if (options != NULL)
        *options = (struct peat_salvage_options){.struct_size = sizeof(*options)};
}

static enum peat_status take_options(const struct peat_salvage_options *given,
                                     struct peat_salvage_options *options_out)
{
    peat_salvage_options_init(options_out);
    if (given == NULL)
        return PEAT_OK;
    if (given->struct_size < offsetof(struct peat_salvage_options, lost) ||
        given->struct_size > 4096)
        return pt_fail(PEAT_INVALID, "options not set up with peat_salvage_options_init()");
    memcpy(options_out, given,
           given->struct_size < sizeof(*options_out) ? given->struct_size : sizeof(*options_out));
    if (options_out->flags != 0)
        return pt_fail(PEAT_INVALID, "unknown flags 0x%x in options", options_out->flags);
    return PEAT_OK;
}

/* ---- What is lost ---- */

static void tell(void *context, const struct peat_lost *lost)
{
    struct salvage *salvage = context;

    salvage->info.lost_count++;
    if (salvage->options.lost != NULL)
        salvage->options.lost(salvage->options.context, lost);
}

/* Stored keys that the walk had to leave out. */
static enum peat_status note_lost(void *context, const struct peat_range *keys)
{
    struct salvage *salvage = context;

    return pt_places_split(&salvage->places, keys, tell, salvage);
}

/* ---- Names for collections that have lost theirs ---- */

/* Whether an entry of that key is written anyway. */
static bool is_taken(const struct peat_snapshot *snapshot, struct peat_bytes key)
{
    struct peat_bytes value;

    return pt_stack_get(snapshot->pin.stack, snapshot->commit, key,
                        pt_hash(pt_hash_seed(snapshot->db), key.data, key.size), &value) == PEAT_OK;
}

static enum peat_status name_one(struct salvage *salvage, const struct peat_snapshot *snapshot,
                                 uint64_t id)
{
    struct pt_state_walk *extra = &salvage->extras[salvage->extra_count];
    uint8_t bytes[2 + NAME_SIZE] = {PT_CATALOGUE_ID, PT_ROOT_ID};
    struct pt_le64 value = pt_le64(id);
    struct peat_bytes key;
    enum peat_status status;

    for (unsigned i = 0;; i++) { /* at most one try more than there are names */
        int size =
            i == 0 ? snprintf((char *)bytes + 2, NAME_SIZE, "salvaged-%llu", (unsigned long long)id)
                   : snprintf((char *)bytes + 2, NAME_SIZE, "salvaged-%llu-%u",
                              (unsigned long long)id, i);

        key = pt_bytes(bytes, 2 + (size_t)size);
        if (!is_taken(snapshot, key))
            break;
    }
    status = pt_bytes_copy(key, &extra->key);
    if (status == PEAT_OK)
        status = pt_bytes_copy(pt_bytes(&value, sizeof(value)), &extra->value);
    salvage->extra_count++;
    return status;
}

static int extra_order(const void *left, const void *right)
{
    return pt_bytes_compare(((const struct pt_state_walk *)left)->key,
                            ((const struct pt_state_walk *)right)->key);
}

static enum peat_status name_all(struct salvage *salvage, const struct peat_snapshot *snapshot)
{
    const struct pt_places *places = &salvage->places;
    enum peat_status status = PEAT_OK;

    salvage->extras = pt_calloc(places->count + 1, sizeof(*salvage->extras));
    if (salvage->extras == NULL)
        return pt_fail(PEAT_NO_MEMORY, "names of collections");
    for (size_t i = 0; i < places->count && status == PEAT_OK; i++)
        if (places->places[i].name == NULL)
            status = name_one(salvage, snapshot, places->places[i].id);
    if (salvage->extra_count > 1)
        qsort(salvage->extras, salvage->extra_count, sizeof(*salvage->extras), extra_order);
    salvage->info.nameless_count = salvage->extra_count;
    return status;
}

/* ---- The new file ---- */

/* Another store than the old one: what was made of that does not fit. Collections are numbered on from
 * above all that there are. */
static void take_identity(struct pt_backup_job *job, const struct pt_places *places)
{
    struct pt_id id;

    pt_random(&id, sizeof(id));
    job->manifest.store_id = id;
    job->header.store_id = id;
    if (places->count > 0 &&
        job->manifest.next_collection_id <= places->places[places->count - 1].id)
        job->manifest.next_collection_id = places->places[places->count - 1].id + 1;
}

static enum peat_status write_file(struct salvage *salvage, const struct peat_snapshot *snapshot,
                                   const char *new_path)
{
    struct pt_backup_job job = {
        .meter = {.progress = salvage->options.progress, .context = salvage->options.context}};
    struct pt_log_point log = {.epoch = 1, .commit = snapshot->commit};
    enum peat_status status = pt_backup_job_init(&job, snapshot, NULL, &log, NULL);

    if (status == PEAT_OK) {
        take_identity(&job, &salvage->places);
        job.lost = note_lost;
        job.lost_context = salvage;
        job.extras = salvage->extras;
        job.extra_count = salvage->extra_count;
        status = pt_backup_job_write_file(&job, new_path, false, NULL);
    }
    if (status == PEAT_OK) {
        pt_meter_end(&job.meter);
        salvage->info.entry_count = job.header.entry_count;
        salvage->info.file_size = job.header.file_size;
    }
    pt_backup_job_fini(&job);
    return status;
}

static void salvage_fini(struct salvage *salvage)
{
    for (size_t i = 0; i < salvage->extra_count; i++) {
        pt_bytes_fini(&salvage->extras[i].key);
        pt_bytes_fini(&salvage->extras[i].value);
    }
    pt_free(salvage->extras);
    pt_places_fini(&salvage->places);
}

enum peat_status peat_salvage(const char *path, const char *new_path,
                              const struct peat_salvage_options *options,
                              struct peat_salvage_info *info_out)
{
    struct salvage salvage = {.extra_count = 0};
    struct peat_snapshot *snapshot = NULL;
    struct peat_db *db = NULL;
    enum peat_status status = take_options(options, &salvage.options);

    if (status == PEAT_OK && (path == NULL || new_path == NULL))
        status = pt_fail(PEAT_INVALID, "a salvage needs a file and the name of a new one");
    if (status == PEAT_OK && info_out != NULL &&
        (info_out->struct_size < offsetof(struct peat_salvage_info, entry_count) ||
         info_out->struct_size > 4096))
        status = pt_fail(PEAT_INVALID, "struct_size of the info is not set");
    if (status == PEAT_OK)
        status = pt_salvage_source_open(path, &salvage.info, &db);
    if (status == PEAT_OK)
        status = peat_snapshot_open(db, &snapshot);
    if (status == PEAT_OK)
        status = pt_places_load(&salvage.places, snapshot);
    if (status == PEAT_OK)
        status = pt_places_add_nameless(&salvage.places, snapshot);
    if (status == PEAT_OK)
        status = name_all(&salvage, snapshot);
    if (status == PEAT_OK)
        status = write_file(&salvage, snapshot, new_path);
    if (info_out != NULL && (status == PEAT_OK || status == PEAT_CORRUPT)) {
        salvage.info.struct_size = info_out->struct_size < sizeof(salvage.info)
                                       ? info_out->struct_size
                                       : sizeof(salvage.info);
        memcpy(info_out, &salvage.info, salvage.info.struct_size);
    }
    peat_snapshot_close(snapshot);
    (void)peat_close(db);
    salvage_fini(&salvage);
    return status;
}
