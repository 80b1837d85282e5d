#include "fake_worker.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct session {
    struct fake_worker *fake;
    int fd;
    struct pen_shared_view view;
    struct pen_ring_reader reader;
    struct pen_scratch scratch;
    uint64_t last;
    bool over;
};

#define SEND(fd_, name_, message_, sequence_, fds_, count_)                                                            \
    do {                                                                                                               \
        static _Thread_local _Alignas(8) unsigned char frame_[PEN_LIMIT_FRAME];                                        \
        pen_msg_##name_##_encode((message_), (sequence_), frame_);                                                     \
        (void)pen_unix_send((fd_), frame_, pen_msg_##name_##_size(message_), (fds_), (count_), pen_deadline_ms(5000)); \
    } while (0)

static void complete(struct session *s, uint64_t queue, uint32_t slot, uint64_t sequence)
{
    if (s->fake->delay_us)
        usleep(s->fake->delay_us);
    const struct pen_event_times times = {sequence, sequence + 1, sequence + 2, sequence + 3};
    pen_publish_times(&s->view, slot, &times);
    pen_publish_event(&s->view, slot, PEN_STATE_COMPLETE, false);
    pen_publish_queue(&s->view, (uint32_t)queue, sequence, false);
    pen_publish_wake(&s->view);
}

static void answer_binary(struct session *s, const struct pen_msg_program_binary *message, uint64_t sequence)
{
    static unsigned char bytes[PEN_LIMIT_TEXT];
    uint64_t total = message->program, offset = 0;
    if (message->device == 99) {
        const struct pen_msg_data failed = {.status = -PEN_EBINARY};
        SEND(s->fd, data, &failed, sequence, NULL, 0);
        return;
    }
    memset(bytes, 'b', sizeof bytes);
    do {
        uint64_t size = total - offset < sizeof bytes ? total - offset : sizeof bytes;
        const struct pen_msg_data part = {.offset = offset, .total = total, .part = {bytes, (uint32_t)size}};
        SEND(s->fd, data, &part, sequence, NULL, 0);
        offset += size;
    } while (offset < total);
}

static void print(struct session *s, const void *text, uint32_t size)
{
    const struct pen_msg_output output = {.text = {text, size}};
    SEND(s->fd, output, &output, 0, NULL, 0);
}

static void flood(struct session *s)
{
    static char text[PEN_LIMIT_OUTPUT];
    memset(text, 'f', sizeof text);
    for (uint64_t sent = 0; sent < FAKE_FLOOD_BYTES; sent += sizeof text) {
        print(s, text, sizeof text);
        pen_publish_output(&s->view);
    }
}

static void misbehave(struct session *s, uint64_t how)
{
    if (how == FAKE_DIE) {
        s->over = true;
    } else if (how == FAKE_FATAL) {
        const struct pen_msg_fatal fatal = {.status = -PEN_EPROTO, .message = "told you so"};
        SEND(s->fd, fatal, &fatal, 0, NULL, 0);
        pen_publish_gone(&s->view);
    } else if (how == FAKE_STALL) {
        usleep(200000);
    } else if (how == FAKE_NONSENSE) {
        (void)!send(s->fd, "\377\377\377\377\377\377\377\377\377\377\377\377\377\377\377\377", 16, MSG_NOSIGNAL);
    } else if (how == FAKE_LIE) {
        pen_publish_output(&s->view);
    } else if (how == FAKE_LATE) {
        pen_publish_output(&s->view);
        usleep(FAKE_LATE_US);
        print(s, "late\n", 5);
    } else if (how == FAKE_FLOOD) {
        flood(s);
    }
}

#define DECODE(name_)                                                                                                  \
    struct pen_msg_##name_ message;                                                                                    \
    if (pen_msg_##name_##_decode(frame, size, &s->scratch, &message)) {                                                \
        s->fake->malformed++;                                                                                          \
        break;                                                                                                         \
    }

static void execute(struct session *s, const void *frame, size_t size)
{
    const struct pen_frame_header *header = frame;
    uint64_t sequence = header->sequence;
    if (sequence != s->last + 1)
        s->fake->malformed++;
    s->last = sequence;
    s->fake->commands++;
    switch (header->opcode) {
    case PEN_OP_MARKER: {
        DECODE(marker);
        if (message.queue != FAKE_QUEUE_NEVER)
            complete(s, message.queue, message.slot, sequence);
        break;
    }
    case PEN_OP_FILL: {
        DECODE(fill);
        print(s, message.pattern.data, message.pattern.size);
        pen_publish_output(&s->view);
        complete(s, message.queue, message.slot, sequence);
        break;
    }
    case PEN_OP_KERNEL_QUERY: {
        DECODE(kernel_query);
        if (s->fake->delay_us)
            usleep(s->fake->delay_us);
        for (uint32_t i = 0; i < message.dimensions; i++) {
            const struct pen_msg_kernel_facts facts = {.max_sub_group_size = message.kernel, .sub_group_count = i};
            SEND(s->fd, kernel_facts, &facts, sequence, NULL, 0);
        }
        break;
    }
    case PEN_OP_PROGRAM_BINARY: {
        DECODE(program_binary);
        answer_binary(s, &message, sequence);
        break;
    }
    case PEN_OP_REGION_DESTROY: {
        DECODE(region_destroy);
        complete(s, 0, message.slot, sequence);
        break;
    }
    case PEN_OP_PROGRAM_DESTROY: {
        DECODE(program_destroy);
        misbehave(s, message.program);
        break;
    }
    default:
        s->fake->malformed++;
        break;
    }
    pen_scratch_reset(&s->scratch);
}

static void work(struct session *s)
{
    while (!s->over && !s->fake->stop) {
        const void *frame;
        size_t size;
        int rc = pen_ring_next(&s->reader, &frame, &size);
        if (rc > 0) {
            execute(s, frame, size);
        } else if (rc < 0) {
            s->fake->malformed++;
            return;
        } else if (!pen_ring_wait(&s->reader, PEN_SPIN_BUDGET_NS, 5000000)) {
            struct pollfd poller = {.fd = s->fd, .events = POLLIN};
            if (poll(&poller, 1, 0) > 0)
                return; /* the client has gone */
        }
    }
}

static void open_session(struct fake_worker *fake, int fd)
{
    struct session s = {.fake = fake, .fd = fd};
    int fds[2] = {-1, -1};
    if (pen_shared_create(PEN_RING_BYTES_MIN, &fds[0], &s.view, NULL) ||
        pen_arena_create(FAKE_ARENA_BYTES, &fds[1], NULL) || pen_ring_reader_init(&s.reader, &s.view))
        abort();
    struct pen_msg_session_opened opened = {
        .session = 7,
        .features = fake->features,
        .ring_bytes = s.view.ring_bytes,
        .shared_bytes = s.view.shared_bytes,
        .arena_bytes = FAKE_ARENA_BYTES,
    };
    if (fake->mode == FAKE_WRONG_SIZES)
        opened.arena_bytes *= 2;
    SEND(fd, session_opened, &opened, 0, fds, fake->mode == FAKE_NO_DESCRIPTORS ? 0 : 2);
    close(fds[0]);
    close(fds[1]);
    if (fake->mode == FAKE_NORMAL || fake->mode == FAKE_SLOW)
        work(&s);
    pen_ring_reader_finish(&s.reader);
    pen_scratch_finish(&s.scratch);
    pen_shared_unmap(&s.view);
}

static void list_devices(int fd)
{
    const struct pen_msg_devices devices = {.count = 2, .jail = "off"};
    SEND(fd, devices, &devices, 0, NULL, 0);
    for (uint32_t i = 0; i < 2; i++) {
        const struct pen_msg_device device = {
            .device = i + 1,
            .flags = PEN_DEVICE_FLAG_DIRECT,
            .memory_bytes = 1ull << 30,
            .compute_units = 1,
            .properties = i * 3,
            .name = i ? "cpu1" : "cpu0",
            .vendor_name = "a device",
            .driver = "a driver",
            .driver_version = "1.0",
            .api = "opencl",
        };
        SEND(fd, device, &device, 0, NULL, 0);
        for (uint32_t j = 0; j < i * 3; j++) {
            const struct pen_msg_device_property property = {
                .device = i + 1, .key = 0x1000 + j, .value = {&j, sizeof j}};
            SEND(fd, device_property, &property, 0, NULL, 0);
        }
    }
}

static void serve(struct fake_worker *fake, int fd)
{
    struct pen_unix_frame frame = {0};
    struct pen_scratch scratch = {0};
    /* Its minor version is that of a newer release: no reason to refuse. */
    const struct pen_msg_hello hello = {.major = PEN_PROTOCOL_MAJOR + (fake->mode == FAKE_WRONG_VERSION),
                                        .minor = PEN_PROTOCOL_MINOR + 1,
                                        .name = "fake"};
    SEND(fd, hello, &hello, 0, NULL, 0);
    while (!fake->stop && !pen_unix_receive(fd, &frame, pen_deadline_ms(2000))) {
        if (frame.opcode == PEN_OP_DEVICE_LIST) {
            list_devices(fd);
        } else if (frame.opcode == PEN_OP_SESSION_OPEN) {
            struct pen_msg_session_open message;
            if (pen_msg_session_open_decode(frame.data, frame.size, &scratch, &message)) {
                fake->malformed++;
            } else if (fake->mode == FAKE_REFUSES) {
                const struct pen_msg_refused refused = {.status = -PEN_ELIMIT, .message = "too many: session.max"};
                SEND(fd, refused, &refused, 0, NULL, 0);
            } else if (fake->mode != FAKE_HANGS_UP) {
                fake->features = message.features;
                fake->asked = 1;
                while (fake->mode == FAKE_SLOW && !fake->go)
                    usleep(1000);
                open_session(fake, fd);
            }
            break;
        }
    }
    pen_scratch_finish(&scratch);
    pen_unix_frame_finish(&frame);
}

static void *serving_thread(void *context)
{
    struct fake_worker *fake = context;
    while (!fake->stop) {
        int fd;
        struct pollfd poller = {.fd = fake->listener, .events = POLLIN};
        if (poll(&poller, 1, 5) > 0 && !pen_unix_accept(fake->listener, &fd)) {
            serve(fake, fd);
            close(fd);
        }
    }
    return NULL;
}

int fake_start(struct fake_worker *fake, enum fake_mode mode)
{
    memset(fake, 0, sizeof *fake);
    fake->mode = mode;
    snprintf(fake->directory, sizeof fake->directory, "/tmp/pen-fake-XXXXXX");
    if (!mkdtemp(fake->directory))
        return -1;
    snprintf(fake->path, sizeof fake->path, "%s/d.sock", fake->directory);
    setenv("PENSTOCK_SOCKET", fake->path, 1);
    if (pen_unix_listen(fake->path, PEN_UNIX_NO_GROUP, &fake->listener, NULL))
        return -1;
    return pthread_create(&fake->thread, NULL, serving_thread, fake) ? -1 : 0;
}

void fake_stop(struct fake_worker *fake)
{
    fake->stop = 1;
    pthread_join(fake->thread, NULL);
    close(fake->listener);
    unlink(fake->path);
    rmdir(fake->directory);
}
