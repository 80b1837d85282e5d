/* Links: everything arrives once and in order, bulk in its place, whatever happens to the connections. */
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/link_state.h"
#include "net/tls.h"
#include "net/unix.h"
#include "wire/arena.h"
#include "wire/futex.h"

#define FRAMES     4000u
#define BULK_MOST  300000u
#define ARENA      (1u << 20)
#define RANGES     60u
#define LONG_RANGE (UINT64_C(16) << 20)
#define SLOW_RATE  (UINT64_C(40) * 1000000)

/* Where one thread has both ends, ThreadSanitizer sees no more in many rounds than in one, and takes long for each. */
#ifdef __SANITIZE_THREAD__
#define ROUNDS(count_) 1u
#else
#define ROUNDS(count_) (count_)
#endif

enum way { PLAIN, PROTECTED, SLOW /* and packed */ };

/* One end: sends numbered frames, every few with bulk after it, which is named as if it lay behind the arena, and
 * ranges that go beside them; checks the peer's. */
struct end {
    struct pen_link *link;
    unsigned char *source, *target, *beside; /* ARENA bytes each */
    uint64_t sent, expected;                 /* frames are numbered from 1 */
    uint64_t ranges_sent, ranges_come;       /* the same */
    struct pen_bulk bulk;                    /* of the frame that came last: what is still to come */
    uint64_t number, part_bytes;             /* of the part that came last */
    bool in_beside;
    uint32_t seed;
    int failure;
};

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

/* The bytes of frame `number`'s bulk, and where they lie. */
static struct pen_bulk bulk_of(uint64_t number)
{
    uint32_t seed = (uint32_t)number * 77u + 5u;
    if (number % 7)
        return (struct pen_bulk){0, 0};
    uint64_t size = 1 + next_random(&seed) % (number % 70 ? 5000u : BULK_MOST);
    return (struct pen_bulk){next_random(&seed) % (ARENA - size), size};
}

/* Where range `number` lies, of those that go beside. */
static struct pen_bulk range_of(uint64_t number)
{
    uint32_t seed = (uint32_t)number * 99u + 1u;
    uint64_t size = 1 + next_random(&seed) % (ARENA / 2);
    return (struct pen_bulk){next_random(&seed) % (ARENA - size), size};
}

/* Every third time there is no room. */
static bool has_room(struct end *end)
{
    return next_random(&end->seed) % 3;
}

static int take_frame(void *context, const void *frame, size_t size)
{
    struct end *end = context;
    struct pen_scratch scratch = {0};
    struct pen_msg_link_forget bulk;
    const struct pen_frame_header *header = frame;
    if (!has_room(end))
        return PEN_LINK_LATER;
    if (header->sequence != end->expected || end->bulk.size || pen_msg_link_forget_decode(frame, size, &scratch, &bulk))
        return end->failure = -PEN_EPROTO;
    pen_scratch_finish(&scratch);
    end->bulk = (struct pen_bulk){bulk.offset, bulk.bytes};
    end->expected += bulk.bytes == 0;
    return 0;
}

static int take_part(void *context, const struct pen_msg_link_part *part, void **out_bulk)
{
    struct end *end = context;
    bool beside = part->offset < ARENA;
    uint64_t offset = part->offset - (beside ? 0 : ARENA);
    if (!has_room(end))
        return PEN_LINK_LATER;
    if (!pen_arena_range_ok(ARENA, offset, part->bytes) ||
        (!beside && (offset != end->bulk.offset || part->bytes > end->bulk.size)))
        return end->failure = -PEN_EPROTO;
    end->in_beside = beside;
    end->number = part->number;
    end->part_bytes = part->bytes;
    *out_bulk = (beside ? end->beside : end->target) + offset;
    return 0;
}

static int take_range(struct end *end)
{
    if (!end->number)
        return 0;
    struct pen_bulk range = range_of(end->number);
    if (end->number != ++end->ranges_come)
        return end->failure = -PEN_EPROTO;
    if (memcmp(end->beside + range.offset, end->source + range.offset, range.size)) /* both ends' are the same */
        return end->failure = -PEN_EIO;
    memset(end->beside + range.offset, 0, range.size);
    return 0;
}

static int take_bulk(void *context)
{
    struct end *end = context;
    if (end->in_beside)
        return take_range(end);
    unsigned char *bytes = end->target + end->bulk.offset;
    if (memcmp(bytes, end->source + end->bulk.offset, end->part_bytes))
        return end->failure = -PEN_EIO;
    memset(bytes, 0, end->part_bytes);
    end->bulk = (struct pen_bulk){end->bulk.offset + end->part_bytes, end->bulk.size - end->part_bytes};
    end->expected += end->bulk.size == 0;
    return 0;
}

