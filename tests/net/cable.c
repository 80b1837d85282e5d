/* net/cable.c - a network for tests: two ends, each a network namespace of its own with one Ethernet interface, and a
 * cable between them that has a length and a speed, loses frames, and can be cut.
 *
 *   cable [COMMAND]...
 *
 * Prints "a PATH" and "b PATH", the files of the two namespaces: `nsenter --net=PATH PROGRAM` runs a program there. The
 * ends are 192.0.2.1 and 192.0.2.2. Then it obeys the commands, those of its arguments and then one a line of standard
 * input, and answers each with a line, "ok ..." or "no: WHY". It ends with its standard input, and all is gone then but
 * what programs in the namespaces still hold.
 *
 *   delay TIME     from end to end, each way (0): 500us, 1ms
 *   rate SPEED     bits of frames in a second, each way (0: no limit): 1gbit, 100mbit
 *   queue BYTES    what waits at an end for its turn at that rate (256k); more is lost
 *   loss PERCENT   of the frames, each way (0)
 *   seed NUMBER    the same frames are lost for the same seed (1)
 *   mtu BYTES      of the interfaces (1500)
 *   offload on     the hosts' interfaces cut long segments into frames and join them again, as most do: what goes
 *                  through the cable then, and may be lost, is up to 64 KiB at once; it takes its frames' time (off)
 *   cut [TIME]     loses what is under way and all that comes, for so long or until `mend`; the interfaces stay up
 *   reset [TIME]   the same, and an end that sends on a TCP connection meanwhile is told that there is none (RST)
 *   mend
 *   count          answered by "ok FRAMES BYTES LOST FRAMES BYTES LOST", what went from a to b, and from b to a
 *
 * Only IPv4 is carried: the ends know each other's hardware address, and nothing but the tests uses the cable. It needs
 * /dev/net/tun and CAP_SYS_ADMIN, as root has, or anybody after `unshare -Ur`; without them the exit status is 77. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define INTERFACE "cable"
#define SKIPPED   77
#define NEVER     UINT64_MAX
#define FRAME_MAX 65600u
/* Frames read from an interface before the others get their turn. */
#define BATCH 64
/* What is under way at most each way, when nothing else bounds it. */
#define LINE_BYTES (UINT64_C(64) << 20)

/* With the header that an interface gives and takes it with: how it is to be cut. */
struct frame {
    struct frame *next;
    uint64_t due_ns;
    size_t size; /* of bytes */
    unsigned char bytes[];
};

#define HEADER_BYTES sizeof(struct virtio_net_hdr)

/* From one end to the other. */
struct way {
    struct frame *first, **last;
    uint64_t line_bytes;
    uint64_t free_ns; /* when the last bit of what was accepted has left */
    uint64_t random;
    uint64_t frames, bytes, lost; /* delivered; and not */
};

struct end {
    int tap, namespace, control; /* control: a socket of the namespace, to set the interface up */
    struct way out;
};

static struct end ends[2];
static struct {
    uint64_t delay_ns, queue_bytes, cut_until_ns;
    double rate, loss; /* bits a second, 0: no limit; 0..1 */
    bool resets;       /* while it is cut */
} cable = {.queue_bytes = 256 << 10};

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ---- the ends ---------------------------------------------------------------------------------------- */

_Noreturn static void give_up(const char *what)
{
    bool lacking = errno == EPERM || errno == EACCES || errno == ENOENT || errno == ENODEV || errno == ENOSYS;
    fprintf(stderr, "cable: %s: %s; it needs /dev/net/tun and the rights of root, or of `unshare -Ur`\n", what,
            strerror(errno));
    exit(lacking ? SKIPPED : 1);
}

static struct ifreq request_for(const char *interface)
{
    struct ifreq request = {0};
    strcpy(request.ifr_name, interface);
    return request;
}

static void control(const struct end *end, unsigned long operation, struct ifreq *request, const char *what)
{
    if (ioctl(end->control, operation, request))
        give_up(what);
}

