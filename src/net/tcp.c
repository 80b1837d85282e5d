/* See tcp.h. */
#include "net/tcp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "wire/futex.h"

/* That a socket takes and has not sent yet. */
#define UNSENT_BYTES (256 << 10)

#define HOST_BYTES 256
#define BACKLOG    64

struct address {
    char host[HOST_BYTES];
    char port[8];
};

static bool is_port(const char *text)
{
    size_t size = strlen(text);
    return size && strspn(text, "0123456789") == size && size <= 5 && atoi(text) <= UINT16_MAX;
}

static int parse(const char *text, struct address *out, struct pen_error *error)
{
    const char *colon = strrchr(text, ':');
    size_t host = colon ? (size_t)(colon - text) : 0;
    if (host && text[0] == '[' && text[host - 1] == ']') {
        text++;
        host -= 2;
    }
    if (!colon || !host || host >= sizeof out->host || !is_port(colon + 1))
        return pen_fail(error, -PEN_EINVAL,
                        "\"%.200s\" is no address: host:port or [address]:port is one, with a port of at most %d", text,
                        UINT16_MAX);
    memcpy(out->host, text, host);
    out->host[host] = 0;
    strcpy(out->port, colon + 1);
    return 0;
}

int pen_tcp_check(const char *text, struct pen_error *error)
{
    struct address address;
    return parse(text, &address, error);
}

static bool is_loopback(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET)
        return (ntohl(((const struct sockaddr_in *)(const void *)address)->sin_addr.s_addr) >> 24) == 127;
    return address->sa_family == AF_INET6 &&
           IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)(const void *)address)->sin6_addr);
}

static int meaning(int code)
{
    switch (code) {
    case ECONNREFUSED:
        return -PEN_ENOENT;
    case ETIMEDOUT:
        return -PEN_ETIMEOUT;
    case ECONNRESET:
        return -PEN_EGONE;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
        return -PEN_ENOMEM;
    default:
        return -PEN_EIO;
    }
}

static int resolve(const char *text, int flags, struct addrinfo **out_list, struct pen_error *error)
{
    struct address address;
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = flags};
    int rc = parse(text, &address, error);
    if (rc)
        return rc;
    int failed = getaddrinfo(address.host, address.port, &hints, out_list);
    if (!failed)
        return 0;
    if (failed == EAI_SYSTEM)
        return pen_fail(error, meaning(errno), "looking up %s: %s", text, strerror(errno));
    return pen_fail(error, failed == EAI_MEMORY ? -PEN_ENOMEM : -PEN_EIO, "looking up %s: %s", text,
                    gai_strerror(failed));
}

static int not_loopback(const char *text, struct pen_error *error)
{
    return pen_fail(error, -PEN_EPERM,
                    "%s is not an address of this host's own (127.0.0.1, ::1), and nothing else is allowed "
                    "without protection",
                    text);
}

int pen_tcp_listen(const char *text, bool anywhere, int *out_fd, struct pen_error *error)
{
    struct addrinfo *list;
    const int yes = 1;
    int rc = resolve(text, AI_PASSIVE, &list, error);
    if (rc)
        return rc;
    int fd = -1;
    if (!anywhere && !is_loopback(list->ai_addr)) {
        rc = not_loopback(text, error);
    } else {
        fd = socket(list->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) ||
            bind(fd, list->ai_addr, list->ai_addrlen) || listen(fd, BACKLOG))
            rc = pen_fail(error, -PEN_EIO, "listening at %s: %s", text, strerror(errno));
    }
    freeaddrinfo(list);
    if (rc) {
        if (fd >= 0)
            close(fd);
        return rc;
    }
    *out_fd = fd;
    return 0;
}

void pen_tcp_local(int fd, char *out, size_t size)
{
    struct sockaddr_storage address = {0};
    socklen_t length = sizeof address;
    char host[INET6_ADDRSTRLEN], port[8];
    snprintf(out, size, "?");
    if (!getsockname(fd, (struct sockaddr *)&address, &length) &&
        !getnameinfo((struct sockaddr *)&address, length, host, sizeof host, port, sizeof port,
                     NI_NUMERICHOST | NI_NUMERICSERV))
        snprintf(out, size, address.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

void pen_tcp_tune(int fd)
{
    const int yes = 1, unsent = UNSENT_BYTES;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof unsent);
}

uint64_t pen_tcp_round_trip_ns(int fd)
{
    struct tcp_info info;
    socklen_t size = sizeof info;
    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) ? 0 : (uint64_t)info.tcpi_rtt * 1000;
}

void pen_tcp_notice_silence(int fd)
{
    /* Asked after half of the time, and then every second; a probe more than fits in the rest never counts. */
    const int yes = 1, idle = PEN_TCP_SILENCE_MS / 2000, interval = 1, probes = idle;
    const unsigned limit = PEN_TCP_SILENCE_MS;
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &yes, sizeof yes);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &limit, sizeof limit);
}

/* 0 with a connected socket, or errno. */
static int try_one(const struct addrinfo *at, uint64_t deadline_ns, int *out_fd)
{
    int fd = socket(at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), code = 0;
    socklen_t size = sizeof code;
    if (fd < 0)
        return errno;
    pen_tcp_notice_silence(fd);
    if (connect(fd, at->ai_addr, at->ai_addrlen)) {
        code = errno;
        struct pollfd poller = {.fd = fd, .events = POLLOUT};
        uint64_t now = pen_now_ns();
        if (code == EINPROGRESS) {
            int ready = poll(&poller, 1, now < deadline_ns ? (int)((deadline_ns - now) / 1000000) : 0);
            code = ETIMEDOUT;
            if (ready > 0 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &size))
                code = errno;
        }
    }
    if (code) {
        close(fd);
        return code;
    }
    *out_fd = fd;
    return 0;
}

/* One of several addresses that does not answer leaves time for those after it. */
static uint64_t share_of(uint64_t deadline_ns, const struct addrinfo *list)
{
    uint64_t now = pen_now_ns(), count = 0;
    for (; list; list = list->ai_next)
        count++;
    return now < deadline_ns ? now + (deadline_ns - now) / count : deadline_ns;
}

/* Of the reasons why a name's addresses cannot be connected to, the heaviest counts. */
static int weight(int code)
{
    switch (code) {
    case ENETUNREACH:
    case EADDRNOTAVAIL:
    case EAFNOSUPPORT:
        return 0; /* this host has no way to such addresses */
    case ECONNREFUSED:
        return 1; /* nobody is there */
    default:
        return 2; /* somebody may be */
    }
}

int pen_tcp_connect(const char *text, bool anywhere, uint64_t deadline_ns, int *out_fd, struct pen_error *error)
{
    struct addrinfo *list;
    int rc = resolve(text, 0, &list, error), code = ENETUNREACH;
    if (rc)
        return rc;
    for (const struct addrinfo *at = list; at && code; at = at->ai_next) {
        if (!anywhere && !is_loopback(at->ai_addr)) {
            rc = not_loopback(text, error);
            break;
        }
        int failed = try_one(at, share_of(deadline_ns, at), out_fd);
        if (!failed || weight(failed) >= weight(code))
            code = failed;
    }
    freeaddrinfo(list);
    return rc || !code ? rc : pen_fail(error, meaning(code), "connecting to %s: %s", text, strerror(code));
}
