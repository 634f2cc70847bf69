/* What committing (commit.c) and applying (apply.c) share. All of it is the leader's. */
#ifndef PEAT_CORE_DB_COMMIT_PARTS_H
#define PEAT_CORE_DB_COMMIT_PARTS_H

#include "core/db/db.h"

enum {
    /* More waits for the next group: */
    PT_GROUP_MEMBERS_MAX = 1024,
    PT_GROUP_SIZE_MAX = 8 << 20, /* bytes */
    PT_BUFFER_RANGES_MAX = 512   /* range deletes in one write buffer: each add copies the list */
};

/* Whether it is a level. PEAT_INVALID. Any thread. */
enum peat_status pt_check_durability(enum peat_durability durability);
/* The operations of an encoded batch, which is a sequence of whole entries. PEAT_CORRUPT. */
enum peat_status pt_count_operations(struct peat_bytes payload, size_t *count_out);
/* Find room for @p count operations of @p size bytes, in the active buffer or a new one. PEAT_NO_MEMORY, and
 * what stopped a flush or checkpoint that it has to wait for. */
enum peat_status pt_group_make_room(struct peat_db *db, size_t count, size_t size,
                                    struct pt_held_buffer **active_out);
/* Whether the log may cost so much more before it is flushed. As pt_reserve_cover(). */
enum peat_status pt_group_check_reserve(struct peat_db *db, size_t count, size_t size, bool relief);
/* Make what was appended as durable as @p durability asks. As pt_log_sync(). */
enum peat_status pt_group_make_durable(struct peat_db *db, enum peat_durability durability);
/* Add a batch to the buffer, in which there is room; it is not published yet. */
void pt_group_add(const struct peat_db *db, struct pt_held_buffer *active,
                  struct peat_bytes payload, uint64_t commit);
/* Note the ids of collections that a batch of another store makes. */
void pt_note_catalogue(struct peat_db *db, struct peat_bytes payload);
/* End the active buffer at @p point: what follows goes to a new one, with room for so much. */
enum peat_status pt_group_seal(struct peat_db *db, const struct pt_log_point *point, size_t count,
                               size_t size);

#endif
