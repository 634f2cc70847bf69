/* An entry reads back as it was written, and nothing is read as an entry that does not lie within
 * what holds it. Its key has one hash, whether it lies in one piece or in two. */
#include "core/base/hash.h"
#include "core/segment/entry_format.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

enum { ROOM = 256 }; /* bytes: more than any entry here */

static const uint8_t letters[] = "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz";

/* Not inlined: the compiler would see that sizes made up here reach beyond the memory, as they are
 * meant to. */
static __attribute__((noinline)) bool read_claimed(const uint8_t *place, uint64_t available,
                                                   struct pt_entry *entry_out, uint64_t *size_out)
{
    return pt_entry_read(place, available, entry_out, size_out);
}

static void an_entry_lies_as_the_table_says(void **state)
{
    static const uint8_t expected[] = {3,   0,   0,   PT_OP_PUT, 6,   0, 0, 0, 'k', 'e', 'y', 'v',
                                       'a', 'l', 'u', 'e',       's', 0, 0, 0, 0,   0,   0,   0};
    uint8_t place[ROOM];
    (void)state;

    memset(place, 0xee, sizeof(place));
    assert_int_equal(pt_entry_write(place, PT_OP_PUT, pt_bytes("key", 3), pt_bytes("values", 6)),
                     sizeof(expected));
    assert_memory_equal(place, expected, sizeof(expected));
    assert_int_equal(place[sizeof(expected)], 0xee);
}

static void an_entry_reads_back_as_written(void **state)
{
    (void)state;

    for (size_t key_size = 0; key_size <= 40; key_size++) {
        for (size_t value_size = 0; value_size <= 40; value_size++) {
            uint8_t place[ROOM];
            struct peat_bytes key = pt_bytes(letters, key_size);
            struct peat_bytes value = pt_bytes(letters + 7, value_size);
            struct pt_entry entry;
            uint64_t size = pt_entry_write(place, PT_OP_PUT, key, value);
            uint64_t read_size;

            assert_int_equal(size % PT_ENTRY_ALIGN, 0);
            assert_true(size >= PT_ENTRY_HEADER_SIZE + key_size + value_size);
            assert_true(size < PT_ENTRY_HEADER_SIZE + key_size + value_size + PT_ENTRY_ALIGN);
            assert_true(pt_entry_read(place, size, &entry, &read_size));
            assert_int_equal(read_size, size);
            assert_int_equal(entry.op, PT_OP_PUT);
            assert_true(pt_bytes_equal(entry.key, key));
            assert_true(pt_bytes_equal(entry.value, value));
            for (size_t i = PT_ENTRY_HEADER_SIZE + key_size + value_size; i < size; i++)
                assert_int_equal(place[i], 0);
        }
    }
}

static void empty_keys_and_values_may_be_null(void **state)
{
    uint8_t place[ROOM];
    struct pt_entry entry;
    uint64_t size;
    (void)state;

    assert_int_equal(pt_entry_write(place, PT_OP_DELETE, pt_bytes(NULL, 0), pt_bytes(NULL, 0)), 8);
    assert_true(pt_entry_read(place, 8, &entry, &size));
    assert_int_equal(entry.op, PT_OP_DELETE);
    assert_int_equal(entry.key.size, 0);
    assert_int_equal(entry.value.size, 0);
}

static void reading_refuses_an_entry_cut_short(void **state)
{
    uint8_t place[ROOM];
    uint64_t size = pt_entry_write(place, PT_OP_PUT, pt_bytes(letters, 13), pt_bytes(letters, 20));
    (void)state;

    for (uint64_t available = 0; available < size; available++) {
        uint8_t *exact = malloc(available == 0 ? 1 : (size_t)available);
        struct pt_entry entry;
        uint64_t read_size;

        assert_non_null(exact);
        memcpy(exact, place, (size_t)available);
        assert_false(pt_entry_read(exact, available, &entry, &read_size));
        free(exact);
    }
}

static void reading_refuses_sizes_beyond_all_bounds(void **state)
{
    uint8_t place[ROOM] = {0xff, 0xff, 0xff, PT_OP_PUT, 0xff, 0xff, 0xff, 0xff};
    struct pt_entry entry;
    uint64_t size;
    (void)state;

    assert_false(read_claimed(place, sizeof(place), &entry, &size));
    assert_true(size > UINT32_MAX); /* nothing has wrapped */
}

static void reading_refuses_unknown_operations(void **state)
{
    (void)state;

    for (unsigned op = 0; op < 256; op++) {
        uint8_t place[ROOM] = {0, 0, 0, (uint8_t)op};
        bool known = op == PT_OP_PUT || op == PT_OP_DELETE || op == PT_OP_DELETE_RANGE;
        struct pt_entry entry;
        uint64_t size;

        assert_int_equal(pt_entry_read(place, sizeof(place), &entry, &size), known);
    }
}

static void the_largest_key_size_fits_beside_the_operation(void **state)
{
    uint8_t place[ROOM];
    struct pt_entry entry;
    uint64_t size;
    (void)state;

    pt_entry_header_write(place, PT_STORED_KEY_SIZE_MAX, PT_OP_DELETE, UINT32_MAX);
    size = pt_entry_size(PT_STORED_KEY_SIZE_MAX, UINT32_MAX);
    assert_true(read_claimed(place, size, &entry, &size));
    assert_int_equal(entry.op, PT_OP_DELETE);
    assert_int_equal(entry.key.size, PT_STORED_KEY_SIZE_MAX);
    assert_int_equal(entry.value.size, UINT32_MAX);
}

static void a_key_in_two_parts_has_the_hash_of_the_whole(void **state)
{
    uint8_t whole[ROOM];
    (void)state;

    for (size_t i = 0; i < sizeof(whole); i++)
        whole[i] = (uint8_t)(0x9d * (i + 3));
    for (size_t head = 1; head < 8; head++) {
        uint64_t word = 0;

        memcpy(&word, whole, head);
        for (size_t size = head + 8; size <= sizeof(whole); size++)
            assert_int_equal(pt_hash_joined(7, le64toh(word), head, whole + head, size - head),
                             pt_hash(7, whole, size));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_entry_lies_as_the_table_says),
        cmocka_unit_test(an_entry_reads_back_as_written),
        cmocka_unit_test(empty_keys_and_values_may_be_null),
        cmocka_unit_test(reading_refuses_an_entry_cut_short),
        cmocka_unit_test(reading_refuses_sizes_beyond_all_bounds),
        cmocka_unit_test(reading_refuses_unknown_operations),
        cmocka_unit_test(the_largest_key_size_fits_beside_the_operation),
        cmocka_unit_test(a_key_in_two_parts_has_the_hash_of_the_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
