/* What the commands of backup and restore have in common: progress, stopping, and what they say at the
 * end. */
#ifndef PEAT_TOOLS_BACKUP_REPORT_H
#define PEAT_TOOLS_BACKUP_REPORT_H

#include "tools/complain.h"
#include "tools/progress.h"

/* Show progress, and stop where the user wants to. @p context: a struct pt_progress. */
bool pt_backup_progress(void *context, uint64_t done, uint64_t total);

/* The digest in hexadecimal and the file's name, as sha256sum(1) writes them. */
void pt_backup_digest_write(const uint8_t digest[32], const char *file);

/* One JSON object. */
void pt_backup_json_write(const struct peat_backup_info *info);

/* On standard error: what the backup is, and how fast it was. */
void pt_backup_summary(const struct pt_progress *progress, const struct peat_backup_info *info);

#endif
