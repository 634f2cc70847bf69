/* Damage as a reader is told of it: in words, and as a range of keys. */
#ifndef PEAT_CORE_DB_DAMAGE_REPORT_H
#define PEAT_CORE_DB_DAMAGE_REPORT_H

#include "core/db/stack.h"
#include "core/segment/rescue.h"

/*
 * Fail with the status of @p gap, in words that name its place in @p segment and its keys, without
 * their first @p skip bytes (a collection's id); and note the keys for peat_last_damage().
 */
enum peat_status pt_damage_fail(const struct pt_segment *segment, const struct pt_gap *gap,
                                size_t skip) __attribute__((cold));

/*
 * Looking up the stored key @p key in @p stack came to @p status: say so again in those words, if it is
 * a gap of a run. @p prefix is its collection's. Returns @p status, or the gap's.
 */
enum peat_status pt_damage_explain(const struct pt_stack *stack, struct peat_bytes key,
                                   struct peat_bytes prefix, enum peat_status status)
    __attribute__((cold));

/* Cut @p gap to the keys that begin with @p prefix: an end beyond them becomes unbounded. */
void pt_damage_within(struct pt_gap *gap, struct peat_bytes prefix);

/* @p gap as a range of keys without their first @p skip bytes. *place_out, to pt_free(), holds what of
 * them is nowhere else. PEAT_OK, PEAT_NO_MEMORY. */
enum peat_status pt_damage_range(const struct pt_gap *gap, size_t skip, uint8_t **place_out,
                                 struct peat_range *range_out);

/* @p key as text within @p size bytes: what is no printable ASCII as \\xNN, and cut with "..." */
void pt_damage_key_text(struct peat_bytes key, char *text, size_t size);

#endif