static void end_init(struct end *end, uint32_t seed)
{
    const struct pen_link_owner owner = {take_frame, take_part, take_bulk, end};
    *end = (struct end){
        .seed = seed, .source = malloc(ARENA), .target = calloc(1, ARENA), .beside = calloc(1, ARENA), .expected = 1};
    assert_int_equal(pen_link_create(&owner, &end->link), 0);
    for (uint32_t i = 0; i < ARENA; i++)
        end->source[i] = (unsigned char)(i * 31);
}

static void end_finish(struct end *end)
{
    pen_link_destroy(end->link);
    free(end->source);
    free(end->target);
    free(end->beside);
}

static void send_one(struct end *end)
{
    _Alignas(8) unsigned char frame[64];
    struct pen_bulk bulk = bulk_of(++end->sent);
    const struct pen_msg_link_forget announced = {bulk.offset, bulk.size};
    pen_msg_link_forget_encode(&announced, end->sent, frame);
    assert_int_equal(pen_link_add(end->link, frame, pen_msg_link_forget_size(&announced)), 0);
    assert_int_equal(pen_link_add_range(end->link, end->source + bulk.offset, ARENA + bulk.offset, bulk.size, 0), 0);
    if (end->sent % (FRAMES / RANGES) == 0 && end->ranges_sent < RANGES) {
        struct pen_bulk range = range_of(++end->ranges_sent);
        assert_int_equal(
            pen_link_add_range(end->link, end->source + range.offset, range.offset, range.size, end->ranges_sent), 0);
    }
    pen_link_flush(end->link);
}

static bool find_key(void *context, const char *identity, unsigned char secret[PEN_TLS_KEY_BYTES])
{
    (void)context, (void)identity;
    memset(secret, 9, PEN_TLS_KEY_BYTES);
    return true;
}

/* A connection that takes SLOW_RATE bytes a second, and counts them. */
struct slow {
    struct pen_stream stream, *inner;
    uint64_t since_ns;
};
static _Atomic uint64_t slow_sent;

static ssize_t slow_send(struct pen_stream *stream, const struct iovec *parts, int count)
{
    struct slow *slow = (struct slow *)(void *)stream;
    uint64_t now = pen_now_ns(), room = (now - slow->since_ns) * (SLOW_RATE / 1000000) / 1000;
    const struct iovec part = {parts->iov_base, parts->iov_len < room ? parts->iov_len : room};
    (void)count;
    if (room < 4096)
        return 0;
    slow->since_ns = now;
    ssize_t sent = slow->inner->ops->send(slow->inner, &part, 1);
    slow_sent += sent > 0 ? (uint64_t)sent : 0;
    return sent;
}

static ssize_t slow_receive(struct pen_stream *stream, void *bytes, size_t size)
{
    struct slow *slow = (struct slow *)(void *)stream;
    return slow->inner->ops->receive(slow->inner, bytes, size);
}

static void slow_destroy(struct pen_stream *stream)
{
    pen_stream_destroy(((struct slow *)(void *)stream)->inner);
    free(stream);
}

static void make_slow(struct pen_stream **stream)
{
    static const struct pen_stream_ops ops = {slow_send, slow_receive, slow_destroy, NULL, NULL, NULL};
    struct slow *slow = malloc(sizeof *slow);
    assert_non_null(slow);
    *slow = (struct slow){{&ops, (*stream)->fd}, *stream, pen_now_ns()};
    *stream = &slow->stream;
}

static void make_streams(const int fds[2], enum way way, struct pen_stream **one, struct pen_stream **other)
{
    struct pen_tls_key key = {.identity = "me"};
    short events;
    if (way != PROTECTED) {
        assert_int_equal(pen_stream_plain(fds[0], one), 0);
        assert_int_equal(pen_stream_plain(fds[1], other), 0);
        if (way == SLOW) {
            make_slow(one);
            make_slow(other);
        }
        return;
    }
    memset(key.secret, 9, sizeof key.secret);
    assert_int_equal(pen_stream_tls_connect(fds[0], &key, one), 0);
    assert_int_equal(pen_stream_tls_accept(fds[1], find_key, NULL, other), 0);
    while (pen_tls_handshake(*one, &events) != 1)
        assert_in_range(pen_tls_handshake(*other, &events), 0, 1);
    assert_int_equal(pen_tls_handshake(*other, &events), 1);
}

struct resumption {
    struct pen_link *link;
    struct pen_stream *stream;
    int rc;
};

static void *resume(void *context)
{
    struct resumption *resumption = context;
    resumption->rc = pen_link_resume(resumption->link, resumption->stream, 5, pen_deadline_ms(20000));
    return NULL;
}

static void connect_ends(struct end *a, struct end *b, enum way way, int *out_cut)
{
    int fds[2];
    struct pen_stream *one, *other;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    out_cut[0] = dup(fds[0]);
    make_streams(fds, way, &one, &other);
    struct resumption resumption = {b->link, other, -1};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, resume, &resumption), 0);
    assert_int_equal(pen_link_resume(a->link, one, 5, pen_deadline_ms(20000)), 0);
    pthread_join(thread, NULL);
    assert_int_equal(resumption.rc, 0);
}

