/*
 * Key files: one line of text, "peat-key 1 ID SECRET", ID 32 and SECRET 64 hexadecimal digits. The id says which key two
 * nodes mean, and is no secret.
 */
#ifndef PEAT_REPL_KEY_FILE_H
#define PEAT_REPL_KEY_FILE_H

#include "repl/channel.h"
#include "repl/peat_repl.h"

/* PEAT_NOT_FOUND; PEAT_INVALID: it is no key file, or not for its owner alone, or its owner is neither we nor root; PEAT_IO. */
enum peat_status pt_key_file_read(const char *path, struct pt_channel_key *key_out,
                                  struct peat_repl_error *error);

#endif
