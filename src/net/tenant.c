/* See tenant.h. */
#include "net/tenant.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- texts ------------------------------------------------------------------------------------------- */

bool pen_tenant_name_ok(const char *name)
{
    size_t size = strlen(name);
    return size && size <= PEN_TENANT_NAME_BYTES && name[0] != '-' && name[0] != '_' && name[0] != '.' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-_.") == size;
}

static int bad_name(const char *name, struct pen_error *error)
{
    return pen_fail(error, -PEN_EINVAL,
                    "\"%.40s\" is no tenant's name: 1 to %d of a-z, 0-9, '-', '_' and '.', a letter or digit first",
                    name, PEN_TENANT_NAME_BYTES);
}

/* RFC 4648, section 5. */
static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* Digit i is six bits of two bytes, from bit i * 6 on. */
static void print_key(const unsigned char *secret, char out[PEN_TENANT_KEY_TEXT + 1])
{
    for (unsigned i = 0; i < PEN_TENANT_KEY_TEXT; i++) {
        unsigned byte = i * 6 / 8, next = byte + 1 < PEN_TLS_KEY_BYTES ? secret[byte + 1] : 0;
        out[i] = digits[(secret[byte] << 8 | next) >> (10 - i * 6 % 8) & 63];
    }
    out[PEN_TENANT_KEY_TEXT] = 0;
}

static bool read_key(const char *text, size_t size, unsigned char *secret)
{
    unsigned char bytes[PEN_TLS_KEY_BYTES + 1] = {0};
    bool good = size == PEN_TENANT_KEY_TEXT;
    for (unsigned i = 0; good && i < PEN_TENANT_KEY_TEXT; i++) {
        const char *digit = memchr(digits, text[i], 64);
        unsigned value = digit ? (unsigned)(digit - digits) << (10 - i * 6 % 8) : 0;
        bytes[i * 6 / 8] |= (unsigned char)(value >> 8);
        bytes[i * 6 / 8 + 1] |= (unsigned char)value;
        good = digit != NULL;
    }
    good = good && !bytes[PEN_TLS_KEY_BYTES]; /* bits that are left over are zero */
    if (good)
        memcpy(secret, bytes, PEN_TLS_KEY_BYTES);
    explicit_bzero(bytes, sizeof bytes);
    return good;
}

/* ---- files ------------------------------------------------------------------------------------------- */

int pen_tenant_directory(char *out, struct pen_error *error)
{
    const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    int size = -1;
    if (geteuid() == 0)
        size = snprintf(out, PATH_MAX, "/etc/penstock/tenants");
    else if (config && config[0] == '/')
        size = snprintf(out, PATH_MAX, "%s/penstock/tenants", config);
    else if (home && home[0] == '/')
        size = snprintf(out, PATH_MAX, "%s/.config/penstock/tenants", home);
    return size >= 0 && size < PATH_MAX
               ? 0
               : pen_fail(error, -PEN_ENOENT,
                          "no directory for tenants' keys: neither HOME nor XDG_CONFIG_HOME is set");
}

static int path_of(const char *directory, const char *name, char out[PATH_MAX], struct pen_error *error)
{
    if (!pen_tenant_name_ok(name))
        return bad_name(name, error);
    int size = snprintf(out, PATH_MAX, "%s/%s.key", directory, name);
    return size < 0 || size >= PATH_MAX ? pen_fail(error, -PEN_ELIMIT, "the tenants' directory has too long a name")
                                        : 0;
}

int pen_tenant_create(const char *directory, const char *name, struct pen_tls_key *out_key, struct pen_error *error)
{
    char path[PATH_MAX], text[PEN_TENANT_KEY_TEXT + 2];
    struct pen_tls_key key = {0};
    int rc = path_of(directory, name, path, error);
    if (rc)
        return rc;
    if (mkdir(directory, 0700) && errno != EEXIST)
        return pen_fail(error, -PEN_EIO, "making the tenants' directory %s: %s", directory, strerror(errno));
    strcpy(key.identity, name);
    if (getrandom(key.secret, sizeof key.secret, 0) != (ssize_t)sizeof key.secret)
        return pen_fail(error, -PEN_EIO, "no random bytes for a key: %s", strerror(errno));
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 && errno == EEXIST)
        return pen_fail(error, -PEN_EBUSY, "there is a tenant %s already (%s)", name, path);
    if (fd < 0)
        return pen_fail(error, -PEN_EIO, "making %s: %s", path, strerror(errno));
    print_key(key.secret, text);
    strcat(text, "\n");
    bool written = write(fd, text, strlen(text)) == (ssize_t)strlen(text) && !fsync(fd);
    explicit_bzero(text, sizeof text);
    close(fd);
    if (!written) {
        unlink(path);
        return pen_fail(error, -PEN_EIO, "writing %s: %s", path, strerror(errno));
    }
    *out_key = key;
    return 0;
}

