/*
 * The manifest: the durable list of everything live, as one checksummed block.
 *
 * This is the codec between memory and bytes; who writes a manifest where, and when it rules, is
 * install.c's matter.
 */
#ifndef PEAT_CORE_DB_MANIFEST_H
#define PEAT_CORE_DB_MANIFEST_H

#include "core/db/run.h"

/* One segment as the manifest names it. */
struct pt_manifest_segment {
    uint64_t id;
    struct pt_extent extent;
    struct pt_segment_summary summary;
};

/* One slice as the manifest names it. Keys are borrowed from the block or the run. */
struct pt_manifest_slice {
    uint64_t segment_index; /* in the segment table */
    struct peat_bytes low;
    struct peat_bytes high;
};

/* A manifest decoded, or about to be encoded. */
struct pt_manifest {
    struct pt_id store_id;
    uint64_t generation;
    uint64_t next_segment_id;
    uint64_t next_collection_id;
    uint64_t hash_seed;
    struct pt_log_point log;              /* its commit is the last that the segments hold */
    struct pt_manifest_segment *segments; /* ascending by id */
    size_t segment_count;
    size_t *run_slice_counts; /* per run, newest run first; at least 1 each */
    size_t run_count;
    struct pt_manifest_slice *slices; /* of all runs, in order */
    size_t slice_count;
};

/* Bytes that @p manifest takes. */
uint64_t pt_manifest_size(const struct pt_manifest *manifest);
/* The same by counts; @p key_size: bytes of all slices' keys. */
uint64_t pt_manifest_size_for(size_t segment_count, size_t run_count, size_t slice_count,
                              uint64_t key_size);
/* Encode into @p block, pt_manifest_size() bytes. What manifest_format.h calls valid is asserted. */
void pt_manifest_encode(const struct pt_manifest *manifest, uint8_t *block);

/*
 * Decode and check every claim, as manifest_format.h lists them: checksum (keyed by store id and
 * @p generation), counts against size, extents, the order of segments and slices. Nothing outside
 * the block is looked at. Keys are borrowed from @p block. Release with pt_manifest_fini() (also
 * after a failure). PEAT_CORRUPT, PEAT_VERSION, PEAT_NO_MEMORY.
 */
enum peat_status pt_manifest_decode(struct peat_bytes block, const struct pt_id *store_id,
                                    uint64_t generation, struct pt_manifest *manifest_out);
void pt_manifest_fini(struct pt_manifest *manifest);

/* Describe @p runs: sets segments (each once), runs and slices; the rest is the caller's and is not
 * touched. The keys are borrowed from the runs. Release with pt_manifest_fini(). PEAT_NO_MEMORY. */
enum peat_status pt_manifest_describe(struct pt_run *const *runs, size_t run_count,
                                      struct pt_manifest *manifest_out);

#endif
