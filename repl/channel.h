/*
 * One end of one connection: bytes in, frames out, and the other way round. It proves that the peer has the same key,
 * keeps what is said from others, and notices every byte that is not as it was sent. No sockets, threads or clocks.
 *
 *  1. A listener says nothing before an opening by somebody who has a key, and holds no more than the opening until then. An
 *     id that it does not know and a wrong secret look the same, and take the same time.
 *  2. Each direction has a key of its own, replaced after 2^32 frames or an hour. A frame is taken in its turn alone, so none is
 *     replayed, left out or moved.
 *  3. Room for what is received grows with the bytes that have come, and is at most twice the largest frame.
 */
#ifndef PEAT_REPL_CHANNEL_H
#define PEAT_REPL_CHANNEL_H

#include "core/peat.h"
#include "repl/channel_format.h"

struct pt_channel;

enum pt_channel_role { PT_CHANNEL_DIALER, PT_CHANNEL_LISTENER };

enum { PT_KEY_ID_SIZE = 16, PT_KEY_SECRET_SIZE = 32 };

struct pt_channel_key {
    uint8_t id[PT_KEY_ID_SIZE]; /* not secret; zeros: no key */
    uint8_t secret[PT_KEY_SECRET_SIZE];
};

struct pt_frame {
    uint8_t type;
    struct peat_bytes body; /* borrowed until the channel's next call */
};

/*
 * @p keys: one for a dialer, those that may connect for a listener; copied. None: both ends use the key of zeros, which
 * encrypts, and proves nothing. PEAT_NO_MEMORY.
 */
enum peat_status pt_channel_open(enum pt_channel_role role, const struct pt_channel_key *keys,
                                 size_t key_count, uint64_t now_us,
                                 struct pt_channel **channel_out);
void pt_channel_close(struct pt_channel *channel); /* NULL is allowed */

/*
 * Take bytes that came, of which *taken_out says how many were used. After an error the connection is of no use any more.
 *
 * @param why_out  set on an error: constant words
 * @retval PEAT_OK       a frame is in *frame_out; there may be more in what was not taken
 * @retval PEAT_DONE     all were taken, and there is no whole frame; or the peer has sent its last one
 * @retval PEAT_VERSION  another version of the protocol
 * @retval PEAT_DENIED   the peer has no key of ours
 * @retval PEAT_CORRUPT  it is not what the peer sent, or not what this protocol says
 * @retval PEAT_NO_MEMORY
 */
enum peat_status pt_channel_receive(struct pt_channel *channel, const void *bytes, size_t size,
                                    size_t *taken_out, struct pt_frame *frame_out,
                                    const char **why_out);

/* Whether the handshake is done, so that frames can be sent. A listener cannot tell yet whether the dialer's opening is
 * a recorded one that somebody sends again. */
bool pt_channel_is_ready(const struct pt_channel *channel);
/* Whether the peer has shown that it has the key now: by its answer to a dialer, by its first frame to a listener. Until then
 * a listener's peer is a stranger. */
bool pt_channel_is_proven(const struct pt_channel *channel);
/* Whether the peer's last frame has come: else what has come so far may be cut short. */
bool pt_channel_has_ended(const struct pt_channel *channel);

/* Add a frame to the output: its body is the @p count pieces, at most PT_FRAME_BODY_MAX bytes in all. Ready, and not finished.
 * PEAT_NO_MEMORY: nothing was added. */
enum peat_status pt_channel_send(struct pt_channel *channel, uint8_t type,
                                 const struct peat_bytes *pieces, size_t count, uint64_t now_us);
/* Add the last one. */
enum peat_status pt_channel_finish(struct pt_channel *channel);

/* What is to be written to the connection, borrowed until the channel's next call; and that @p size bytes of it were. */
struct peat_bytes pt_channel_output(const struct pt_channel *channel);
void pt_channel_output_taken(struct pt_channel *channel, size_t size);

/* For tests: frames that have one key (2^32 to begin with). Both ends. */
void pt_channel_set_rekey(struct pt_channel *channel, uint64_t frames);

#endif