int pen_tenant_load(const char *directory, const char *name, struct pen_tls_key *out_key, struct pen_error *error)
{
    char path[PATH_MAX], text[PEN_TENANT_KEY_TEXT + 2];
    struct pen_tls_key key = {0};
    struct stat status;
    int rc = path_of(directory, name, path, error);
    if (rc)
        return rc;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return pen_fail(error, errno == ENOENT ? -PEN_ENOENT : -PEN_EIO, "reading the key of tenant %s (%s): %s", name,
                        path, strerror(errno));
    ssize_t size = fstat(fd, &status) ? -1 : read(fd, text, sizeof text);
    close(fd);
    if (size >= 0 && (status.st_mode & 077))
        rc = pen_fail(error, -PEN_EPERM,
                      "the key of tenant %s is not used, since others can read or write %s (mode %04o; 0600 is "
                      "allowed)",
                      name, path, status.st_mode & 07777);
    else if (size != PEN_TENANT_KEY_TEXT + 1 || text[PEN_TENANT_KEY_TEXT] != '\n' ||
             !read_key(text, PEN_TENANT_KEY_TEXT, key.secret))
        rc = pen_fail(error, -PEN_EPROTO, "%s holds no key: %d characters of base64url and a newline are one", path,
                      PEN_TENANT_KEY_TEXT);
    explicit_bzero(text, sizeof text);
    if (rc)
        return rc;
    strcpy(key.identity, name);
    *out_key = key;
    return 0;
}

int pen_tenant_remove(const char *directory, const char *name, struct pen_error *error)
{
    char path[PATH_MAX];
    int rc = path_of(directory, name, path, error);
    if (!rc && unlink(path))
        rc = pen_fail(error, errno == ENOENT ? -PEN_ENOENT : -PEN_EIO, "removing %s: %s", path, strerror(errno));
    return rc;
}

/* ---- connection strings ------------------------------------------------------------------------------ */

static int no_address(struct pen_error *error)
{
    return pen_fail(error, -PEN_EINVAL,
                    "a pool's address is penstock://HOST:PORT/NAME#KEY, as `penstock tenant add` prints it, or, for "
                    "measurements on "
                    "one host, tcp://127.0.0.1:PORT");
}

static int take_host(const char *text, size_t size, struct pen_pool_address *out, struct pen_error *error)
{
    if (!size || size >= sizeof out->host || !memchr(text, ':', size))
        return no_address(error);
    memcpy(out->host, text, size);
    out->host[size] = 0;
    return 0;
}

int pen_pool_address_parse(const char *text, struct pen_pool_address *out, struct pen_error *error)
{
    struct pen_pool_address address = {0};
    int rc;
    if (!strncmp(text, "tcp://", 6)) {
        address.plain = true;
        rc = take_host(text + 6, strlen(text + 6), &address, error);
    } else {
        const char *slash = strncmp(text, "penstock://", 11) ? NULL : strchr(text + 11, '/');
        const char *hash = slash ? strchr(slash, '#') : NULL;
        size_t name = hash ? (size_t)(hash - slash) - 1 : 0;
        if (!hash || name > PEN_TENANT_NAME_BYTES || !read_key(hash + 1, strlen(hash + 1), address.key.secret))
            return no_address(error);
        memcpy(address.key.identity, slash + 1, name);
        rc = pen_tenant_name_ok(address.key.identity)
                 ? take_host(text + 11, (size_t)(slash - text) - 11, &address, error)
                 : bad_name(address.key.identity, error);
    }
    if (!rc)
        *out = address;
    explicit_bzero(&address, sizeof address);
    return rc;
}

void pen_pool_address_print(const struct pen_pool_address *address, char *out)
{
    char key[PEN_TENANT_KEY_TEXT + 1];
    if (address->plain) {
        snprintf(out, PEN_POOL_ADDRESS_BYTES, "tcp://%s", address->host);
        return;
    }
    print_key(address->key.secret, key);
    snprintf(out, PEN_POOL_ADDRESS_BYTES, "penstock://%s/%s#%s", address->host, address->key.identity, key);
    explicit_bzero(key, sizeof key);
}
