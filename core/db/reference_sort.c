/*
 * Sorting references.
 *
 * 1. By prefix: radix sort from the most significant differing bits on, stable, so that equal
 *    prefixes stay in ascending place. Small pieces by insertion.
 * 2. Ties: keys that agree in their prefix. If each has the one before it as its older version they
 *    are one key, and no key need be looked at. Else, few are compared. Of many, the next 8 bytes in
 *    which they differ take the prefix's place for a while, and the group is sorted by them as in 1;
 *    so a long shared part costs one more pass, not a comparison of far keys at each step.
 *
 * Prefixes are padded with zeros where a key ends, so a key that ended may tie with one that goes on
 * with zeros. The one that ended is a prefix of the other and sorts before it; of two that ended the
 * shorter sorts first, and if they are equally long they are the same key.
 */
#include "core/db/reference_sort.h"

enum {
    INSERTION_COUNT_MAX = 20, /* references: below, moving them beats counting digits */
    COMPARE_COUNT_MAX = 12,   /* references: ties sorted by comparing keys */
    DIGIT_BITS = 8,
    DIGITS = 1 << DIGIT_BITS,
    PREFETCH_DISTANCE = 16 /* references */
};

/* ---- The common prefix ---- */

/*
 * From prefixes behind @p from bytes to prefixes behind @p to bytes, without looking at the keys:
 * the bytes between are the same in all keys. Applied as: high | (shift < 64 ? prefix >> shift : 0).
 */
struct rebase {
    uint64_t high;
    unsigned shift; /* bits */
};

static struct rebase rebase_of(const uint8_t *data, size_t from, size_t to)
{
    struct rebase rebase;

    PT_ASSERT(to <= from);
    rebase.high = pt_bytes_prefix(pt_bytes(data, from), to);
    rebase.shift = from - to >= 8 ? 64 : (unsigned)(from - to) * 8;
    return rebase;
}

static inline uint64_t rebased(struct rebase rebase, uint64_t prefix)
{
    return rebase.high | (rebase.shift < 64 ? prefix >> rebase.shift : 0);
}

static void shrink(struct pt_common_prefix *common, struct pt_reference *references, size_t size)
{
    struct rebase rebase = rebase_of(common->data, common->size, size);

    for (size_t i = 0; i < common->count; i++)
        references[i].prefix = rebased(rebase, references[i].prefix);
    common->size = size;
}

void pt_common_prefix_add(struct pt_common_prefix *common, struct pt_reference *references,
                          struct peat_bytes key, size_t agreed)
{
    if (common->count == 0) {
        common->data = key.data;
        common->size = key.size;
    } else if (common->size > agreed) {
        const uint8_t *data = key.data;
        size_t shared =
            agreed + pt_bytes_common(pt_bytes(common->data + agreed, common->size - agreed),
                                     pt_bytes(data + agreed, key.size - agreed));

        if (shared < common->size)
            shrink(common, references, shared);
    }
    references[common->count++].prefix = pt_bytes_prefix(key, common->size);
}

/* ---- By prefix ---- */

static void insertion_sort(struct pt_reference *references, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        struct pt_reference moving = references[i];
        size_t j = i;

        for (; j > 0 && references[j - 1].prefix > moving.prefix; j--)
            references[j] = references[j - 1];
        references[j] = moving;
    }
}

/* The bits in which prefixes differ anywhere. */
static uint64_t differing_bits(const struct pt_reference *references, size_t count)
{
    uint64_t first = references[0].prefix;
    uint64_t bits = 0;

    for (size_t i = 1; i < count; i++)
        bits |= references[i].prefix ^ first;
    return bits;
}

static void radix_sort(struct pt_reference *from, struct pt_reference *to, size_t count,
                       bool into_to);

/* Sort by the 8 highest of the @p bits in which prefixes differ, and what that leaves to sort by the
 * lower ones. From, to and so on as for radix_sort(). */
static void sort_by_digit(struct pt_reference *from, struct pt_reference *to, size_t count,
                          bool into_to, uint64_t bits)
{
    uint32_t ends[DIGITS] = {0}; /* a digit's references end there, once they are moved */
    unsigned shift = 64 - (unsigned)__builtin_clzll(bits);
    uint32_t start = 0;

    shift = shift > DIGIT_BITS ? shift - DIGIT_BITS : 0;
    for (size_t i = 0; i < count; i++)
        ends[from[i].prefix >> shift & (DIGITS - 1)]++;
    for (unsigned digit = 0; digit < DIGITS; digit++) {
        uint32_t digit_count = ends[digit];

        ends[digit] = start;
        start += digit_count;
    }
    for (size_t i = 0; i < count; i++)
        to[ends[from[i].prefix >> shift & (DIGITS - 1)]++] = from[i];
    start = 0;
    for (unsigned digit = 0; digit < DIGITS; digit++) {
        if (ends[digit] != start)
            radix_sort(to + start, from + start, ends[digit] - start, !into_to);
        start = ends[digit];
    }
}

/* Sort what is in @p from; the result goes to @p to if @p into_to, else stays in @p from. Both have
 * @p count places; the other one is scratch. */
