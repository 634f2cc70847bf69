/*
 * The property: whatever changes in replication is told, once, in order, with the words that status has; a program may look at
 * everything while it is told; and strangers, however many, are few events.
 */
#include "tests/link.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { NOTES_MAX = 512, STRANGERS = 80, STRANGERS_PERIOD_US = 10000000, HELD_US = 20000000 };

struct note {
    int kind; /* enum peat_primary_event_kind, or enum peat_follower_state */
    int before;
    char name[PEAT_NAME_SIZE_MAX + 1];
    char words[256];
    struct peat_position position;
    uint64_t count;
};

/* What was told, and what was seen meanwhile. */
struct notes {
    pthread_mutex_t mutex;
    struct note notes[NOTES_MAX];
    size_t count;
    bool is_inside;               /* a callback */
    struct peat_primary *primary; /* to look at; NULL: not known yet */
    struct peat_follower *follower;
};

static void notes_init(struct notes *notes)
{
    memset(notes, 0, sizeof(*notes));
    (void)pthread_mutex_init(&notes->mutex, NULL);
}

static bool follower_look(void *context, const struct peat_primary_follower *follower)
{
    (void)context;
    PT_REQUIRE(follower->struct_size == sizeof(*follower) && follower->name[0] != '\0');
    return true;
}

static void note(struct notes *notes, struct note note)
{
    struct peat_primary *primary;
    struct peat_follower *follower;

    pthread_mutex_lock(&notes->mutex);
    PT_REQUIRE(!notes->is_inside && notes->count < NOTES_MAX);
    notes->is_inside = true;
    primary = notes->primary;
    follower = notes->follower;
    pthread_mutex_unlock(&notes->mutex);
    if (primary != NULL) {
        struct peat_primary_status status = {.struct_size = sizeof(status)};

        peat_primary_status_get(primary, &status);
        peat_primary_list(primary, follower_look, NULL);
    }
    if (follower != NULL)
        PT_REQUIRE((int)pt_link_status(follower).state == note.kind);
    pthread_mutex_lock(&notes->mutex);
    notes->notes[notes->count++] = note;
    notes->is_inside = false;
    pthread_mutex_unlock(&notes->mutex);
}

static void primary_note(void *context, const struct peat_primary_event *event)
{
    struct note taken = {
        .kind = (int)event->kind, .position = event->position, .count = event->count};

    PT_REQUIRE(event->struct_size == sizeof(*event));
    PT_REQUIRE(strcmp(peat_primary_event_name(event->kind), "unknown") != 0);
    (void)snprintf(taken.name, sizeof(taken.name), "%s", event->name);
    (void)snprintf(taken.words, sizeof(taken.words), "%s", event->words);
    note(context, taken);
}

static void follower_note(void *context, const struct peat_follower_event *event)
{
    struct note taken = {
        .kind = (int)event->state, .before = (int)event->before, .position = event->position};

    PT_REQUIRE(event->struct_size == sizeof(*event));
    (void)snprintf(taken.words, sizeof(taken.words), "%s", event->words);
    note(context, taken);
}

static void handles_set(struct notes *notes, struct peat_primary *primary,
                        struct peat_follower *follower)
{
    pthread_mutex_lock(&notes->mutex);
    notes->primary = primary;
    notes->follower = follower;
    pthread_mutex_unlock(&notes->mutex);
}

/* How many of a kind; the last one in *last_out, unless that is NULL. */
static size_t told(struct notes *notes, int kind, struct note *last_out)
{
    size_t count = 0;

    pthread_mutex_lock(&notes->mutex);
    for (size_t i = 0; i < notes->count; i++) {
        if (notes->notes[i].kind != kind)
            continue;
        count++;
        if (last_out != NULL)
            *last_out = notes->notes[i];
    }
    pthread_mutex_unlock(&notes->mutex);
    return count;
}

/* Each change begins where the last one ended, and says something new. */
static void require_chained(const struct notes *notes)
{
    int state = PEAT_FOLLOWER_CONNECTING;
    const char *words = "";

    for (size_t i = 0; i < notes->count; i++) {
        const struct note *each = &notes->notes[i];

        assert_int_equal(each->before, state);
        PT_REQUIRE(each->kind != state || strcmp(each->words, words) != 0);
        if (each->kind == PEAT_FOLLOWER_FOLLOWING || each->kind == PEAT_FOLLOWER_SEEDING)
            assert_string_equal(each->words, "");
        state = each->kind;
        words = each->words;
    }
}

