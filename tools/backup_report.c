#include "tools/backup_report.h"

#include "tools/coding.h"
#include "tools/human.h"
#include "tools/interrupt.h"
#include "tools/output.h"

#include <inttypes.h>
#include <stdio.h>

bool pt_backup_progress(void *context, uint64_t done, uint64_t total)
{
    struct pt_progress *progress = context;

    progress->size_expected = total;
    pt_progress_show(progress, 0, done);
    return !pt_interrupt_came();
}

void pt_backup_digest_write(const uint8_t digest[32], const char *file)
{
    pt_hex_write((struct peat_bytes){digest, 32});
    pt_output_string("  ");
    pt_output_string(file);
    pt_output_byte('\n');
}

static void hex_member_write(const char *name, const uint8_t *bytes, size_t size)
{
    pt_output_format(",\"%s\":\"", name);
    pt_hex_write((struct peat_bytes){bytes, size});
    pt_output_byte('"');
}

void pt_backup_json_write(const struct peat_backup_info *info)
{
    pt_output_format("{\"kind\":\"%s\"", info->is_increment ? "increment" : "full");
    hex_member_write("store_id", info->store_id, sizeof(info->store_id));
    pt_output_format(",\"commit\":%" PRIu64 ",\"time_us\":%" PRIu64 ",\"entry_count\":%" PRIu64,
                     info->commit, info->time_us, info->entry_count);
    hex_member_write("digest", info->digest, sizeof(info->digest));
    if (info->is_increment) {
        pt_output_format(",\"base_commit\":%" PRIu64, info->base_commit);
        hex_member_write("base_digest", info->base_digest, sizeof(info->base_digest));
    }
    pt_output_format(",\"put_count\":%" PRIu64 ",\"delete_count\":%" PRIu64
                     ",\"file_size\":%" PRIu64 "}\n",
                     info->put_count, info->delete_count, info->file_size);
}

void pt_backup_summary(const struct pt_progress *progress, const struct peat_backup_info *info)
{
    struct pt_progress total = *progress;

    pt_progress_wipe();
    if (info->is_increment)
        (void)fprintf(stderr, "commit %" PRIu64 " since commit %" PRIu64 ": %s puts, %s deletes\n",
                      info->commit, info->base_commit, pt_human_count(info->put_count).text,
                      pt_human_count(info->delete_count).text);
    else
        (void)fprintf(stderr, "commit %" PRIu64 "\n", info->commit);
    total.noun = "entries";
    pt_progress_finish(&total, info->put_count + info->delete_count, info->file_size, true);
}
