/*
 * Keys that are hard to keep in order: empty, of zeros only, prefixes of each other, alike for longer
 * than 8 bytes, of all lengths up to a few hundred bytes.
 */
#ifndef PEAT_TESTS_HARD_KEYS_H
#define PEAT_TESTS_HARD_KEYS_H

#include "core/peat.h"

enum { PT_HARD_KEY_SIZE_MAX = 400 /* bytes */ };

/* The @p number-th key, in @p room of PT_HARD_KEY_SIZE_MAX bytes. Different numbers give different
 * keys; neighbours in number are not neighbours in order. */
struct peat_bytes pt_hard_key(uint64_t number, uint8_t *room);

#endif