static struct sockaddr internet_address(uint32_t address)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(address)};
    struct sockaddr out;
    memcpy(&out, &in, sizeof out);
    return out;
}

static struct sockaddr hardware_address(int index)
{
    return (struct sockaddr){.sa_family = ARPHRD_ETHER, .sa_data = {2, 0, 0, 0, 0, (char)(1 + index)}};
}

static void bring_up(const struct end *end, const char *interface)
{
    struct ifreq request = request_for(interface);
    request.ifr_flags = IFF_UP | IFF_RUNNING;
    control(end, SIOCSIFFLAGS, &request, interface);
}

static void set_addresses(const struct end *end, int index)
{
    const uint32_t network = 0xc0000200; /* 192.0.2.0/24, RFC 5737 */
    struct ifreq request = request_for(INTERFACE);
    request.ifr_hwaddr = hardware_address(index);
    control(end, SIOCSIFHWADDR, &request, "its hardware address");
    request.ifr_addr = internet_address(network + 1 + (uint32_t)index);
    control(end, SIOCSIFADDR, &request, "its address");
    request.ifr_netmask = internet_address(0xffffff00);
    control(end, SIOCSIFNETMASK, &request, "its network mask");
    bring_up(end, INTERFACE);

    struct arpreq peer = {.arp_pa = internet_address(network + 2 - (uint32_t)index),
                          .arp_ha = hardware_address(1 - index),
                          .arp_flags = ATF_PERM | ATF_COM,
                          .arp_dev = INTERFACE};
    if (ioctl(end->control, SIOCSARP, &peer))
        give_up("the other end's hardware address");
}

static void make_end(int index)
{
    struct end *end = &ends[index];
    struct ifreq request = request_for(INTERFACE);
    request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
    if (unshare(CLONE_NEWNET))
        give_up("making a network namespace");
    end->namespace = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    end->control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    end->tap = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (end->namespace < 0 || end->control < 0 || end->tap < 0 || ioctl(end->tap, TUNSETIFF, &request))
        give_up("making an interface");
    bring_up(end, "lo");
    set_addresses(end, index);
    end->out = (struct way){.last = &end->out.first};
    printf("%c /proc/%d/fd/%d\n", 'a' + index, (int)getpid(), end->namespace);
}

/* ---- the cable --------------------------------------------------------------------------------------- */

static bool is_cut(uint64_t now)
{
    return now < cable.cut_until_ns;
}

/* xorshift64* (Marsaglia 2003, Vigna 2016), in 0..1. */
static double next_random(struct way *way)
{
    way->random ^= way->random >> 12;
    way->random ^= way->random << 25;
    way->random ^= way->random >> 27;
    return (double)((way->random * UINT64_C(0x2545f4914f6cdd1d)) >> 11) / (double)(UINT64_C(1) << 53);
}

static void set_seed(uint64_t seed)
{
    for (int i = 0; i < 2; i++) /* never 0, and far apart for neighbours */
        ends[i].out.random = (seed * 2 + (uint64_t)i + 1) * UINT64_C(0x9e3779b97f4a7c15) | 1;
}

static struct frame *take_first(struct way *way)
{
    struct frame *frame = way->first;
    way->first = frame->next;
    if (!way->first)
        way->last = &way->first;
    way->line_bytes -= frame->size;
    return frame;
}

static void lose_all(struct way *way)
{
    while (way->first) {
        free(take_first(way));
        way->lost++;
    }
    way->free_ns = 0;
}

/* When a frame that comes now has arrived at the other end; NEVER: it is lost. The rate's bucket holds one frame. */
static uint64_t arrival(struct way *way, size_t size, uint64_t now)
{
    uint64_t start = way->free_ns > now ? way->free_ns : now;
    if (is_cut(now) || way->line_bytes + size > LINE_BYTES || (cable.loss > 0 && next_random(way) < cable.loss))
        return NEVER;
    if (cable.rate > 0) {
        if ((double)(start - now) * cable.rate > (double)cable.queue_bytes * 8e9)
            return NEVER;
        start += (uint64_t)((double)size * 8e9 / cable.rate);
        way->free_ns = start;
    }
    return start + cable.delay_ns;
}

