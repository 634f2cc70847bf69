#include "tests/recorded.h"

#include <inttypes.h>

/* Where lines go while states are listed. */
struct lines {
    FILE *file;
    struct peat_db *db;
};

static void state_write(FILE *file, const char *name, const struct peat_snapshot *snapshot)
{
    uint8_t digest[32];
    uint64_t count;

    PT_REQUIRE_OK(peat_digest(snapshot, NULL, NULL, digest, &count));
    fprintf(file, "state %s %" PRIu64 " %" PRIu64 " ", name, peat_snapshot_commit(snapshot), count);
    for (size_t i = 0; i < sizeof(digest); i++)
        fprintf(file, "%02x", digest[i]);
    fprintf(file, "\n");
}

static bool kept_write(void *context, const struct peat_history_entry *entry)
{
    const struct lines *lines = context;
    struct peat_snapshot *snapshot;
    char number[32];

    if (entry->is_newest && entry->name[0] == '\0')
        return true;
    (void)snprintf(number, sizeof(number), "@%" PRIu64, entry->generation);
    PT_REQUIRE_OK(peat_history_open(lines->db, NULL, entry->generation, &snapshot));
    PT_REQUIRE(peat_snapshot_commit(snapshot) == entry->commit);
    state_write(lines->file, entry->name[0] == '\0' ? number : entry->name, snapshot);
    peat_snapshot_close(snapshot);
    return true;
}

void pt_recorded_write_newest(FILE *file, struct peat_db *db)
{
    struct peat_snapshot *snapshot;

    PT_REQUIRE_OK(peat_snapshot_open(db, &snapshot));
    state_write(file, "-", snapshot);
    peat_snapshot_close(snapshot);
}

void pt_recorded_write(FILE *file, struct peat_db *db)
{
    struct lines lines = {file, db};

    PT_REQUIRE_OK(peat_history_list(db, kept_write, &lines));
    pt_recorded_write_newest(file, db);
}
