/* daemon/config.c - see config.h. The file is checked against the schema with positions (document.c), loaded by
 * libcyaml into strings (struct raw), and converted by one table, so that every message names line, key and limits. */
#include "daemon/config.h"

#include <ctype.h>
#include <errno.h>
#include <fnmatch.h>
#include <grp.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/document.h"
#include "daemon/report.h"
#include "wire/arena.h"
#include "wire/ring.h"

/* ---- what the file looks like ------------------------------------------------------------------------ */

struct raw_rule {
    char *match, *name, *class, *memory, *compute_units, *parts, *span, *enabled;
};
struct raw_session {
    char *arena, *ring, *spin_us, *reconnect_window, *lz4;
};
struct raw_listen {
    char *tcp, *tenants, *certificate, *private_key, *authority;
};
struct raw_limits {
    char *handshakes, *handshakes_per_s, *handshake_burst;
    char *sessions, *connections, *handshake_ms, *worker_wait_ms, *worker_start_ms, *probe_ms, *stop_ms;
};
struct raw_cache {
    char *enabled, *dir, *size;
};
struct raw_workers {
    char *warm, *path, *jail, *files;
};
struct raw {
    char *socket, *socket_group, *backend, *log;
    struct raw_rule *devices;
    unsigned devices_count;
    struct raw_session session;
    struct raw_listen listen;
    struct raw_limits limits;
    struct raw_cache cache;
    struct raw_workers workers;
};

#define TEXT(struct_, key_)                                                                                            \
    CYAML_FIELD_STRING_PTR(#key_, CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct struct_, key_, 0, CYAML_UNLIMITED)
#define SECTION(key_, fields_) CYAML_FIELD_MAPPING(#key_, CYAML_FLAG_OPTIONAL, struct raw, key_, fields_)

static const cyaml_schema_field_t rule_fields[] = {
    TEXT(raw_rule, match),  TEXT(raw_rule, name),          TEXT(raw_rule, class),
    TEXT(raw_rule, memory), TEXT(raw_rule, compute_units), TEXT(raw_rule, parts),
    TEXT(raw_rule, span),   TEXT(raw_rule, enabled),       CYAML_FIELD_END};
static const cyaml_schema_value_t rule_schema = {CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct raw_rule, rule_fields)};
static const cyaml_schema_field_t drivers_fields[] = {CYAML_FIELD_IGNORE("environment", CYAML_FLAG_OPTIONAL),
                                                      CYAML_FIELD_END};
static const cyaml_schema_field_t session_fields[] = {TEXT(raw_session, arena),   TEXT(raw_session, ring),
                                                      TEXT(raw_session, spin_us), TEXT(raw_session, reconnect_window),
                                                      TEXT(raw_session, lz4),     CYAML_FIELD_END};
static const cyaml_schema_field_t listen_fields[] = {TEXT(raw_listen, tcp),         TEXT(raw_listen, tenants),
                                                     TEXT(raw_listen, certificate), TEXT(raw_listen, private_key),
                                                     TEXT(raw_listen, authority),   CYAML_FIELD_END};
static const cyaml_schema_field_t limits_fields[] = {TEXT(raw_limits, handshakes),
                                                     TEXT(raw_limits, handshakes_per_s),
                                                     TEXT(raw_limits, handshake_burst),
                                                     TEXT(raw_limits, sessions),
                                                     TEXT(raw_limits, connections),
                                                     TEXT(raw_limits, handshake_ms),
                                                     TEXT(raw_limits, worker_wait_ms),
                                                     TEXT(raw_limits, worker_start_ms),
                                                     TEXT(raw_limits, probe_ms),
                                                     TEXT(raw_limits, stop_ms),
                                                     CYAML_FIELD_END};
static const cyaml_schema_field_t cache_fields[] = {TEXT(raw_cache, enabled), TEXT(raw_cache, dir),
                                                    TEXT(raw_cache, size), CYAML_FIELD_END};
static const cyaml_schema_field_t workers_fields[] = {TEXT(raw_workers, warm), TEXT(raw_workers, path),
                                                      TEXT(raw_workers, jail), TEXT(raw_workers, files),
                                                      CYAML_FIELD_END};
