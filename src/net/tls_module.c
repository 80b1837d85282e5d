/* The module's one symbol: see tls_module.h. */
#include "net/tls_module.h"

extern const struct pen_tls_module pen_tls_module;

__attribute__((visibility("default"))) const struct pen_tls_module pen_tls_module = {
    PEN_VERSION,
    pen_stream_tls_connect,
    pen_stream_tls_connect_certified,
    pen_tls_handshake_until,
};
