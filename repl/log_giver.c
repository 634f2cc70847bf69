#include "repl/log_giver.h"

#include <inttypes.h>

enum {
    COPIED_MAX = 16 << 10, /* bytes: larger payloads are sent from where they lie */
    PART_MIN = 16 << 10    /* bytes of credit for which a piece of a record is worth a frame */
};

void pt_log_giver_begin(struct pt_log_giver *giver, uint64_t commit, uint64_t credit)
{
    giver->sent_commit = commit;
    giver->ack = (struct pt_ack){commit, commit, commit, credit};
}

enum peat_status pt_log_giver_open(struct pt_log_giver *giver, struct peat_db *db, const char *name,
                                   uint64_t position)
{
    enum peat_status status =
        peat_feed_open(db, giver->sent_commit + 1, name, PEAT_FEED_SEALS, &giver->feed);

    if (status != PEAT_OK)
        return status;
    do
        status = peat_feed_next(giver->feed, 0, &giver->next);
    while (status == PEAT_OK && giver->next.kind == PEAT_RECORD_SEAL &&
           giver->next.position < position);
    giver->has_next = status == PEAT_OK;
    if (status != PEAT_GAP && status != PEAT_CORRUPT)
        return PEAT_OK; /* what else is wrong shows when it is asked again */
    pt_log_giver_close(giver);
    return status;
}

void pt_log_giver_close(struct pt_log_giver *giver)
{
    peat_feed_close(giver->feed);
    giver->feed = NULL;
}

const char *pt_log_giver_acknowledge(struct pt_log_giver *giver, const struct pt_ack *ack)
{
    if (giver->feed == NULL)
        return "an acknowledgement of nothing";
    if (ack->received > giver->sent_commit || ack->credit < giver->ack.credit ||
        ack->received < giver->ack.received || ack->durable < giver->ack.durable ||
        ack->applied < giver->ack.applied)
        return "an acknowledgement of what was not sent, or less than before";
    if (ack->durable > giver->ack.durable)
        (void)peat_feed_acknowledge(giver->feed, ack->durable);
    giver->ack = *ack;
    return NULL;
}

/* ---- Sending ---- */

/* The next record to send is in giver->next. false: there is none now. That there never will be one is told when all before it
 * has been sent, which ended the session else: a follower that lacks it would ask for it again, and again in vain. */
static bool next_record(struct pt_log_giver *giver, struct pt_peer *peer,
                        const struct pt_records *unsent, uint64_t now_us)
{
    enum peat_status status;

    if (giver->has_next)
        return true;
    status = peat_feed_next(giver->feed, 0, &giver->next);
    giver->has_next = status == PEAT_OK;
    if (status == PEAT_OK || status == PEAT_TIMEOUT || status == PEAT_DONE || unsent->count > 0)
        return giver->has_next;
    pt_peer_stop(peer, status == PEAT_GAP ? PT_PEER_SEED : PT_PEER_FAILED, PT_BYE_ERROR, now_us,
                 "%s", peat_last_error());
    return false;
}

/* The next record has gone out whole. */
static void sent(struct pt_log_giver *giver, struct pt_peer *peer)
{
    giver->has_next = false;
    giver->part_offset = 0;
    peer->records++;
    if (giver->next.commit > giver->sent_commit)
        giver->sent_commit = giver->next.commit;
}

/* Small records, as many as there are and fit; or one large one, from where it lies. PEAT_DONE: what comes next goes in
 * parts, or not yet. */
static enum peat_status records_fill(struct pt_log_giver *giver, struct pt_peer *peer,
                                     struct pt_records *records, uint64_t now_us)
{
    enum peat_status status = PEAT_OK;

    while (status == PEAT_OK && giver->part_offset == 0 &&
           next_record(giver, peer, records, now_us)) {
        const struct peat_record *record = &giver->next;

        if (record->payload.size <= COPIED_MAX)
            status = pt_records_copy(records, record);
        else if (records->count == 0)
            status = pt_records_add(records, record);
        else
            return PEAT_OK; /* it has a frame of its own */
        if (status == PEAT_OK)
            sent(giver, peer);
        if (status == PEAT_OK && record->payload.size > COPIED_MAX)
            return PEAT_OK; /* it is gone with the feed's next call */
    }
    return status;
}

static void part_send(struct pt_log_giver *giver, struct pt_peer *peer, size_t room,
                      uint64_t now_us)
{
    struct pt_part part = pt_part_cut(&giver->next, giver->part_offset, room);
    struct pt_wire_part head;
    struct peat_bytes pieces[] = {{&head, sizeof(head)}, part.piece};
    const char *wrong = pt_part_encode(&part, &head);

    if (wrong != NULL) {
        pt_peer_stop(peer, PT_PEER_FAILED, PT_BYE_ERROR, now_us, "%s", wrong);
        return;
    }
    pt_peer_send(peer, PT_MESSAGE_PART, pieces, 2, now_us);
    giver->spent += sizeof(head) + part.piece.size;
    giver->part_offset += part.piece.size;
    if (giver->part_offset == giver->next.payload.size)
        sent(giver, peer);
}

bool pt_log_giver_send(struct pt_log_giver *giver, struct pt_peer *peer, uint64_t now_us)
{
    uint64_t credit = giver->ack.credit - giver->spent;
    size_t room = credit < PT_FRAME_BODY_MAX ? (size_t)credit : PT_FRAME_BODY_MAX;
    struct pt_records *records = &giver->records;
    enum peat_status status;

    pt_records_begin(records, giver->stage, sizeof(giver->stage), room);
    status = records_fill(giver, peer, records, now_us);
    if (status != PEAT_OK && status != PEAT_DONE)
        pt_peer_stop(peer, PT_PEER_FAILED, PT_BYE_ERROR, now_us,
                     "commit %" PRIu64 " cannot be sent", giver->next.commit);
    if (peer->end != PT_PEER_GOES_ON)
        return false;
    if (records->count > 0) {
        pt_peer_send(peer, PT_MESSAGE_RECORDS, records->pieces, records->piece_count, now_us);
        giver->spent += records->size;
        return true;
    }
    if (!giver->has_next || room < PART_MIN)
        return false;
    part_send(giver, peer, room, now_us);
    return true;
}
