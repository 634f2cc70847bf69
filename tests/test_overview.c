/*
 * The property: a report says what the structs say, in three formats, each of which is what it claims to be, whatever names
 * there are: OpenMetrics and JSON are read here by strict parsers of this test's own.
 */
#include "tests/link.h"

#include <ctype.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { TEXT_MAX = 256 << 10, SAMPLES_MAX = 1024, SERIES_MAX = 512 };

/* ---- Taking a report ---- */

struct text {
    char bytes[TEXT_MAX];
    size_t size;
    size_t pieces;
    size_t pieces_max; /* more are refused */
};

static struct text text;

static bool text_take(void *context, const char *bytes, size_t size)
{
    struct text *taken = context;

    PT_REQUIRE(size > 0 && taken->size + size < TEXT_MAX);
    if (taken->pieces == taken->pieces_max)
        return false;
    memcpy(taken->bytes + taken->size, bytes, size);
    taken->size += size;
    taken->bytes[taken->size] = '\0';
    taken->pieces++;
    return true;
}

static const char *report(struct peat_db *db, enum peat_report_format format, const char *store,
                          struct peat_primary *primary, struct peat_follower *follower)
{
    struct peat_report_options options;

    peat_report_options_init(&options);
    options.format = format;
    options.store = store;
    options.primary = primary;
    options.follower = follower;
    text.size = text.pieces = 0;
    text.pieces_max = SIZE_MAX;
    PT_REQUIRE_OK(peat_replication_report(db, &options, text_take, &text));
    PT_REQUIRE(strlen(text.bytes) == text.size);
    return text.bytes;
}

/* ---- OpenMetrics, as its specification has it, and what readers of the older format demand besides ---- */

struct family {
    char name[128];
    char type[16];
    bool has_unit, has_help, has_samples;
};

struct sample {
    char series[SERIES_MAX]; /* name and labels as they stand there */
    double value;
};

struct metrics {
    struct family families[128];
    size_t family_count;
    struct sample samples[SAMPLES_MAX];
    size_t sample_count;
};

static struct metrics metrics;

static size_t name_size(const char *place)
{
    size_t size = 0;

    while (isalpha((unsigned char)place[size]) || place[size] == '_' ||
           (size > 0 && isdigit((unsigned char)place[size])))
        size++;
    return size;
}

static bool ends(const char *name, const char *with)
{
    size_t size = strlen(name);

    return size > strlen(with) && strcmp(name + size - strlen(with), with) == 0;
}

/* The family that a line is about: the last one, or a new one. */
static struct family *family_of(const char *name)
{
    struct family *last =
        &metrics.families[metrics.family_count > 0 ? metrics.family_count - 1 : 0];
    static const char *const taken[] = {"_total", "_info", "_created", "_bucket",
                                        "_count", "_sum",  "_gsum"};

    if (metrics.family_count > 0 && strcmp(last->name, name) == 0)
        return last;
    for (size_t i = 0; i < metrics.family_count; i++)
        PT_REQUIRE(strcmp(metrics.families[i].name, name) != 0); /* all of one stands together */
    for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++)
        PT_REQUIRE(!ends(name, taken[i]));
    PT_REQUIRE(metrics.family_count < 128);
    last = &metrics.families[metrics.family_count++];
    (void)snprintf(last->name, sizeof(last->name), "%s", name);
    return last;
}

static void metadata_read(const char *line)
{
    struct family *family;
    char kind[16], name[128];
    const char *rest;
    int used = 0;

    PT_REQUIRE(sscanf(line, "# %15[A-Z] %127[^ ]%n", kind, name, &used) == 2);
    PT_REQUIRE(name_size(name) == strlen(name) && line[used] == ' ');
    rest = line + used + 1;
    PT_REQUIRE(rest[0] != '\0' && rest[0] != ' ');
    family = family_of(name);
    PT_REQUIRE(!family->has_samples);
    if (strcmp(kind, "TYPE") == 0) {
        PT_REQUIRE(family->type[0] == '\0');
        PT_REQUIRE(strcmp(rest, "gauge") == 0 || strcmp(rest, "counter") == 0);
        (void)snprintf(family->type, sizeof(family->type), "%s", rest);
    } else if (strcmp(kind, "UNIT") == 0) {
        char suffix[32];

        PT_REQUIRE(!family->has_unit && strlen(rest) < 30);
        (void)snprintf(suffix, sizeof(suffix), "_%s", rest);
        PT_REQUIRE(ends(name, suffix));
        family->has_unit = true;
    } else {
        PT_REQUIRE(strcmp(kind, "HELP") == 0 && !family->has_help);
        PT_REQUIRE(strpbrk(rest, "\\\"") == NULL); /* nothing that would need an escape */
        family->has_help = true;
    }
}