static void radix_sort(struct pt_reference *from, struct pt_reference *to, size_t count,
                       bool into_to)
{
    uint64_t bits = 0;

    if (count <= INSERTION_COUNT_MAX)
        insertion_sort(from, count);
    else
        bits = differing_bits(from, count);
    if (bits != 0)
        sort_by_digit(from, to, count, into_to, bits);
    else if (into_to)
        memcpy(to, from, count * sizeof(*to));
}

/* ---- Ties ---- */

/* What one sort works with. */
struct sorting {
    const uint8_t *area;
    struct pt_reference *references; /* the whole array */
    struct pt_reference *spare;      /* as large */
};

static struct pt_reference *spare_of(const struct sorting *sorting,
                                     const struct pt_reference *references)
{
    return sorting->spare + (references - sorting->references);
}

/* Order of two keys that agree, padded with zeros, in their first @p agreed bytes. */
static int compare_keys(struct peat_bytes a, struct peat_bytes b, size_t agreed)
{
    size_t skip = a.size < b.size ? a.size : b.size;

    skip = agreed < skip ? agreed : skip;
    return pt_bytes_compare(pt_bytes((const uint8_t *)a.data + skip, a.size - skip),
                            pt_bytes((const uint8_t *)b.data + skip, b.size - skip));
}

static void sort_few_ties(const uint8_t *area, struct pt_reference *references, size_t count,
                          size_t agreed)
{
    if (count == 0)
        return;
    for (size_t i = 1; i < count; i++) {
        struct pt_reference moving = references[i];
        struct peat_bytes key = pt_area_key(area, moving.place);
        size_t j = i;

        /* Equal keys too change places: the later one is the newer. */
        for (; j > 0; j--) {
            if (compare_keys(pt_area_key(area, references[j - 1].place), key, agreed) < 0)
                break;
            references[j] = references[j - 1];
        }
        references[j] = moving;
    }
    references[0].repeats = 0;
    for (size_t i = 1; i < count; i++)
        references[i].repeats = compare_keys(pt_area_key(area, references[i - 1].place),
                                             pt_area_key(area, references[i].place), agreed) == 0;
}

/* All of one key, oldest first: turn them. */
static void turn_versions(struct pt_reference *references, size_t count)
{
    for (size_t i = 0, j = count - 1; i < j; i++, j--) {
        struct pt_reference moving = references[i];

        references[i] = references[j];
        references[j] = moving;
    }
    references[0].repeats = 0;
    for (size_t i = 1; i < count; i++)
        references[i].repeats = 1;
}

/* Whether each reference has the one before it as its older version. So does a single one. */
static bool is_one_key(const struct pt_reference *references, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        if (references[i].repeats != references[i - 1].place)
            return false;
    }
    return true;
}

/* Move the references whose keys end before @p agreed to the front, all in their order; returns how
 * many. Their prefix becomes their key's size. */
static size_t part_ended(const uint8_t *area, struct pt_reference *references,
                         struct pt_reference *spare, size_t count, size_t agreed)
{
    size_t ended = 0;
    size_t others = 0;

    for (size_t i = 0; i < count; i++) {
        size_t size = pt_area_key(area, references[i].place).size;

        if (size < agreed) {
            references[ended] = references[i];
            references[ended++].prefix = size;
        } else {
            spare[others++] = references[i];
        }
    }
    memcpy(references + ended, spare, others * sizeof(*spare));
    return ended;
}

/* The end of the group of equal prefixes that starts at @p start. */
static size_t group_end(const struct pt_reference *references, size_t start, size_t count)
{
    size_t end = start + 1;

    while (end < count && references[end].prefix == references[start].prefix)
        end++;
    return end;
}

/* By size, and each size is one key. */
static void sort_ended(const struct sorting *sorting, struct pt_reference *references, size_t count)
{
    radix_sort(references, spare_of(sorting, references), count, false);
    for (size_t start = 0, end; start < count; start = end) {
        end = group_end(references, start, count);
        turn_versions(references + start, end - start);
    }
}

/* Prefixes behind what the keys have in common beyond @p agreed bytes; returns that common size. */
static size_t load_prefixes(const uint8_t *area, struct pt_reference *references, size_t count,
                            size_t agreed)
{
    struct pt_common_prefix common = {.count = 0};

    for (size_t i = 0; i < count; i++) {
        if (i + PREFETCH_DISTANCE < count)
            __builtin_prefetch(pt_area_at(area, references[i + PREFETCH_DISTANCE].place));
        pt_common_prefix_add(&common, references, pt_area_key(area, references[i].place), agreed);
    }
    return common.size;
}

static void sort_group(const struct sorting *sorting, struct pt_reference *references, size_t count,
                       size_t agreed);

/*
 * Sort references in ascending place, whose keys agree, padded, in their first @p agreed bytes.
 * Leaves anything in their prefixes. Calls itself for all groups of ties but the largest, with
 * which it goes on: so the stack stays below log2(count) frames however alike the keys are.
 */