static const cyaml_schema_field_t top_fields[] = {
    TEXT(raw, socket),
    TEXT(raw, socket_group),
    TEXT(raw, backend),
    TEXT(raw, log),
    CYAML_FIELD_SEQUENCE("devices", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct raw, devices, &rule_schema, 0,
                         PEN_CONFIG_RULES),
    /* `drivers` has no struct: its pairs have any names, and are taken from the document. */
    {.key = "drivers", .value = {CYAML_VALUE_MAPPING(CYAML_FLAG_OPTIONAL, char, drivers_fields)}, .data_offset = 0},
    SECTION(session, session_fields),
    SECTION(listen, listen_fields),
    SECTION(limits, limits_fields),
    SECTION(cache, cache_fields),
    SECTION(workers, workers_fields),
    CYAML_FIELD_END};
static const cyaml_schema_value_t top_schema = {CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct raw, top_fields)};

/* ---- conversion -------------------------------------------------------------------------------------- */

enum kind { KIND_TEXT, KIND_SIZE, KIND_TIME, KIND_COUNT, KIND_CHOICE, KIND_GROUP };

struct choice {
    const char *name;
    int64_t value;
};
static const struct choice booleans[] = {{"on", 1}, {"off", 0}, {"true", 1}, {"false", 0}, {"yes", 1}, {"no", 0}, {0}};
static const struct choice jails[] = {{"required", PEN_CONFIG_JAIL_REQUIRED},
                                      {"on", PEN_CONFIG_JAIL_ON},
                                      {"off", PEN_CONFIG_JAIL_OFF},
                                      {"true", PEN_CONFIG_JAIL_ON},
                                      {"false", PEN_CONFIG_JAIL_OFF},
                                      {"yes", PEN_CONFIG_JAIL_ON},
                                      {"no", PEN_CONFIG_JAIL_OFF},
                                      {0}};
static const struct choice backends[] = {{"opencl", PEN_CONFIG_OPENCL}, {"fake", PEN_CONFIG_FAKE}, {0}};
static const struct choice levels[] = {{"error", PEN_REPORT_ERROR},
                                       {"warn", PEN_REPORT_WARN},
                                       {"info", PEN_REPORT_INFO},
                                       {"debug", PEN_REPORT_DEBUG},
                                       {0}};
static const struct choice classes[] = {{"cpu", PEN_DEVICE_CLASS_CPU},
                                        {"gpu", PEN_DEVICE_CLASS_GPU},
                                        {"accelerator", PEN_DEVICE_CLASS_ACCELERATOR},
                                        {"custom", PEN_DEVICE_CLASS_CUSTOM},
                                        {0}};

/* A setting: where its text is in the raw struct and where its value goes; for KIND_TEXT `most` bounds the length. */
struct setting {
    const char *path;
    enum kind kind;
    size_t raw, field;
    uint64_t least, most, fallback;
    const struct choice *choices;
};

#define KIB(n_)          (UINT64_C(n_) << 10)
#define MIB(n_)          (UINT64_C(n_) << 20)
#define GIB(n_)          (UINT64_C(n_) << 30)
#define TIB(n_)          (UINT64_C(n_) << 40)
#define AT(raw_, field_) offsetof(struct raw, raw_), offsetof(struct pen_config, field_)