/* Behind the labels. */
static const char *labels_read(const char *place)
{
    char seen[8][64];
    size_t count = 0;

    PT_REQUIRE(*place++ == '{');
    for (;;) {
        size_t size = name_size(place);

        PT_REQUIRE(size > 0 && size < 64 && count < 8);
        (void)snprintf(seen[count], sizeof(seen[count]), "%.*s", (int)size, place);
        for (size_t i = 0; i < count; i++)
            PT_REQUIRE(strcmp(seen[i], seen[count]) != 0);
        count++;
        place += size;
        PT_REQUIRE(place[0] == '=' && place[1] == '"');
        for (place += 2; *place != '"'; place++) {
            PT_REQUIRE(*place != '\0' && *place != '\n');
            if (*place == '\\') {
                place++;
                PT_REQUIRE(*place == '\\' || *place == '"' || *place == 'n');
            }
        }
        place++;
        if (*place != ',')
            break;
        place++;
    }
    PT_REQUIRE(*place == '}');
    return place + 1;
}

static void sample_read(const char *line, struct family *family)
{
    struct sample *sample = &metrics.samples[metrics.sample_count];
    size_t size = name_size(line);
    const char *place;
    char name[160], *end;
    bool is_counter;

    PT_REQUIRE(metrics.sample_count < SAMPLES_MAX);
    is_counter = strcmp(family->type, "counter") == 0;
    PT_REQUIRE(family->type[0] != '\0' && family->has_help);
    (void)snprintf(name, sizeof(name), "%s%s", family->name, is_counter ? "_total" : "");
    PT_REQUIRE(size == strlen(name) && strncmp(line, name, size) == 0);
    place = labels_read(line + size);
    PT_REQUIRE((size_t)(place - line) < SERIES_MAX && *place == ' ');
    (void)snprintf(sample->series, SERIES_MAX, "%.*s", (int)(place - line), line);
    PT_REQUIRE(isdigit((unsigned char)place[1])); /* none is below zero */
    sample->value = strtod(place + 1, &end);
    PT_REQUIRE(*end == '\0'); /* no time behind it */
    for (size_t i = 0; i < metrics.sample_count; i++)
        PT_REQUIRE(strcmp(metrics.samples[i].series, sample->series) != 0);
    metrics.sample_count++;
    family->has_samples = true;
}

static void metrics_read(const char *all)
{
    static char copy[TEXT_MAX];
    char *line = copy;

    memset(&metrics, 0, sizeof(metrics));
    (void)strcpy(copy, all);
    for (;;) {
        char *end = strchr(line, '\n');

        PT_REQUIRE(end != NULL && end > line); /* whole lines, none of them empty */
        *end = '\0';
        pt_test_context("line: %.200s", line);
        if (strcmp(line, "# EOF") == 0) {
            PT_REQUIRE(end[1] == '\0');
            break;
        }
        PT_REQUIRE(line[0] == '#' || metrics.family_count > 0);
        if (line[0] == '#')
            metadata_read(line);
        else
            sample_read(line, &metrics.families[metrics.family_count - 1]);
        line = end + 1;
    }
    pt_test_context("%s", "");
    for (size_t i = 0; i < metrics.family_count; i++)
        PT_REQUIRE(metrics.families[i].has_samples);
}

static double metric(const char *format, ...) __attribute__((format(printf, 1, 2)));

static double metric(const char *format, ...)
{
    char series[SERIES_MAX];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(series, sizeof(series), format, arguments);
    va_end(arguments);
    for (size_t i = 0; i < metrics.sample_count; i++)
        if (strcmp(metrics.samples[i].series, series) == 0)
            return metrics.samples[i].value;
    pt_test_fail(__FILE__, __LINE__, "no %s", series);
}

/* ---- JSON (RFC 8259) ---- */

static const char *json_value(const char *place);

static const char *json_string(const char *place)
{
    PT_REQUIRE(*place++ == '"');
    for (; *place != '"'; place++) {
        PT_REQUIRE((unsigned char)*place >= ' ');
        if (*place != '\\')
            continue;
        place++;
        PT_REQUIRE(*place != '\0' && strchr("\"\\/bfnrtu", *place) != NULL);
        for (unsigned i = 0; *place == 'u' && i < 4; i++)
            PT_REQUIRE(isxdigit((unsigned char)place[i + 1]));
    }
    return place + 1;
}

