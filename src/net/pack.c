/* See pack.h.
 *
 * A part is sent packed when compressing it and sending what comes of it takes less time than sending it: one after the
 * other, though the socket's buffer lets them overlap, so that packing never is the slower way. While it does not pay,
 * a sample of a part is tried now and then, ever more seldom: data that cannot be compressed costs next to nothing. */
#include "net/pack.h"

#include <dlfcn.h>
#include <lz4.h>
#include <stdlib.h>

#include "penstock-protocol.h"
#include "wire/futex.h"

#define LIBRARY     "liblz4.so.1" /* LZ4's ABI since 2014 */
#define FRAME_BYTES 64u

/* Less is not worth it. */
#define LEAST_BYTES  4096u
#define SAMPLE_BYTES 16384u
/* After a part that did not pay none is tried for so long, which doubles each time: a sample takes some 30 us. */
#define PAUSE_LEAST_NS 1000000u
#define PAUSE_MOST_NS  50000000u

/* How fast the link is, is measured over so long, in which so much is acknowledged, at least. */
#define MEASURE_NS    20000000u
#define MEASURE_BYTES (UINT64_C(128) << 10)
/* It is not known any more when so much was sent that the socket took at once, or after so long. */
#define UNBLOCKED_BYTES (UINT64_C(8) << 20)
#define KNOWN_NS        UINT64_C(10000000000)

struct pen_pack {
    int (*state_size)(void);
    int (*compress)(void *state, const char *from, char *to, int size, int capacity, int acceleration);
    int (*decompress)(const char *from, char *to, int size, int capacity);

    /* the sending thread's */
    void *state;
    unsigned char *out;                    /* FRAME_BYTES and a block */
    uint64_t link_rate;                    /* bytes a second; 0: not known */
    uint64_t measured_ns;                  /* when it was */
    uint64_t unblocked;                    /* bytes of parts as they were sent, since the socket took no more */
    uint64_t begin_ns, begin_acknowledged; /* of what is measured now; 0: nothing is, since there was nothing to send */
    uint64_t pause_ns, tried_ns;           /* 0: parts are packed; else none is tried for so long after the last */

    /* the receiving thread's */
    unsigned char *in;
    uint64_t in_bytes, whole_bytes; /* of the block that comes, and of what comes of it */
};

static int load(struct pen_pack *pack)
{
    void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return -PEN_ENOENT;
    *(void **)&pack->state_size = dlsym(library, "LZ4_sizeofState");
    *(void **)&pack->compress = dlsym(library, "LZ4_compress_fast_extState");
    *(void **)&pack->decompress = dlsym(library, "LZ4_decompress_safe");
    return pack->state_size && pack->compress && pack->decompress ? 0 : -PEN_ENOENT;
}

bool pen_pack_available(void)
{
    struct pen_pack pack;
    return !load(&pack);
}

int pen_pack_create(struct pen_pack **out_pack)
{
    struct pen_pack *pack = calloc(1, sizeof *pack);
    if (!pack)
        return -PEN_ENOMEM;
    int rc = load(pack);
    if (rc)
        free(pack);
    else
        *out_pack = pack;
    return rc;
}

void pen_pack_destroy(struct pen_pack *pack)
{
    if (!pack)
        return;
    free(pack->state);
    free(pack->out);
    free(pack->in);
    free(pack);
}

/* ---- how fast the link is ---------------------------------------------------------------------------- */

static void begin_measuring(struct pen_pack *pack, uint64_t now, uint64_t acknowledged)
{
    pack->begin_ns = now;
    pack->begin_acknowledged = acknowledged;
}

void pen_pack_blocked(struct pen_pack *pack, uint64_t acknowledged)
{
    uint64_t now = pen_now_ns(), ns = now - pack->begin_ns, bytes = acknowledged - pack->begin_acknowledged;
    pack->unblocked = 0;
    if (!pack->begin_ns) {
        begin_measuring(pack, now, acknowledged);
    } else if (ns >= MEASURE_NS && bytes >= MEASURE_BYTES) {
        uint64_t rate = (uint64_t)((double)bytes * 1e9 / (double)ns);
        pack->link_rate = pack->link_rate ? (pack->link_rate + rate) / 2 : rate;
        pack->measured_ns = now;
        begin_measuring(pack, now, acknowledged);
    }
}