static bool done(const struct end *end)
{
    return end->expected == FRAMES + 1 && end->ranges_come == RANGES;
}

/* Both ends by turns, in one thread, with the connection cut at moments that the seed says. */
static void with_cuts(uint32_t seed, uint32_t cut_one_in, enum way way)
{
    struct end a, b;
    uint32_t random = seed, cuts = 0;
    int cut_fd = -1;
    end_init(&a, seed);
    end_init(&b, seed + 1);
    if (way == SLOW) {
        assert_int_equal(pen_link_use_packing(a.link), 0);
        assert_int_equal(pen_link_use_packing(b.link), 0);
    }
    connect_ends(&a, &b, way, &cut_fd);
    while (!done(&a) || !done(&b)) {
        for (uint32_t i = next_random(&random) % 30; i; i--) {
            struct end *end = next_random(&random) % 2 ? &a : &b;
            if (end->sent < FRAMES && pen_link_unsent(end->link) < 1000000)
                send_one(end);
        }
        if (cut_one_in && next_random(&random) % cut_one_in == 0) {
            cuts++;
            shutdown(cut_fd, SHUT_RDWR);
        }
        struct end *first = next_random(&random) % 2 ? &a : &b;
        int one = pen_link_turn(first->link), other = pen_link_turn(first == &a ? b.link : a.link);
        assert_true((one == 0 || one == -PEN_EGONE) && (other == 0 || other == -PEN_EGONE));
        if (one || other) {
            close(cut_fd);
            connect_ends(&a, &b, way, &cut_fd);
        }
    }
    assert_true(!cut_one_in || cuts > 5);
    assert_int_equal(a.failure | b.failure, 0);
    close(cut_fd);
    end_finish(&a);
    end_finish(&b);
}

static void in_order(void **unused)
{
    (void)unused;
    with_cuts(1, 0, PLAIN);
}

static void across_cuts(void **unused)
{
    (void)unused;
    for (uint32_t seed = 10; seed < 10 + ROUNDS(10u); seed++)
        with_cuts(seed, 3 + seed % 20, PLAIN);
}

static void with_protection(void **unused)
{
    (void)unused;
    with_cuts(30, 0, PROTECTED);
    for (uint32_t seed = 31; seed < 31 + ROUNDS(4u); seed++)
        with_cuts(seed, 10 + seed % 20, PROTECTED);
}

/* What goes beside is packed, which the frames' own bulk is not. */
static void with_packing(void **unused)
{
    uint64_t beside = 0;
    (void)unused;
    for (uint64_t i = 1; i <= RANGES; i++)
        beside += 2 * range_of(i).size;
    slow_sent = 0;
    with_cuts(40, 0, SLOW);
    uint64_t alone = slow_sent;
    for (uint64_t i = 1; i <= FRAMES; i++)
        alone -= 2 * bulk_of(i).size;
    assert_true(alone < beside / 2);
    for (uint32_t seed = 41; seed < 41 + ROUNDS(3u); seed++)
        with_cuts(seed, 500, SLOW);
}

static void deliver_all(struct end *from, struct end *to)
{
    for (int i = 0; i < 10000 && pen_link_unacknowledged(from->link); i++) {
        pen_link_wait(to->link, 1000000);
        pen_link_turn(to->link);
        pen_link_turn(from->link);
    }
    assert_int_equal(pen_link_unacknowledged(from->link), 0);
}

/* What is acknowledged is not kept. */
static void forgets(void **unused)
{
    struct end a, b;
    int cut_fd;
    (void)unused;
    end_init(&a, 1);
    end_init(&b, 2);
    connect_ends(&a, &b, false, &cut_fd);
    while (a.sent < FRAMES)
        send_one(&a);
    deliver_all(&a, &b);
    assert_true(done(&b));
    /* A peer that says it has what was never sent, or has lost what it had acknowledged. */
    int fds[2];
    struct pen_stream *stream;
    for (int wrong = 0; wrong < 2; wrong++) {
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
        assert_int_equal(pen_stream_plain(fds[0], &stream), 0);
        assert_int_equal(pen_link_attach(a.link, stream, wrong ? 1 : UINT64_MAX), -PEN_EPROTO);
        close(fds[1]);
    }
    send_one(&a); /* over the connection that there is, since the others were none */
    deliver_all(&a, &b);
    assert_int_equal(b.expected, a.sent + 1);
    close(cut_fd);
    end_finish(&a);
    end_finish(&b);
}