static struct peat_primary_options primary_options(struct notes *notes)
{
    struct peat_primary_options options;

    peat_primary_options_init(&options);
    options.event = primary_note;
    options.event_context = notes;
    return options;
}

static struct peat_follower *follow_noted(struct pt_link *link, struct peat_db *db,
                                          struct notes *notes)
{
    struct peat_follower_options options = pt_link_options(link, "one");
    struct peat_follower *follower;

    options.event = follower_note;
    options.event_context = notes;
    follower = pt_link_follow(db, &options);
    handles_set(notes, NULL, follower);
    return follower;
}

static void what_comes_and_goes_is_told_at_both_ends_once_and_in_order(void **state)
{
    static struct notes primary_notes, follower_notes;
    struct peat_primary_options options = primary_options(&primary_notes);
    struct peat_db *db = pt_test_store_make("follower", PEAT_FOLLOWER);
    struct peat_follower *follower;
    struct pt_link link;
    struct note last;
    char url[256];
    (void)state;

    notes_init(&primary_notes);
    notes_init(&follower_notes);
    pt_link_begin(&link, "tcp://127.0.0.1:0", &options);
    (void)strcpy(url, link.url);
    handles_set(&primary_notes, link.primary, NULL);
    follower = follow_noted(&link, db, &follower_notes);
    for (unsigned i = 0; i < 3; i++) {
        PT_REQUIRE_OK(peat_wait_commit(db, pt_link_write(link.db, 5, 100), PT_LINK_SOON_MS, NULL));
        PT_LINK_UNTIL(told(&follower_notes, PEAT_FOLLOWER_FOLLOWING, NULL) == i + 1);
        PT_LINK_UNTIL(told(&primary_notes, PEAT_PRIMARY_CONNECTED, &last) == i + 1);
        assert_string_equal(last.name, "one");
        assert_int_equal(last.position.commit, 5 * i);
        pt_link_stop(&link); /* what it has to tell it has told then */
        handles_set(&primary_notes, NULL, NULL);
        assert_int_equal(told(&primary_notes, PEAT_PRIMARY_DISCONNECTED, &last), i + 1);
        assert_string_equal(last.words, "the primary is being stopped");
        PT_LINK_UNTIL(told(&follower_notes, PEAT_FOLLOWER_CONNECTING, NULL) > i);
        pt_link_start(&link, url);
        handles_set(&primary_notes, link.primary, NULL);
    }
    PT_LINK_UNTIL(told(&primary_notes, PEAT_PRIMARY_CONNECTED, NULL) == 4);
    handles_set(&follower_notes, NULL, NULL);
    peat_follower_stop(follower);
    PT_LINK_UNTIL(told(&primary_notes, PEAT_PRIMARY_DISCONNECTED, &last) == 4);
    assert_string_equal(last.words, "the peer says: the follower is being stopped");
    assert_string_equal(pt_link_primary_status(&link).words, last.words);
    pt_link_end(&link);
    require_chained(&follower_notes);
    assert_int_equal(told(&primary_notes, PEAT_PRIMARY_REFUSED, NULL), 0);
    assert_int_equal(told(&primary_notes, PEAT_PRIMARY_STRANGERS, NULL), 0);
    assert_int_equal(told(&primary_notes, PEAT_PRIMARY_SEED_BEGUN, NULL), 0);
    PT_REQUIRE_OK(peat_close(db));
}

