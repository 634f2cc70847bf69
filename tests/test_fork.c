/*
 * The property: of two histories, whoever has anything that is of another epoch in the other one
 * has parted, and nobody else has.
 */
#include "repl/fork.h"
#include "tests/support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { ROWS_MAX = 4 };

/* Epoch, position and chain of each row, as far as there are any; and where it ends. */
struct tale {
    uint64_t rows[ROWS_MAX][3];
    uint64_t end;
};

static void tell(const struct tale *tale, struct pt_branch *branch)
{
    uint32_t count = 0;

    while (count < ROWS_MAX && tale->rows[count][0] != 0) {
        struct peat_epoch row = {.epoch = tale->rows[count][0],
                                 .first_commit = 1 + tale->rows[count][1] / 100,
                                 .position = tale->rows[count][1]};

        row.chain[3] = (uint8_t)tale->rows[count][2];
        pt_epoch_put(&branch->rows[count++], row);
    }
    branch->epochs = (struct pt_epochs){branch->rows, count};
    branch->end = (struct peat_position){.position = tale->end};
}

static const struct {
    const char *what;
    struct tale one, other;
    bool parted;
} cases[] = {
    {"the same", {{{1}}, 900}, {{{1}}, 700}, false},
    {"nothing known", {{{0}}, 900}, {{{1}, {2, 100}}, 700}, false},
    {"a beginning", {{{1}}, 500}, {{{1}, {2, 500}}, 700}, false},
    {"a shorter beginning", {{{1}}, 300}, {{{1}, {2, 500}}, 700}, false},
    {"a beginning whose other end is short", {{{1}}, 500}, {{{1}, {2, 500}}, 500}, false},
    {"a seal too much", {{{1}}, 572}, {{{1}, {2, 500}}, 700}, true},
    {"much too much", {{{1}}, 900}, {{{1}, {2, 500}}, 700}, true},
    {"two epochs each", {{{1}, {2, 500}}, 900}, {{{1}, {2, 500}}, 700}, false},
    {"over two epochs", {{{1}, {2, 500}}, 700}, {{{1}, {2, 500}, {3, 700}}, 900}, false},
    {"beyond the second", {{{1}, {2, 500}}, 701}, {{{1}, {2, 500}, {3, 700}}, 900}, true},
    {"two at one place", {{{1}, {2, 500}}, 600}, {{{1}, {3, 500}}, 600}, true},
    {"two at one place, one without a record",
     {{{1}, {2, 500}}, 500},
     {{{1}, {3, 500}}, 600},
     false},
    {"one epoch that begins in two places", {{{1}, {2, 500}}, 600}, {{{1}, {2, 400}}, 600}, true},
    {"one epoch with two chains", {{{1}, {2, 500, 1}}, 600}, {{{1}, {2, 500, 2}}, 600}, true},
    {"a newer one, then an older", {{{1}, {2, 400}}, 400}, {{{1}, {3, 400}, {4, 500}}, 600}, false},
    {"what is before is forgotten", {{{2, 500}, {3, 700}}, 800}, {{{1}, {2, 500}}, 600}, false},
    {"forgotten, and beyond", {{{2, 500}, {3, 700}}, 800}, {{{1}, {2, 500}}, 750}, true},
    {"forgotten, and another there", {{{2, 500}, {3, 700}}, 800}, {{{1}}, 600}, true},
    {"forgotten, before all that is known", {{{2, 500}, {3, 700}}, 800}, {{{1}}, 300}, false},
    {"from the beginning", {{{2}}, 300}, {{{1}}, 0}, false},
    {"from the beginning, and parted", {{{2}}, 300}, {{{1}}, 100}, true},
};

static void who_has_what_is_of_another_epoch_elsewhere_has_parted(void **state)
{
    struct pt_branch one;
    struct pt_branch other;
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        pt_test_context("%s", cases[i].what);
        tell(&cases[i].one, &one);
        tell(&cases[i].other, &other);
        PT_REQUIRE(pt_branches_parted(&one, &other) == cases[i].parted);
        PT_REQUIRE(pt_branches_parted(&other, &one) == cases[i].parted);
    }
    pt_test_context("%s", "");
}

