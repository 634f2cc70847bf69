/* The property: a digest depends on the bytes and their order, not on the pieces they came in. */
#include "core/base/digester.h"

#include "tests/support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SIZE = 200000, ROUNDS = 50 };

static void pieces_give_the_digest_of_the_whole(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    uint8_t *bytes = malloc(SIZE);
    struct pt_digest whole;

    (void)state;
    PT_REQUIRE(bytes != NULL);
    PT_REQUIRE_OK(pt_checksum_start());
    pt_value_fill(1, bytes, SIZE);
    whole = pt_digest(bytes, SIZE, NULL, 0);
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct pt_digester *digester;
        struct pt_digest found;
        size_t largest = (size_t)1 << pt_dice_below(&dice, 17);

        PT_REQUIRE_OK(pt_digester_new(&digester));
        for (size_t at = 0; at < SIZE;) {
            size_t size = pt_dice_below(&dice, largest + 1);

            size = size < SIZE - at ? size : SIZE - at;
            pt_digester_add(digester, size == 0 ? NULL : bytes + at, size);
            at += size;
        }
        found = pt_digester_finish(digester);
        pt_digester_free(digester);
        assert_memory_equal(found.bytes, whole.bytes, sizeof(whole.bytes));
    }
    free(bytes);
}

static void nothing_has_a_digest_too(void **state)
{
    struct pt_digest whole = pt_digest("", 0, NULL, 0);
    struct pt_digester *digester;
    struct pt_digest found;

    (void)state;
    PT_REQUIRE_OK(pt_digester_new(&digester));
    found = pt_digester_finish(digester);
    pt_digester_free(digester);
    assert_memory_equal(found.bytes, whole.bytes, sizeof(whole.bytes));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_give_the_digest_of_the_whole),
        cmocka_unit_test(nothing_has_a_digest_too),
    };
    int failed;

    pt_test_start();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed == 0 ? 0 : 1;
}
