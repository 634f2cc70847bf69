#include "tests/link.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

void pt_link_key_make(const char *name, char path[256])
{
    char id[PEAT_KEY_ID_TEXT_SIZE];
    struct peat_repl_error error;

    (void)snprintf(path, 256, "%s", pt_test_path(name));
    (void)unlink(path);
    if (peat_key_make(path, id, &error) != PEAT_OK)
        pt_test_fail(__FILE__, __LINE__, "%s", error.words);
}

void pt_link_start(struct pt_link *link, const char *url)
{
    const char *const urls[] = {url};
    const char *const keys[] = {link->key_path};
    struct peat_primary_status status;
    uint64_t begun_us = pt_test_now_us();
    struct peat_repl_error error;
    enum peat_status result;

    link->options.urls = urls;
    link->options.url_count = 1;
    link->options.key_paths = keys;
    link->options.key_count = 1;
    /* A port that was given away for the asking may be somebody's for a moment: a dialer's own end, say. */
    while ((result = peat_primary_start(link->db, &link->options, &link->primary, &error)) ==
               PEAT_BUSY &&
           pt_test_now_us() - begun_us < PT_LINK_SOON_MS * 1000ull)
        (void)usleep(PT_LINK_LOOK_US);
    if (result != PEAT_OK)
        pt_test_fail(__FILE__, __LINE__, "%s", error.words);
    if (url == link->url) /* other threads may read it */
        return;
    status = pt_link_primary_status(link);
    if (status.port != 0)
        (void)snprintf(link->url, sizeof(link->url), "tcp://127.0.0.1:%u", status.port);
    else
        (void)snprintf(link->url, sizeof(link->url), "%s", url);
}

void pt_link_begin(struct pt_link *link, const char *url,
                   const struct peat_primary_options *options)
{
    memset(link, 0, sizeof(*link));
    peat_primary_options_init(&link->options);
    if (options != NULL)
        link->options = *options;
    pt_link_key_make("key", link->key_path);
    link->db = pt_test_store_make("primary", 0);
    pt_link_start(link, url);
}

void pt_link_stop(struct pt_link *link)
{
    peat_primary_stop(link->primary);
    link->primary = NULL;
}

void pt_link_end(struct pt_link *link)
{
    pt_link_stop(link);
    PT_REQUIRE_OK(peat_close(link->db));
}

struct peat_follower_options pt_link_options(const struct pt_link *link, const char *name)
{
    struct peat_follower_options options;

    peat_follower_options_init(&options);
    options.url = link->url;
    options.key_path = link->key_path;
    options.name = name;
    options.durability = PEAT_OS;
    return options;
}

struct peat_follower *pt_link_follow(struct peat_db *db,
                                     const struct peat_follower_options *options)
{
    struct peat_follower *follower;
    struct peat_repl_error error;

    if (peat_follower_start(db, options, &follower, &error) != PEAT_OK)
        pt_test_fail(__FILE__, __LINE__, "%s", error.words);
    return follower;
}

struct peat_follower_status pt_link_status(struct peat_follower *follower)
{
    struct peat_follower_status status = {.struct_size = sizeof(status)};

    peat_follower_status_get(follower, &status);
    return status;
}

struct peat_primary_status pt_link_primary_status(struct pt_link *link)
{
    struct peat_primary_status status = {.struct_size = sizeof(status)};

    peat_primary_status_get(link->primary, &status);
    return status;
}

uint64_t pt_link_write(struct peat_db *db, unsigned count, size_t size)
{
    static uint8_t value[3 << 20];
    static uint64_t salt;
    uint64_t commit = 0;

    PT_REQUIRE(size <= sizeof(value));
    for (unsigned i = 0; i < count; i++) {
        struct peat_batch *batch = peat_batch_new(0);
        char name[32];

        (void)snprintf(name, sizeof(name), "key-%03llu", (unsigned long long)(salt % 500));
        pt_value_fill(salt++, value, size);
        PT_REQUIRE_OK(peat_batch_put(batch, NULL, pt_text(name), (struct peat_bytes){value, size}));
        PT_REQUIRE_OK(peat_write(db, batch, PEAT_OS, &commit));
        peat_batch_free(batch);
    }
    return commit;
}

void pt_link_require_same(struct peat_db *one, struct peat_db *other)
{
    struct peat_db *stores[] = {one, other};
    struct peat_snapshot *snapshot;
    uint8_t digests[2][32];

    for (unsigned i = 0; i < 2; i++) {
        PT_REQUIRE_OK(peat_snapshot_open(stores[i], &snapshot));
        PT_REQUIRE_OK(peat_digest(snapshot, NULL, NULL, digests[i], NULL));
        peat_snapshot_close(snapshot);
    }
    assert_memory_equal(digests[0], digests[1], sizeof(digests[0]));
}