static const struct setting settings[] = {
    {"socket", KIND_TEXT, AT(socket, socket), 1, 107, 0, NULL},
    {"socket_group", KIND_GROUP, AT(socket_group, socket_group), 0, PEN_UNIX_NO_GROUP - 1, PEN_UNIX_NO_GROUP, NULL},
    {"backend", KIND_CHOICE, AT(backend, backend), 0, 0, PEN_CONFIG_OPENCL, backends},
    {"log", KIND_CHOICE, AT(log, log_level), 0, 0, PEN_REPORT_INFO, levels},
    {"session.arena", KIND_SIZE, AT(session.arena, arena_bytes), PEN_ARENA_BYTES_MIN, PEN_ARENA_BYTES_MAX,
     PEN_ARENA_BYTES, NULL},
    {"session.ring", KIND_SIZE, AT(session.ring, ring_bytes), (uint64_t)PEN_RING_BYTES_MIN, PEN_RING_BYTES_MAX,
     PEN_RING_BYTES, NULL},
    {"session.spin_us", KIND_COUNT, AT(session.spin_us, spin_us), 0, 10000, 20, NULL},
    {"session.reconnect_window", KIND_TIME, AT(session.reconnect_window, reconnect_ms), 0, 86400000, 60000, NULL},
    {"session.lz4", KIND_CHOICE, AT(session.lz4, lz4), 0, 0, 1, booleans},
    {"listen.tcp", KIND_TEXT, AT(listen.tcp, listen_tcp), 1, PEN_CONFIG_ADDRESS, 0, NULL},
    {"listen.tenants", KIND_TEXT, AT(listen.tenants, tenants_dir), 1, 3072, 0, NULL},
    {"listen.certificate", KIND_TEXT, AT(listen.certificate, certificate), 1, PEN_CERTIFICATE_PATH - 1, 0, NULL},
    {"listen.private_key", KIND_TEXT, AT(listen.private_key, private_key), 1, PEN_CERTIFICATE_PATH - 1, 0, NULL},
    {"listen.authority", KIND_TEXT, AT(listen.authority, authority), 1, PEN_CERTIFICATE_PATH - 1, 0, NULL},
    {"limits.handshakes", KIND_COUNT, AT(limits.handshakes, max_handshakes), 1, 65536, 64, NULL},
    {"limits.handshakes_per_s", KIND_COUNT, AT(limits.handshakes_per_s, handshakes_per_s), 1, 1000000, 100, NULL},
    {"limits.handshake_burst", KIND_COUNT, AT(limits.handshake_burst, handshake_burst), 1, 1000000, 1000, NULL},
    {"limits.sessions", KIND_COUNT, AT(limits.sessions, max_sessions), 1, PEN_LIMIT_SESSIONS, 64, NULL},
    {"limits.connections", KIND_COUNT, AT(limits.connections, max_connections), 1, 65536, 256, NULL},
    {"limits.handshake_ms", KIND_COUNT, AT(limits.handshake_ms, handshake_ms), 10, 3600000, 5000, NULL},
    {"limits.worker_wait_ms", KIND_COUNT, AT(limits.worker_wait_ms, worker_wait_ms), 10, 3600000, 8000, NULL},
    {"limits.worker_start_ms", KIND_COUNT, AT(limits.worker_start_ms, worker_start_ms), 10, 3600000, 30000, NULL},
    {"limits.probe_ms", KIND_COUNT, AT(limits.probe_ms, probe_ms), 10, 3600000, 30000, NULL},
    {"limits.stop_ms", KIND_COUNT, AT(limits.stop_ms, stop_ms), 0, 3600000, 3000, NULL},
    {"cache.enabled", KIND_CHOICE, AT(cache.enabled, cache_enabled), 0, 0, 1, booleans},
    {"cache.dir", KIND_TEXT, AT(cache.dir, cache_dir), 1, 3072, 0, NULL},
    {"cache.size", KIND_SIZE, AT(cache.size, cache_bytes), MIB(1), TIB(1024), GIB(1), NULL},
    {"workers.warm", KIND_COUNT, AT(workers.warm, warm_workers), 0, 64, 1, NULL},
    {"workers.path", KIND_TEXT, AT(workers.path, worker_path), 1, 3072, 0, NULL},
    {"workers.jail", KIND_CHOICE, AT(workers.jail, jail), 0, 0, PEN_CONFIG_JAIL_ON, jails},
    {"workers.files", KIND_TEXT, AT(workers.files, worker_files), 1, 4096, 0, NULL},
};

#undef AT
#define AT(raw_, field_) offsetof(struct raw_rule, raw_), offsetof(struct pen_config_rule, field_)

/* Paths are relative to the entry. */
static const struct setting rule_settings[] = {
    {".match", KIND_TEXT, AT(match, match), 1, 1024, 0, NULL},
    {".name", KIND_TEXT, AT(name, name), 1, 64, 0, NULL},
    {".class", KIND_CHOICE, AT(class, class), 0, 0, UINT64_MAX, classes},
    {".memory", KIND_SIZE, AT(memory, memory_bytes), MIB(1), TIB(1024), 0, NULL},
    {".compute_units", KIND_COUNT, AT(compute_units, compute_units), 1, 65536, 0, NULL},
    {".parts", KIND_COUNT, AT(parts, parts), 2, PEN_LIMIT_DEVICES, 0, NULL},
    {".span", KIND_COUNT, AT(span, span), 2, PEN_LIMIT_DEVICES, 0, NULL},
    {".enabled", KIND_CHOICE, AT(enabled, enabled), 0, 0, 1, booleans},
};