/* Of the frames that it is cut into, each with the headers that it has once. */
static size_t bytes_on_line(const unsigned char *bytes, size_t size)
{
    struct virtio_net_hdr header;
    memcpy(&header, bytes, HEADER_BYTES);
    size -= HEADER_BYTES;
    if (header.gso_type == VIRTIO_NET_HDR_GSO_NONE || !header.gso_size || size <= header.hdr_len)
        return size;
    size_t frames = (size - header.hdr_len + header.gso_size - 1) / header.gso_size;
    return size + (frames - 1) * header.hdr_len;
}

static void accept_frame(struct way *way, const unsigned char *bytes, size_t size, uint64_t now)
{
    static const unsigned char ipv4[2] = {8, 0};
    if (size < HEADER_BYTES + 14 || memcmp(bytes + HEADER_BYTES + 12, ipv4, sizeof ipv4) != 0)
        return;
    uint64_t due = arrival(way, bytes_on_line(bytes, size), now);
    struct frame *frame = due == NEVER ? NULL : malloc(sizeof *frame + size);
    if (!frame) {
        way->lost++;
        return;
    }
    *frame = (struct frame){.due_ns = due, .size = size};
    memcpy(frame->bytes, bytes, size);
    *way->last = frame;
    way->last = &frame->next;
    way->line_bytes += size;
}

struct segment {
    struct virtio_net_hdr virtual;
    struct ethhdr ethernet;
    struct iphdr ip;
    struct tcphdr tcp;
} __attribute__((packed));

static uint32_t add_words(uint32_t sum, const void *bytes, size_t size)
{
    for (size_t i = 0; i < size; i += 2) {
        uint16_t word;
        memcpy(&word, (const char *)bytes + i, sizeof word);
        sum += word;
    }
    return sum;
}

