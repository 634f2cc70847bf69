#include "repl/verify_session.h"

#include "repl/differences.h"
#include "repl/sums.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    WAITING_MAX = 256,       /* ranges that wait: each division adds 15 and divides entries by 16 */
    DIVISIONS_MAX = 1 << 14, /* beyond that what differs is told undivided */
    TURN_SIZE = 4 << 20,     /* bytes */
    AGAIN_US = 50000,        /* until the peer is asked for another state */
    LOOK_US = 10000          /* so often this store is looked at until it has come to a commit */
};

enum stage {
    BEGINNING,
    PIN_SENT,
    PIN_AGAIN,   /* at due_us */
    CATCHING_UP, /* until this store has come to the peer's commit */
    SUMMING
};

struct pt_verify_session {
    struct pt_peer base;
    const struct peat_verify_options *options; /* borrowed */
    struct peat_snapshot *snapshot;            /* this store's; NULL: not taken yet */
    uint64_t pinned;                           /* the peer's commit */
    enum stage stage;
    uint64_t deadline_us; /* for agreeing on a commit */
    uint64_t due_us;
    /* The question under way: bounds, and the sums of both sides as they come. */
    struct pt_kept_place places[PT_SUM_PARTS_MAX + 1];
    struct peat_tally *tally; /* NULL: there is nothing to read here */
    uint64_t part_entries; /* that a part of the range being divided gets; 0: it is not divided */
    uint64_t part_left;    /* that the part under way lacks */
    struct pt_sums here;
    struct pt_sums there; /* count 0: they have not come */
    bool asked;
    struct pt_range range; /* being divided */
    struct pt_range *waiting;
    size_t waiting_count;
    uint64_t divisions;
    uint64_t read_size; /* bytes, about */
    struct pt_differences differences;
    struct peat_verify_result result;
    enum peat_status status;
};

/* ---- Opening and ending ---- */

enum peat_status pt_verify_session_open(struct peat_db *db,
                                        const struct peat_verify_options *options,
                                        const struct pt_channel_key *key, uint64_t now_us,
                                        struct pt_verify_session **session_out)
{
    struct pt_verify_session *session = calloc(1, sizeof(*session));
    enum peat_status status = PEAT_NO_MEMORY;

    *session_out = NULL;
    if (session == NULL)
        return status;
    session->options = options;
    session->differences.options = options;
    session->status = PEAT_IO;
    session->deadline_us = now_us + (uint64_t)options->timeout_ms * 1000;
    session->waiting = calloc(WAITING_MAX, sizeof(*session->waiting));
    if (session->waiting != NULL)
        status = pt_peer_init(&session->base, db, PT_CHANNEL_DIALER, key, 1, now_us);
    if (status == PEAT_OK) {
        *session_out = session;
        return PEAT_OK;
    }
    free(session->waiting);
    free(session);
    return status;
}

void pt_verify_session_close(struct pt_verify_session *session)
{
    if (session == NULL)
        return;
    peat_tally_close(session->tally);
    peat_snapshot_close(session->snapshot);
    pt_peer_fini(&session->base);
    free(session->waiting);
    free(session);
}

struct pt_peer *pt_verify_session_base(struct pt_verify_session *session)
{
    return &session->base;
}

enum peat_status pt_verify_session_status(const struct pt_verify_session *session)
{
    return session->status;
}

const struct peat_verify_result *pt_verify_session_result(const struct pt_verify_session *session)
{
    return &session->result;
}

/* It has come to an end, with @p status. */
static void finish(struct pt_verify_session *session, enum peat_status status, const char *words,
                   uint64_t now_us)
{
    if (session->base.end != PT_PEER_GOES_ON)
        return;
    session->status = status;
    pt_peer_stop(&session->base, status < 0 ? PT_PEER_FAILED : PT_PEER_CLOSED, PT_BYE_CLOSING,
                 now_us, "%s", words);
}

static void store_failed(struct pt_verify_session *session, enum peat_status status,
                         uint64_t now_us)
{
    finish(session, status, peat_last_error(), now_us);
}

/* ---- What differs ---- */

/* What was told so far is counted. @p goes_on: the caller wants more. */
static void told(struct pt_verify_session *session, bool goes_on, uint64_t now_us)
{
    session->result.range_count = session->differences.count;
    if (!goes_on)
        finish(session, PEAT_DONE, "the caller wants no more", now_us);
}

