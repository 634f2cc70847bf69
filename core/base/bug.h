/*
 * Planted bugs: a library compiled with -DPEAT_BUG=n has bug n, any other has none of them. They show that
 * the campaigns of tests/ notice what they are there for: `make torture-controls` builds each and waits
 * for it to be caught.
 */
#ifndef PEAT_CORE_BASE_BUG_H
#define PEAT_CORE_BASE_BUG_H

#ifndef PEAT_BUG
#define PEAT_BUG 0
#endif

#define PT_BUG(name) (PEAT_BUG == PT_BUG_##name)

enum pt_bug {
    PT_BUG_NONE,
    PT_BUG_DATA_SYNC_DROPPED,       /* segments and manifest are not synced before the superblock */
    PT_BUG_SUPERBLOCK_FIRST,        /* the superblock is written before they are synced */
    PT_BUG_SUPERBLOCK_SYNC_DROPPED, /* nothing waits for the superblock */
    PT_BUG_LOG_SYNC_DROPPED,        /* a staged group is written, not synced */
    PT_BUG_LOG_RANGE_SYNC_DROPPED,  /* a group that was stored through the mapping is not synced */
    PT_BUG_LINK_SYNC_DROPPED,       /* the links between the log's regions are not synced */
    PT_BUG_DIRECTORY_SYNC_DROPPED,  /* a new file's name is not synced */
    PT_BUG_SETTLE_SYNC_DROPPED,     /* what a killed process wrote is not synced at open */
    PT_BUG_RANGE_FOR_ALL, /* the manifest's range is synced, not the segments and the size */
    PT_BUG_REUSED_EARLY, /* the old manifest's region is free before the new superblock is durable */
    PT_BUG_NONCE_REPEATED,       /* every use of a log region has the same nonce */
    PT_BUG_LOG_UNCHECKED,        /* a log record's checksum and chain are not compared */
    PT_BUG_CHUNKS_UNCHECKED,     /* a segment's chunks are not verified */
    PT_BUG_SUPERBLOCK_UNCHECKED, /* a superblock's checksum is not compared */
    PT_BUG_SYNC_ERROR_IGNORED,   /* a sync that failed counts as done */
    PT_BUG_SYNC_RETRIED,         /* a sync that failed is asked for again */
    PT_BUG_POISON_FORGOTTEN,     /* after a failed sync of the log commits go on */
    PT_BUG_TAIL_NOT_REWRITTEN,   /* recovery goes on in a fresh region that no manifest names */
    PT_BUG_PIN_IGNORED,          /* a replaced segment is free while a snapshot sees it */
    PT_BUG_ONE_SUPERBLOCK,       /* all generations go to the same page */
    PT_BUG_DURABLE_EARLY,    /* records claim that the log was on disk when it was only written */
    PT_BUG_LOG_START_NEWEST, /* a manifest begins the log behind buffers that are not in segments */
    PT_BUG_TORN_PAYLOAD_ACCEPTED, /* a record counts when its header does */
    PT_BUG_TAIL_NOT_MOVED,        /* after a sync records go on in a block that was acknowledged */
    PT_BUG_BATCH_IN_PARTS,        /* the first records of a large batch count without the last */
    PT_BUG_SIZE_NOT_SETTLED,      /* a file that has grown is synced in ranges only */
    PT_BUG_REPETITION_SYNC_DROPPED, /* nothing waits for the repetition of a superblock */
    PT_BUG_READER_IGNORED,          /* a replaced segment is free while another process reads it */
    PT_BUG_OS_KEPT_BACK,       /* a commit that is to survive the process waits in private memory */
    PT_BUG_JUMP_IGNORED,       /* after a revert the log goes on where it was */
    PT_BUG_CHANGE_DENIED,      /* 'no space, nothing has changed' once a superblock was written */
    PT_BUG_TORN_TAKEN_FOR_NEW, /* a second superblock that is torn counts as never written */
    PT_BUG_FEED_SYNC_DROPPED,  /* what a feed acknowledged is durable before the log with it is */
    PT_BUG_FEED_LOG_FREED,     /* log that is kept for a feed is free, too */
    PT_BUG_APPLY_UNCHECKED,    /* a follower does not compare chains */
    PT_BUG_COUNT
};

#endif