void pen_pack_idle(struct pen_pack *pack)
{
    pack->begin_ns = 0;
}

static bool link_is_known(struct pen_pack *pack, uint64_t now)
{
    if (pack->unblocked > UNBLOCKED_BYTES || now - pack->measured_ns > KNOWN_NS)
        pack->link_rate = 0; /* it is not what holds us up */
    return pack->link_rate;
}

/* ---- sending ----------------------------------------------------------------------------------------- */

static bool make_buffers(struct pen_pack *pack)
{
    if (!pack->state)
        pack->state = malloc((size_t)pack->state_size());
    if (!pack->out)
        pack->out = malloc(FRAME_BYTES + PEN_LIMIT_BLOCK);
    return pack->state && pack->out;
}

/* To pack->out; how many bytes come of it, 0: not fewer. *out_pays: so it takes less time than to send them all. */
static uint64_t compress(struct pen_pack *pack, const void *memory, uint64_t bytes, bool *out_pays)
{
    uint64_t begin = pen_now_ns();
    int packed =
        pack->compress(pack->state, memory, (char *)pack->out + FRAME_BYTES, (int)bytes, (int)(bytes - bytes / 16), 1);
    double seconds = (double)(pen_now_ns() - begin) / 1e9, saved = (double)bytes - packed;
    *out_pays = packed > 0 && seconds < saved / (double)pack->link_rate;
    return packed > 0 ? (uint64_t)packed : 0;
}

/* Does it look as if it paid? While it does, parts are not looked at twice. */
static bool sample(struct pen_pack *pack, const void *memory, uint64_t bytes)
{
    bool pays = true;
    if (pack->pause_ns)
        (void)compress(pack, memory, bytes < SAMPLE_BYTES ? bytes : SAMPLE_BYTES, &pays);
    return pays;
}

static void learn(struct pen_pack *pack, bool pays)
{
    uint64_t longer = pack->pause_ns ? 2 * pack->pause_ns : PAUSE_LEAST_NS;
    pack->pause_ns = pays ? 0 : longer < PAUSE_MOST_NS ? longer : PAUSE_MOST_NS;
    pack->tried_ns = pen_now_ns();
}

bool pen_pack_wants(struct pen_pack *pack, uint64_t bytes)
{
    uint64_t now = pen_now_ns();
    if (link_is_known(pack, now) && bytes >= LEAST_BYTES && now - pack->tried_ns >= pack->pause_ns &&
        make_buffers(pack))
        return true;
    pack->unblocked += bytes;
    return false;
}

void pen_pack_part(struct pen_pack *pack, uint64_t offset, uint64_t bytes, uint64_t number, const void *memory,
                   const void **out_bytes, size_t *out_size)
{
    bool pays = sample(pack, memory, bytes);
    uint64_t packed = pays ? compress(pack, memory, bytes, &pays) : 0;
    const struct pen_msg_link_packed message = {offset, bytes, number, packed};
    size_t frame = packed ? pen_msg_link_packed_size(&message) : 0;
    learn(pack, pays);
    pack->unblocked += packed ? packed : bytes;
    *out_size = frame + packed;
    if (!packed)
        return;
    *out_bytes = pack->out + FRAME_BYTES - frame;
    pen_msg_link_packed_encode(&message, 0, pack->out + FRAME_BYTES - frame);
}

/* ---- receiving --------------------------------------------------------------------------------------- */

int pen_pack_expect(struct pen_pack *pack, const struct pen_msg_link_packed *packed, void **out_at)
{
    if (packed->bytes > PEN_LIMIT_BLOCK || !packed->packed || packed->packed >= packed->bytes)
        return -PEN_EPROTO;
    if (!pack->in && !(pack->in = malloc(PEN_LIMIT_BLOCK)))
        return -PEN_ENOMEM;
    pack->in_bytes = packed->packed;
    pack->whole_bytes = packed->bytes;
    *out_at = pack->in;
    return 0;
}

int pen_pack_unpack(struct pen_pack *pack, void *memory)
{
    int whole = pack->decompress((const char *)pack->in, memory, (int)pack->in_bytes, (int)pack->whole_bytes);
    return whole == (int)pack->whole_bytes ? 0 : -PEN_EPROTO;
}