/* @p range differs, and is not divided. */
static void found_add(struct pt_verify_session *session, const struct pt_range *range,
                      uint64_t now_us)
{
    told(session, pt_differences_add(&session->differences, range), now_us);
}

/* ---- Asking ---- */

static void question_send(struct pt_verify_session *session, size_t place_count, uint64_t now_us)
{
    struct pt_bounds bounds = {.count = place_count};
    uint8_t body[PT_BOUNDS_SIZE_MAX];
    struct peat_bytes piece = {body, 0};
    const char *wrong;

    for (size_t i = 0; i < place_count; i++)
        bounds.places[i] = pt_place_of(&session->places[i]);
    wrong = pt_bounds_encode(&bounds, body, sizeof(body), &piece.size);
    if (wrong != NULL) {
        finish(session, PEAT_IO, wrong, now_us);
        return;
    }
    session->there.count = 0;
    session->asked = true;
    pt_peer_send(&session->base, PT_MESSAGE_SUM, &piece, 1, now_us);
}

static void reading_begin(struct pt_verify_session *session, uint64_t now_us)
{
    struct peat_place low = pt_place_of(&session->range.low);
    struct peat_place high = pt_place_of(&session->range.high);
    enum peat_status status = peat_tally_open(session->snapshot, &low, &high, &session->tally);

    session->here.count = 0;
    session->places[0] = session->range.low;
    if (status != PEAT_OK)
        store_failed(session, status, now_us);
}

/* Both show the same commit: the sums of all, here and there at the same time. */
static void summing_begin(struct pt_verify_session *session, uint64_t now_us)
{
    struct pt_range *all = &session->range;
    struct peat_place begin = {0, {NULL, 0}};
    struct peat_place end = {PEAT_PLACE_END, {NULL, 0}};

    session->stage = SUMMING;
    session->result.commit = session->pinned;
    pt_place_keep(&all->low, &begin);
    pt_place_keep(&all->high, &end);
    session->part_entries = 0;
    reading_begin(session, now_us);
    session->places[1] = all->high;
    question_send(session, 2, now_us);
}

/* ---- Comparing ---- */

static bool is_same_sum(const struct peat_tally_sum *a, const struct peat_tally_sum *b)
{
    return !a->is_damaged && !b->is_damaged && a->entry_count == b->entry_count &&
           a->size == b->size && memcmp(a->digest, b->digest, sizeof(a->digest)) == 0;
}

/* Whether dividing it may say more. */
static bool is_divisible(const struct pt_verify_session *session, const struct pt_range *range)
{
    return range->here.entry_count > 1 &&
           (range->there.entry_count > 0 || range->there.is_damaged) &&
           session->divisions < DIVISIONS_MAX &&
           session->waiting_count + PT_SUM_PARTS_MAX <= WAITING_MAX;
}

/* The next range to be divided is being read; or it is over. */
static void next_range(struct pt_verify_session *session, uint64_t now_us)
{
    while (session->waiting_count > 0 && session->base.end == PT_PEER_GOES_ON) {
        session->range = session->waiting[--session->waiting_count];
        if (is_divisible(session, &session->range)) {
            session->divisions++;
            session->part_entries =
                (session->range.here.entry_count + PT_SUM_PARTS_MAX - 1) / PT_SUM_PARTS_MAX;
            session->part_left = session->part_entries;
            reading_begin(session, now_us);
            return;
        }
        found_add(session, &session->range, now_us);
    }
    if (session->base.end != PT_PEER_GOES_ON)
        return;
    told(session, pt_differences_end(&session->differences), now_us);
    finish(session, PEAT_OK, "all is compared", now_us);
}

/* The sums of both sides are there. */
static void compare(struct pt_verify_session *session, uint64_t now_us)
{
    size_t count = session->here.count;

    session->asked = false;
    if (session->part_entries == 0) {
        session->result.entries_here = session->here.sums[0].entry_count;
        session->result.entries_there = session->there.sums[0].entry_count;
        memcpy(session->result.digest, session->here.sums[0].digest,
               sizeof(session->result.digest));
    }
    for (size_t i = count; i-- > 0;) { /* the first comes to lie on top */
        struct pt_range *range = &session->waiting[session->waiting_count];

        if (is_same_sum(&session->here.sums[i], &session->there.sums[i]))
            continue;
        range->low = session->places[i];
        range->high = session->places[i + 1];
        range->here = session->here.sums[i];
        range->there = session->there.sums[i];
        session->waiting_count++;
    }
    next_range(session, now_us);
}