static const struct {
    struct tale one, other;
    uint64_t fork; /* 0: nowhere, or that is not known */
} forks[] = {
    {{{{1}}, 900}, {{{1}}, 700}, 0},
    {{{{1}}, 900}, {{{1}, {2, 500}}, 700}, 500},
    {{{{1}, {2, 500}}, 701}, {{{1}, {2, 500}, {3, 700}}, 900}, 700},
    {{{{1}, {2, 500}}, 600}, {{{1}, {2, 400}}, 600}, 400},
    {{{{1}, {2, 300}}, 600}, {{{1}, {3, 500}}, 600}, 300},
    {{{{2, 500}, {3, 700}}, 800}, {{{1}, {2, 500}}, 750}, 700},
    {{{{2, 500}, {3, 700}}, 800}, {{{1}}, 600}, 0},
    {{{{2}}, 300}, {{{1}}, 100}, 0},
    {{{{0}}, 300}, {{{1}}, 100}, 0},
};

static void the_fork_is_where_the_first_epoch_begins_that_only_one_has(void **state)
{
    struct pt_branch one;
    struct pt_branch other;
    (void)state;

    for (size_t i = 0; i < sizeof(forks) / sizeof(forks[0]); i++) {
        struct peat_epoch rows[2] = {{.epoch = 0}, {.epoch = 0}};
        bool known = forks[i].fork > 0;

        pt_test_context("fork %zu", i);
        tell(&forks[i].one, &one);
        tell(&forks[i].other, &other);
        PT_REQUIRE(pt_branches_fork(&one, &other, &rows[0]) == known);
        PT_REQUIRE(pt_branches_fork(&other, &one, &rows[1]) == known);
        for (unsigned k = 0; k < 2 && known; k++)
            PT_REQUIRE(rows[k].position == forks[i].fork &&
                       rows[k].first_commit == 1 + forks[i].fork / 100);
    }
    pt_test_context("%s", "");
}

/* A store with commits and seals, and what another one says of it. */
static void a_history_goes_on_where_a_newer_epoch_begins_with_its_chain(void **state)
{
    struct peat_db *db = pt_test_store_make("store", 0);
    struct peat_position places[6];
    struct pt_branch ours;
    struct pt_branch theirs;
    (void)state;

    for (unsigned i = 0; i < 6; i++) {
        PT_REQUIRE_OK(peat_put(db, NULL, pt_text("key"), pt_text("value")));
        if (i % 2 == 1)
            PT_REQUIRE_OK(peat_flush(db)); /* a seal is between */
        PT_REQUIRE_OK(peat_position_get(db, &places[i]));
    }
    PT_REQUIRE_OK(pt_branch_of(db, &ours));
    for (unsigned i = 0; i < 6; i++) {
        struct peat_epoch row = {2, places[i].commit + 1, places[i].position, {0}};

        memcpy(row.chain, places[i].chain, sizeof(row.chain));
        theirs = ours;
        pt_epoch_put(&theirs.rows[1], row);
        theirs.epochs = (struct pt_epochs){theirs.rows, 2};
        pt_test_context("place %u", i);
        /* Before the first place the log may be gone: then it cannot be told, and it is no. */
        PT_REQUIRE(pt_branch_goes_on(db, &ours, &theirs) || i < 4);
        row.chain[0] ^= 1;
        pt_epoch_put(&theirs.rows[1], row);
        PT_REQUIRE(!pt_branch_goes_on(db, &ours, &theirs));
        row.chain[0] ^= 1;
        row.position++;
        pt_epoch_put(&theirs.rows[1], row);
        PT_REQUIRE(!pt_branch_goes_on(db, &ours, &theirs));
        row = (struct peat_epoch){1, 1, 0, {0}}; /* none is newer */
        pt_epoch_put(&theirs.rows[0], row);
        theirs.epochs.count = 1;
        PT_REQUIRE(!pt_branch_goes_on(db, &ours, &theirs));
        row.epoch = 2; /* anybody's history begins so */
        pt_epoch_put(&theirs.rows[0], row);
        PT_REQUIRE(!pt_branch_goes_on(db, &ours, &theirs));
    }
    pt_test_context("%s", "");
    PT_REQUIRE_OK(peat_close(db));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_has_what_is_of_another_epoch_elsewhere_has_parted),
        cmocka_unit_test(the_fork_is_where_the_first_epoch_begins_that_only_one_has),
        cmocka_unit_test(a_history_goes_on_where_a_newer_epoch_begins_with_its_chain),
    };
    int failed;

    pt_test_start();
    failed = cmocka_run_group_tests_name("fork", tests, NULL, NULL);
    pt_test_end();
    return failed;
}
