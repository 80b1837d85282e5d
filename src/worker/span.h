/* worker/span.h - the devices that a worker offers: each as its driver has it, or several as one that spans them.
 * Threads: one, before any session. */
#ifndef PEN_WORKER_SPAN_H
#define PEN_WORKER_SPAN_H

#include "backend/backend.h"
#include "worker/options.h"

/* Ids of offers are 1, 2, ... in their order. */
struct pen_offer {
    struct pen_backend_device device; /* with member_count: what its members have in common, domain NULL */
    const struct pen_backend_device **members;
    uint32_t member_count; /* 0: it spans no others */
};

/* Groups the devices as the options' spans say: each n that follow one another among those a pattern matches become
 * one, in the first one's place; what is left over stays alone. The offers point to `devices`. 0 or -PEN_ENOMEM. */
int pen_offers_make(const struct pen_worker_options *options, const struct pen_backend_device *devices, uint32_t count,
                    struct pen_offer **out_offers, uint32_t *out_count);
void pen_offers_free(struct pen_offer *offers, uint32_t count);

#endif
