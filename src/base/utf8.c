/* base/utf8.c - see utf8.h. */
#include "base/utf8.h"

#include <string.h>

/* Bytes of the character that this byte leads. */
static size_t led_by(unsigned char lead)
{
    return lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
}

size_t pen_utf8_length(const char *text)
{
    const unsigned char *at = (const unsigned char *)text;
    size_t length = *at ? led_by(*at) : 0;
    for (size_t i = 1; i < length; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    if ((at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] > 0x9f) || (at[0] == 0xf0 && at[1] < 0x90) ||
        (at[0] == 0xf4 && at[1] > 0x8f))
        return 0;
    return length;
}

void pen_utf8_copy(char *out, size_t size, const char *text)
{
    size_t used = 0;
    while (text[used]) {
        size_t length = pen_utf8_length(text + used);
        length = length ? length : 1; /* what is no character is copied as it is */
        if (used + length >= size)
            break;
        used += length;
    }
    memcpy(out, text, used);
    out[used] = '\0';
}