/* Two links with a connection between them. */
static void make_links(const struct pen_link_owner *from, const struct pen_link_owner *to,
                       struct pen_link **out_sending, struct pen_link **out_receiving)
{
    struct pen_stream *one, *other;
    int fds[2];
    assert_int_equal(pen_link_create(from, out_sending), 0);
    assert_int_equal(pen_link_create(to, out_receiving), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    make_streams(fds, false, &one, &other);
    assert_int_equal(pen_link_attach(*out_sending, one, 0), 0);
    assert_int_equal(pen_link_attach(*out_receiving, other, 0), 0);
}

/* What a receiver of a long range and of frames has seen. */
struct overtaking {
    unsigned char *arena;
    uint64_t bytes, at_frame, frames, number, whole;
};

static int note_frame(void *context, const void *frame, size_t size)
{
    struct overtaking *seen = context;
    (void)frame, (void)size;
    seen->at_frame = seen->bytes;
    seen->frames++;
    return 0;
}

static int note_part(void *context, const struct pen_msg_link_part *part, void **out_bulk)
{
    struct overtaking *seen = context;
    if (!pen_arena_range_ok(LONG_RANGE, part->offset, part->bytes))
        return -PEN_EPROTO;
    seen->number = part->number;
    seen->bytes += part->bytes;
    *out_bulk = seen->arena + part->offset;
    return 0;
}

static int note_bulk(void *context)
{
    struct overtaking *seen = context;
    seen->whole = seen->number;
    return 0;
}

/* A frame that is added after a long range does not wait for it; but not any number of frames goes ahead. */
static void frames_overtake(void **unused)
{
    struct overtaking seen = {.arena = calloc(1, LONG_RANGE)}, none = {0};
    const struct pen_link_owner to = {note_frame, note_part, note_bulk, &seen},
                                from = {.frame = note_frame, .context = &none};
    unsigned char *arena = malloc(LONG_RANGE);
    struct pen_link *sending, *receiving;
    _Alignas(8) unsigned char frame[64];
    const struct pen_msg_link_queue queue = {.completed = 1};
    (void)unused;
    memset(arena, 7, LONG_RANGE);
    make_links(&from, &to, &sending, &receiving);
    pen_msg_link_queue_encode(&queue, 0, frame);
    size_t size = pen_msg_link_queue_size(&queue);
    assert_int_equal(pen_link_add_range(sending, arena, 0, LONG_RANGE, 1), 0);
    assert_int_equal(pen_link_turn(sending), 0); /* the socket is full now */
    assert_int_equal(pen_link_add(sending, frame, size), 0);
    while (!seen.frames) {
        assert_int_equal(pen_link_turn(sending), 0);
        assert_int_equal(pen_link_turn(receiving), 0);
    }
    assert_true(seen.at_frame < LONG_RANGE / 8);
    uint64_t ahead = 1;
    while (pen_link_wait_room(sending, 0)) {
        assert_int_equal(pen_link_add(sending, frame, size), 0);
        ahead++;
    }
    assert_in_range(ahead * size, PEN_LINK_AHEAD_BYTES, PEN_LINK_AHEAD_BYTES + size);
    while (seen.whole != 1 || seen.frames < ahead) {
        assert_int_equal(pen_link_turn(sending), 0);
        assert_int_equal(pen_link_turn(receiving), 0);
    }
    assert_true(pen_link_wait_room(sending, 0));
    assert_memory_equal(arena, seen.arena, LONG_RANGE);
    pen_link_destroy(sending);
    pen_link_destroy(receiving);
    free(arena);
    free(seen.arena);
}

/* An end that has room for frames, or not; they are numbered from 0. */
struct crowded {
    bool room;
    uint64_t taken;
};

static int take_if_room(void *context, const void *frame, size_t size)
{
    struct crowded *end = context;
    (void)size;
    if (!end->room)
        return PEN_LINK_KEEP;
    return ((const struct pen_frame_header *)frame)->sequence == end->taken++ ? 0 : -PEN_EPROTO;
}

static void send_texts(struct pen_link *link, uint64_t first, uint64_t count)
{
    static unsigned char text[PEN_LIMIT_OUTPUT];
    _Alignas(8) static unsigned char frame[PEN_LIMIT_OUTPUT + 64];
    const struct pen_msg_output output = {.text = {text, sizeof text}};
    for (uint64_t i = first; i < first + count; i++) {
        pen_msg_output_encode(&output, i, frame);
        assert_int_equal(pen_link_add(link, frame, pen_msg_output_size(&output)), 0);
    }
    pen_link_flush(link);
}

/* Both turn until there is nothing left to say. */
static void turn_for(struct pen_link *one, struct pen_link *other, uint64_t ms)
{
    for (uint64_t until = pen_deadline_ms(ms); pen_now_ns() < until; usleep(100)) {
        assert_int_equal(pen_link_turn(one), 0);
        assert_int_equal(pen_link_turn(other), 0);
    }
}

/* Who has no room for frames hears all the same what the peer has received, which comes after them, and does not say
 * that it has what it has not taken; a new connection changes nothing of that. */
static void kept_without_room(void **unused)
{
    enum { FIRST = 20, MORE = 5 };
    struct crowded here = {.room = true}, there = {0};
    const struct pen_link_owner from = {.frame = take_if_room, .context = &here},
                                to = {.frame = take_if_room, .context = &there};
    struct pen_link *sending, *receiving;
    struct pen_stream *one, *other;
    int fds[2];
    (void)unused;
    make_links(&from, &to, &sending, &receiving);
    send_texts(sending, 0, FIRST);
    send_texts(receiving, 0, FIRST);
    turn_for(sending, receiving, 200);
    assert_int_equal(here.taken, FIRST);
    assert_int_equal(there.taken, 0);
    assert_int_equal(pen_link_unacknowledged(receiving), 0);
    assert_true(pen_link_unacknowledged(sending) >= FIRST * PEN_LIMIT_OUTPUT);

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    make_streams(fds, PLAIN, &one, &other);
    assert_int_equal(pen_link_attach(sending, one, pen_link_received(receiving)), 0);
    assert_int_equal(pen_link_attach(receiving, other, pen_link_received(sending)), 0);
    send_texts(sending, FIRST, MORE);
    turn_for(sending, receiving, 100);
    assert_true(pen_link_unacknowledged(sending) >= MORE * PEN_LIMIT_OUTPUT);
    there.room = true;
    turn_for(sending, receiving, 100);
    assert_int_equal(there.taken, FIRST + MORE);
    assert_int_equal(pen_link_unacknowledged(sending), 0);
    pen_link_destroy(sending);
    pen_link_destroy(receiving);
}

/* What it takes to keep one frame, beside its bytes. */
#define KEEPING sizeof(struct pen_put_off)

/* Bytes, when there is no more to come, or nothing more is received. */
static uint64_t receive_all(struct pen_link *sending, struct pen_link *receiving)
{
    uint64_t before = UINT64_MAX;
    while (before != pen_link_received(receiving)) {
        before = pen_link_received(receiving);
        turn_for(sending, receiving, 100);
    }
    return before;
}

/* Then all `count` are taken. */
static void make_room(struct crowded *there, uint64_t count, struct pen_link *sending, struct pen_link *receiving)
{
    there->room = true;
    for (uint64_t until = pen_deadline_ms(20000); there->taken < count && pen_now_ns() < until;) {
        assert_int_equal(pen_link_turn(sending), 0);
        assert_int_equal(pen_link_turn(receiving), 0);
    }
    assert_int_equal(there->taken, count);
}

/* Not any number: then nothing more is received. */
static void kept_without_end(void **unused)
{
    enum { COUNT = (PEN_LINK_PUT_OFF_BYTES + PEN_LINK_KEPT_BYTES) / PEN_LIMIT_OUTPUT };
    struct crowded here = {.room = true}, there = {0};
    const struct pen_link_owner from = {.frame = take_if_room, .context = &here},
                                to = {.frame = take_if_room, .context = &there};
    struct pen_link *sending, *receiving;
    (void)unused;
    make_links(&from, &to, &sending, &receiving);
    send_texts(sending, 0, COUNT);
    uint64_t before = receive_all(sending, receiving);
    assert_in_range(before, PEN_LINK_PUT_OFF_BYTES - COUNT * KEEPING, PEN_LINK_PUT_OFF_BYTES + (1u << 20));
    make_room(&there, COUNT, sending, receiving);
    pen_link_destroy(sending);
    pen_link_destroy(receiving);
}

/* Nor when they are small: what it takes to keep them counts. */
static void small_ones_kept_without_end(void **unused)
{
    enum { BYTES = 40, MOST = PEN_LINK_PUT_OFF_BYTES / (BYTES + KEEPING), COUNT = MOST + (2u << 20) / BYTES };
    struct crowded here = {.room = true}, there = {0};
    const struct pen_link_owner from = {.frame = take_if_room, .context = &here},
                                to = {.frame = take_if_room, .context = &there};
    const struct pen_msg_link_queue queue = {.slot = 1};
    struct pen_link *sending, *receiving;
    _Alignas(8) unsigned char frame[64];
    (void)unused;
    assert_int_equal(pen_msg_link_queue_size(&queue), BYTES);
    make_links(&from, &to, &sending, &receiving);
    for (uint64_t i = 0; i < COUNT; i++) {
        pen_msg_link_queue_encode(&queue, i, frame);
        assert_int_equal(pen_link_add(sending, frame, BYTES), 0);
    }
    pen_link_flush(sending);
    assert_true(receive_all(sending, receiving) <= (uint64_t)MOST * BYTES + (1u << 20));
    make_room(&there, COUNT, sending, receiving);
    pen_link_destroy(sending);
    pen_link_destroy(receiving);
}

/* Whoever waits hears at once that there is room for what is kept. */
static void kept_until_there_is_room(void **unused)
{
    enum { WAIT_NS = 10000000 }; /* the link itself may want to wait no longer */
    struct crowded here = {.room = true}, there = {0};
    const struct pen_link_owner from = {.frame = take_if_room, .context = &here},
                                to = {.frame = take_if_room, .context = &there};
    struct pen_link *sending, *receiving;
    uint64_t least = UINT64_MAX;
    int room = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); /* can be written to */
    (void)unused;
    make_links(&from, &to, &sending, &receiving);
    pen_link_tell_room(receiving, room);
    send_texts(sending, 0, 1);
    turn_for(sending, receiving, 10);
    for (int i = 0; i < 10; i++) {
        uint64_t begin = pen_now_ns(), took;
        pen_link_wait(receiving, WAIT_NS);
        took = pen_now_ns() - begin;
        least = took < least ? took : least;
        assert_int_equal(pen_link_turn(receiving), 0);
    }
    assert_true(least < WAIT_NS / 2);
    pen_link_destroy(sending);
    pen_link_destroy(receiving);
    close(room);
}

