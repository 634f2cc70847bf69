#include "core/arena/superblock.h"

#include "core/arena/arena.h"
#include "core/arena/superblock_format.h"
#include "core/base/bug.h"

#include <inttypes.h>

enum {
    PAGES_SIZE = PT_SUPERBLOCK_COUNT * PT_SUPERBLOCK_SIZE,
    MAKING_SIZE_MAX = 1048576, /* bytes: a store whose first superblock is not written is smaller */
    READ_TRIES = 4             /* a writer may be in the middle of a page while we read it */
};

_Static_assert((int)PAGES_SIZE <= (int)PT_ARENA_START, "superblocks are before the regions");

enum page_state {
    PAGE_ZEROS,   /* never written, or beyond the end of the file */
    PAGE_FOREIGN, /* nothing says that it ever was a superblock */
    PAGE_DAMAGED, /* it was one */
    PAGE_NEWER,   /* valid, of a format version that we do not know */
    PAGE_VALID
};

/* One page, read and judged. */
struct page_view {
    enum page_state state;
    uint32_t version;
    struct pt_superblock superblock; /* PAGE_VALID; PAGE_NEWER: generation alone */
};

static bool all_zeros(const void *data, size_t size)
{
    const uint8_t *bytes = data;

    for (size_t i = 0; i < size; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

static struct pt_checksum page_checksum(const struct pt_superblock_page *page)
{
    static const struct pt_id no_store; /* the page itself says which store it is */
    struct pt_key key =
        pt_key_derive(&no_store, PT_KEY_SUPERBLOCK, pt_le64_value(page->generation), 0);

    return pt_checksum(&key, page, offsetof(struct pt_superblock_page, checksum));
}

static struct pt_superblock_page page_encode(const struct pt_superblock *superblock)
{
    struct pt_superblock_page page = {
        .magic = pt_le64(PT_SUPERBLOCK_MAGIC),
        .version = pt_le32(PT_FORMAT_VERSION),
        .generation = pt_le64(superblock->generation),
        .store_id = superblock->store_id,
        .manifest_offset = pt_le64(superblock->manifest_offset),
        .manifest_size = pt_le64(superblock->manifest_size),
        .magic_again = pt_le64(PT_SUPERBLOCK_MAGIC),
    };

    page.checksum = page_checksum(&page);
    return page;
}

static struct page_view page_decode(const struct pt_superblock_page *page)
{
    struct page_view view = {.state = PAGE_FOREIGN, .version = pt_le32_value(page->version)};
    struct pt_checksum checksum = page_checksum(page);
    bool magic = pt_le64_value(page->magic) == PT_SUPERBLOCK_MAGIC;
    bool magic_again = pt_le64_value(page->magic_again) == PT_SUPERBLOCK_MAGIC;

    view.superblock.generation = pt_le64_value(page->generation);
    if (all_zeros(page, sizeof(*page)))
        view.state = PAGE_ZEROS;
    if (magic || magic_again)
        view.state = PAGE_DAMAGED;
    if (!magic || !magic_again ||
        (!PT_BUG(SUPERBLOCK_UNCHECKED) && !pt_checksum_equal(&checksum, &page->checksum)) ||
        view.version == 0 || view.superblock.generation == 0 ||
        view.superblock.generation >= PT_GENERATION_END)
        return view;
    if (view.version > PT_FORMAT_VERSION) {
        view.state = PAGE_NEWER;
        return view;
    }
    view.state = PAGE_VALID;
    view.superblock.store_id = page->store_id;
    view.superblock.manifest_offset = pt_le64_value(page->manifest_offset);
    view.superblock.manifest_size = pt_le64_value(page->manifest_size);
    return view;
}

/* Both pages; what the file is too short for reads as zeros. */
static enum peat_status pages_read(struct pt_file *file,
                                   struct pt_superblock_page pages[PT_SUPERBLOCK_COUNT],
                                   uint64_t *file_size_out)
{
    struct pt_file_info info;
    enum peat_status status = pt_file_info(file, &info);

    if (status < 0)
        return status;
    memset(pages, 0, PAGES_SIZE);
    *file_size_out = info.size;
    return pt_file_read(file, 0, pages, info.size < PAGES_SIZE ? info.size : PAGES_SIZE);
}

/* Whether there is nothing but zeros between the pages and the place where regions begin. */
static enum peat_status gap_zeros(struct pt_file *file, uint64_t file_size, bool *zeros_out)
{
    uint64_t end = file_size < PT_ARENA_START ? file_size : PT_ARENA_START;
    uint8_t piece[PT_SUPERBLOCK_SIZE];

    *zeros_out = true;
    for (uint64_t offset = PAGES_SIZE; offset < end && *zeros_out; offset += sizeof(piece)) {
        size_t size = end - offset < sizeof(piece) ? end - offset : sizeof(piece);
        enum peat_status status = pt_file_read(file, offset, piece, size);

        if (status < 0)
            return status;
        *zeros_out = all_zeros(piece, size);
    }
    return PEAT_OK;
}

/*
 * Neither page is valid: what is this file? By rule 3 a page of zeros means that no superblock was
 * ever durable; then the other is zeros, or torn. Where tearing left no sign of whose it was, the
 * shape must be that of a store being made: only the page that generation 1 goes to is written, and
 * there are whole regions behind.
 */
static enum peat_status judge_file_without(struct pt_file *file, uint64_t file_size,
                                           const struct page_view views[PT_SUPERBLOCK_COUNT])
{
    bool ours = views[0].state == PAGE_DAMAGED || views[1].state == PAGE_DAMAGED;
    bool unwritten = views[0].state == PAGE_ZEROS || views[1].state == PAGE_ZEROS;
    bool untouched = views[0].state == PAGE_ZEROS && views[1].state == PAGE_ZEROS;
    bool torn = views[0].state == PAGE_ZEROS && file_size > PT_ARENA_START &&
                file_size % PT_REGION_UNIT == 0;
    bool gap;
    enum peat_status status = gap_zeros(file, file_size, &gap);

    if (status < 0)
        return status;
    if (file_size <= MAKING_SIZE_MAX && ((ours && unwritten) || (gap && (untouched || torn))))
        return PEAT_NOT_FOUND;
    if (ours)
        return pt_fail(PEAT_CORRUPT, "%s: both superblocks are damaged", pt_file_name(file));
    return pt_fail(PEAT_INVALID, "%s is not a peat store", pt_file_name(file));
}

/* The page that rules; NULL if neither is valid. */
static const struct page_view *newest(const struct page_view views[PT_SUPERBLOCK_COUNT])
{
    const struct page_view *best = NULL;

    for (unsigned i = 0; i < PT_SUPERBLOCK_COUNT; i++)
        if (views[i].state >= PAGE_NEWER &&
            (best == NULL || views[i].superblock.generation > best->superblock.generation))
            best = &views[i];
    return best;
}

enum peat_status pt_superblock_read(struct pt_file *file, struct pt_superblock *superblock_out,
                                    bool *damaged_out)
{
    struct pt_superblock_page pages[PT_SUPERBLOCK_COUNT];
    struct page_view views[PT_SUPERBLOCK_COUNT];
    const struct page_view *rules = NULL;
    uint64_t file_size = 0;
    bool damaged = true; /* or half written: then the next try finds it whole */

    for (unsigned i = 0; i < READ_TRIES && damaged; i++) {
        enum peat_status status = pages_read(file, pages, &file_size);

        if (status < 0)
            return status;
        damaged = false;
        for (unsigned j = 0; j < PT_SUPERBLOCK_COUNT; j++) {
            views[j] = page_decode(&pages[j]);
            damaged = damaged || views[j].state == PAGE_FOREIGN || views[j].state == PAGE_DAMAGED;
        }
        rules = newest(views);
    }
    if (damaged_out != NULL)
        *damaged_out = damaged;
    if (rules == NULL)
        return judge_file_without(file, file_size, views);
    if (rules->state == PAGE_NEWER)
        return pt_fail(PEAT_VERSION, "%s has format version %" PRIu32 "; this peat knows up to %d",
                       pt_file_name(file), rules->version, PT_FORMAT_VERSION);
    *superblock_out = rules->superblock;
    return PEAT_OK;
}

void pt_superblock_encode(const struct pt_superblock *superblock, void *page)
{
    struct pt_superblock_page encoded = page_encode(superblock);

    memcpy(page, &encoded, sizeof(encoded));
}

static enum peat_status page_write(struct pt_file *file, uint64_t index,
                                   const struct pt_superblock_page *page)
{
    PT_ASSERT(index < PT_SUPERBLOCK_COUNT);
    return pt_file_write(file, index * PT_SUPERBLOCK_SIZE, page, sizeof(*page));
}

enum peat_status pt_superblock_write(struct pt_file *file, const struct pt_superblock *superblock)
{
    struct pt_superblock_page page = page_encode(superblock);
    uint64_t first = PT_BUG(ONE_SUPERBLOCK) ? 1 : superblock->generation % PT_SUPERBLOCK_COUNT;
    enum peat_status status;

    PT_ASSERT(superblock->generation > 0 && superblock->generation < PT_GENERATION_END);
    PT_ASSERT(superblock->manifest_offset >= PT_ARENA_START);
    PT_ASSERT(superblock->manifest_size > 0);
    status = page_write(file, first, &page);
    if (status >= 0 && !PT_BUG(SUPERBLOCK_SYNC_DROPPED))
        status = pt_file_sync(file);
    if (status >= 0 && !(PT_BUG(ONE_SUPERBLOCK) && superblock->generation > 1))
        status = page_write(file, 1 - first, &page);
    if (status >= 0 && !PT_BUG(REPETITION_SYNC_DROPPED))
        status = pt_file_sync(file);
    return status;
}

/*
 * What a page holds may be in the page cache only: the process that wrote it was killed, or its sync failed,
 * after which no sync brings it to disk but that of another write. It is the last page written, and the
 * pages tell which:
 *
 *   the other page        last written   on disk
 *   ------------------------------------------------------------------------------------------
 *   the same generation   the other      this one: it was synced before
 *   damaged               the other      this one: the power was cut while the other was written
 *   an older generation   this one       the other, and all that it leads to: nothing of it is
 *                                        used again before both pages are on disk
 *   zeros, of the first   this one       nothing, and nothing has been promised
 *   the same, in use      the other      this one: what was in the other is gone with all its sectors
 *
 * So a page is written only while the one that is not being written is good.
 */
enum peat_status pt_superblock_settle(struct pt_file *file, const struct pt_superblock *superblock,
                                      bool in_use)
{
    struct pt_superblock_page page = page_encode(superblock);
    struct pt_superblock_page pages[PT_SUPERBLOCK_COUNT];
    uint64_t first = superblock->generation % PT_SUPERBLOCK_COUNT;
    uint64_t file_size;
    enum page_state other;
    bool first_made; /* nothing but the making of the store has been written */
    bool repeated;
    bool older;
    enum peat_status status = pages_read(file, pages, &file_size);

    if (status < 0)
        return status;
    repeated = memcmp(&pages[1 - first], &page, sizeof(page)) == 0;
    other = page_decode(&pages[1 - first]).state;
    first_made = superblock->generation == 1 && (!in_use || PT_BUG(TORN_TAKEN_FOR_NEW));
    older = !repeated && (other == PAGE_VALID || (other == PAGE_ZEROS && first_made));
    if (memcmp(&pages[first], &page, sizeof(page)) != 0 || older) {
        status = page_write(file, first, &page);
        if (status >= 0 && !PT_BUG(SETTLE_SYNC_DROPPED))
            status = pt_file_sync(file);
    }
    if (status >= 0)
        status = page_write(file, 1 - first, &page);
    if (status >= 0)
        status = pt_file_sync(file);
    return status;
}