#define COUNT_OF(array_) (sizeof(array_) / sizeof *(array_))

/* "64 GiB" as people write it, when it is a whole number of some unit. */
static void size_text(uint64_t bytes, char *out, size_t size)
{
    static const char *const units[] = {"", "KiB", "MiB", "GiB", "TiB"};
    unsigned unit = 0;
    while (unit < 4 && bytes && bytes % 1024 == 0) {
        bytes /= 1024;
        unit++;
    }
    snprintf(out, size, "%" PRIu64 "%s", bytes, units[unit]);
}

/* Digits only, then in `*out_rest` what follows them; false when there are none or they overflow. */
static bool digits(const char *text, uint64_t *out_value, const char **out_rest)
{
    if (!isdigit((unsigned char)*text))
        return false;
    char *end;
    errno = 0;
    *out_value = strtoull(text, &end, 10);
    *out_rest = end;
    return errno == 0;
}

struct unit {
    const char *name;
    uint64_t factor;
};

/* A number with one of the units, as `compare` tells their names apart. */
static bool parse_with_unit(const char *text, const struct unit *units, size_t count,
                            int (*compare)(const char *, const char *), uint64_t *out_value)
{
    uint64_t value;
    const char *rest;
    if (!digits(text, &value, &rest))
        return false;
    while (*rest == ' ')
        rest++;
    for (size_t i = 0; i < count; i++)
        if (!compare(rest, units[i].name))
            return !__builtin_mul_overflow(value, units[i].factor, out_value);
    return false;
}

static bool parse_size(const char *text, uint64_t *out_bytes)
{
    static const struct unit units[] = {{"", 1},
                                        {"B", 1},
                                        {"KiB", KIB(1)},
                                        {"MiB", MIB(1)},
                                        {"GiB", GIB(1)},
                                        {"TiB", TIB(1)},
                                        {"KB", UINT64_C(1000)},
                                        {"MB", UINT64_C(1000000)},
                                        {"GB", UINT64_C(1000000000)},
                                        {"TB", UINT64_C(1000000000000)}};
    return parse_with_unit(text, units, COUNT_OF(units), strcasecmp, out_bytes);
}

/* "60 s" as people write it. */
static void time_text(uint64_t ms, char *out, size_t size)
{
    snprintf(out, size, ms % 1000 ? "%" PRIu64 " ms" : "%" PRIu64 " s", ms % 1000 ? ms : ms / 1000);
}

static bool parse_time(const char *text, uint64_t *out_ms)
{
    static const struct unit units[] = {{"ms", 1}, {"s", 1000}, {"min", 60000}, {"h", 3600000}};
    return parse_with_unit(text, units, COUNT_OF(units), strcmp, out_ms);
}

static int refuse(struct pen_document *document, const char *path, const char *text, const char *allowed,
                  struct pen_error *error)
{
    return pen_fail(error, -PEN_ECONFIG, "%s:%zu: %s is \"%.80s\"; it must be %s", document->file,
                    pen_document_line(document, path), path, text, allowed);
}

static int convert_text(struct pen_document *document, const struct setting *setting, const char *path,
                        const char *text, char **out, struct pen_error *error)
{
    size_t length = strlen(text);
    if (length < setting->least || length > setting->most) {
        char allowed[96];
        snprintf(allowed, sizeof allowed, "%" PRIu64 " to %" PRIu64 " bytes of text", setting->least, setting->most);
        return refuse(document, path, text, allowed, error);
    }
    char *copy = strdup(text);
    if (!copy)
        return pen_fail(error, -PEN_ENOMEM, "reading %s: %s", document->file, pen_error_text(-PEN_ENOMEM));
    free(*out);
    *out = copy;
    return 0;
}

static int convert_choice(struct pen_document *document, const struct setting *setting, const char *path,
                          const char *text, uint64_t *out, struct pen_error *error)
{
    char allowed[160] = "one of ";
    size_t used = strlen(allowed);
    for (const struct choice *choice = setting->choices; choice->name; choice++) {
        if (!strcmp(choice->name, text)) {
            *out = (uint64_t)choice->value;
            return 0;
        }
        used += (size_t)snprintf(allowed + used, sizeof allowed - used, "%s%s", choice == setting->choices ? "" : ", ",
                                 choice->name);
    }
    return refuse(document, path, text, allowed, error);
}

