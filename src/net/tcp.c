/* See tcp.h. */
#include "net/tcp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/sockios.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "wire/futex.h"

/* That a socket takes and has not sent yet. */
#define UNSENT_BYTES (256 << 10)

#define HOST_BYTES 256
#define BACKLOG    64

/* Until the next of a name's addresses is tried beside those before it (RFC 8305, section 5: Connection Attempt
 * Delay), and at least, where there are many for the time that is left. */
#define NEXT_NS       250000000u
#define NEXT_LEAST_NS 10000000u
/* Longest sleep at a time. */
#define SLEEP_MS 1000

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
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &yes, sizeof yes);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
}

bool pen_tcp_awaits(int fd, uint64_t *out_unheard_ns)
{
    struct tcp_info info;
    socklen_t size = sizeof info;
    int queued = 0;
    *out_unheard_ns = 0;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) || ioctl(fd, SIOCOUTQ, &queued))
        return false;
    /* Not TCP_USER_TIMEOUT: it ends a connection whose peer answers each probe of its closed window, too (tcp(7) does
     * not say so; the kernel's tcp_probe_timer does). One probe may be lost, and the next is long in coming. */
    bool asked = info.tcpi_probes >= 2 || (info.tcpi_unacked && info.tcpi_last_ack_recv > info.tcpi_last_data_sent);
    if (asked)
        *out_unheard_ns = (uint64_t)info.tcpi_last_ack_recv * 1000000;
    return queued > 0 || info.tcpi_probes;
}

/* ---- connecting -------------------------------------------------------------------------------------- */

struct pen_tcp_place pen_tcp_place_of(int fd)
{
    struct pen_tcp_place place = {.size = sizeof place.address};
    if (getpeername(fd, (struct sockaddr *)&place.address, &place.size))
        place.size = 0;
    return place;
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

/* A name's addresses, in the order in which they are tried; `tries` has what they have come to. */
struct race {
    const struct addrinfo **addresses;
    struct pollfd *tries;       /* a socket that is being connected; fd -1: it has failed */
    size_t count, begun, going; /* addresses; of them tried, and still being tried */
    uint64_t next_ns;           /* when the next is tried */
    int code;                   /* the heaviest errno of those that have failed */
};

static bool is_at(const struct addrinfo *address, const struct pen_tcp_place *place)
{
    return address->ai_addrlen == place->size && !memcmp(address->ai_addr, &place->address, place->size);
}

/* The first of these from `from` on that is of this family, or of another; NULL: none. */
static const struct addrinfo *next_of(const struct addrinfo *from, int family, bool of_it)
{
    while (from && (from->ai_family == family) != of_it)
        from = from->ai_next;
    return from;
}

/* RFC 8305, section 4: as the resolver has sorted them, but the first family and the others by turns. */
static void sort(struct race *race, const struct addrinfo *list)
{
    const int family = list->ai_family;
    const struct addrinfo *next[] = {list, next_of(list, family, false)};
    for (bool other = false; next[0] || next[1]; other = !other) {
        const struct addrinfo *at = next[other];
        if (!at)
            continue;
        race->addresses[race->count++] = at;
        next[other] = next_of(at->ai_next, family, !other);
    }
}

/* The address that has answered before goes ahead. */
static void put_first(struct race *race, const struct pen_tcp_place *place)
{
    size_t at = 0;
    while (at < race->count && !is_at(race->addresses[at], place))
        at++;
    if (at == race->count)
        return;
    const struct addrinfo *first = race->addresses[at];
    memmove(race->addresses + 1, race->addresses, at * sizeof(struct addrinfo *));
    race->addresses[0] = first;
}

static int race_init(struct race *race, const struct addrinfo *list, const struct pen_tcp_place *first)
{
    size_t count = 1;
    for (const struct addrinfo *at = list->ai_next; at; at = at->ai_next)
        count++;
    *race = (struct race){.addresses = calloc(count, sizeof(struct addrinfo *)),
                          .tries = calloc(count, sizeof(struct pollfd)),
                          .code = ENETUNREACH};
    if (!race->addresses || !race->tries)
        return -PEN_ENOMEM;
    sort(race, list);
    if (first && first->size)
        put_first(race, first);
    return 0;
}

static void race_finish(struct race *race)
{
    for (size_t i = 0; i < race->begun; i++)
        if (race->tries[i].fd >= 0)
            close(race->tries[i].fd);
    free(race->addresses);
    free(race->tries);
}

/* The next is not to wait for longer. */
static void note_failure(struct race *race, struct pollfd *try, int code)
{
    race->next_ns = 0;
    if (try->fd >= 0)
        close(try->fd);
    try->fd = -1;
    if (weight(code) >= weight(race->code))
        race->code = code;
}

/* Between this one and the next: at most this one's share of the time that is left, so that the last has its turn. */
static uint64_t delay_ns(const struct race *race, uint64_t now, uint64_t deadline_ns)
{
    uint64_t share = now < deadline_ns ? (deadline_ns - now) / (race->count - race->begun) : 0;
    if (share < NEXT_LEAST_NS)
        return NEXT_LEAST_NS;
    return share < NEXT_NS ? share : NEXT_NS;
}

static void begin_next(struct race *race, uint64_t now, uint64_t deadline_ns)
{
    const struct addrinfo *to = race->addresses[race->begun];
    race->next_ns = now + delay_ns(race, now, deadline_ns);
    struct pollfd *try = &race->tries[race->begun++];
    *try =
        (struct pollfd){.fd = socket(to->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), .events = POLLOUT};
    if (try->fd >= 0)
        pen_tcp_notice_silence(try->fd);
    if (try->fd < 0 || (connect(try->fd, to->ai_addr, to->ai_addrlen) && errno != EINPROGRESS))
        note_failure(race, try, errno);
    else
        race->going++;
}

/* Looks at those that poll has told of: the socket that is connected, or -1. */
static int take_answers(struct race *race)
{
    for (size_t i = 0; i < race->begun; i++) {
        struct pollfd *try = &race->tries[i];
        int fd = try->fd, code = 0;
        socklen_t size = sizeof code;
        if (fd < 0 || !try->revents)
            continue;
        if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &size))
            code = errno;
        if (!code) {
            try->fd = -1;
            return fd;
        }
        race->going--;
        note_failure(race, try, code);
    }
    return -1;
}

