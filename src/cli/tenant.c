/* cli/tenant.c - penstock tenant add|list|revoke: who may use this host's pool from elsewhere. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/json.h"
#include "net/tenant.h"

#define DEFAULT_PORT "7470"

struct options {
    char directory[PATH_MAX];
    const char *host; /* "host:port" for the connection string; NULL: this host's name */
    bool json;
};

static int add_tenant(const struct options *options, const char *name)
{
    struct pen_pool_address address = {0};
    struct pen_error error;
    char text[PEN_POOL_ADDRESS_BYTES], host[PEN_POOL_HOST_BYTES - 8];
    if (options->host && (strlen(options->host) >= sizeof address.host || !strchr(options->host, ':')))
        return pen_cli_fail(PEN_EXIT_USAGE, "--host %.200s: HOST:PORT is allowed", options->host);
    if (!options->host && gethostname(host, sizeof host))
        return pen_cli_fail(PEN_EXIT_FAILED, "this host has no name (%s): give it with --host HOST:PORT",
                            strerror(errno));
    if (options->host)
        snprintf(address.host, sizeof address.host, "%s", options->host);
    else
        snprintf(address.host, sizeof address.host, "%s:" DEFAULT_PORT, host);
    if (pen_tenant_create(options->directory, name, &address.key, &error))
        return pen_cli_fail(PEN_EXIT_FAILED, "%s", error.message);
    pen_pool_address_print(&address, text);
    if (options->json) {
        json_t *object = json_pack("{s:s, s:s}", "tenant", name, "pool", text);
        json_dumpf(object, stdout, JSON_INDENT(2));
        putchar('\n');
        json_decref(object);
    } else {
        puts(text);
    }
    explicit_bzero(text, sizeof text);
    explicit_bzero(&address, sizeof address);
    return 0;
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* NAME of "NAME.key"; malloc'ed, NULL when it is no such file. */
static char *tenant_of(const char *file)
{
    size_t size = strlen(file);
    if (size < 5 || strcmp(file + size - 4, ".key"))
        return NULL;
    char *name = strndup(file, size - 4);
    if (name && !pen_tenant_name_ok(name)) {
        free(name);
        return NULL;
    }
    return name;
}

static int list_tenants(const struct options *options)
{
    DIR *directory = opendir(options->directory);
    char **names = NULL;
    size_t count = 0;
    if (!directory && errno != ENOENT)
        return pen_cli_fail(PEN_EXIT_FAILED, "reading %s: %s", options->directory, strerror(errno));
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        char *name = tenant_of(entry->d_name);
        char **more = name ? realloc(names, (count + 1) * sizeof *names) : NULL;
        if (!more) {
            free(name);
            continue;
        }
        names = more;
        names[count++] = name;
    }
    if (directory)
        closedir(directory);
    if (count)
        qsort(names, count, sizeof *names, compare);
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++) {
        json_array_append_new(array, json_string(names[i]));
        if (!options->json)
            puts(names[i]);
        free(names[i]);
    }
    free(names);
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
    if (pen_tenant_remove(options->directory, name, &error))
        return pen_cli_fail(PEN_EXIT_FAILED, "%s", error.message);
    return 0;
}

/* Options may stand before and after the name. Words that are left over are counted. */
static int parse(int argc, char **argv, struct options *options, const char **out_name, int *out_words)
{
    static const struct option known[] = {{"directory", required_argument, NULL, 'd'},
                                          {"host", required_argument, NULL, 'h'},
                                          {"json", no_argument, NULL, 'j'},
                                          {0}};
    while (optind < argc) {
        int option = pen_cli_option(argc, argv, known);
        if (option == 'd') {
            snprintf(options->directory, sizeof options->directory, "%s", optarg);
        } else if (option == 'h') {
            options->host = optarg;
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

int pen_cli_tenant(int argc, char **argv)
{
    struct options options = {0};
    struct pen_error error;
    const char *what = argc > 1 ? argv[1] : "", *name = NULL;
    int words = 0, status = argc > 1 ? parse(argc - 1, argv + 1, &options, &name, &words) : 0;
    if (status)
        return status;
    if (!options.directory[0] && pen_tenant_directory(options.directory, &error))
        return pen_cli_fail(PEN_EXIT_FAILED, "%s", error.message);
    if (!strcmp(what, "add") && words == 1)
        return add_tenant(&options, name);
    if (!strcmp(what, "revoke") && words == 1)
        return revoke_tenant(&options, name);
    if (!strcmp(what, "list") && !words)
        return list_tenants(&options);
    return pen_cli_fail(PEN_EXIT_USAGE,
                        "tenant add NAME, tenant list and tenant revoke NAME are understood; see penstock help");
}