static int convert_group(struct pen_document *document, const struct setting *setting, const char *path,
                         const char *text, uint64_t *out, struct pen_error *error)
{
    const char *rest = "";
    if (digits(text, out, &rest) && !*rest && *out <= setting->most)
        return 0;
    const struct group *group = getgrnam(text);
    if (!group)
        return refuse(document, path, text, "the name or the number of a group that this host has", error);
    *out = group->gr_gid;
    return 0;
}

static int convert_number(struct pen_document *document, const struct setting *setting, const char *path,
                          const char *text, uint64_t *out, struct pen_error *error)
{
    uint64_t value;
    const char *rest = "";
    char allowed[160], least[32], most[32];
    bool good;
    if (setting->kind == KIND_SIZE) {
        good = parse_size(text, &value);
        size_text(setting->least, least, sizeof least);
        size_text(setting->most, most, sizeof most);
        snprintf(allowed, sizeof allowed, "a size from %s to %s (units: B, KiB, MiB, GiB, TiB)", least, most);
    } else if (setting->kind == KIND_TIME) {
        good = parse_time(text, &value);
        time_text(setting->least, least, sizeof least);
        time_text(setting->most, most, sizeof most);
        snprintf(allowed, sizeof allowed, "a time from %s to %s (units: ms, s, min, h)", least, most);
    } else {
        good = digits(text, &value, &rest) && !*rest;
        snprintf(allowed, sizeof allowed, "a whole number from %" PRIu64 " to %" PRIu64, setting->least, setting->most);
    }
    if (!good || value < setting->least || value > setting->most)
        return refuse(document, path, text, allowed, error);
    *out = value;
    return 0;
}

/* Converts a struct's settings; `raw` NULL or a field that was not given: the default. `prefix` names the entry. */
static int convert(struct pen_document *document, const struct setting *table, size_t count, const char *prefix,
                   const void *raw, void *target, struct pen_error *error)
{
    for (size_t i = 0; i < count; i++) {
        const struct setting *setting = &table[i];
        const char *text = raw ? *(char *const *)(const void *)((const char *)raw + setting->raw) : NULL;
        void *field = (char *)target + setting->field;
        char path[128];
        int rc = 0;
        snprintf(path, sizeof path, "%s%s", prefix, setting->path);
        if (setting->kind == KIND_TEXT)
            rc = text ? convert_text(document, setting, path, text, field, error) : 0;
        else if (!text)
            *(uint64_t *)field = setting->fallback;
        else if (setting->kind == KIND_CHOICE)
            rc = convert_choice(document, setting, path, text, field, error);
        else if (setting->kind == KIND_GROUP)
            rc = convert_group(document, setting, path, text, field, error);
        else
            rc = convert_number(document, setting, path, text, field, error);
        if (rc)
            return rc;
    }
    return 0;
}

/* ---- the parts that are not single values ------------------------------------------------------------ */

static int convert_rules(struct pen_document *document, struct pen_config *config, const struct raw *raw,
                         struct pen_error *error)
{
    if (!raw->devices_count)
        return 0;
    config->rules = calloc(raw->devices_count, sizeof *config->rules);
    if (!config->rules)
        return pen_fail(error, -PEN_ENOMEM, "reading %s: %s", document->file, pen_error_text(-PEN_ENOMEM));
    for (unsigned i = 0; i < raw->devices_count; i++) {
        char prefix[32];
        snprintf(prefix, sizeof prefix, "devices[%u]", i);
        struct pen_config_rule *rule = &config->rules[config->rule_count++];
        int rc = convert(document, rule_settings, COUNT_OF(rule_settings), prefix, &raw->devices[i], rule, error);
        if (rc)
            return rc;
        if (rule->compute_units && rule->parts)
            return pen_fail(
                error, -PEN_ECONFIG,
                "%s:%zu: %s has both \"compute_units\" and \"parts\": a device is cut into parts of so many "
                "compute units, or into so many parts",
                document->file, pen_document_line(document, prefix), prefix);
        if (!rule->match)
            return pen_fail(error, -PEN_ECONFIG,
                            "%s:%zu: %s has no \"match\"; it must say which devices it is about, as a glob on the "
                            "driver's or device's name (\"*\": all)",
                            document->file, pen_document_line(document, prefix), prefix);
    }
    return 0;
}

