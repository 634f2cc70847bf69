/*
 * What processes tell each other about one file, as byte locks far beyond its end: the kernel keeps
 * them, and they vanish with the process that holds them.
 *
 *   BYTE                   HELD BY
 *   2^62                   the writer, exclusively
 *   2^62 + 1 + generation  each reader of that generation, shared
 */
#ifndef PEAT_CORE_ARENA_PROCESS_LOCKS_H
#define PEAT_CORE_ARENA_PROCESS_LOCKS_H

#include "core/arena/superblock.h"

/* Become the one writer, until the file is closed. PEAT_BUSY names the process that is it. */
enum peat_status pt_process_locks_be_writer(struct pt_file *file);
/* There is no writer, and none comes as long as the file is open. PEAT_BUSY, PEAT_IO. */
enum peat_status pt_process_locks_no_writer(struct pt_file *file);

/* Whether another open file is the writer's, now. PEAT_IO. */
enum peat_status pt_process_locks_writer(struct pt_file *file, bool *there_is_out);

/* Hold a generation. Not counted: giving it up once gives it up. PEAT_IO. */
enum peat_status pt_process_locks_hold(struct pt_file *file, uint64_t generation);
enum peat_status pt_process_locks_unhold(struct pt_file *file, uint64_t generation);

/* The lowest generation below @p bound that another open file holds; @p bound if there is none.
 * PEAT_IO. */
enum peat_status pt_process_locks_lowest(struct pt_file *file, uint64_t bound,
                                         uint64_t *lowest_out);

#endif
