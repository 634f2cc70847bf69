/*
 * One connection of replication, as both of its ends see it: what came from the peer is checked and handed on, what is
 * for it goes to the channel, and a peer that falls silent is given up. There are no sockets, threads or clocks here:
 * bytes and time come from outside, so that a test can be the network (tests/test_replication.c).
 *
 * primary_session.h and follower_session.h are the two roles. One thread at a time.
 */
#ifndef PEAT_REPL_PEER_H
#define PEAT_REPL_PEER_H

#include "repl/channel.h"
#include "repl/message.h"

enum {
    PT_PEER_PING_US = 1000000,     /* one message so often, whatever else is sent */
    PT_PEER_SILENCE_US = 3500000,  /* three that did not come */
    PT_PEER_WELCOME_US = 20000000, /* for an answer to HELLO: the primary's disk may have to sync */
    PT_PEER_HANDSHAKE_US = 5000000, /* to prove that one has the key */
    PT_PEER_HEARD_SIZE = 16 << 10,  /* bytes of a frame that show a peer, before it is whole */
    PT_PEER_OUTPUT_MAX = 1 << 20,   /* bytes that wait to be sent: beyond that no more are made */
    PT_PEER_WORDS_MAX = 256
};

/* How a session ended, and with it what is to be done next. */
enum pt_peer_end {
    PT_PEER_GOES_ON,
    PT_PEER_LOST,     /* the connection is of no use any more; another one may be */
    PT_PEER_CLOSED,   /* the peer says that it closes */
    PT_PEER_REFUSED,  /* the primary does not want us now */
    PT_PEER_SEED,     /* the primary has not the log any more that the follower lacks */
    PT_PEER_DIVERGED, /* the two histories have parted: nothing will ever be applied */
    PT_PEER_NO_SPACE, /* the follower's disk is full */
    PT_PEER_FAILED    /* this end's store cannot go on */
};

struct pt_peer {
    struct peat_db *db;         /* borrowed */
    struct pt_channel *channel; /* owned */
    uint64_t begun_us;
    uint64_t heard_us;           /* when the last frame came, or much of one */
    uint64_t unheard_size;       /* bytes that came since */
    uint64_t silence_us;         /* so long nothing may come */
    uint64_t ping_due_us;        /* when the next one goes */
    struct peat_position theirs; /* the newest that the peer has told of itself */
    enum pt_peer_end end;
    bool has_last_words;           /* it ended, and what is left to send still goes out */
    char words[PT_PEER_WORDS_MAX]; /* why it ended */
    bool is_damaged; /* it ended over what came: not as it was sent, or nothing that a peer says */
    enum pt_bye_code bye; /* what the peer ended it with; 0: it has not */
    uint64_t records;     /* of log, that were sent or applied */
};

/* What a role does with a frame. It ends the session, if it has to, with pt_peer_stop(). */
typedef void (*pt_peer_handler)(struct pt_peer *peer, const struct pt_frame *frame,
                                uint64_t now_us);

/* @p keys are copied. PEAT_NO_MEMORY. */
enum peat_status pt_peer_init(struct pt_peer *peer, struct peat_db *db, enum pt_channel_role role,
                              const struct pt_channel_key *keys, size_t key_count, uint64_t now_us);
void pt_peer_fini(struct pt_peer *peer);

/* Take all of the bytes that came; frames but PING and BYE go to @p handler. */
void pt_peer_receive(struct pt_peer *peer, const void *bytes, size_t size, pt_peer_handler handler,
                     uint64_t now_us);
/* The stream has ended. */
void pt_peer_cut(struct pt_peer *peer, const char *why);
/* Time has passed: send a ping, or give the peer up. Gives when to call again at the latest. */
uint64_t pt_peer_tick(struct pt_peer *peer, uint64_t now_us);

/* Send a message; where that fails the session is lost. */
void pt_peer_send(struct pt_peer *peer, enum pt_message_type type, const struct peat_bytes *pieces,
                  size_t count, uint64_t now_us);
/* End it, and tell the peer with @p code, unless it is gone: what is left to send still goes out. */
void pt_peer_stop(struct pt_peer *peer, enum pt_peer_end end, enum pt_bye_code code,
                  uint64_t now_us, const char *format, ...) __attribute__((format(printf, 5, 6)));
/* The store has answered @p status, with words: end it, for good, unless space or memory may be there later; and tell the peer. */
void pt_peer_store_failed(struct pt_peer *peer, enum peat_status status, uint64_t now_us);
/* What it sent is wrong: end it, and tell it. */
void pt_peer_refuse(struct pt_peer *peer, const char *wrong, uint64_t now_us);
/* The same of a message that the other role does not send, or not now. */
void pt_peer_refuse_type(struct pt_peer *peer, uint8_t type, uint64_t now_us);
/* What can be sent of @p text: its beginning, with what is not printable replaced. */
struct peat_bytes pt_peer_words(const char *text, char room[PT_WORDS_SIZE_MAX]);
/* End it without a word to the peer. */
void pt_peer_lose(struct pt_peer *peer, enum pt_peer_end end, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
