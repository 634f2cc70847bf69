#include "repl/joint.h"

#include <stdlib.h>
#include <string.h>

enum { ROOM_MIN = 4096 /* bytes */ };

void pt_joint_init(struct pt_joint *joint, size_t size_max)
{
    *joint = (struct pt_joint){.size_max = size_max};
}

void pt_joint_fini(struct pt_joint *joint)
{
    free(joint->data);
    pt_joint_init(joint, joint->size_max);
}

bool pt_joint_is_open(const struct pt_joint *joint)
{
    return joint->size < joint->payload_size;
}

/* Whether both are parts of one record. */
static bool is_same(const struct pt_joint *joint, const struct pt_part *part)
{
    const struct peat_record *a = &joint->record;
    const struct peat_record *b = &part->record;

    return a->kind == b->kind && a->epoch == b->epoch && a->commit == b->commit &&
           a->time_us == b->time_us && a->position == b->position &&
           memcmp(a->chain, b->chain, sizeof(a->chain)) == 0 &&
           joint->payload_size == part->payload_size;
}

static enum peat_status fail(const char **why_out, enum peat_status status, const char *why)
{
    *why_out = why;
    return status;
}

/* Whether the part is the next one. */
static enum peat_status check(const struct pt_joint *joint, const struct pt_part *part,
                              const char **why_out)
{
    uint64_t come = pt_joint_is_open(joint) ? joint->size : 0;

    if (pt_joint_is_open(joint) && !is_same(joint, part))
        return fail(why_out, PEAT_CORRUPT, "a part of another record came in between");
    if (part->offset != come)
        return fail(why_out, PEAT_CORRUPT, "a part of a record is out of order");
    if (part->payload_size > joint->size_max)
        return fail(why_out, PEAT_TOO_LARGE, "a record is too large");
    if (part->piece.size == 0 || part->piece.size > part->payload_size - come)
        return fail(why_out, PEAT_CORRUPT, "a part does not fit into its record");
    return PEAT_OK;
}

/* Make room for @p size bytes of a payload of @p payload_size. */
static enum peat_status grow(struct pt_joint *joint, size_t size, size_t payload_size)
{
    size_t room = size < SIZE_MAX / 2 ? 2 * size : size;
    uint8_t *data;

    if (size <= joint->room)
        return PEAT_OK;
    if (room < ROOM_MIN)
        room = ROOM_MIN;
    if (room > payload_size)
        room = payload_size;
    data = realloc(joint->data, room);
    if (data == NULL)
        return PEAT_NO_MEMORY;
    joint->data = data;
    joint->room = room;
    return PEAT_OK;
}

static void begin(struct pt_joint *joint, const struct pt_part *part)
{
    joint->record = part->record;
    joint->record.payload = (struct peat_bytes){NULL, 0};
    joint->payload_size = part->payload_size;
    joint->size = 0;
}

enum peat_status pt_joint_add(struct pt_joint *joint, const struct pt_part *part,
                              struct peat_record *record_out, const char **why_out)
{
    size_t come = pt_joint_is_open(joint) ? joint->size : 0;
    enum peat_status status = check(joint, part, why_out);

    if (status < 0)
        return status;
    if (come == 0)
        pt_joint_fini(joint); /* the record before was handed out: let its memory go */
    if (grow(joint, come + part->piece.size, (size_t)part->payload_size) < 0)
        return fail(why_out, PEAT_NO_MEMORY, "no memory for a large record");
    if (come == 0)
        begin(joint, part);
    memcpy(joint->data + come, part->piece.data, part->piece.size);
    joint->size = come + part->piece.size;
    if (pt_joint_is_open(joint))
        return PEAT_OK;
    *record_out = joint->record;
    record_out->payload = (struct peat_bytes){joint->data, joint->size};
    return PEAT_DONE;
}