static void a_state_is_told_from_its_beginning_to_its_end(void **state)
{
    static struct notes primary_notes, follower_notes;
    struct peat_primary_options options = primary_options(&primary_notes);
    struct peat_db *db = pt_test_store_make("follower", PEAT_FOLLOWER);
    struct peat_follower *follower;
    struct peat_primary_status status;
    struct pt_link link;
    (void)state;

    notes_init(&primary_notes);
    notes_init(&follower_notes);
    pt_link_begin(&link, "tcp://127.0.0.1:0", &options);
    (void)pt_link_write(link.db, 2000, 900);
    PT_REQUIRE_OK(peat_flush(link.db)); /* the log is gone */
    follower = follow_noted(&link, db, &follower_notes);
    PT_REQUIRE_OK(peat_wait_commit(db, pt_link_write(link.db, 5, 100), PT_LINK_SOON_MS, NULL));
    pt_link_require_same(link.db, db);
    PT_LINK_UNTIL(told(&primary_notes, PEAT_PRIMARY_CONNECTED, NULL) == 1);
    PT_LINK_UNTIL(told(&follower_notes, PEAT_FOLLOWER_FOLLOWING, NULL) == 1);
    status = pt_link_primary_status(&link);
    assert_int_equal(told(&primary_notes, PEAT_PRIMARY_SEED_BEGUN, NULL), status.seeds_begun);
    assert_int_equal(told(&primary_notes, PEAT_PRIMARY_SEED_DONE, NULL), 1);
    assert_int_equal(status.seeds_done, 1);
    PT_REQUIRE(told(&follower_notes, PEAT_FOLLOWER_SEEDING, NULL) >= 1);
    handles_set(&follower_notes, NULL, NULL);
    peat_follower_stop(follower);
    pt_link_end(&link);
    assert_int_equal(primary_notes.notes[0].kind, PEAT_PRIMARY_SEED_BEGUN);
    require_chained(&follower_notes);
    PT_REQUIRE_OK(peat_close(db));
}

/* A backup of the primary, and a store of its own: both have the primary's key, and neither its history. */
static void primaries_with_the_same_keys_and_other_histories_are_told_apart(void **state)
{
    struct peat_db *db = pt_test_store_make("follower", PEAT_FOLLOWER);
    struct peat_options open_options = pt_test_options(0);
    struct pt_link link;
    uint64_t commit;
    (void)state;

    pt_link_begin(&link, "tcp://127.0.0.1:0", NULL);
    (void)pt_link_write(link.db, 5, 100);
    (void)unlink(pt_test_path("twin"));
    PT_REQUIRE_OK(pt_test_backup(link.db, pt_test_path("twin"), NULL));
    for (unsigned i = 0; i < 2; i++) {
        static struct notes primary_notes, follower_notes;
        struct pt_link other = {.db = NULL};
        struct peat_follower_options options = pt_link_options(&link, "one");
        struct peat_follower *follower = pt_link_follow(db, &options);
        struct peat_position position, after;
        struct note last;

        commit = pt_link_write(link.db, 3, 100);
        PT_REQUIRE_OK(peat_wait_commit(db, commit, PT_LINK_SOON_MS, NULL));
        peat_follower_stop(follower);
        notes_init(&primary_notes);
        notes_init(&follower_notes);
        other.options = primary_options(&primary_notes);
        (void)strcpy(other.key_path, link.key_path);
        if (i == 0)
            PT_REQUIRE_OK(peat_open(pt_test_path("twin"), &open_options, &other.db));
        else
            other.db = pt_test_store_make("stranger", 0);
        (void)pt_link_write(other.db, 20, 100);
        pt_link_start(&other, "tcp://127.0.0.1:0");
        PT_REQUIRE_OK(peat_position_get(db, &position));
        follower = follow_noted(&other, db, &follower_notes);
        PT_LINK_UNTIL(told(&follower_notes, PEAT_FOLLOWER_DIVERGED, &last) == 1);
        PT_REQUIRE(last.words[0] != '\0');
        PT_REQUIRE_OK(peat_position_get(db, &after));
        assert_memory_equal(&after, &position, sizeof(position));
        handles_set(&follower_notes, NULL, NULL);
        peat_follower_stop(follower);
        pt_link_end(&other);
        require_chained(&follower_notes);
        /* What it says only fits by chance up to the first record at most. */
        assert_int_equal(told(&primary_notes, PEAT_PRIMARY_REFUSED, NULL) +
                             told(&primary_notes, PEAT_PRIMARY_DISCONNECTED, NULL),
                         1);
        pt_link_require_same(link.db, db);
    }
    pt_link_end(&link);
    PT_REQUIRE_OK(peat_close(db));
}

