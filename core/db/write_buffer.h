/*
 * A write buffer: the part of the store that takes new commits, in memory.
 *
 * An append-only area holds entries in the order in which they were committed; a hash index finds
 * the newest entry of a key, from which a chain leads to the key's older ones; range deletes are a
 * short sorted list beside. Order is made when it is wanted: a view holds sorted runs of references.
 *
 * Thread rule: one writer at a time (the commit leader) calls add, add_range and publish; everything
 * else is for any thread, at any time, and takes no lock that the writer takes. A reader sees what
 * was published before it asked, filtered by its commit number.
 */
#ifndef PEAT_CORE_DB_WRITE_BUFFER_H
#define PEAT_CORE_DB_WRITE_BUFFER_H

#include "core/base/alloc.h"
#include "core/base/thread.h"
#include "core/segment/entry_format.h"

struct pt_write_buffer;

/*
 * @p capacity: bytes of address space for entries, see pt_write_buffer_capacity_for(); memory is
 * taken as it fills.
 * @p index_hint: entries expected; the hash index starts small, and grows to these at once when some thousand have come: so a
 * buffer that stays nearly empty stays small, and one that fills stops for copying once, early.
 * @p hash_seed: keys are hashed with pt_hash(hash_seed, ...) by the caller.
 * @p first_commit: every commit added has this number or a higher one; the buffer's published
 * commit starts at first_commit - 1.
 * PEAT_NO_MEMORY; PEAT_TOO_LARGE: a capacity above 32 GiB.
 */
enum peat_status pt_write_buffer_open(size_t capacity, size_t index_hint, uint64_t hash_seed,
                                      uint64_t first_commit, struct pt_write_buffer **buffer_out);
void pt_write_buffer_close(struct pt_write_buffer *buffer); /* NULL is allowed */

/* ---- The writer ---- */

/*
 * Whether a batch of @p count operations and @p size bytes (as entries: sum of pt_entry_size()) fits,
 * with index growth made now, so that adding it cannot fail. PEAT_OK; PEAT_TOO_LARGE: seal this
 * buffer and open another (no words are recorded for peat_last_error()); PEAT_NO_MEMORY.
 */
enum peat_status pt_write_buffer_reserve(struct pt_write_buffer *buffer, size_t count, size_t size);
/* Bytes of capacity that a batch of that kind takes: what to open a buffer with. */
size_t pt_write_buffer_capacity_for(size_t count, size_t size);
/* PUT or DELETE; @p hash of the whole stored key. Only after a reserve that covers it. */
void pt_write_buffer_add(struct pt_write_buffer *buffer, enum pt_op op, struct peat_bytes key,
                         struct peat_bytes value, uint64_t hash, uint64_t commit);
/* Delete [low, high), low < high: everything added before, in this buffer and below. Covered by a
 * reserve as well (as an entry with key low and value high). Without memory for the index of range
 * deletes readers are slower, but nothing fails. */
void pt_write_buffer_add_range(struct pt_write_buffer *buffer, struct peat_bytes low,
                               struct peat_bytes high, uint64_t commit);
/* All of commit @p commit and before is added: readers may see it. One for a group of commits does;
 * range deletes are indexed here, once per call. */
void pt_write_buffer_publish(struct pt_write_buffer *buffer, uint64_t commit);

/* ---- Readers ---- */

/* The newest published commit. */
uint64_t pt_write_buffer_commit(const struct pt_write_buffer *buffer);
/* Entries ever added, all versions, range deletes too (published or not). */
uint64_t pt_write_buffer_entry_count(const struct pt_write_buffer *buffer);
/* Where that number lies: for who must ask in line. */
const _Atomic uint64_t *pt_write_buffer_entry_counter(const struct pt_write_buffer *buffer);
/* Range deletes ever added. Each publish of some copies what there is, and a list is kept per copy:
 * seal the buffer when there are some hundreds. */
uint64_t pt_write_buffer_range_count(const struct pt_write_buffer *buffer);
uint64_t pt_write_buffer_data_size(
    const struct pt_write_buffer *buffer); /* bytes of the area used */
