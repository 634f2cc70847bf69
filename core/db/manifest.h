/*
 * The manifest: the durable list of everything live, as one checksummed block.
 *
 * This is the codec between memory and bytes; who writes a manifest where, and when it rules, is
 * install.c's matter.
 */
#ifndef PEAT_CORE_DB_MANIFEST_H
#define PEAT_CORE_DB_MANIFEST_H

#include "core/db/lineage.h"
#include "core/db/manifest_format.h"
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

/* One state of the store that is kept, as the manifest names it. manifest_format.h has the rules. */
struct pt_manifest_kept {
    uint64_t generation;          /* its number: of the first manifest that showed it */
    uint64_t manifest_generation; /* of the manifest that shows it now */
    uint64_t offset;              /* bytes in the file: where that manifest is; 0: no place */
    uint64_t size;                /* bytes of it, without padding */
    uint64_t commit;
    uint64_t time_us;       /* since 1970: when generation was made */
    unsigned flags;         /* PT_KEPT_... */
    struct peat_bytes name; /* size 0: none. Borrowed from the block or the history */
};

/* A feed that has a name. */
struct pt_manifest_feed {
    uint64_t acknowledged;
    bool has_seals;
    bool is_lost;
    struct peat_bytes name; /* borrowed from the block or the feeds */
};

/* A manifest decoded, or about to be encoded. */
struct pt_manifest {
    enum pt_manifest_kind kind;
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
    struct pt_manifest_kept *kept; /* oldest first; the last may be the manifest's own */
    size_t kept_count;
    struct pt_log_piece *held; /* of the log, for feeds: oldest first */
    size_t held_count;
    struct pt_manifest_feed *feeds; /* ascending by name */
    size_t feed_count;
    struct pt_lineage lineage; /* decoded it is never empty */
    unsigned role;             /* PT_ROLE_..., or 0 */
    uint64_t met_epoch;        /* 0: none */
};

/* Bytes that @p manifest takes. */
uint64_t pt_manifest_size(const struct pt_manifest *manifest);
/* The region that a manifest of @p size bytes at @p offset fills. */
struct pt_extent pt_manifest_extent(uint64_t offset, uint64_t size);
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

/* Whether row number @p index of what is held is the region in which the log begins: the last may be. */
bool pt_manifest_held_is_log(const struct pt_manifest *manifest, size_t index);
/* Describe @p runs: sets segments (each once), runs and slices, and nothing kept, held or of
 * epochs and roles; the rest is the caller's and is not touched. The keys are borrowed from the
 * runs. Release with pt_manifest_fini(). PEAT_NO_MEMORY. */
enum peat_status pt_manifest_describe(struct pt_run *const *runs, size_t run_count,
                                      struct pt_manifest *manifest_out);

#endif
