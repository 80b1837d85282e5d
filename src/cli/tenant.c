/* cli/tenant.c - penstock tenant add|list|revoke|admit: who may use this host's pool from elsewhere. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/json.h"
#include "daemon/config.h"
#include "net/tcp.h"
#include "net/tenant.h"

#define DEFAULT_PORT "7470"

struct options {
    char directory[PATH_MAX]; /* --directory; "": as the configuration says */
    const char *host;         /* "host:port" for the connection string; NULL: as the configuration says */
    const char *config;       /* --config; NULL: as penstockd finds it */
    bool json;
};

/* What penstockd's configuration says about tenants. */
struct setting {
    const char *file;                    /* NULL: none was read */
    char listen[PEN_CONFIG_ADDRESS + 1]; /* "": it lets nobody in */
    char address[PEN_POOL_HOST_BYTES];   /* that a tenant connects to */
};

static void say_address(const struct options *options, const struct setting *setting)
{
    if (options->host)
        return;
    if (!setting->file)
        fprintf(stderr, "penstock: there is no configuration (" PEN_CONFIG_SYSTEM ", PENSTOCK_CONFIG, --config): ");
    else if (*setting->listen)
        fprintf(stderr, "penstock: the address is that of listen.tcp in %s, %s\n", setting->file, setting->listen);
    else
        fprintf(stderr, "penstock: %s has no listen.tcp: ", setting->file);
    if (!*setting->listen)
        fprintf(stderr, "penstockd lets in nobody from elsewhere; the address is the usual one\n");
}

static void print_added(const struct options *options, const struct setting *setting, const char *name,
                        const char *pool)
{
    say_address(options, setting);
    if (!options->json) {
        puts(pool);
        return;
    }
    json_t *object = json_pack("{s:s, s:s, s:s?, s:s}", "tenant", name, "pool", pool, "configuration", setting->file,
                               "directory", options->directory);
    json_dumpf(object, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(object);
}

static int add_tenant(const struct options *options, const struct setting *setting, const char *name)
{
    struct pen_pool_address address = {0};
    struct pen_error error;
    char text[PEN_POOL_ADDRESS_BYTES];
    snprintf(address.host, sizeof address.host, "%s", setting->address);
    if (pen_tenant_create(options->directory, name, &address.key, &error))
        return pen_cli_fail(PEN_EXIT_FAILED, "%s", error.message);
    pen_pool_address_print(&address, text);
    print_added(options, setting, name, text);
    explicit_bzero(text, sizeof text);
    explicit_bzero(&address, sizeof address);
    return 0;
}

/* Whether it stands for every address of this host. */
static bool is_any(const char *host, size_t size)
{
    static const char *const any[] = {"0.0.0.0", "[::]", "::"};
    for (size_t i = 0; i < sizeof any / sizeof *any; i++)
        if (strlen(any[i]) == size && !strncmp(host, any[i], size))
            return true;
    return false;
}

/* Where penstockd listens, as others say it. */
static int find_address(const struct options *options, struct setting *setting)
{
    char host[HOST_NAME_MAX + 1];
    struct pen_error error;
    if (options->host && pen_tcp_check(options->host, &error))
        return pen_cli_fail(PEN_EXIT_USAGE, "--host: %s", error.message);
    const char *from = options->host ? options->host : setting->listen, *colon = strrchr(from, ':');
    bool any = colon && is_any(from, (size_t)(colon - from));
    if (colon && !strcmp(colon, ":0"))
        return pen_cli_fail(PEN_EXIT_FAILED,
                            "listen.tcp in %s is \"%s\", a port that the system chooses: give --host HOST:PORT",
                            setting->file, from);
    if ((!colon || any) && gethostname(host, sizeof host))
        return pen_cli_fail(PEN_EXIT_FAILED, "this host has no name (%s): give it with --host HOST:PORT",
                            strerror(errno));
    int size = colon && !any
                   ? snprintf(setting->address, sizeof setting->address, "%s", from)
                   : snprintf(setting->address, sizeof setting->address, "%s%s", host, any ? colon : ":" DEFAULT_PORT);
    return size < (int)sizeof setting->address
               ? 0
               : pen_cli_fail(PEN_EXIT_FAILED, "%s is too long for the address of a pool (%d bytes)", from,
                              PEN_POOL_HOST_BYTES - 1);
}

/* What was not said by options is in the daemon's configuration. */
static int read_configuration(struct options *options, bool wants_host, struct setting *out)
{
    struct pen_config config;
    struct pen_error error;
    if (options->directory[0] && (options->host || !wants_host))
        return 0;
    out->file = pen_config_find(options->config, true);
    if (pen_config_load(&config, out->file, &error))
        return pen_cli_fail(PEN_EXIT_FAILED, "%s", error.message);
    if (config.listen_tcp)
        snprintf(out->listen, sizeof out->listen, "%s", config.listen_tcp);
    int rc = 0;
    if (!options->directory[0] && config.tenants_dir)
        snprintf(options->directory, sizeof options->directory, "%s", config.tenants_dir);
    else if (!options->directory[0])
        rc = pen_tenant_directory(options->directory, &error);
    pen_config_finish(&config);
    return rc ? pen_cli_fail(PEN_EXIT_FAILED, "%s", error.message) : 0;
}

struct tenant {
    char name[PEN_TENANT_NAME_BYTES + 1];
    bool has_key, is_revoked; /* NAME.key, NAME.revoked is there */
};

struct tenants {
    struct tenant *items;
    size_t count;
};

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct tenant *)a)->name, ((const struct tenant *)b)->name);
}