static void sums_take(struct pt_verify_session *session, const struct pt_frame *frame,
                      uint64_t now_us)
{
    const char *wrong =
        session->asked && session->there.count == 0 ? NULL : "sums that were not asked for";

    if (wrong == NULL)
        wrong = pt_sums_decode(frame->body, &session->there);
    /* Where all was asked for, this side may not have read it yet; it is one part. */
    if (wrong == NULL && session->there.count != (session->tally != NULL ? 1 : session->here.count))
        wrong = "more or fewer sums than were asked for";
    if (wrong != NULL)
        pt_peer_refuse(&session->base, wrong, now_us);
    else if (session->tally == NULL)
        compare(session, now_us);
}

/* ---- Reading ---- */

bool pt_verify_session_is_working(const struct pt_verify_session *session)
{
    return session->tally != NULL && session->base.end == PT_PEER_GOES_ON;
}

static enum peat_status sum_take(struct pt_verify_session *session)
{
    struct peat_tally_sum *sum = &session->here.sums[session->here.count++];

    enum peat_status status;

    *sum = (struct peat_tally_sum){.struct_size = sizeof(*sum)};
    status = peat_tally_take(session->tally, sum);
    if (session->part_entries > 0)
        session->read_size += sum->size;
    return status;
}

/* It has come to the end of the range. */
static void reading_end(struct pt_verify_session *session, uint64_t now_us)
{
    enum peat_status status = sum_take(session);

    peat_tally_close(session->tally);
    session->tally = NULL;
    session->places[session->here.count] = session->range.high;
    if (status != PEAT_OK) {
        store_failed(session, status, now_us);
    } else if (session->asked) { /* of all */
        if (session->there.count > 0)
            compare(session, now_us);
    } else if (session->here.count == 1) { /* nothing parts its keys */
        found_add(session, &session->range, now_us);
        next_range(session, now_us);
    } else {
        question_send(session, session->here.count + 1, now_us);
    }
}

/* As many entries as a part has are read: cut here, or behind the next one that a short enough key begins. */
static enum peat_status part_cut(struct pt_verify_session *session)
{
    struct peat_place place;
    enum peat_status status = peat_tally_place(session->tally, PT_PLACE_KEY_MAX, &place);

    session->part_left = 1;
    if (status == PEAT_NOT_FOUND || session->here.count + 1 == PT_SUM_PARTS_MAX)
        return PEAT_OK;
    if (status == PEAT_OK)
        status = sum_take(session);
    if (status == PEAT_OK)
        pt_place_keep(&session->places[session->here.count], &place);
    session->part_left = session->part_entries;
    return status;
}

void pt_verify_session_work(struct pt_verify_session *session, uint64_t now_us)
{
    uint64_t *left = session->part_entries == 0 ? NULL : &session->part_left;
    enum peat_status status;

    if (!pt_verify_session_is_working(session))
        return;
    status = peat_tally_add(session->tally, TURN_SIZE, left);
    if (status == PEAT_OK && left == NULL)
        session->read_size += TURN_SIZE;
    if (status == PEAT_OK && left != NULL && *left == 0)
        status = part_cut(session);
    if (status == PEAT_DONE)
        reading_end(session, now_us);
    else if (status != PEAT_OK)
        store_failed(session, status, now_us);
    pt_verify_session_look(session, now_us);
}

void pt_verify_session_look(struct pt_verify_session *session, uint64_t now_us)
{
    if (session->options->progress != NULL && session->base.end == PT_PEER_GOES_ON &&
        !session->options->progress(session->options->context, session->read_size))
        finish(session, PEAT_DONE, "the caller wants no more", now_us);
}

/* ---- Agreeing on a commit ---- */

/* What is newest here. */
static enum peat_status snapshot_take(struct pt_verify_session *session)
{
    enum peat_status status = peat_refresh(session->base.db);

    peat_snapshot_close(session->snapshot);
    session->snapshot = NULL;
    return status == PEAT_OK ? peat_snapshot_open(session->base.db, &session->snapshot) : status;
}

static void pin_send(struct pt_verify_session *session, uint64_t now_us)
{
    struct pt_wire_commit body;
    struct peat_bytes piece = {&body, sizeof(body)};

    if (pt_commit_body_encode(peat_snapshot_commit(session->snapshot), &body) != NULL) {
        finish(session, PEAT_INVALID, "this store's commit is too large to be told", now_us);
        return;
    }
    session->stage = PIN_SENT;
    /* A peer that reads a large value from a slow disk says nothing meanwhile. */
    session->base.silence_us = PT_PEER_WELCOME_US;
    pt_peer_send(&session->base, PT_MESSAGE_PIN, &piece, 1, now_us);
}