struct environment_context {
    struct pen_document *document;
    struct pen_config *config;
    struct pen_error *error;
};

static int add_environment(void *context, const char *key, const char *value, size_t line)
{
    struct environment_context *c = context;
    const char *file = c->document->file;
    bool good = isalpha((unsigned char)*key) || *key == '_';
    for (const char *at = key; *at; at++)
        good = good && (isalnum((unsigned char)*at) || *at == '_');
    if (!good)
        return pen_fail(c->error, -PEN_ECONFIG,
                        "%s:%zu: drivers.environment.%s: the name of an environment variable must be letters, digits "
                        "and \"_\", not beginning with a digit",
                        file, line, key);
    if (c->config->environment_count == PEN_CONFIG_ENVIRONMENT)
        return pen_fail(c->error, -PEN_ECONFIG, "%s:%zu: drivers.environment has more than %d entries", file, line,
                        PEN_CONFIG_ENVIRONMENT);
    char *pair;
    if (asprintf(&pair, "%s=%s", key, value) < 0)
        return pen_fail(c->error, -PEN_ENOMEM, "reading %s: %s", file, pen_error_text(-PEN_ENOMEM));
    c->config->environment[c->config->environment_count++] = pair;
    return 0;
}

static int convert_environment(struct pen_document *document, struct pen_config *config, struct pen_error *error)
{
    struct environment_context context = {document, config, error};
    config->environment = calloc(PEN_CONFIG_ENVIRONMENT, sizeof *config->environment);
    if (!config->environment)
        return pen_fail(error, -PEN_ENOMEM, "reading %s: %s", document->file, pen_error_text(-PEN_ENOMEM));
    return pen_document_pairs(document, "drivers.environment", add_environment, &context);
}

/* Each of the paths, if there are any. */
static int check_files(struct pen_document *document, const char *paths, struct pen_error *error)
{
    for (const char *at = paths; at; at = strchr(at, ':'), at = at ? at + 1 : NULL) {
        char path[81];
        snprintf(path, sizeof path, "%.*s", (int)strcspn(at, ":"), at);
        if (path[0] != '/')
            return refuse(document, "workers.files", path, "absolute paths between colons", error);
    }
    return 0;
}

static int check_together(struct pen_document *document, const struct pen_config *config, struct pen_error *error)
{
    if (config->ring_bytes & (config->ring_bytes - 1))
        return pen_fail(error, -PEN_ECONFIG, "%s:%zu: session.ring is %" PRIu64 " bytes; it must be a power of two",
                        document->file, pen_document_line(document, "session.ring"), config->ring_bytes);
    if (config->arena_bytes % PEN_ARENA_HUGE)
        return pen_fail(error, -PEN_ECONFIG,
                        "%s:%zu: session.arena is %" PRIu64 " bytes; it must be a multiple of 2MiB", document->file,
                        pen_document_line(document, "session.arena"), config->arena_bytes);
    if (config->socket && config->socket[0] != '/')
        return refuse(document, "socket", config->socket, "an absolute path", error);
    if (config->cache_dir && config->cache_dir[0] != '/')
        return refuse(document, "cache.dir", config->cache_dir, "an absolute path", error);
    if (config->worker_path && config->worker_path[0] != '/')
        return refuse(document, "workers.path", config->worker_path, "an absolute path", error);
    return check_files(document, config->worker_files, error);
}

/* All of the three or none. */
static int check_certificates(struct pen_document *document, const struct pen_config *config, struct pen_error *error)
{
    const struct {
        const char *key, *path;
    } parts[] = {{"listen.certificate", config->certificate},
                 {"listen.private_key", config->private_key},
                 {"listen.authority", config->authority}};
    const char *given = NULL, *missing = NULL;
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        if (!parts[i].path) {
            missing = parts[i].key;
            continue;
        }
        given = parts[i].key;
        if (parts[i].path[0] != '/')
            return refuse(document, parts[i].key, parts[i].path, "an absolute path", error);
    }
    if (!given || !missing)
        return 0;
    return pen_fail(error, -PEN_ECONFIG, "%s:%zu: %s needs %s: certificate, private_key and authority are set together",
                    document->file, pen_document_line(document, given), given, missing);
}