/* Until there is an answer, or it is `until`, or for a while. */
static int await(struct race *race, uint64_t until)
{
    uint64_t now = pen_now_ns(), ms = now < until ? (until - now + 999999) / 1000000 : 0;
    return poll(race->tries, race->begun, ms < SLEEP_MS ? (int)ms : SLEEP_MS) > 0 ? take_answers(race) : -1;
}

/* 0 with a connected socket, or errno. */
static int run(struct race *race, uint64_t deadline_ns, int *out_fd)
{
    for (;;) {
        uint64_t now = pen_now_ns();
        if (race->begun < race->count && now >= race->next_ns) {
            begin_next(race, now, deadline_ns);
            continue;
        }
        if (!race->going)
            return race->code;
        int fd = await(race, race->begun < race->count && race->next_ns < deadline_ns ? race->next_ns : deadline_ns);
        if (fd >= 0) {
            *out_fd = fd;
            return 0;
        }
        if (race->going && now >= deadline_ns)
            return ETIMEDOUT;
    }
}

/* Of the list, what is of this host. */
static int check_loopback(const char *text, const struct addrinfo *list, struct pen_error *error)
{
    for (; list; list = list->ai_next)
        if (!is_loopback(list->ai_addr))
            return not_loopback(text, error);
    return 0;
}

static void leave_out(struct race *race, const struct pen_tcp_place *place)
{
    size_t left = 0;
    for (size_t i = 0; i < race->count; i++)
        if (!is_at(race->addresses[i], place))
            race->addresses[left++] = race->addresses[i];
    if (!left)
        race->code = ECONNREFUSED;
    race->count = left;
}

/* Of a list, which is NULL when the connection that it was to be of is no more. */
struct choice {
    const struct addrinfo *list;
    const struct pen_tcp_place *first, *without; /* NULL: none */
    size_t without_count;
};

/* To the first that answers. */
static int connect_to_one(const struct choice *choice, const char *text, uint64_t deadline_ns, int *out_fd,
                          struct pen_error *error)
{
    struct race race = {0};
    int code = !choice->list ? ECONNRESET : race_init(&race, choice->list, choice->first) ? ENOMEM : 0;
    for (size_t i = 0; !code && i < choice->without_count; i++)
        leave_out(&race, &choice->without[i]);
    code = code ? code : run(&race, deadline_ns, out_fd);
    race_finish(&race);
    return code ? pen_fail(error, meaning(code), "connecting to %s: %s", text, strerror(code)) : 0;
}

int pen_tcp_connect(const char *text, bool anywhere, const struct pen_tcp_place *first, uint64_t deadline_ns,
                    int *out_fd, struct pen_error *error)
{
    return pen_tcp_connect_but(text, anywhere, first, NULL, 0, deadline_ns, out_fd, error);
}

int pen_tcp_connect_but(const char *text, bool anywhere, const struct pen_tcp_place *first,
                        const struct pen_tcp_place *without, size_t without_count, uint64_t deadline_ns, int *out_fd,
                        struct pen_error *error)
{
    struct addrinfo *list;
    int rc = resolve(text, 0, &list, error);
    if (rc)
        return rc;
    if (!anywhere)
        rc = check_loopback(text, list, error);
    if (!rc)
        rc = connect_to_one(&(struct choice){list, first, without, without_count}, text, deadline_ns, out_fd, error);
    freeaddrinfo(list);
    return rc;
}

int pen_tcp_connect_again(int fd, const char *text, uint64_t deadline_ns, int *out_fd, struct pen_error *error)
{
    struct pen_tcp_place place = pen_tcp_place_of(fd);
    const struct addrinfo only = {
        .ai_family = place.address.ss_family, .ai_addr = (struct sockaddr *)&place.address, .ai_addrlen = place.size};
    return connect_to_one(&(struct choice){.list = place.size ? &only : NULL}, text, deadline_ns, out_fd, error);
}