/* The peer shows a commit, this store another one: have it show the same, or try again. */
static void fit(struct pt_verify_session *session, uint64_t now_us)
{
    uint64_t ours = peat_snapshot_commit(session->snapshot);
    struct peat_snapshot *earlier;
    enum peat_status status;

    if (session->pinned > ours) {
        session->stage = CATCHING_UP;
        session->due_us = now_us + LOOK_US;
        return;
    }
    status = peat_snapshot_open_at(session->snapshot, session->pinned, &earlier);
    if (status == PEAT_OK) {
        peat_snapshot_close(session->snapshot);
        session->snapshot = earlier;
        summing_begin(session, now_us);
    } else if (status != PEAT_GAP) {
        store_failed(session, status, now_us);
    } else if (session->stage == CATCHING_UP) { /* it went too far at once */
        pin_send(session, now_us);
    } else { /* the peer is behind, and may come to where this snapshot stands */
        session->stage = PIN_AGAIN;
        session->due_us = now_us + AGAIN_US;
    }
}

static void pinned_take(struct pt_verify_session *session, const struct pt_frame *frame,
                        uint64_t now_us)
{
    const char *wrong = pt_commit_body_decode(frame->body, &session->pinned);

    if (wrong == NULL && session->stage != PIN_SENT)
        wrong = "a commit that was not asked for";
    if (wrong != NULL)
        pt_peer_refuse(&session->base, wrong, now_us);
    else
        fit(session, now_us);
}

static void agreeing_give_up(struct pt_verify_session *session, uint64_t now_us)
{
    char words[PT_PEER_WORDS_MAX];

    (void)snprintf(words, sizeof(words),
                   "no commit was found that both can show: this store is at %" PRIu64
                   ", the peer at %" PRIu64 ". Does one follow the other?",
                   session->snapshot == NULL ? 0 : peat_snapshot_commit(session->snapshot),
                   session->pinned);
    finish(session, PEAT_TIMEOUT, words, now_us);
}

static void agree(struct pt_verify_session *session, uint64_t now_us)
{
    enum peat_status status = PEAT_OK;

    if (session->stage == SUMMING || !pt_channel_is_proven(session->base.channel))
        return;
    /* An answer that is under way is waited for. */
    if (session->stage != BEGINNING &&
        now_us >= session->deadline_us + (session->stage == PIN_SENT ? PT_PEER_WELCOME_US : 0)) {
        agreeing_give_up(session, now_us);
        return;
    }
    if (session->stage == PIN_SENT || (session->stage != BEGINNING && now_us < session->due_us))
        return;
    if (session->stage != PIN_AGAIN)
        status = snapshot_take(session);
    if (status != PEAT_OK)
        store_failed(session, status, now_us);
    else if (session->stage == CATCHING_UP)
        fit(session, now_us);
    else
        pin_send(session, now_us);
}

uint64_t pt_verify_session_step(struct pt_verify_session *session, uint64_t now_us)
{
    uint64_t due_us = pt_peer_tick(&session->base, now_us);

    if (session->base.end != PT_PEER_GOES_ON)
        return due_us;
    agree(session, now_us);
    if (session->stage == PIN_AGAIN || session->stage == CATCHING_UP)
        due_us = session->due_us < due_us ? session->due_us : due_us;
    return due_us;
}

/* ---- Receiving ---- */

static void handle(struct pt_peer *base, const struct pt_frame *frame, uint64_t now_us)
{
    struct pt_verify_session *session = (struct pt_verify_session *)base; /* its first field */

    if (frame->type == PT_MESSAGE_PINNED)
        pinned_take(session, frame, now_us);
    else if (frame->type == PT_MESSAGE_SUMS)
        sums_take(session, frame, now_us);
    else
        pt_peer_stop(base, PT_PEER_LOST, PT_BYE_ERROR, now_us,
                     "a message of type %u, which nobody sends to a verifier", frame->type);
}

void pt_verify_session_receive(struct pt_verify_session *session, const void *bytes, size_t size,
                               uint64_t now_us)
{
    pt_peer_receive(&session->base, bytes, size, handle, now_us);
}