static void a_promotion_and_the_fence_that_comes_of_it_are_told(void **state)
{
    static struct notes primary_notes, follower_notes;
    struct peat_primary_options options = primary_options(&primary_notes);
    struct peat_options open_options = pt_test_options(PEAT_FOLLOWER);
    struct peat_db *db = pt_test_store_make("follower", PEAT_FOLLOWER);
    struct peat_follower_options again;
    struct peat_follower *follower;
    struct pt_link link;
    struct note last;
    (void)state;

    notes_init(&primary_notes);
    notes_init(&follower_notes);
    pt_link_begin(&link, "tcp://127.0.0.1:0", &options);
    follower = follow_noted(&link, db, &follower_notes);
    PT_REQUIRE_OK(peat_wait_commit(db, pt_link_write(link.db, 5, 100), PT_LINK_SOON_MS, NULL));
    PT_REQUIRE_OK(peat_follower_promote(follower, PEAT_PROMOTE_FORCED, NULL, NULL));
    assert_int_equal(told(&follower_notes, PEAT_FOLLOWER_PROMOTED, &last), 1);
    assert_int_equal(last.position.commit, 5);
    handles_set(&follower_notes, NULL, NULL);
    peat_follower_stop(follower);
    require_chained(&follower_notes);
    (void)pt_link_write(db, 1, 10);
    PT_REQUIRE_OK(peat_close(db));
    PT_REQUIRE_OK(peat_open(pt_test_path("follower"), &open_options, &db));
    again = pt_link_options(&link, "one");
    follower = pt_link_follow(db, &again);
    PT_LINK_UNTIL(told(&primary_notes, PEAT_PRIMARY_REFUSED, NULL) >= 3); /* it tries again */
    assert_int_equal(told(&primary_notes, PEAT_PRIMARY_FENCED, &last), 1);
    assert_string_equal(last.name, "one");
    PT_REQUIRE_STATUS(peat_put(link.db, NULL, pt_text("key"), pt_text("value")), PEAT_FENCED);
    peat_follower_stop(follower);
    pt_link_end(&link);
    PT_REQUIRE_OK(peat_close(db));
}

/* A state that is being taken, held up so that one can look; and whoever looks. */
struct held {
    _Atomic bool is_seeding;
    _Atomic bool goes_on;
};

static void seeding_hold(void *context, const struct peat_follower_event *event)
{
    struct held *held = context;
    uint64_t begun_us = pt_test_now_us();

    if (event->state != PEAT_FOLLOWER_SEEDING)
        return;
    atomic_store(&held->is_seeding, true);
    while (!atomic_load(&held->goes_on) && pt_test_now_us() - begun_us < HELD_US)
        (void)usleep(PT_LINK_LOOK_US);
}

static void a_follower_that_takes_a_state_is_not_promoted_but_by_force(void **state)
{
    struct peat_db *db = pt_test_store_make("follower", PEAT_FOLLOWER);
    struct peat_follower_options options;
    struct peat_follower *follower;
    struct peat_repl_error error;
    struct held held = {.is_seeding = false};
    struct pt_link link;
    (void)state;

    pt_link_begin(&link, "tcp://127.0.0.1:0", NULL);
    (void)pt_link_write(link.db, 2000, 900);
    PT_REQUIRE_OK(peat_flush(link.db)); /* the log is gone */
    options = pt_link_options(&link, "one");
    options.event = seeding_hold;
    options.event_context = &held;
    follower = pt_link_follow(db, &options);
    PT_LINK_UNTIL(atomic_load(&held.is_seeding));
    PT_REQUIRE_STATUS(peat_follower_promote(follower, 0, NULL, &error), PEAT_BUSY);
    atomic_store(&held.goes_on, true);
    PT_REQUIRE_OK(peat_wait_commit(db, pt_link_write(link.db, 5, 100), PT_LINK_SOON_MS, NULL));
    PT_REQUIRE_OK(peat_follower_promote(follower, PEAT_PROMOTE_FORCED, NULL, &error));
    peat_follower_stop(follower);
    pt_link_end(&link);
    PT_REQUIRE_OK(peat_close(db));
}

static void knock(const char *url, const char *words)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port =
                                      htons((uint16_t)strtoul(strrchr(url, ':') + 1, NULL, 10))};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    PT_REQUIRE(fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
    (void)!send(fd, words, strlen(words), MSG_NOSIGNAL);
    (void)close(fd);
}

static void strangers_are_told_by_their_number_and_seldom(void **state)
{
    static struct notes notes;
    struct peat_primary_options options = primary_options(&notes);
    uint64_t begun_us = pt_test_now_us();
    struct pt_link link;
    struct note last;
    uint64_t sum = 0;
    size_t count;
    (void)state;

    notes_init(&notes);
    pt_link_begin(&link, "tcp://127.0.0.1:0", &options);
    knock(link.url, "GET / HTTP/1.1\r\n\r\n");
    PT_LINK_UNTIL(told(&notes, PEAT_PRIMARY_STRANGERS, &last) >= 1); /* the first at once */
    PT_REQUIRE(last.words[0] != '\0');
    for (unsigned i = 1; i < STRANGERS; i++)
        knock(link.url, "garbage garbage garbage garbage garbage garbage garbage garbage garbage "
                        "garbage garbage");
    PT_LINK_UNTIL(pt_link_primary_status(&link).refused == STRANGERS);
    pt_link_end(&link); /* the rest at last */
    count = told(&notes, PEAT_PRIMARY_STRANGERS, NULL);
    assert_in_range(count, 2, 2 + (pt_test_now_us() - begun_us) / STRANGERS_PERIOD_US);
    for (size_t i = 0; i < notes.count; i++)
        sum += notes.notes[i].count;
    assert_int_equal(notes.count, count);
    assert_int_equal(sum, STRANGERS);
}

