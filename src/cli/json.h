/* cli/json.h - JSON of what is not ours. */
#ifndef PEN_CLI_JSON_H
#define PEN_CLI_JSON_H

#include <jansson.h>

/* A string of any bytes: what is not UTF-8 becomes U+FFFD, as in `log dump`. NULL: out of memory. */
json_t *pen_json_text(const char *text);

#endif
