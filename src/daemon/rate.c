/* daemon/rate.c - see rate.h. A bucket is one number, the time when it is full (as the theoretical arrival time of the
 * generic cell rate algorithm, ITU-T I.371): each token that is taken puts that off by the time that one takes to come.
 */
#include "daemon/rate.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#define SECOND_NS UINT64_C(1000000000)

struct pen_rate_address pen_rate_address_of(const struct sockaddr_storage *from)
{
    struct pen_rate_address address = {{0}};
    if (from->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const void *)from;
        memset(address.bytes + 10, 0xff, 2);
        memcpy(address.bytes + 12, &v4->sin_addr, 4);
    } else if (from->ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const void *)from;
        memcpy(address.bytes, &v6->sin6_addr, IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr) ? 16 : 8);
    }
    return address;
}

void pen_rate_address_text(const struct pen_rate_address *address, char out[64])
{
    struct in6_addr v6;
    char text[INET6_ADDRSTRLEN] = "?";
    memcpy(&v6, address->bytes, sizeof v6);
    bool mapped = IN6_IS_ADDR_V4MAPPED(&v6);
    inet_ntop(mapped ? AF_INET : AF_INET6, address->bytes + (mapped ? 12 : 0), text, sizeof text);
    snprintf(out, 64, "%s%s", text, mapped ? "" : "/64");
}

static struct pen_rate *find(struct pen_rates *rates, const struct pen_rate_address *address)
{
    for (uint32_t i = 0; i < rates->count; i++)
        if (!memcmp(&rates->items[i].address, address, sizeof *address))
            return &rates->items[i];
    return NULL;
}

/* The address's; for one that is not remembered, an empty place, or that of the fullest bucket. */
static struct pen_rate *rate_of(struct pen_rates *rates, const struct pen_rate_address *address)
{
    struct pen_rate *place = find(rates, address);
    if (place)
        return place;
    if (rates->count < PEN_RATE_ADDRESSES) {
        place = &rates->items[rates->count++];
    } else {
        place = &rates->items[0];
        for (uint32_t i = 1; i < rates->count; i++)
            if (rates->items[i].bucket.full_ns < place->bucket.full_ns)
                place = &rates->items[i];
    }
    *place = (struct pen_rate){.address = *address};
    return place;
}

bool pen_bucket_take(struct pen_bucket *bucket, uint64_t token_ns, uint64_t burst, uint64_t now_ns)
{
    uint64_t full_ns = bucket->full_ns > now_ns ? bucket->full_ns : now_ns;
    if (full_ns + token_ns - now_ns > burst * token_ns)
        return false;
    bucket->full_ns = full_ns + token_ns;
    return true;
}

enum pen_rate_answer pen_rate_take(struct pen_rates *rates, const struct pen_rate_address *address, uint64_t per_s,
                                   uint64_t burst, uint64_t now_ns)
{
    struct pen_rate *rate = rate_of(rates, address);
    rate->refused &= rate->bucket.full_ns > now_ns;
    if (pen_bucket_take(&rate->bucket, SECOND_NS / per_s, burst, now_ns))
        return PEN_RATE_OK;
    bool first = !rate->refused;
    rate->refused = true;
    return first ? PEN_RATE_REFUSED_FIRST : PEN_RATE_REFUSED;
}

void pen_rate_give(struct pen_rates *rates, const struct pen_rate_address *address, uint64_t per_s)
{
    const uint64_t token_ns = SECOND_NS / per_s;
    struct pen_rate *rate = find(rates, address);
    if (rate && rate->bucket.full_ns >= token_ns)
        rate->bucket.full_ns -= token_ns;
}
