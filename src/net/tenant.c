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
        const char *digit = memchr(digits, text[i], sizeof digits - 1);
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

#define KEY     ".key"
#define REVOKED ".revoked"

/* ---- files ------------------------------------------------------------------------------------------- */

int pen_tenant_directory(char *out, struct pen_error *error)
{
    const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    int size = -1;
    if (geteuid() == 0)
        size = snprintf(out, PATH_MAX, PEN_SYSCONFDIR "/penstock/tenants");
    else if (config && config[0] == '/')
        size = snprintf(out, PATH_MAX, "%s/penstock/tenants", config);
    else if (home && home[0] == '/')
        size = snprintf(out, PATH_MAX, "%s/.config/penstock/tenants", home);
    return size >= 0 && size < PATH_MAX
               ? 0
               : pen_fail(error, -PEN_ENOENT,
                          "no directory for tenants' keys: neither HOME nor XDG_CONFIG_HOME is set");
}

static int path_of(const char *directory, const char *name, const char *suffix, char out[PATH_MAX],
                   struct pen_error *error)
{
    if (!pen_tenant_name_ok(name))
        return bad_name(name, error);
    int size = snprintf(out, PATH_MAX, "%s/%s%s", directory, name, suffix);
    return size < 0 || size >= PATH_MAX ? pen_fail(error, -PEN_ELIMIT, "the tenants' directory has too long a name")
                                        : 0;
}