/* ---- loading ----------------------------------------------------------------------------------------- */

/* libcyaml's own complaints; the check with positions comes first, so these are rare. Keeps the first. */
static void note_complaint(cyaml_log_t level, void *context, const char *format, va_list args)
{
    char *first = context;
    if (level >= CYAML_LOG_ERROR && !first[0])
        vsnprintf(first, 256, format, args);
}

static int load_raw(struct pen_document *document, struct raw **out_raw, struct pen_error *error)
{
    char complaint[256] = "";
    const cyaml_config_t cyaml = {.log_fn = note_complaint,
                                  .log_ctx = complaint,
                                  .log_level = CYAML_LOG_ERROR,
                                  .mem_fn = cyaml_mem,
                                  .flags = CYAML_CFG_DEFAULT};
    cyaml_err_t err = cyaml_load_data((const uint8_t *)document->text, document->size, &cyaml, &top_schema,
                                      (cyaml_data_t **)out_raw, NULL);
    if (err == CYAML_OK)
        return 0;
    complaint[strcspn(complaint, "\n")] = '\0';
    return pen_fail(error, -PEN_ECONFIG, "%s: %s (%s)", document->file, cyaml_strerror(err), complaint);
}

static void free_raw(struct raw *raw)
{
    const cyaml_config_t cyaml = {.mem_fn = cyaml_mem, .log_level = CYAML_LOG_ERROR};
    if (raw)
        cyaml_free(&cyaml, &top_schema, raw, 0);
}

const char *pen_config_find(const char *option, bool system)
{
    const char *from_environment = getenv("PENSTOCK_CONFIG");
    if (option)
        return option;
    if (from_environment && *from_environment)
        return from_environment;
    return system && !access(PEN_CONFIG_SYSTEM, F_OK) ? PEN_CONFIG_SYSTEM : NULL;
}

int pen_config_load(struct pen_config *config, const char *file, struct pen_error *error)
{
    struct pen_document document = {0};
    struct raw *raw = NULL;
    int rc = 0;
    *config = (struct pen_config){0};

    if (file) {
        rc = pen_document_load(&document, file, error);
        if (rc)
            goto out;
    }
    if (!pen_document_empty(&document)) {
        rc = pen_document_check(&document, &top_schema, error);
        if (!rc)
            rc = load_raw(&document, &raw, error);
    }
    if (!rc)
        rc = convert(&document, settings, COUNT_OF(settings), "", raw, config, error);
    if (!rc && raw)
        rc = convert_rules(&document, config, raw, error);
    if (!rc && raw)
        rc = convert_environment(&document, config, error);
    if (!rc && raw)
        rc = check_together(&document, config, error);
    if (!rc && raw)
        rc = check_certificates(&document, config, error);
out:
    free_raw(raw);
    pen_document_finish(&document);
    if (rc)
        pen_config_finish(config);
    return rc;
}

void pen_config_finish(struct pen_config *config)
{
    if (!config)
        return;
    for (uint32_t i = 0; i < config->rule_count; i++) {
        free(config->rules[i].match);
        free(config->rules[i].name);
    }
    free(config->rules);
    for (uint32_t i = 0; i < config->environment_count; i++)
        free(config->environment[i]);
    free(config->environment);
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        if (settings[i].kind == KIND_TEXT)
            free(*(char **)(void *)((char *)config + settings[i].field));
    *config = (struct pen_config){0};
}

const struct pen_config_rule *pen_config_rule_for(const struct pen_config *config, const char *driver,
                                                  const char *vendor_name)
{
    static const struct pen_config_rule as_it_is = {.class = -1, .enabled = 1};
    if (!config->rule_count)
        return &as_it_is;
    char both[600];
    snprintf(both, sizeof both, "%s/%s", driver, vendor_name);
    for (uint32_t i = 0; i < config->rule_count; i++) {
        const struct pen_config_rule *rule = &config->rules[i];
        if (!fnmatch(rule->match, vendor_name, FNM_CASEFOLD) || !fnmatch(rule->match, driver, FNM_CASEFOLD) ||
            !fnmatch(rule->match, both, FNM_CASEFOLD))
            return rule->enabled ? rule : NULL;
    }
    return NULL;
}