#define SENDERS 4

struct sender {
    struct pen_link *link;
    uint64_t number;
};

static void *send_many(void *context)
{
    struct sender *sender = context;
    for (uint64_t i = 0; i < FRAMES; i++) {
        _Alignas(8) unsigned char frame[64];
        const struct pen_msg_link_queue queue = {.slot = (uint32_t)sender->number, .completed = i};
        pen_msg_link_queue_encode(&queue, 0, frame);
        if (pen_link_add(sender->link, frame, pen_msg_link_queue_size(&queue)))
            return sender;
        pen_link_flush(sender->link);
    }
    return NULL;
}

struct counts {
    uint64_t next[SENDERS], all;
};

static int count_frame(void *context, const void *frame, size_t size)
{
    struct counts *counts = context;
    struct pen_scratch scratch = {0};
    struct pen_msg_link_queue queue;
    if (pen_msg_link_queue_decode(frame, size, &scratch, &queue) || queue.slot >= SENDERS ||
        queue.completed != counts->next[queue.slot]++)
        return -PEN_EPROTO;
    counts->all++;
    return 0;
}

/* Each thread's frames arrive, in its order. */
static void many_senders(void **unused)
{
    struct counts counts = {0}, none = {0};
    const struct pen_link_owner to = {.frame = count_frame, .context = &counts},
                                from = {.frame = count_frame, .context = &none};
    struct pen_link *sending, *receiving;
    struct sender senders[SENDERS];
    pthread_t threads[SENDERS];
    (void)unused;
    make_links(&from, &to, &sending, &receiving);
    for (uint64_t i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){sending, i};
        assert_int_equal(pthread_create(&threads[i], NULL, send_many, &senders[i]), 0);
    }
    while (counts.all < (uint64_t)SENDERS * FRAMES) {
        pen_link_wait(receiving, 100000);
        assert_int_equal(pen_link_turn(receiving), 0);
        assert_int_equal(pen_link_turn(sending), 0);
    }
    for (int i = 0; i < SENDERS; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    pen_link_destroy(sending);
    pen_link_destroy(receiving);
}