size_t pt_write_buffer_memory_size(const struct pt_write_buffer *buffer); /* bytes, indexes too */

/*
 * What the buffer says of @p key as of @p commit: PEAT_OK and the newest entry, PUT or DELETE (also
 * DELETE, with no value and the caller's key, where a range delete of this buffer covers it and
 * nothing newer exists); PEAT_NOT_FOUND: the buffer says nothing, look below.
 */
enum peat_status pt_write_buffer_get(const struct pt_write_buffer *buffer, struct peat_bytes key,
                                     uint64_t hash, uint64_t commit, struct pt_entry *entry_out);
/* Before a get or an add of a key with that hash: fetch the index slot; and, when that has had time
 * to arrive, the entry it leads to. */
void pt_write_buffer_prefetch(const struct pt_write_buffer *buffer, uint64_t hash);
void pt_write_buffer_prefetch_entry(const struct pt_write_buffer *buffer, uint64_t hash);

/* ---- Order ---- */

/* The range deletes as of a commit: sorted, disjoint. Borrowed from a view. */
struct pt_key_range {
    struct peat_bytes low;  /* inclusive */
    struct peat_bytes high; /* exclusive */
};

/* What an iterator or a flush needs: the buffer's entries as of a commit as a few sorted runs, newest
 * run first, and the range deletes. Immutable once opened. The buffer must outlive it. */
struct pt_buffer_view;
struct pt_sorted_run;

/*
 * Sorts what is not sorted yet. Runs are kept in the buffer for later views (merged geometrically,
 * so that there are few), except a short tail, which is sorted for this view alone. Never waits for
 * another reader. A thread that opens and closes a view now and then spares readers the sorting.
 * PEAT_NO_MEMORY.
 */
enum peat_status pt_buffer_view_open(struct pt_write_buffer *buffer, uint64_t commit,
                                     struct pt_buffer_view **view_out);
/* The same as one run, for flush; the buffer is sealed (nothing is added any more). */
enum peat_status pt_buffer_view_open_sealed(struct pt_write_buffer *buffer,
                                            struct pt_buffer_view **view_out);
void pt_buffer_view_close(struct pt_buffer_view *view); /* NULL is allowed */
size_t pt_buffer_view_run_count(const struct pt_buffer_view *view);
/* Disjoint, sorted; adjacent ranges may touch. */
const struct pt_key_range *pt_buffer_view_ranges(const struct pt_buffer_view *view,
                                                 size_t *count_out);

/*
 * A position in one run of a view. It stops only at entries that are visible in the view: the
 * newest version of the key in that run with commit <= the view's, not covered by a newer range
 * delete of this buffer. (A newer run of the view may hold a newer version of the same key.)
 * Fields are the cursor's own, but for entry. Copying a cursor makes another one.
 */
struct pt_buffer_cursor {
    const struct pt_buffer_view *view;
    const struct pt_sorted_run *run;
    size_t index;          /* of the entry under it in the run */
    size_t cover;          /* of the first range delete that ends behind it */
    size_t fetched;        /* entries ahead of it that were prefetched */
    struct pt_entry entry; /* valid after a call that returned true */
};

void pt_buffer_cursor_init(struct pt_buffer_cursor *cursor, const struct pt_buffer_view *view,
                           size_t run);
/* Each returns whether there is an entry. Seek: first with key >= @p key; seek_before: last with
 * key <= @p key (or < @p key if @p strictly). Next and previous only after a call that returned
 * true. */
bool pt_buffer_cursor_first(struct pt_buffer_cursor *cursor);
bool pt_buffer_cursor_last(struct pt_buffer_cursor *cursor);
bool pt_buffer_cursor_seek(struct pt_buffer_cursor *cursor, struct peat_bytes key);
bool pt_buffer_cursor_seek_before(struct pt_buffer_cursor *cursor, struct peat_bytes key,
                                  bool strictly);
bool pt_buffer_cursor_next(struct pt_buffer_cursor *cursor);
bool pt_buffer_cursor_previous(struct pt_buffer_cursor *cursor);

#endif
