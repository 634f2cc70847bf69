#include "core/arena/process_locks.h"

#define WRITER_BYTE           (UINT64_C(1) << 62)
#define FIRST_GENERATION_BYTE (WRITER_BYTE + 1)

_Static_assert(FIRST_GENERATION_BYTE + PT_GENERATION_END <= INT64_MAX, "lock ranges end there");

enum peat_status pt_process_locks_be_writer(struct pt_file *file)
{
    return pt_file_lock(file, WRITER_BYTE, 1, true);
}

enum peat_status pt_process_locks_no_writer(struct pt_file *file)
{
    return pt_file_lock(file, WRITER_BYTE, 1, false);
}

enum peat_status pt_process_locks_writer(struct pt_file *file, bool *there_is_out)
{
    uint64_t found;

    return pt_file_lock_query(file, WRITER_BYTE, 1, there_is_out, &found);
}

enum peat_status pt_process_locks_hold(struct pt_file *file, uint64_t generation)
{
    PT_ASSERT(generation < PT_GENERATION_END);
    return pt_file_lock(file, FIRST_GENERATION_BYTE + generation, 1, false);
}

enum peat_status pt_process_locks_unhold(struct pt_file *file, uint64_t generation)
{
    PT_ASSERT(generation < PT_GENERATION_END);
    return pt_file_unlock(file, FIRST_GENERATION_BYTE + generation, 1);
}

enum peat_status pt_process_locks_lowest(struct pt_file *file, uint64_t bound, uint64_t *lowest_out)
{
    bool locked = true;

    PT_ASSERT(bound <= PT_GENERATION_END);
    *lowest_out = bound;
    /* Each answer is some lock in the range, not the lowest: ask again below it. */
    while (locked && *lowest_out > 0) {
        uint64_t found;
        enum peat_status status =
            pt_file_lock_query(file, FIRST_GENERATION_BYTE, *lowest_out, &locked, &found);

        if (status < 0)
            return status;
        if (locked)
            *lowest_out = found > FIRST_GENERATION_BYTE ? found - FIRST_GENERATION_BYTE : 0;
    }
    return PEAT_OK;
}
