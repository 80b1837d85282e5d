/* net/pack.h - bulk bytes compressed on their way (LZ4), where that takes less time than to send them as they are: how
 * fast the link is, how fast these bytes are compressed, and to how many, is measured all the time.
 * Ownership: a pack owns its buffers.
 * Threads:   one at a time sends, and one at a time receives; both at once is fine.
 * Errors:    0 or -PEN_E*. */
#ifndef PEN_NET_PACK_H
#define PEN_NET_PACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pen_pack;
struct pen_msg_link_packed;

/* Whether there is LZ4 here: loads the library, which stays. Any thread. */
bool pen_pack_available(void);
/* -PEN_ENOENT: there is not; -PEN_ENOMEM. */
int pen_pack_create(struct pen_pack **out_pack);
/* Accepts NULL. */
void pen_pack_destroy(struct pen_pack *pack);

/* ---- sending ----------------------------------------------------------------------------------------- */

/* The socket takes no more now; of all bytes ever sent so many are acknowledged. */
void pen_pack_blocked(struct pen_pack *pack, uint64_t acknowledged);
/* Nothing is left to send: the time until something is, does not count. */
void pen_pack_idle(struct pen_pack *pack);
/* Whether the next part is to be tried; else it is sent as it is, all `bytes` of it. */
bool pen_pack_wants(struct pen_pack *pack, uint64_t bytes);
/* That part of the arena, at most PEN_LIMIT_BLOCK bytes from `offset` on, with its number; they lie at `memory`. What
 * the link is to carry for it, a link_packed frame and the block, valid until the next call; *out_size is 0 when it is
 * better sent as it is. */
void pen_pack_part(struct pen_pack *pack, uint64_t offset, uint64_t bytes, uint64_t number, const void *memory,
                   const void **out_bytes, size_t *out_size);

/* ---- receiving --------------------------------------------------------------------------------------- */

/* The block that `packed` announces, as long as it says, goes to *out_at. -PEN_EPROTO; -PEN_ENOMEM. */
int pen_pack_expect(struct pen_pack *pack, const struct pen_msg_link_packed *packed, void **out_at);
/* All of it is there, and goes to `memory`, where it is as long as the frame said. -PEN_EPROTO: it is not. */
int pen_pack_unpack(struct pen_pack *pack, void *memory);

#endif