static void sort_ties(const struct sorting *sorting, struct pt_reference *references, size_t count,
                      size_t agreed)
{
    while (count > COMPARE_COUNT_MAX) {
        struct pt_reference *spare = spare_of(sorting, references);
        size_t ended = part_ended(sorting->area, references, spare, count, agreed);
        size_t largest = 0;
        size_t largest_end = 1;

        sort_ended(sorting, references, ended);
        references += ended;
        count -= ended;
        if (count <= COMPARE_COUNT_MAX)
            break;
        agreed = load_prefixes(sorting->area, references, count, agreed) + 8;
        radix_sort(references, spare_of(sorting, references), count, false);
        for (size_t start = 0, end; start < count; start = end) {
            end = group_end(references, start, count);
            if (end - start > largest_end - largest) {
                largest = start;
                largest_end = end;
            }
        }
        for (size_t start = 0, end; start < count; start = end) {
            end = group_end(references, start, count);
            if (start != largest)
                sort_group(sorting, references + start, end - start, agreed);
        }
        references += largest;
        count = largest_end - largest;
    }
    sort_few_ties(sorting->area, references, count, agreed);
}

/* The same for a group of any size, if it is a single key the short way. */
static void sort_group(const struct sorting *sorting, struct pt_reference *references, size_t count,
                       size_t agreed)
{
    if (is_one_key(references, count))
        turn_versions(references, count);
    else
        sort_ties(sorting, references, count, agreed);
}

/* Fetch the keys at @p i and behind it if they will have to be compared. */
static PT_ALWAYS_INLINE void prefetch_tie(const uint8_t *area,
                                          const struct pt_reference *references, size_t count,
                                          size_t i)
{
    if (i + 1 >= count || references[i].prefix != references[i + 1].prefix ||
        is_one_key(references + i, 2))
        return;
    __builtin_prefetch(pt_area_at(area, references[i].place) + PT_AREA_HEADER_SIZE);
    __builtin_prefetch(pt_area_at(area, references[i + 1].place) + PT_AREA_HEADER_SIZE);
}

void pt_reference_sort(const uint8_t *area, struct pt_reference *references,
                       struct pt_reference *spare, size_t count, size_t common_size)
{
    struct sorting sorting = {area, references, spare};

    if (count == 0)
        return;
    PT_ASSERT(count <= UINT32_MAX);
    radix_sort(references, spare, count, false);
    for (size_t start = 0, end; start < count; start = end) {
        uint64_t prefix = references[start].prefix;

        prefetch_tie(area, references, count, start + PREFETCH_DISTANCE);
        end = group_end(references, start, count);
        if (end - start == 1) {
            references[start].repeats = 0;
            continue;
        }
        sort_group(&sorting, references + start, end - start, common_size + 8);
        for (size_t i = start; i < end; i++)
            references[i].prefix = prefix;
    }
}

/* ---- Merging ---- */

/* How far into a run a merge has come. */
struct side {
    const struct pt_reference *next;
    const struct pt_reference *end;
    struct rebase rebase;
};

static size_t merged_common_size(const uint8_t *area, const struct pt_reference_run *a,
                                 const struct pt_reference_run *b)
{
    size_t smaller = a->common_size < b->common_size ? a->common_size : b->common_size;
    size_t shared = pt_bytes_common(pt_area_key(area, a->references[0].place),
                                    pt_area_key(area, b->references[0].place));

    return shared < smaller ? shared : smaller;
}

static struct side side_of(const uint8_t *area, const struct pt_reference_run *run,
                           size_t common_size)
{
    const uint8_t *data = pt_area_key(area, run->references[0].place).data;
    struct side side = {run->references, run->references + run->count,
                        rebase_of(data, run->common_size, common_size)};

    return side;
}

/* Move the next key of @p side, with its versions, to @p merged; returns where the next one goes. */
static struct pt_reference *take(struct side *side, struct pt_reference *merged)
{
    do {
        *merged = *side->next++;
        merged->prefix = rebased(side->rebase, merged->prefix);
        merged++;
    } while (side->next < side->end && side->next->repeats);
    return merged;
}

size_t pt_reference_merge(const uint8_t *area, const struct pt_reference_run *newer,
                          const struct pt_reference_run *older, struct pt_reference *merged)
{
    size_t common_size = merged_common_size(area, newer, older);
    struct side a = side_of(area, newer, common_size);
    struct side b = side_of(area, older, common_size);

    while (a.next < a.end && b.next < b.end) {
        uint64_t a_prefix = rebased(a.rebase, a.next->prefix);
        uint64_t b_prefix = rebased(b.rebase, b.next->prefix);
        int order = (a_prefix > b_prefix) - (a_prefix < b_prefix);

        if (order == 0) {
            PT_ASSERT(a.next->place > b.next->place);
            order = compare_keys(pt_area_key(area, a.next->place), pt_area_key(area, b.next->place),
                                 common_size + 8);
        }
        if (order <= 0)
            merged = take(&a, merged);
        if (order >= 0) {
            struct pt_reference *first = merged;

            merged = take(&b, merged);
            first->repeats = order == 0;
        }
    }
    while (a.next < a.end)
        merged = take(&a, merged);
    while (b.next < b.end)
        merged = take(&b, merged);
    return common_size;
}