/* Internet checksum, RFC 1071. */
static uint16_t checksum(uint32_t sum)
{
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

/* What the other end would send that knows of no such connection: with the very number that this one expects next, or
 * it is not believed (RFC 5961), and its answer to that has the number. */
static void refuse(const struct end *end, const unsigned char *bytes, size_t size)
{
    struct segment come, reset = {0};
    if (size < sizeof come)
        return;
    memcpy(&come, bytes, sizeof come);
    if (come.ip.protocol != IPPROTO_TCP || come.ip.ihl != sizeof come.ip / 4 || !come.tcp.ack || come.tcp.syn ||
        come.tcp.rst)
        return;
    reset.ethernet = come.ethernet;
    memcpy(reset.ethernet.h_dest, come.ethernet.h_source, ETH_ALEN);
    memcpy(reset.ethernet.h_source, come.ethernet.h_dest, ETH_ALEN);
    reset.ip = (struct iphdr){.version = 4,
                              .ihl = sizeof reset.ip / 4,
                              .tot_len = htons(sizeof reset.ip + sizeof reset.tcp),
                              .ttl = 64,
                              .protocol = IPPROTO_TCP,
                              .saddr = come.ip.daddr,
                              .daddr = come.ip.saddr};
    reset.ip.check = checksum(add_words(0, &reset.ip, sizeof reset.ip));
    reset.tcp = (struct tcphdr){.source = come.tcp.dest,
                                .dest = come.tcp.source,
                                .seq = come.tcp.ack_seq,
                                .doff = sizeof reset.tcp / 4,
                                .rst = 1};
    const uint32_t pseudo_header = add_words(htons(IPPROTO_TCP) + htons(sizeof reset.tcp), &reset.ip.saddr, 8);
    reset.tcp.check = checksum(add_words(pseudo_header, &reset.tcp, sizeof reset.tcp));
    ssize_t ignored = write(end->tap, &reset, sizeof reset);
    (void)ignored; /* it will send again */
}

static void receive(struct end *end, uint64_t now)
{
    static unsigned char bytes[FRAME_MAX];
    ssize_t size = 0;
    for (int i = 0; i < BATCH && (size = read(end->tap, bytes, sizeof bytes)) > 0; i++) {
        accept_frame(&end->out, bytes, (size_t)size, now);
        if (cable.resets && is_cut(now))
            refuse(end, bytes, (size_t)size);
    }
    if (size < 0 && errno != EAGAIN && errno != EINTR)
        give_up("reading from an interface"); /* somebody has removed it */
}

static void deliver(struct way *way, int tap, uint64_t now)
{
    while (way->first && way->first->due_ns <= now) {
        struct frame *frame = take_first(way);
        if (write(tap, frame->bytes, frame->size) == (ssize_t)frame->size) {
            way->frames++;
            way->bytes += bytes_on_line(frame->bytes, frame->size);
        } else {
            way->lost++;
        }
        free(frame);
    }
}

/* ---- commands ---------------------------------------------------------------------------------------- */

struct unit {
    const char *name;
    double factor;
};

static const struct unit times[] = {{"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {NULL, 0}};
static const struct unit speeds[] = {{"bit", 1}, {"kbit", 1e3}, {"mbit", 1e6}, {"gbit", 1e9}, {NULL, 0}};
static const struct unit sizes[] = {{"", 1}, {"k", 1024}, {"m", 1 << 20}, {NULL, 0}};
static const struct unit percents[] = {{"%", 0.01}, {NULL, 0}};
static const struct unit plain[] = {{"", 1}, {NULL, 0}};

/* A number and its unit, which 0 need not have. */
static bool parse(const char *text, const struct unit *units, double most, double *out)
{
    char *unit;
    double value = strtod(text, &unit);
    bool good = unit != text && value >= 0;
    if (good && value == 0 && !*unit) {
        *out = 0;
        return true;
    }
    while (units->name && strcmp(unit, units->name) != 0)
        units++;
    if (!good || !units->name || value * units->factor > most)
        return false;
    *out = value * units->factor;
    return true;
}

static bool set_delay(const char *text)
{
    double ns;
    bool good = parse(text, times, 60e9, &ns);
    cable.delay_ns = good ? (uint64_t)ns : cable.delay_ns;
    return good;
}

static bool set_rate(const char *text)
{
    ends[0].out.free_ns = ends[1].out.free_ns = 0;
    return parse(text, speeds, 1e12, &cable.rate);
}

static bool set_queue(const char *text)
{
    double bytes;
    bool good = parse(text, sizes, LINE_BYTES, &bytes);
    cable.queue_bytes = good ? (uint64_t)bytes : cable.queue_bytes;
    return good;
}

static bool set_loss(const char *text)
{
    return parse(text, percents, 1, &cable.loss);
}

static bool seed(const char *text)
{
    double number;
    bool good = parse(text, plain, 4e9, &number);
    if (good)
        set_seed((uint64_t)number);
    return good;
}

static bool set_mtu(const char *text)
{
    double bytes;
    bool good = parse(text, plain, 65535, &bytes);
    struct ifreq request = request_for(INTERFACE);
    request.ifr_mtu = good ? (int)bytes : 0;
    for (int i = 0; good && i < 2; i++)
        good = !ioctl(ends[i].control, SIOCSIFMTU, &request);
    return good;
}

static bool set_offload(const char *text)
{
    bool on = !strcmp(text, "on"), good = on || !strcmp(text, "off");
    for (int i = 0; good && i < 2; i++)
        good = !ioctl(ends[i].tap, TUNSETOFFLOAD, on ? TUN_F_CSUM | TUN_F_TSO4 : 0);
    return good;
}

static bool cut(const char *text)
{
    double ns = 0;
    if (*text && !parse(text, times, 3600e9, &ns))
        return false;
    cable.cut_until_ns = *text ? now_ns() + (uint64_t)ns : NEVER;
    cable.resets = false;
    lose_all(&ends[0].out);
    lose_all(&ends[1].out);
    return true;
}

static bool reset(const char *text)
{
    cable.resets = cut(text);
    return cable.resets;
}

static bool mend(const char *text)
{
    cable.cut_until_ns = 0;
    return !*text;
}

static bool count(const char *text)
{
    return !*text;
}

static const struct command {
    const char *name;
    bool (*obey)(const char *text);
    const char *allowed;
} commands[] = {
    {"delay", set_delay, "0 to 60s, in ns, us, ms or s"},
    {"rate", set_rate, "0 to 1000gbit, in bit, kbit, mbit or gbit"},
    {"queue", set_queue, "0 to 64m bytes, also in k or m"},
    {"loss", set_loss, "0% to 100%"},
    {"seed", seed, "0 to 4000000000"},
    {"mtu", set_mtu, "68 to 65521 bytes"},
    {"offload", set_offload, "on or off"},
    {"cut", cut, "nothing or a time, in ns, us, ms or s"},
    {"reset", reset, "nothing or a time, in ns, us, ms or s"},
    {"mend", mend, "nothing"},
    {"count", count, "nothing"},
};

static void print_counts(void)
{
    for (int i = 0; i < 2; i++) {
        const struct way *way = &ends[i].out;
        printf(" %llu %llu %llu", (unsigned long long)way->frames, (unsigned long long)way->bytes,
               (unsigned long long)way->lost);
    }
}

static void obey(const char *line)
{
    size_t size = strcspn(line, " ");
    const char *rest = line + size + strspn(line + size, " ");
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        const struct command *command = &commands[i];
        if (strlen(command->name) != size || strncmp(command->name, line, size) != 0)
            continue;
        if (!command->obey(rest)) {
            printf("no: \"%s\" takes %s, not \"%s\"\n", command->name, command->allowed, rest);
            return;
        }
        fputs("ok", stdout);
        if (command->obey == count)
            print_counts();
        putchar('\n');
        return;
    }
    printf("no: \"%s\" is no command; cable.c says what there is\n", line);
}

/* What has come of standard input; false: it has ended. */
static bool read_commands(void)
{
    static char line[256];
    static size_t used;
    ssize_t got = read(STDIN_FILENO, line + used, sizeof line - 1 - used);
    if (got <= 0)
        return got < 0 && errno == EINTR;
    used += (size_t)got;
    char *end;
    while ((end = memchr(line, '\n', used))) {
        *end = 0;
        obey(line);
        used -= (size_t)(end + 1 - line);
        memmove(line, end + 1, used);
    }
    return used < sizeof line - 1;
}

/* ---- life -------------------------------------------------------------------------------------------- */

/* Until the next frame is due; NULL: none is under way. */
static struct timespec *next_timeout(struct timespec *out, uint64_t now)
{
    uint64_t due = NEVER;
    for (int i = 0; i < 2; i++)
        if (ends[i].out.first && ends[i].out.first->due_ns < due)
            due = ends[i].out.first->due_ns;
    if (due == NEVER)
        return NULL;
    uint64_t ns = due > now ? due - now : 0;
    *out = (struct timespec){(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
    return out;
}

static void carry(void)
{
    struct pollfd fds[3] = {{ends[0].tap, POLLIN, 0}, {ends[1].tap, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
    struct timespec timeout;
    do {
        fds[2].revents = 0;
        if (ppoll(fds, 3, next_timeout(&timeout, now_ns()), NULL) < 0)
            continue;
        uint64_t now = now_ns();
        for (int i = 0; i < 2; i++) {
            receive(&ends[i], now);
            deliver(&ends[i].out, ends[1 - i].tap, now);
        }
    } while (!fds[2].revents || read_commands());
}

int main(int argc, char **argv)
{
    const struct sched_param first = {.sched_priority = 1};
    setvbuf(stdout, NULL, _IOLBF, 0);
    make_end(0);
    make_end(1);
    set_seed(1);
    for (int i = 1; i < argc; i++)
        obey(argv[i]);
    prctl(PR_SET_TIMERSLACK, 1);
    sched_setscheduler(0, SCHED_FIFO, &first); /* in time on a busy machine too, where that is allowed */
    carry();
    return 0;
}