/* The one of that name, which is added when it is not there. NULL: out of memory. */
static struct tenant *find_tenant(struct tenants *tenants, const char *name)
{
    for (size_t i = 0; i < tenants->count; i++)
        if (!strcmp(tenants->items[i].name, name))
            return &tenants->items[i];
    struct tenant *more = realloc(tenants->items, (tenants->count + 1) * sizeof *more);
    if (!more)
        return NULL;
    tenants->items = more;
    more[tenants->count] = (struct tenant){0};
    snprintf(more[tenants->count].name, sizeof more->name, "%s", name);
    return &more[tenants->count++];
}

/* A file of the tenants' directory; others are nobody's. */
static void note_file(struct tenants *tenants, const char *file)
{
    char name[PEN_TENANT_NAME_BYTES + 1];
    const char *dot = strrchr(file, '.');
    size_t size = dot ? (size_t)(dot - file) : 0;
    bool is_key = dot && !strcmp(dot, ".key"), is_mark = dot && !strcmp(dot, ".revoked");
    if ((!is_key && !is_mark) || size >= sizeof name)
        return;
    memcpy(name, file, size);
    name[size] = 0;
    struct tenant *tenant = pen_tenant_name_ok(name) ? find_tenant(tenants, name) : NULL;
    if (tenant && is_key)
        tenant->has_key = true;
    else if (tenant)
        tenant->is_revoked = true;
}

static void print_tenant(const struct tenant *tenant)
{
    printf("%s%s\n", tenant->name,
           !tenant->is_revoked ? ""
           : tenant->has_key   ? " (a new key; certificates are revoked)"
                               : " (revoked)");
}

static int list_tenants(const struct options *options)
{
    DIR *directory = opendir(options->directory);
    struct tenants tenants = {0};
    if (!directory && errno != ENOENT)
        return pen_cli_fail(PEN_EXIT_FAILED, "reading %s: %s", options->directory, strerror(errno));
    for (struct dirent *entry; directory && (entry = readdir(directory));)
        note_file(&tenants, entry->d_name);
    if (directory)
        closedir(directory);
    if (tenants.count)
        qsort(tenants.items, tenants.count, sizeof *tenants.items, compare);
    json_t *array = json_array();
    for (size_t i = 0; i < tenants.count; i++) {
        const struct tenant *tenant = &tenants.items[i];
        json_array_append_new(array, json_pack("{s:s, s:b, s:b}", "tenant", tenant->name, "key", tenant->has_key,
                                               "revoked", tenant->is_revoked));
        if (!options->json)
            print_tenant(tenant);
    }
    free(tenants.items);
    if (options->json) {
        json_dumpf(array, stdout, JSON_INDENT(2));
        putchar('\n');
    }
    json_decref(array);
    return 0;
}

static int revoke_tenant(const struct options *options, const char *name)
{
    struct pen_error error;
    bool had_key;
    if (pen_tenant_revoke(options->directory, name, &had_key, &error))
        return pen_cli_fail(PEN_EXIT_FAILED, "%s", error.message);
    if (!had_key)
        fprintf(stderr, "penstock: tenant %s has no key; certificates of that name are refused from now on\n", name);
    return 0;
}

static int admit_tenant(const struct options *options, const char *name)
{
    struct pen_error error;
    if (pen_tenant_admit(options->directory, name, &error))
        return pen_cli_fail(PEN_EXIT_FAILED, "%s", error.message);
    return 0;
}

/* Options may stand before and after the name. Words that are left over are counted. */
static int parse(int argc, char **argv, struct options *options, const char **out_name, int *out_words)
{
    static const struct option known[] = {{"directory", required_argument, NULL, 'd'},
                                          {"host", required_argument, NULL, 'h'},
                                          {"config", required_argument, NULL, 'c'},
                                          {"json", no_argument, NULL, 'j'},
                                          {0}};
    while (optind < argc) {
        int option = pen_cli_option(argc, argv, known);
        if (option == 'd') {
            snprintf(options->directory, sizeof options->directory, "%s", optarg);
        } else if (option == 'h') {
            options->host = optarg;
        } else if (option == 'c') {
            options->config = optarg;
        } else if (option == 'j') {
            options->json = true;
        } else if (option != -1) {
            return PEN_EXIT_USAGE;
        } else if (optind < argc) {
            *out_name = argv[optind++];
            (*out_words)++;
        }
    }
    return 0;
}

static int run(const char *what, const char *name, struct options *options)
{
    struct setting setting = {0};
    bool adds = !strcmp(what, "add");
    int status = read_configuration(options, adds, &setting);
    if (!status && adds)
        status = find_address(options, &setting);
    if (status)
        return status;
    return adds                      ? add_tenant(options, &setting, name)
           : !strcmp(what, "revoke") ? revoke_tenant(options, name)
           : !strcmp(what, "admit")  ? admit_tenant(options, name)
                                     : list_tenants(options);
}

int pen_cli_tenant(int argc, char **argv)
{
    static const struct {
        const char *name;
        int words;
    } commands[] = {{"add", 1}, {"revoke", 1}, {"admit", 1}, {"list", 0}};
    struct options options = {0};
    const char *what = argc > 1 ? argv[1] : "", *name = NULL;
    int words = 0, status = argc > 1 ? parse(argc - 1, argv + 1, &options, &name, &words) : 0;
    if (status)
        return status;
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (!strcmp(what, commands[i].name) && words == commands[i].words)
            return run(what, name, &options);
    return pen_cli_fail(
        PEN_EXIT_USAGE,
        "tenant add NAME, tenant list, tenant revoke NAME and tenant admit NAME are understood; see penstock help");
}