int pen_tenant_make_directory(const char *directory, struct pen_error *error)
{
    char above[PATH_MAX];
    snprintf(above, sizeof above, "%s", directory);
    for (char *slash = strchr(above + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        (void)mkdir(above, 0755); /* what is missing in the end is said below */
        *slash = '/';
    }
    return mkdir(directory, 0700) && errno != EEXIST
               ? pen_fail(error, -PEN_EIO, "making the tenants' directory %s: %s", directory, strerror(errno))
               : 0;
}

int pen_tenant_create(const char *directory, const char *name, struct pen_tls_key *out_key, struct pen_error *error)
{
    char path[PATH_MAX], text[PEN_TENANT_KEY_TEXT + 2];
    struct pen_tls_key key = {0};
    int rc = path_of(directory, name, KEY, path, error);
    if (!rc)
        rc = pen_tenant_make_directory(directory, error);
    if (rc)
        return rc;
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

/* What it says that a key's file cannot be read. */
static int unread(int code)
{
    switch (code) {
    case ENOENT:
        return -PEN_ENOENT;
    case EACCES:
    case ELOOP:
    case ENOTDIR:
    case ENXIO:
        return -PEN_EPERM;
    default:
        return -PEN_EIO;
    }
}

int pen_tenant_load(const char *directory, const char *name, struct pen_tls_key *out_key, struct pen_error *error)
{
    char path[PATH_MAX], text[PEN_TENANT_KEY_TEXT + 2];
    struct pen_tls_key key = {0};
    struct stat status;
    int rc = path_of(directory, name, KEY, path, error);
    if (rc)
        return rc;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK); /* what is no file is not waited for */
    ssize_t size = fd < 0 || fstat(fd, &status) ? -1 : read(fd, text, sizeof text);
    int code = size < 0 ? errno : 0;
    if (fd >= 0)
        close(fd);
    if (code && code != EISDIR)
        return pen_fail(error, unread(code), "reading the key of tenant %s (%s): %s", name, path, strerror(code));
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

int pen_tenant_revoke(const char *directory, const char *name, bool *out_had_key, struct pen_error *error)
{
    char mark[PATH_MAX], key[PATH_MAX];
    int rc = path_of(directory, name, REVOKED, mark, error);
    if (!rc)
        rc = path_of(directory, name, KEY, key, error);
    if (!rc)
        rc = pen_tenant_make_directory(directory, error);
    if (rc)
        return rc;
    int fd = open(mark, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return pen_fail(error, -PEN_EIO, "making %s: %s", mark, strerror(errno));
    close(fd);
    bool had_key = !unlink(key);
    if (!had_key && errno != ENOENT)
        return pen_fail(error, -PEN_EIO, "removing %s: %s", key, strerror(errno));
    *out_had_key = had_key;
    return 0;
}

int pen_tenant_admit(const char *directory, const char *name, struct pen_error *error)
{
    char mark[PATH_MAX];
    int rc = path_of(directory, name, REVOKED, mark, error);
    if (!rc && unlink(mark))
        rc = errno == ENOENT ? pen_fail(error, -PEN_ENOENT, "tenant %s has not been revoked (%s)", name, mark)
                             : pen_fail(error, -PEN_EIO, "removing %s: %s", mark, strerror(errno));
    return rc;
}

int pen_tenant_check(const char *directory, const char *name, struct pen_error *error)
{
    char mark[PATH_MAX];
    int rc = path_of(directory, name, REVOKED, mark, error);
    if (rc)
        return rc;
    if (!faccessat(AT_FDCWD, mark, F_OK, AT_SYMLINK_NOFOLLOW))
        return pen_fail(error, -PEN_EPERM, "tenant %s has been revoked", name);
    return errno == ENOENT ? 0 : pen_fail(error, -PEN_EIO, "looking for %s: %s", mark, strerror(errno));
}

/* ---- connection strings ------------------------------------------------------------------------------ */

static int no_address(struct pen_error *error)
{
    return pen_fail(error, -PEN_EINVAL,
                    "a pool's address is penstock://HOST:PORT/NAME#KEY, as `penstock tenant add` prints it; with a "
                    "certificate penstock://HOST:PORT?certificate=FILE&private_key=FILE&authority=FILE; \"local\" for "
                    "this host's own daemon; or, for measurements on one host, tcp://127.0.0.1:PORT");
}

static int take_host(const char *text, size_t size, struct pen_pool_address *out, struct pen_error *error)
{
    if (!size || size >= sizeof out->host || !memchr(text, ':', size))
        return no_address(error);
    memcpy(out->host, text, size);
    out->host[size] = 0;
    return 0;
}

static int take_key(const char *text, struct pen_pool_address *out, struct pen_error *error)
{
    const char *slash = strchr(text, '/'), *hash = slash ? strchr(slash, '#') : NULL;
    size_t name = hash ? (size_t)(hash - slash) - 1 : 0;
    if (!hash || name > PEN_TENANT_NAME_BYTES || !read_key(hash + 1, strlen(hash + 1), out->key.secret))
        return no_address(error);
    memcpy(out->key.identity, slash + 1, name);
    if (!pen_tenant_name_ok(out->key.identity))
        return bad_name(out->key.identity, error);
    return take_host(text, (size_t)(slash - text), out, error);
}

/* The byte that "%41" is; 0: none. */
static char escaped(const char *text, size_t size)
{
    const char number[] = {size > 2 ? text[1] : 0, size > 2 ? text[2] : 0, 0};
    return strspn(number, "0123456789abcdefABCDEF") == 2 ? (char)strtoul(number, NULL, 16) : 0;
}

static bool take_path(const char *text, size_t size, char out[PEN_CERTIFICATE_PATH])
{
    size_t used = 0;
    for (size_t at = 0; at < size; at++) {
        char byte = text[at];
        if (byte == '%') {
            byte = escaped(text + at, size - at);
            at += 2;
        }
        if (!byte || used == PEN_CERTIFICATE_PATH - 1)
            return false;
        out[used++] = byte;
    }
    out[used] = 0;
    return out[0] == '/';
}

/* NAME=FILE: each of the three, once. */
static int take_file(const char *text, size_t size, struct pen_certificate_files *files, struct pen_error *error)
{
    const struct {
        const char *name;
        char *path;
    } known[] = {
        {"certificate=", files->certificate}, {"private_key=", files->private_key}, {"authority=", files->authority}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        size_t name = strlen(known[i].name);
        if (size < name || strncmp(text, known[i].name, name) != 0)
            continue;
        if (known[i].path[0] || !take_path(text + name, size - name, known[i].path))
            return pen_fail(error, -PEN_EINVAL,
                            "a pool's address has \"%.*s\": %s is given once, as an absolute path ('%%' and two "
                            "hexadecimal digits are a byte)",
                            (int)(size < 200 ? size : 200), text, known[i].name);
        return 0;
    }
    return no_address(error);
}

static int take_files(const char *text, struct pen_pool_address *out, struct pen_error *error)
{
    const char *query = strchr(text, '?');
    int rc = take_host(text, (size_t)(query - text), out, error);
    while (!rc && *query) {
        query++;
        size_t size = strcspn(query, "&");
        rc = take_file(query, size, &out->files, error);
        query += size;
    }
    if (!rc && !(out->files.certificate[0] && out->files.private_key[0] && out->files.authority[0]))
        rc = no_address(error);
    out->certified = true;
    return rc;
}

int pen_pool_address_parse(const char *text, struct pen_pool_address *out, struct pen_error *error)
{
    struct pen_pool_address address = {0};
    int rc;
    if (!strcmp(text, "local")) {
        address.local = true;
        rc = 0;
    } else if (!strncmp(text, "tcp://", 6)) {
        address.plain = true;
        rc = take_host(text + 6, strlen(text + 6), &address, error);
    } else if (strncmp(text, "penstock://", 11) != 0) {
        rc = no_address(error);
    } else {
        rc = text[11 + strcspn(text + 11, "/?")] == '?' ? take_files(text + 11, &address, error)
                                                        : take_key(text + 11, &address, error);
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

void pen_pool_address_name(const struct pen_pool_address *address, char *out)
{
    if (address->local)
        snprintf(out, PEN_POOL_NAME_BYTES, "local");
    else if (address->plain)
        snprintf(out, PEN_POOL_NAME_BYTES, "tcp://%s", address->host);
    else if (address->certified)
        snprintf(out, PEN_POOL_NAME_BYTES, "penstock://%s", address->host);
    else
        snprintf(out, PEN_POOL_NAME_BYTES, "penstock://%s/%s", address->host, address->key.identity);
}