static void both_ends_count_what_goes_between_them(void **state)
{
    struct peat_db *db = pt_test_store_make("follower", PEAT_FOLLOWER);
    struct peat_follower_options options;
    struct peat_follower_status status;
    struct peat_primary_status primary;
    struct peat_follower *follower;
    struct pt_link link;
    (void)state;

    pt_link_begin(&link, "tcp://127.0.0.1:0", NULL);
    options = pt_link_options(&link, "one");
    follower = pt_link_follow(db, &options);
    PT_REQUIRE_OK(peat_wait_commit(db, pt_link_write(link.db, 100, 500), PT_LINK_SOON_MS, NULL));
    /* The primary counts what has gone: its follower may have it, and have counted it, before. */
    PT_LINK_UNTIL((status = pt_link_status(follower)).records >= 100 &&
                  (primary = pt_link_primary_status(&link)).sent_records == status.records &&
                  primary.sent_size >= status.received_size);
    PT_REQUIRE(status.received_size >= 100 * 500);
    PT_REQUIRE(status.sent_size > 0 && primary.received_size > 0);
    assert_int_equal(status.damaged + status.failed_dials + primary.damaged, 0);
    assert_int_equal(primary.turned_away + primary.seeds_begun, 0);
    pt_link_stop(&link);
    PT_LINK_UNTIL(pt_link_status(follower).failed_dials > 0);
    assert_int_equal(pt_link_status(follower).records, status.records);
    assert_int_equal(pt_link_status(follower).silent_us, 0);
    peat_follower_stop(follower);
    pt_link_end(&link);
    PT_REQUIRE_OK(peat_close(db));
}

static void never(void *context, const struct peat_follower_event *event)
{
    (void)event;
    pt_test_fail(__FILE__, __LINE__, "%s", (const char *)context);
}

static void options_of_an_older_program_end_sooner(void **state)
{
    struct peat_db *db = pt_test_store_make("follower", PEAT_FOLLOWER);
    struct peat_follower_options options;
    struct peat_follower *follower;
    struct pt_link link;
    (void)state;

    pt_link_begin(&link, "tcp://127.0.0.1:0", NULL);
    options = pt_link_options(&link, "one");
    options.event = never;
    options.event_context = (char[]){"what is not there is looked at"};
    options.struct_size = offsetof(struct peat_follower_options, event) - 1;
    PT_REQUIRE_STATUS(peat_follower_start(db, &options, &follower, NULL), PEAT_INVALID);
    options.struct_size = 1 << 20;
    PT_REQUIRE_STATUS(peat_follower_start(db, &options, &follower, NULL), PEAT_INVALID);
    options.struct_size = offsetof(struct peat_follower_options, event);
    follower = pt_link_follow(db, &options);
    PT_REQUIRE_OK(peat_wait_commit(db, pt_link_write(link.db, 1, 10), PT_LINK_SOON_MS, NULL));
    peat_follower_stop(follower);
    pt_link_end(&link);
    PT_REQUIRE_OK(peat_close(db));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_comes_and_goes_is_told_at_both_ends_once_and_in_order),
        cmocka_unit_test(a_state_is_told_from_its_beginning_to_its_end),
        cmocka_unit_test(primaries_with_the_same_keys_and_other_histories_are_told_apart),
        cmocka_unit_test(a_promotion_and_the_fence_that_comes_of_it_are_told),
        cmocka_unit_test(a_follower_that_takes_a_state_is_not_promoted_but_by_force),
        cmocka_unit_test(strangers_are_told_by_their_number_and_seldom),
        cmocka_unit_test(both_ends_count_what_goes_between_them),
        cmocka_unit_test(options_of_an_older_program_end_sooner),
    };
    int failed;

    pt_test_start();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed;
}
