/* What a primary answers to HELLO: whether the follower's history can go on here, and what it gets. The numbers are those of
 * primary_session.h. */
#include "repl/primary_session_parts.h"

#include <string.h>

enum { NAMES_MAX = 1024 }; /* feeds with a name: beyond that no follower makes another one */

static void welcome(struct pt_primary_session *session, enum pt_verdict verdict, const char *words,
                    uint64_t now_us)
{
    char room[PT_WORDS_SIZE_MAX];
    struct pt_welcome welcome = {
        .verdict = verdict, .newest = session->ours.end, .words = pt_peer_words(words, room)};
    uint8_t body[PT_WELCOME_SIZE_MAX];
    struct peat_bytes piece = {body, 0};
    const char *wrong;

    welcome.epochs = session->ours.epochs;
    wrong = pt_welcome_encode(&welcome, body, sizeof(body), &piece.size);
    if (wrong != NULL) {
        pt_peer_stop(&session->base, PT_PEER_FAILED, PT_BYE_ERROR, now_us, "%s", wrong);
        return;
    }
    pt_peer_send(&session->base, PT_MESSAGE_WELCOME, &piece, 1, now_us);
}

/* It does not follow, and @p verdict says so. */
static void turn_away(struct pt_primary_session *session, enum pt_verdict verdict,
                      enum pt_peer_end end, const char *words, uint64_t now_us)
{
    welcome(session, verdict, words, now_us);
    pt_peer_stop(&session->base, end, PT_BYE_CLOSING, now_us, "%s", words);
}

/* (3), as far as it can be seen without the log. */
static bool is_ahead(const struct peat_position *theirs, const struct peat_position *ours)
{
    return theirs->commit > ours->commit || theirs->position > ours->position;
}

static bool has_parted(const struct peat_position *theirs, const struct peat_position *ours)
{
    return is_ahead(theirs, ours) || (theirs->position == ours->position &&
                                      theirs->commit == ours->commit && /* else ours was reverted */
                                      memcmp(theirs->chain, ours->chain, sizeof(ours->chain)) != 0);
}

/* The feeds with a name that there are. */
struct names {
    const char *wanted;
    size_t count;
    bool is_there;
    bool is_others; /* it is no follower's */
};

static bool name_look(void *context, const struct peat_feed_info *info)
{
    struct names *names = context;

    names->count++;
    if (strcmp(info->name, names->wanted) == 0) {
        names->is_there = true;
        names->is_others = !info->has_seals;
    }
    return true;
}

/* (4). NULL: the follower may have its name; else why not. */
static const char *name_wrong(struct pt_primary_session *session)
{
    struct names names = {.wanted = session->name};

    if (peat_feed_list(session->base.db, name_look, &names) != PEAT_OK)
        return peat_last_error();
    if (names.is_others)
        return "a feed that is no follower's has this name";
    if (!names.is_there && names.count >= NAMES_MAX)
        return "the store has too many feeds: drop those that nobody needs";
    return NULL;
}

static void refuse(struct pt_primary_session *session, const char *words, uint64_t now_us)
{
    turn_away(session, PT_VERDICT_REFUSED, PT_PEER_REFUSED, words, now_us);
}

static bool is_fenced(struct peat_db *db)
{
    enum peat_role role;

    return peat_role_get(db, &role) == PEAT_OK && role == PEAT_ROLE_FENCED;
}

/* The follower's history goes on from this store's, in a newer epoch: (6). */
static void epoch_is_over(struct pt_primary_session *session, const struct pt_branch *theirs,
                          uint64_t now_us)
{
    const char *words =
        "this store is fenced: its history goes on elsewhere, in the follower's epoch";
    bool was_fenced = is_fenced(session->base.db);

    if (peat_fence(session->base.db, pt_epochs_newest(&theirs->epochs)) != PEAT_OK)
        words = peat_last_error();
    /* Durable with the next manifest, where that failed. */
    session->has_fenced = !was_fenced && is_fenced(session->base.db);
    refuse(session, words, now_us);
}

