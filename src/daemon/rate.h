/* daemon/rate.h - how often something may be done, or an address may do it: a bucket of tokens for each, which holds
 * `burst` of them and gets one in so long, or `per_s` of them a second.
 * Ownership: none; zero-initialize. Threads: one. */
#ifndef PEN_DAEMON_RATE_H
#define PEN_DAEMON_RATE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/* Addresses that are remembered; of more, those that have the most tokens are forgotten. */
#define PEN_RATE_ADDRESSES 1024

/* An IPv4 address, or the 64 bits of an IPv6 address that say which network: a host chooses the others. */
struct pen_rate_address {
    unsigned char bytes[16];
};

struct pen_bucket {
    uint64_t full_ns; /* when it is full */
};

/* One token, if there is one. They come every token_ns. */
bool pen_bucket_take(struct pen_bucket *bucket, uint64_t token_ns, uint64_t burst, uint64_t now_ns);

struct pen_rates {
    struct pen_rate {
        struct pen_rate_address address;
        struct pen_bucket bucket;
        bool refused; /* since its bucket was full */
    } items[PEN_RATE_ADDRESSES];
    uint32_t count;
};

enum pen_rate_answer { PEN_RATE_OK, PEN_RATE_REFUSED_FIRST /* since its bucket was full */, PEN_RATE_REFUSED };

struct pen_rate_address pen_rate_address_of(const struct sockaddr_storage *from);
/* In words. */
void pen_rate_address_text(const struct pen_rate_address *address, char out[64]);
/* Puts one back. */
void pen_rate_give(struct pen_rates *rates, const struct pen_rate_address *address, uint64_t per_s);
/* One token, if there is one. per_s and burst are 1 to 1,000,000. */
enum pen_rate_answer pen_rate_take(struct pen_rates *rates, const struct pen_rate_address *address, uint64_t per_s,
                                   uint64_t burst, uint64_t now_ns);

#endif