/* The wait is ended by being told of the rest, the turn sends it. */
static void *turn_twice(void *context)
{
    pen_link_wait(context, UINT64_MAX);
    (void)pen_link_turn(context);
    return NULL;
}

/* A connection whose first send takes nothing, and only returns when it is told to. */
struct stubborn {
    struct pen_stream stream;
    sem_t asked, go, taken;
    _Atomic int sends;
};

static ssize_t stubborn_send(struct pen_stream *stream, const struct iovec *parts, int count)
{
    struct stubborn *stubborn = (struct stubborn *)(void *)stream;
    ssize_t bytes = 0;
    if (atomic_fetch_add(&stubborn->sends, 1) == 0) {
        sem_post(&stubborn->asked);
        sem_wait(&stubborn->go);
        return 0;
    }
    for (int i = 0; i < count; i++)
        bytes += (ssize_t)parts[i].iov_len;
    sem_post(&stubborn->taken);
    return bytes;
}

static ssize_t stubborn_receive(struct pen_stream *stream, void *bytes, size_t size)
{
    (void)stream, (void)bytes, (void)size;
    return 0;
}

static void stubborn_destroy(struct pen_stream *stream)
{
    (void)stream;
}

static void *flush_once(void *context)
{
    pen_link_flush(context);
    return NULL;
}