/* Whether the follower's history is one that can go on here; if not, it has been told. */
static bool history_fits(struct pt_primary_session *session, const struct pt_branch *theirs,
                         uint64_t now_us)
{
    bool follows = (peat_flags(session->base.db) & PEAT_FOLLOWER) != 0;
    bool is_newer = pt_epochs_newest(&theirs->epochs) > pt_epochs_newest(&session->ours.epochs);

    if (follows && (is_newer || (is_ahead(&theirs->end, &session->ours.end) &&
                                 !pt_branches_parted(theirs, &session->ours)))) {
        refuse(session,
               "this store follows another one, and has not come as far as the follower yet",
               now_us);
        return false;
    }
    if (is_newer && pt_branch_goes_on(session->base.db, &session->ours, theirs)) {
        epoch_is_over(session, theirs, now_us);
        return false;
    }
    if (pt_branches_parted(theirs, &session->ours)) {
        if (!is_newer && (session->flags & PT_HELLO_REJOIN) != 0)
            return (session->parted = true);
        turn_away(session, PT_VERDICT_FORKED, PT_PEER_DIVERGED,
                  "the histories have parted: the follower has what is of another epoch here",
                  now_us);
        return false;
    }
    if (is_newer) {
        refuse(session,
               "the follower's epoch is newer, and cannot be told to go on from this store's",
               now_us);
        return false;
    }
    if (has_parted(&theirs->end, &session->ours.end)) {
        turn_away(session, PT_VERDICT_FORKED, PT_PEER_DIVERGED,
                  "the follower has a history that this store has not", now_us);
        return false;
    }
    return true;
}

/* What the follower's store must have to take a state of this one. false: there is nothing to tell yet, and it was told so. */
static bool identity_tell(struct pt_primary_session *session, uint64_t now_us)
{
    struct peat_identity identity;
    struct peat_bytes piece = {&identity, sizeof(identity)};

    if ((session->flags & PT_HELLO_SEEDS) == 0)
        return true;
    if ((peat_flags(session->base.db) & PEAT_FOLLOWER) != 0 && session->ours.end.position == 0) {
        refuse(session, "this store follows another one, and has nothing of it yet", now_us);
        return false;
    }
    if (peat_identity_get(session->base.db, &identity) == PEAT_OK)
        pt_peer_send(&session->base, PT_MESSAGE_IDENTITY, &piece, 1, now_us);
    return true;
}

/* Its feed; or, where there is none, or it would begin with what is damaged, a state, if it takes one. */
static enum peat_status feed_or_seed(struct pt_primary_session *session)
{
    enum peat_status status = PEAT_GAP;

    if ((session->flags & PT_HELLO_STATE) == 0 && !session->parted)
        status = pt_log_giver_open(&session->log, session->base.db, session->name,
                                   session->base.theirs.position);
    if ((status == PEAT_GAP || status == PEAT_CORRUPT) && (session->flags & PT_HELLO_SEEDS) != 0)
        status = pt_seed_giver_open(&session->giver, session->base.db, session->name,
                                    session->parted ? 0 : session->base.theirs.position);
    return status;
}

/* What it gets, or why it gets nothing. */
static void feed_begin(struct pt_primary_session *session, uint64_t now_us)
{
    const struct pt_primary_session_options *options = &session->options;
    enum peat_status status;

    if (!identity_tell(session, now_us))
        return;
    status = feed_or_seed(session);
    if (status == PEAT_OK) {
        welcome(session, session->log.feed != NULL ? PT_VERDICT_TAIL : PT_VERDICT_SEED, "", now_us);
    } else if (status == PEAT_GAP) {
        turn_away(session, PT_VERDICT_SEED, PT_PEER_SEED, peat_last_error(), now_us);
    } else {
        turn_away(session, PT_VERDICT_REFUSED,
                  status == PEAT_BUSY ? PT_PEER_REFUSED : PT_PEER_FAILED, peat_last_error(),
                  now_us);
    }
    if (status == PEAT_BUSY && options->displace != NULL)
        options->displace(options->context, session);
}

void pt_primary_session_greet(struct pt_primary_session *session, const struct pt_frame *frame,
                              uint64_t now_us)
{
    struct pt_branch theirs;
    struct pt_hello hello;
    const char *wrong = pt_hello_decode(frame->body, &hello);

    if (wrong == NULL && session->sums.snapshot != NULL)
        wrong = "it follows and compares in one connection";
    if (wrong != NULL || session->name[0] != '\0') {
        pt_peer_refuse(&session->base, wrong != NULL ? wrong : "a second hello", now_us);
        return;
    }
    memcpy(session->name, hello.name.data, hello.name.size);
    session->flags = hello.flags;
    session->base.theirs = hello.position;
    pt_log_giver_begin(&session->log, hello.position.commit, hello.credit);
    theirs.epochs = hello.epochs;
    theirs.end = hello.position;
    if (pt_branch_of(session->base.db, &session->ours) != PEAT_OK) {
        pt_peer_stop(&session->base, PT_PEER_FAILED, PT_BYE_ERROR, now_us, "%s", peat_last_error());
        return;
    }
    if (!history_fits(session, &theirs, now_us))
        return;
    wrong = name_wrong(session);
    if (wrong != NULL)
        refuse(session, wrong, now_us);
    else
        feed_begin(session, now_us);
}
