#include "repl/log_taker.h"

#include "repl/records.h"

enum {
    SYNC_US = 1000000,
    ACK_US = 2000,       /* so often what nobody waits for is acknowledged */
    ACK_LATE_US = 500000 /* and so late, when nothing more comes */
};

void pt_log_taker_init(struct pt_log_taker *taker, uint64_t window_size,
                       enum peat_durability durability, uint64_t record_size_max)
{
    taker->window_size = window_size;
    taker->durability = durability;
    pt_joint_init(&taker->joint, record_size_max);
}

void pt_log_taker_fini(struct pt_log_taker *taker)
{
    pt_joint_fini(&taker->joint);
}

void pt_log_taker_begin(struct pt_log_taker *taker, uint64_t commit)
{
    taker->begun = taker->received = taker->applied = taker->durable = taker->told_durable = commit;
}

/* ---- Telling ---- */

static void acknowledge(struct pt_log_taker *taker, struct pt_peer *peer, uint64_t now_us)
{
    struct pt_ack ack = {.received = taker->received,
                         .durable = taker->durable,
                         .applied = taker->applied,
                         .credit = taker->taken + taker->window_size};
    struct pt_wire_ack body;
    struct peat_bytes piece = {&body, sizeof(body)};

    if (pt_ack_encode(&ack, &body) == NULL)
        pt_peer_send(peer, PT_MESSAGE_ACK, &piece, 1, now_us);
    taker->told_taken = taker->taken;
    taker->told_durable = taker->durable;
    taker->told_us = now_us;
    taker->ack_due_us = 0;
}

/* A primary waits for what is durable, and for credit. The rest is told of many frames at once: each acknowledgement
 * wakes two threads there, beside those that send. Late is not soon, since nng's clock is busy for a millisecond, and
 * keeps its streams waiting, whenever a time limit that was asked for passes, also one of what has long been done. */
static void acknowledge_soon(struct pt_log_taker *taker, struct pt_peer *peer, uint64_t now_us)
{
    if (taker->durable != taker->told_durable ||
        taker->taken - taker->told_taken >= taker->window_size / 4 ||
        now_us - taker->told_us >= ACK_US)
        acknowledge(taker, peer, now_us);
    else
        taker->ack_due_us = taker->told_us + ACK_LATE_US;
}

uint64_t pt_log_taker_tell(struct pt_log_taker *taker, struct pt_peer *peer, uint64_t now_us)
{
    if (taker->ack_due_us != 0 && now_us >= taker->ack_due_us)
        acknowledge(taker, peer, now_us);
    return taker->ack_due_us != 0 ? taker->ack_due_us : UINT64_MAX;
}

void pt_log_taker_sync(struct pt_log_taker *taker, struct pt_peer *peer, uint64_t now_us)
{
    enum peat_status status;

    if (now_us < taker->sync_due_us)
        return;
    taker->sync_due_us = now_us + SYNC_US;
    if (taker->durable == taker->applied)
        return;
    status = peat_sync(peer->db);
    if (status != PEAT_OK) {
        pt_peer_store_failed(peer, status, now_us);
        return;
    }
    taker->durable = taker->applied;
    acknowledge(taker, peer, now_us);
}

/* ---- Taking ---- */

/* What became of a call of peat_apply() that failed. */
static void apply_failed(struct pt_log_taker *taker, struct pt_peer *peer, enum peat_status status,
                         uint64_t now_us)
{
    if (status == PEAT_CORRUPT) {
        pt_peer_stop(peer, PT_PEER_DIVERGED, PT_BYE_DIVERGED, now_us, "%s", peat_last_error());
    } else if (status == PEAT_GAP) {
        /* A seal behind our newest commit is gone, which the primary's feed does not count. */
        pt_peer_stop(peer, PT_PEER_SEED, PT_BYE_ERROR, now_us, "%s", peat_last_error());
        taker->has_gap = true;
    } else {
        pt_peer_store_failed(peer, status, now_us);
    }
}

static void group_apply(struct pt_log_taker *taker, struct pt_peer *peer, size_t count,
                        uint64_t now_us)
{
    enum peat_status status;

    if (count == 0)
        return;
    taker->received = taker->group[count - 1].commit;
    status = peat_apply(peer->db, taker->group, count, taker->durability, &taker->applied);
    if (taker->durability >= PEAT_DISK)
        taker->durable = taker->applied;
    if (status == PEAT_OK)
        peer->records += count;
    else
        apply_failed(taker, peer, status, now_us);
}

void pt_log_taker_records(struct pt_log_taker *taker, struct pt_peer *peer,
                          const struct pt_frame *frame, uint64_t now_us)
{
    size_t place = 0;
    size_t count = 0;
    const char *wrong = pt_records_check(frame->body, &count);

    if (wrong == NULL && pt_joint_is_open(&taker->joint))
        wrong = "records in the middle of one";
    if (wrong != NULL) {
        pt_peer_refuse(peer, wrong, now_us);
        return;
    }
    while (count > 0 && peer->end == PT_PEER_GOES_ON) {
        size_t taken = 0;

        for (; taken < PT_LOG_TAKER_GROUP_MAX && taken < count; taken++)
            (void)pt_records_next(frame->body, &place, &taker->group[taken]); /* checked */
        group_apply(taker, peer, taken, now_us);
        count -= taken;
    }
    taker->taken += frame->body.size;
    acknowledge_soon(taker, peer, now_us);
}

void pt_log_taker_part(struct pt_log_taker *taker, struct pt_peer *peer,
                       const struct pt_frame *frame, uint64_t now_us)
{
    struct pt_part part;
    const char *wrong = pt_part_decode(frame->body, &part);
    enum peat_status status = PEAT_CORRUPT;

    if (wrong == NULL)
        status = pt_joint_add(&taker->joint, &part, &taker->group[0], &wrong);
    if (status == PEAT_NO_MEMORY) { /* that is not the peer's doing */
        pt_peer_stop(peer, PT_PEER_LOST, PT_BYE_ERROR, now_us, "%s", wrong);
        return;
    }
    if (status < 0) {
        pt_peer_refuse(peer, wrong, now_us);
        return;
    }
    if (status == PEAT_DONE)
        group_apply(taker, peer, 1, now_us);
    taker->taken += frame->body.size;
    acknowledge_soon(taker, peer, now_us);
}