/* The turning thread finds another sending, and sleeps; the other finds the socket full, and leaves the rest to it. */
static void nobody_sleeps_over_it(void **unused)
{
    static const struct pen_stream_ops ops = {stubborn_send, stubborn_receive, stubborn_destroy, NULL, NULL, NULL};
    const struct pen_link_owner owner = {.frame = count_frame};
    struct stubborn stubborn = {.stream = {.ops = &ops}};
    _Alignas(8) unsigned char frame[64];
    const struct pen_msg_link_queue queue = {.completed = 1};
    struct timespec limit;
    struct pen_link *link;
    pthread_t sender, turner;
    int fds[2];
    (void)unused;
    sem_init(&stubborn.asked, 0, 0);
    sem_init(&stubborn.go, 0, 0);
    sem_init(&stubborn.taken, 0, 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    stubborn.stream.fd = fds[0]; /* always writable */
    assert_int_equal(pen_link_create(&owner, &link), 0);
    assert_int_equal(pen_link_attach(link, &stubborn.stream, 0), 0);
    pen_msg_link_queue_encode(&queue, 0, frame);
    assert_int_equal(pen_link_add(link, frame, pen_msg_link_queue_size(&queue)), 0);
    assert_int_equal(pthread_create(&sender, NULL, flush_once, link), 0);
    sem_wait(&stubborn.asked);
    assert_int_equal(pthread_create(&turner, NULL, turn_twice, link), 0);
    usleep(20000); /* the turning thread is asleep by now, most likely; else the test shows less */
    sem_post(&stubborn.go);
    clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_sec += 20;
    assert_int_equal(sem_timedwait(&stubborn.taken, &limit), 0);
    pthread_join(sender, NULL);
    pthread_join(turner, NULL);
    assert_int_equal(pen_link_unsent(link), 0);
    pen_link_destroy(link);
    close(fds[0]);
    close(fds[1]);
}

/* A connection that takes everything, and on which nothing comes. */
static ssize_t deaf_send(struct pen_stream *stream, const struct iovec *parts, int count)
{
    ssize_t bytes = 0;
    (void)stream;
    for (int i = 0; i < count; i++)
        bytes += (ssize_t)parts[i].iov_len;
    return bytes;
}

/* A link over the stream, whose descriptor can always be written to. */
static struct pen_link *attach_writable(struct pen_stream *stream, int fds[2])
{
    const struct pen_link_owner owner = {.frame = count_frame};
    struct pen_link *link;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    stream->fd = fds[0];
    assert_int_equal(pen_link_create(&owner, &link), 0);
    assert_int_equal(pen_link_attach(link, stream, 0), 0);
    return link;
}

static bool nobody_answers(const struct pen_stream *stream, uint64_t *out_unheard_ns)
{
    (void)stream;
    *out_unheard_ns = UINT64_C(60000000000);
    return true;
}

static void *turn_until_it_ends(void *context)
{
    int rc;
    do
        pen_link_wait(context, UINT64_MAX);
    while (!(rc = pen_link_turn(context)));
    return (void *)(intptr_t)rc;
}

/* Whoever turns is asleep when another sends to a host that is not there any more. */
static void a_host_that_is_gone(void **unused)
{
    static const struct pen_stream_ops ops = {deaf_send, stubborn_receive, stubborn_destroy, NULL,
                                              NULL,      nobody_answers};
    struct pen_stream stream = {.ops = &ops};
    _Alignas(8) unsigned char frame[64];
    const struct pen_msg_link_queue queue = {.completed = 1};
    pthread_t turner;
    void *rc;
    int fds[2];
    (void)unused;
    struct pen_link *link = attach_writable(&stream, fds);
    assert_int_equal(pthread_create(&turner, NULL, turn_until_it_ends, link), 0);
    usleep(20000);
    pen_msg_link_queue_encode(&queue, 0, frame);
    assert_int_equal(pen_link_add(link, frame, pen_msg_link_queue_size(&queue)), 0);
    pen_link_flush(link);
    assert_int_equal(pthread_join(turner, &rc), 0);
    assert_int_equal((intptr_t)rc, -PEN_EGONE);
    pen_link_destroy(link);
    close(fds[0]);
    close(fds[1]);
}

/* The peer acknowledges nothing: when no more may be kept, what goes beside waits, and nobody spins meanwhile. */
static void sleeps_while_no_part_is_made(void **unused)
{
    static const struct pen_stream_ops ops = {deaf_send, stubborn_receive, stubborn_destroy, NULL, NULL, NULL};
    static unsigned char frame[PEN_LIMIT_FRAME], arena[64];
    struct pen_stream stream = {.ops = &ops};
    int fds[2], turns = 0;
    (void)unused;
    struct pen_link *link = attach_writable(&stream, fds);
    assert_int_equal(pen_link_add_range(link, arena, 0, sizeof arena, 1), 0);
    while (!pen_link_add(link, frame, sizeof frame))
        ;
    pen_link_flush(link);
    for (uint64_t now, until = pen_deadline_ms(200); (now = pen_now_ns()) < until; turns++) {
        pen_link_wait(link, until - now);
        assert_int_equal(pen_link_turn(link), 0);
    }
    assert_int_equal(pen_link_unacknowledged(link), PEN_LINK_KEPT_MOST);
    assert_true(turns < 100);
    pen_link_destroy(link);
    close(fds[0]);
    close(fds[1]);
}

/* A connection that takes everything, and says that the peer is far away. */
static int far_sends;

static ssize_t far_send(struct pen_stream *stream, const struct iovec *parts, int count)
{
    far_sends++;
    return deaf_send(stream, parts, count);
}

static uint64_t far_round_trip_ns(const struct pen_stream *stream)
{
    (void)stream;
    return UINT64_C(800) * 1000000;
}

static void add_to_burst(struct pen_link *link)
{
    _Alignas(8) unsigned char frame[64];
    const struct pen_msg_link_queue queue = {.completed = 1};
    pen_msg_link_queue_encode(&queue, 0, frame);
    assert_int_equal(pen_link_add(link, frame, pen_msg_link_queue_size(&queue)), 0);
    pen_link_flush_burst(link);
}

/* Of a burst the first goes at once, and all others in one piece within an eighth of a round trip, while nobody spins.
 */
static void bursts_are_gathered(void **unused)
{
    static const struct pen_stream_ops ops = {far_send, stubborn_receive,  stubborn_destroy,
                                              NULL,     far_round_trip_ns, NULL};
    struct pen_stream stream = {.ops = &ops};
    int fds[2], turns = 0;
    (void)unused;
    struct pen_link *link = attach_writable(&stream, fds);
    uint64_t begin = pen_now_ns();
    add_to_burst(link);
    assert_int_equal(far_sends, 1);
    for (int i = 0; i < 100; i++)
        add_to_burst(link);
    for (; pen_link_unsent(link); turns++) {
        pen_link_wait(link, UINT64_MAX);
        assert_int_equal(pen_link_turn(link), 0);
    }
    assert_int_equal(far_sends, 2);
    assert_in_range(pen_now_ns() - begin, far_round_trip_ns(NULL) / 10, UINT64_C(20) * 1000000000);
    assert_in_range(turns, 1, 10);

    add_to_burst(link);
    add_to_burst(link);
    pen_link_flush(link); /* takes along what is gathered */
    assert_int_equal(pen_link_unsent(link), 0);
    pen_link_destroy(link);
    close(fds[0]);
    close(fds[1]);
}

/* Two threads wait, as a pump's own and a helper do, and one of them turns: every kick comes to a turn. */
struct waiters {
    struct pen_link *link;
    _Atomic uint64_t turns;
    _Atomic bool over;
};

static void *wait_and_turn(void *context)
{
    struct waiters *w = context;
    while (!atomic_load(&w->over)) {
        pen_link_wait(w->link, UINT64_C(5000000000));
        (void)pen_link_turn(w->link);
        atomic_fetch_add(&w->turns, 1);
    }
    pen_link_kick(w->link); /* the next one, that it sees that it is over */
    return NULL;
}

static void *wait_only(void *context)
{
    struct waiters *w = context;
    while (!atomic_load(&w->over))
        pen_link_wait(w->link, UINT64_C(5000000000));
    pen_link_kick(w->link);
    return NULL;
}

static void every_kick_wakes(void **unused)
{
    const struct pen_link_owner owner = {0};
    struct waiters w = {0};
    pthread_t threads[3];
    (void)unused;
    assert_int_equal(pen_link_create(&owner, &w.link), 0);
    pthread_create(&threads[0], NULL, wait_and_turn, &w);
    pthread_create(&threads[1], NULL, wait_only, &w);
    pthread_create(&threads[2], NULL, wait_only, &w);
    uint64_t until = pen_deadline_ms(3000);
    for (uint64_t slowest = 0; pen_now_ns() < until; assert_true(slowest < 2000000000)) {
        uint64_t turns = atomic_load(&w.turns), begun = pen_now_ns();
        pen_link_kick(w.link);
        while (atomic_load(&w.turns) == turns && pen_now_ns() - begun < 4000000000)
            ;
        slowest = pen_now_ns() - begun;
    }
    atomic_store(&w.over, true);
    pen_link_kick(w.link);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    pen_link_destroy(w.link);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_order),
        cmocka_unit_test(across_cuts),
        cmocka_unit_test(with_protection),
        cmocka_unit_test(with_packing),
        cmocka_unit_test(forgets),
        cmocka_unit_test(frames_overtake),
        cmocka_unit_test(kept_without_room),
        cmocka_unit_test(kept_without_end),
        cmocka_unit_test(small_ones_kept_without_end),
        cmocka_unit_test(kept_until_there_is_room),
        cmocka_unit_test(many_senders),
        cmocka_unit_test(nobody_sleeps_over_it),
        cmocka_unit_test(a_host_that_is_gone),
        cmocka_unit_test(sleeps_while_no_part_is_made),
        cmocka_unit_test(bursts_are_gathered),
        cmocka_unit_test(every_kick_wakes),
    };
    return cmocka_run_group_tests_name("net-link", tests, NULL, NULL);
}
