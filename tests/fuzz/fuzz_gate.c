/* Any bytes from a stranger at the daemon's gate: it becomes a client, once, or a session's connection, or is
 * forgotten, and what was promised to others still holds. The first byte says how many bytes come at a time (8 for
 * each; 0: all). A link_hello's token is xored with the one that is promised: zero is that, and few bits are nearly it.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gate_rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct gate gate;

static void require(bool what)
{
    if (!what)
        abort();
}

/* What the gate answers is not looked at. */
static void drain(int fd)
{
    char bytes[4096];
    while (recv(fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0)
        ;
}

static void speak(const unsigned char *bytes, size_t size, size_t step)
{
    int fd = gate_dial();
    gate_turn(&gate);
    for (size_t at = 0; at < size; at += step) {
        size_t part = size - at < step ? size - at : step;
        if (send(fd, bytes + at, part, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
            break; /* it has been forgotten */
        gate_turn(&gate);
        drain(fd);
    }
    close(fd);
    gate_turn(&gate);
}

#define HELLO_BYTES (sizeof(struct pen_frame_header) + sizeof gate.ticket.token)

static void promise(unsigned char *hello)
{
    for (size_t i = 0; i < sizeof gate.ticket.token; i++)
        hello[sizeof(struct pen_frame_header) + i] ^= ((const unsigned char *)gate.ticket.token)[i];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct pen_msg_link_hello zero;
    _Alignas(8) unsigned char promised[HELLO_BYTES];
    if (!gate.daemon.base)
        gate_start(&gate);
    if (!size)
        return 0;
    gate_begin(&gate);
    pen_msg_link_hello_encode(&zero, 0, promised);
    unsigned char *bytes = malloc(size);
    require(bytes);
    memcpy(bytes, data + 1, size - 1);
    if (size > HELLO_BYTES && !memcmp(bytes, promised, sizeof(struct pen_frame_header)))
        promise(bytes);
    promise(promised);
    speak(bytes, size - 1, data[0] ? data[0] * 8u : size);
    require(!gate.daemon.knock_count && gate.admitted + gate.opened <= 1);
    require(!gate.opened || !memcmp(bytes, promised, HELLO_BYTES));
    free(bytes);
    if (!gate.opened)
        speak(promised, sizeof promised, sizeof promised);
    require(gate.opened == 1 && pen_list_empty(&gate.daemon.tickets));
    return 0;
}