static const char *json_list(const char *place, char last)
{
    if (*++place == last)
        return place + 1;
    for (;; place++) {
        if (last == '}') {
            place = json_string(place);
            PT_REQUIRE(*place++ == ':');
        }
        place = json_value(place);
        if (*place != ',')
            break;
    }
    PT_REQUIRE(*place == last);
    return place + 1;
}

static const char *json_value(const char *place)
{
    char *end;

    if (*place == '{' || *place == '[')
        return json_list(place, *place == '{' ? '}' : ']');
    if (*place == '"')
        return json_string(place);
    if (strncmp(place, "true", 4) == 0)
        return place + 4;
    if (strncmp(place, "false", 5) == 0)
        return place + 5;
    PT_REQUIRE(isdigit((unsigned char)*place) &&
               (*place != '0' || !isdigit((unsigned char)place[1])));
    (void)strtoull(place, &end, 10);
    return end;
}

static void json_read(const char *all)
{
    PT_REQUIRE(*all == '{');
    assert_string_equal(json_value(all), "\n");
}

static void require_in(const char *all, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void require_in(const char *all, const char *format, ...)
{
    char part[512];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(part, sizeof(part), format, arguments);
    va_end(arguments);
    if (strstr(all, part) == NULL)
        pt_test_fail(__FILE__, __LINE__, "no %s in %s", part, all);
}

/* ---- Tests ---- */

static void of_a_file_at_rest_it_says_what_the_file_says(void **state)
{
    struct peat_db *db = pt_test_store_make("store", 0);
    struct peat_feed *feed;
    struct peat_position position;
    const char *all;
    (void)state;

    (void)pt_link_write(db, 7, 100);
    PT_REQUIRE_OK(peat_feed_open(db, 3, "mine", 0, &feed));
    peat_feed_close(feed);
    PT_REQUIRE_OK(peat_position_get(db, &position));
    all = report(db, PEAT_REPORT_OPENMETRICS, "a.peat", NULL, NULL);
    metrics_read(all);
    assert_true(metric("peat_commit{store=\"a.peat\"}") == 7);
    assert_true(metric("peat_log_position_bytes{store=\"a.peat\"}") == (double)position.position);
    assert_true(metric("peat_role{store=\"a.peat\",role=\"primary\"}") == 1);
    assert_true(metric("peat_role{store=\"a.peat\",role=\"follower\"}") == 0);
    assert_true(metric("peat_feed_lag_commits{store=\"a.peat\",feed=\"mine\"}") == 5);
    assert_true(metric("peat_feed_is_follower{store=\"a.peat\",feed=\"mine\"}") == 0);
    assert_null(strstr(all, "peat_primary_"));
    assert_null(strstr(all, "peat_follower_"));
    all = report(db, PEAT_REPORT_JSON, "a.peat", NULL, NULL);
    json_read(all);
    require_in(all, "\"role\":\"primary\"");
    require_in(all, "\"epochs\":[{\"epoch\":1,\"first_commit\":1}]");
    require_in(all, "\"name\":\"mine\",\"acknowledged\":2,\"lag\":5,");
    all = report(db, PEAT_REPORT_TEXT, "a.peat", NULL, NULL);
    require_in(all, "\nrole                            primary\n");
    require_in(all, "\nfeed                            mine\n");
    PT_REQUIRE_OK(peat_close(db));
}

static void names_of_any_bytes_are_told_apart_and_break_no_format(void **state)
{
    static const char *const names[] = {"a\"b",
                                        "a\\b",
                                        "a\nb",
                                        "a\\nb",
                                        "a}b,c=\"d\"} 1",
                                        "\x80\xff",
                                        "gr\xc3\xbc\xc3\x9f",
                                        "a\x1b[31m",
                                        "\xed\xa0\x80",
                                        "\xc0\xaf",
                                        "\xf0\x9f\x8c\xb1",
                                        "a\x7f"
                                        "b",
                                        "\xc2\x9b"
                                        "31m"};
    const size_t count = sizeof(names) / sizeof(names[0]);
    struct peat_db *db = pt_test_store_make("store", 0);
    const char *all;
    (void)state;

    for (size_t i = 0; i < count; i++) {
        struct peat_feed *feed;

        PT_REQUIRE_OK(peat_feed_open(db, PEAT_FEED_NEXT, names[i], 0, &feed));
        peat_feed_close(feed);
    }
    for (size_t i = 0; i < count; i++) {
        size_t feeds = 0;

        metrics_read(report(db, PEAT_REPORT_OPENMETRICS, names[i], NULL, NULL));
        for (size_t j = 0; j < metrics.sample_count; j++)
            feeds += strncmp(metrics.samples[j].series, "peat_feed_log_bytes{", 20) == 0;
        assert_int_equal(feeds, count);
        json_read(report(db, PEAT_REPORT_JSON, names[i], NULL, NULL));
    }
    all = report(db, PEAT_REPORT_OPENMETRICS, "s", NULL, NULL);
    require_in(all, "{store=\"s\",feed=\"a\\\"b\"} ");
    require_in(all, "{store=\"s\",feed=\"a\\nb\"} ");
    require_in(all, "{store=\"s\",feed=\"a\\\\nb\"} ");
    require_in(all, "{store=\"s\",feed64=\"gP8=\"} ");
    require_in(all, "{store=\"s\",feed64=\"7aCA\"} "); /* a surrogate */
    require_in(all, "{store=\"s\",feed=\"gr\xc3\xbc\xc3\x9f\"} ");
    all = report(db, PEAT_REPORT_JSON, "s", NULL, NULL);
    require_in(all, "\"name\":\"a\\u001b[31m\"");
    require_in(all, "\"name64\":\"wK8=\""); /* said longer than need be */
    all = report(db, PEAT_REPORT_TEXT, "s", NULL, NULL);
    require_in(all, " a\\x1b[31m\n");
    require_in(all, " a\\x0ab\n");
    require_in(all, " \\xc2\\x9b31m\n");
    require_in(all, " \xf0\x9f\x8c\xb1\n");
    PT_REQUIRE_OK(peat_close(db));
}

/* One follower between a primary and a last one: it has both roles. */
static void of_both_roles_it_says_what_their_structs_say(void **state)
{
    struct peat_db *db = pt_test_store_make("follower", PEAT_FOLLOWER);
    struct peat_db *last_db = pt_test_store_make("last", PEAT_FOLLOWER);
    struct peat_follower_options options, last_options;
    struct peat_follower *follower, *last;
    struct pt_link link, between;
    struct peat_follower_status status;
    const char *all;
    uint64_t commit;
    (void)state;

    pt_link_begin(&link, "tcp://127.0.0.1:0", NULL);
    between = link;
    between.db = db;
    pt_link_start(&between, "tcp://127.0.0.1:0");
    options = pt_link_options(&link, "one");
    last_options = pt_link_options(&between, "la\"st");
    follower = pt_link_follow(db, &options);
    PT_REQUIRE_OK(peat_wait_commit(db, pt_link_write(link.db, 1, 100), PT_LINK_SOON_MS, NULL));
    last = pt_link_follow(last_db, &last_options);
    commit = pt_link_write(link.db, 40, 100);
    PT_REQUIRE_OK(peat_wait_commit(last_db, commit, PT_LINK_SOON_MS, NULL));
    PT_LINK_UNTIL(pt_link_status(follower).records >= commit);
    PT_LINK_UNTIL(pt_link_status(last).state == PEAT_FOLLOWER_FOLLOWING);
    metrics_read(report(db, PEAT_REPORT_OPENMETRICS, "f", between.primary, follower));
    status = pt_link_status(follower);
    assert_true(metric("peat_role{store=\"f\",role=\"follower\"}") == 1);
    assert_true(metric("peat_commit{store=\"f\"}") == (double)commit);
    assert_true(metric("peat_follower_state{store=\"f\",state=\"following\"}") == 1);
    assert_true(metric("peat_follower_state{store=\"f\",state=\"no space\"}") == 0);
    assert_true(metric("peat_follower_connections_total{store=\"f\"}") == 1);
    assert_true(metric("peat_follower_records_total{store=\"f\"}") == (double)status.records);
    assert_true(metric("peat_follower_rejoins_total{store=\"f\"}") == 0);
    assert_true(metric("peat_follower_received_bytes_total{store=\"f\"}") > 4000);
    assert_true(metric("peat_primary_followers{store=\"f\"}") == 1);
    assert_true(metric("peat_primary_connections_total{store=\"f\"}") ==
                (double)pt_link_primary_status(&between).accepted);
    assert_true(metric("peat_primary_follower_is_seeding{store=\"f\",follower=\"la\\\"st\"}") == 0);
    assert_true(
        metric("peat_primary_follower_sent_bytes_total{store=\"f\",follower=\"la\\\"st\"}") > 4000);
    assert_true(metric("peat_feed_is_follower{store=\"f\",feed=\"la\\\"st\"}") == 1);
    all = report(db, PEAT_REPORT_JSON, "f", between.primary, follower);
    json_read(all);
    require_in(all, ",\"follower\":{\"state\":\"following\",\"words\":\"\"");
    require_in(all, "\"followers\":[{\"name\":\"la\\\"st\",\"received\":");
    all = report(db, PEAT_REPORT_TEXT, "f", between.primary, follower);
    require_in(all, "\n  state                         following\n");
    require_in(all, "\nfollower                        la\"st\n");
    peat_follower_stop(last);
    pt_link_stop(&between);
    peat_follower_stop(follower);
    pt_link_end(&link);
    PT_REQUIRE_OK(peat_close(last_db));
    PT_REQUIRE_OK(peat_close(db));
}

static void beside_the_process_that_writes_it_says_what_the_file_says(void **state)
{
    struct peat_db *db = pt_test_store_make("follower", PEAT_FOLLOWER);
    struct peat_options read_options = pt_test_options(PEAT_READ_ONLY);
    struct peat_follower_options options;
    struct peat_follower *follower;
    struct peat_db *beside;
    struct pt_link link;
    uint64_t commit;
    (void)state;

    pt_link_begin(&link, "tcp://127.0.0.1:0", NULL);
    options = pt_link_options(&link, "one");
    follower = pt_link_follow(db, &options);
    commit = pt_link_write(link.db, 10, 100);
    PT_REQUIRE_OK(peat_wait_commit(db, commit, PT_LINK_SOON_MS, NULL));
    PT_REQUIRE_OK(peat_open(pt_test_path("follower"), &read_options, &beside));
    PT_REQUIRE_OK(peat_wait_commit(beside, commit, PT_LINK_SOON_MS, NULL));
    metrics_read(report(beside, PEAT_REPORT_OPENMETRICS, "f", NULL, NULL));
    assert_true(metric("peat_role{store=\"f\",role=\"follower\"}") == 1);
    assert_true(metric("peat_commit{store=\"f\"}") == (double)commit);
    PT_REQUIRE_OK(peat_close(beside));
    PT_REQUIRE_OK(peat_open(pt_test_path("primary"), &read_options, &beside));
    metrics_read(report(beside, PEAT_REPORT_OPENMETRICS, "p", NULL, NULL));
    assert_true(metric("peat_feed_is_follower{store=\"p\",feed=\"one\"}") == 1);
    PT_REQUIRE_OK(peat_close(beside));
    peat_follower_stop(follower);
    pt_link_end(&link);
    PT_REQUIRE_OK(peat_close(db));
}

static void who_wants_no_more_gets_no_more(void **state)
{
    struct peat_db *db = pt_test_store_make("store", 0);
    struct peat_report_options options;
    size_t pieces;
    (void)state;

    for (unsigned i = 0; i < 40; i++) {
        struct peat_feed *feed;
        char name[16];

        (void)snprintf(name, sizeof(name), "feed-%u", i);
        PT_REQUIRE_OK(peat_feed_open(db, PEAT_FEED_NEXT, name, 0, &feed));
        peat_feed_close(feed);
    }
    peat_report_options_init(&options);
    for (unsigned format = 0; format <= PEAT_REPORT_OPENMETRICS; format++) {
        (void)report(db, (enum peat_report_format)format, NULL, NULL, NULL);
        pieces = text.pieces;
        PT_REQUIRE(pieces > 1);
        options.format = (enum peat_report_format)format;
        for (size_t i = 0; i < pieces; i++) {
            text.size = text.pieces = 0;
            text.pieces_max = i;
            PT_REQUIRE_STATUS(peat_replication_report(db, &options, text_take, &text), PEAT_DONE);
            assert_int_equal(text.pieces, i);
        }
    }
    options.format = (enum peat_report_format)3;
    PT_REQUIRE_STATUS(peat_replication_report(db, &options, text_take, &text), PEAT_INVALID);
    options.format = PEAT_REPORT_TEXT;
    PT_REQUIRE_STATUS(peat_replication_report(NULL, &options, text_take, &text), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_replication_report(db, NULL, text_take, &text), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_replication_report(db, &options, NULL, &text), PEAT_INVALID);
    options.struct_size = 0;
    PT_REQUIRE_STATUS(peat_replication_report(db, &options, text_take, &text), PEAT_INVALID);
    PT_REQUIRE_OK(peat_close(db));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_a_file_at_rest_it_says_what_the_file_says),
        cmocka_unit_test(names_of_any_bytes_are_told_apart_and_break_no_format),
        cmocka_unit_test(of_both_roles_it_says_what_their_structs_say),
        cmocka_unit_test(beside_the_process_that_writes_it_says_what_the_file_says),
        cmocka_unit_test(who_wants_no_more_gets_no_more),
    };
    int failed;

    pt_test_start();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed;
}
