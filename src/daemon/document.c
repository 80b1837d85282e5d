/* daemon/document.c - see document.h. */
#include "daemon/document.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- reading ----------------------------------------------------------------------------------------- */

static int read_text(struct pen_document *document, struct pen_error *error)
{
    int fd = open(document->file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return pen_fail(error, -PEN_EIO, "%s: cannot open the configuration: %s", document->file, strerror(errno));

    int rc = 0;
    document->text = malloc(PEN_DOCUMENT_LIMIT + 1);
    if (!document->text) {
        rc = pen_fail(error, -PEN_ENOMEM, "%s: %s", document->file, pen_error_text(-PEN_ENOMEM));
        goto out;
    }
    while (document->size <= PEN_DOCUMENT_LIMIT) {
        ssize_t got = read(fd, document->text + document->size, PEN_DOCUMENT_LIMIT + 1 - document->size);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            rc = pen_fail(error, -PEN_EIO, "%s: cannot read the configuration: %s", document->file, strerror(errno));
            goto out;
        }
        if (got == 0)
            break;
        document->size += (size_t)got;
    }
    if (document->size > PEN_DOCUMENT_LIMIT)
        rc = pen_fail(error, -PEN_ECONFIG, "%s: longer than a configuration may be (%u bytes)", document->file,
                      PEN_DOCUMENT_LIMIT);
out:
    close(fd);
    return rc;
}

static int parse(struct pen_document *document, struct pen_error *error)
{
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser))
        return pen_fail(error, -PEN_ENOMEM, "%s: %s", document->file, pen_error_text(-PEN_ENOMEM));
    yaml_parser_set_input_string(&parser, (const unsigned char *)document->text, document->size);

    int rc = 0;
    if (yaml_parser_load(&parser, &document->yaml))
        document->parsed = true;
    else
        rc = pen_fail(error, -PEN_ECONFIG, "%s:%zu: not YAML: %s%s%s", document->file, parser.problem_mark.line + 1,
                      parser.context ? parser.context : "", parser.context ? ", " : "",
                      parser.problem ? parser.problem : "unreadable");
    yaml_parser_delete(&parser);
    return rc;
}

int pen_document_load(struct pen_document *document, const char *file, struct pen_error *error)
{
    document->file = file;
    int rc = read_text(document, error);
    if (!rc)
        rc = parse(document, error);
    return rc;
}

void pen_document_finish(struct pen_document *document)
{
    if (!document)
        return;
    if (document->parsed)
        yaml_document_delete(&document->yaml);
    free(document->text);
    *document = (struct pen_document){0};
}

bool pen_document_empty(struct pen_document *document)
{
    const yaml_node_t *root = document->parsed ? yaml_document_get_root_node(&document->yaml) : NULL;
    return !root || (root->type == YAML_SCALAR_NODE && root->data.scalar.length == 0);
}

/* ---- checking ---------------------------------------------------------------------------------------- */

/* Where the check is: the file, and the path of keys to the node, for messages. */
struct place {
    struct pen_document *document;
    char path[256];
};

static const char *scalar(const yaml_node_t *node)
{
    return node && node->type == YAML_SCALAR_NODE ? (const char *)node->data.scalar.value : NULL;
}

static int wrong_kind(const struct place *place, const yaml_node_t *node, const char *wanted, struct pen_error *error)
{
    return pen_fail(error, -PEN_ECONFIG, "%s:%zu: %s must be %s", place->document->file, node->start_mark.line + 1,
                    place->path[0] ? place->path : "the configuration", wanted);
}

static void list_keys(const cyaml_schema_field_t *fields, char *out_text, size_t size)
{
    size_t used = 0;
    out_text[0] = '\0';
    for (const cyaml_schema_field_t *field = fields; field->key; field++) {
        int length = snprintf(out_text + used, size - used, "%s%s", used ? ", " : "", field->key);
        if (length < 0 || (size_t)length >= size - used)
            return;
        used += (size_t)length;
    }
}

static int check_node(struct place *place, const yaml_node_t *node, const cyaml_schema_value_t *schema,
                      struct pen_error *error);

static bool seen_before(yaml_document_t *yaml, const yaml_node_t *mapping, const yaml_node_pair_t *pair)
{
    const char *key = scalar(yaml_document_get_node(yaml, pair->key));
    for (const yaml_node_pair_t *p = mapping->data.mapping.pairs.start; p < pair; p++) {
        const char *other = scalar(yaml_document_get_node(yaml, p->key));
        if (other && key && !strcmp(other, key))
            return true;
    }
    return false;
}

/* One pair of a mapping; `fields` NULL: any key, a single value. */
static int check_pair(struct place *place, const yaml_node_t *mapping, const yaml_node_pair_t *pair,
                      const cyaml_schema_field_t *fields, struct pen_error *error)
{
    yaml_document_t *yaml = &place->document->yaml;
    const yaml_node_t *key_node = yaml_document_get_node(yaml, pair->key);
    const yaml_node_t *value = yaml_document_get_node(yaml, pair->value);
    const char *key = scalar(key_node);
    if (!key)
        return wrong_kind(place, key_node, "a mapping whose keys are single words", error);

    size_t length = strlen(place->path), line = key_node->start_mark.line + 1;
    const char *dot = length ? "." : "";
    if (seen_before(yaml, mapping, pair))
        return pen_fail(error, -PEN_ECONFIG, "%s:%zu: %s%s%s is given twice", place->document->file, line, place->path,
                        dot, key);

    const cyaml_schema_field_t *field = fields;
    while (field && field->key && strcmp(field->key, key))
        field++;
    if (field && !field->key) {
        char allowed[256];
        list_keys(fields, allowed, sizeof allowed);
        return pen_fail(error, -PEN_ECONFIG, "%s:%zu: unknown key \"%s%s%s\"; allowed here: %s", place->document->file,
                        line, place->path, dot, key, allowed);
    }

    snprintf(place->path + length, sizeof place->path - length, "%s%s", dot, key);
    static const cyaml_schema_value_t any = {CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 0, CYAML_UNLIMITED)};
    int rc = check_node(place, value, field ? &field->value : &any, error);
    place->path[length] = '\0';
    return rc;
}

static int check_sequence(struct place *place, const yaml_node_t *node, const cyaml_schema_value_t *schema,
                          struct pen_error *error)
{
    size_t length = strlen(place->path), index = 0, count;
    count = (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
    if (count > schema->sequence.max)
        return pen_fail(error, -PEN_ECONFIG, "%s:%zu: %s has %zu entries; at most %u are allowed",
                        place->document->file, node->start_mark.line + 1, place->path, count, schema->sequence.max);
    for (const yaml_node_item_t *item = node->data.sequence.items.start; item < node->data.sequence.items.top;
         item++, index++) {
        snprintf(place->path + length, sizeof place->path - length, "[%zu]", index);
        int rc =
            check_node(place, yaml_document_get_node(&place->document->yaml, *item), schema->sequence.entry, error);
        place->path[length] = '\0';
        if (rc)
            return rc;
    }
    return 0;
}

static int check_node(struct place *place, const yaml_node_t *node, const cyaml_schema_value_t *schema,
                      struct pen_error *error)
{
    if (schema->type == CYAML_SEQUENCE) {
        if (node->type != YAML_SEQUENCE_NODE)
            return wrong_kind(place, node, "a list (lines that begin with \"- \")", error);
        return check_sequence(place, node, schema, error);
    }
    if (schema->type == CYAML_MAPPING || schema->type == CYAML_IGNORE) {
        bool any = schema->type == CYAML_IGNORE;
        char wanted[320] = "a mapping of names to values (NAME: VALUE)", allowed[256];
        if (!any) {
            list_keys(schema->mapping.fields, allowed, sizeof allowed);
            snprintf(wanted, sizeof wanted, "a mapping with the keys %s", allowed);
        }
        if (node->type != YAML_MAPPING_NODE)
            return wrong_kind(place, node, wanted, error);
        for (const yaml_node_pair_t *pair = node->data.mapping.pairs.start; pair < node->data.mapping.pairs.top;
             pair++) {
            int rc = check_pair(place, node, pair, any ? NULL : schema->mapping.fields, error);
            if (rc)
                return rc;
        }
        return 0;
    }
    if (node->type != YAML_SCALAR_NODE)
        return wrong_kind(place, node, "a single value", error);
    return 0;
}

int pen_document_check(struct pen_document *document, const cyaml_schema_value_t *schema, struct pen_error *error)
{
    struct place place = {.document = document};
    return check_node(&place, yaml_document_get_root_node(&document->yaml), schema, error);
}

/* ---- finding ----------------------------------------------------------------------------------------- */

static yaml_node_t *member(yaml_document_t *yaml, const yaml_node_t *node, const char *key, size_t key_length)
{
    if (node->type != YAML_MAPPING_NODE)
        return NULL;
    for (const yaml_node_pair_t *pair = node->data.mapping.pairs.start; pair < node->data.mapping.pairs.top; pair++) {
        const char *text = scalar(yaml_document_get_node(yaml, pair->key));
        if (text && strlen(text) == key_length && !memcmp(text, key, key_length))
            return yaml_document_get_node(yaml, pair->value);
    }
    return NULL;
}

static yaml_node_t *find(struct pen_document *document, const char *path)
{
    if (pen_document_empty(document))
        return NULL;
    yaml_node_t *node = yaml_document_get_root_node(&document->yaml);
    while (node && *path) {
        if (*path == '[') {
            char *end;
            unsigned long index = strtoul(path + 1, &end, 10);
            path = *end ? end + 1 : end;
            if (node->type != YAML_SEQUENCE_NODE ||
                index >= (size_t)(node->data.sequence.items.top - node->data.sequence.items.start))
                return NULL;
            node = yaml_document_get_node(&document->yaml, node->data.sequence.items.start[index]);
        } else {
            path += *path == '.';
            size_t length = strcspn(path, ".[");
            node = member(&document->yaml, node, path, length);
            path += length;
        }
    }
    return node;
}

size_t pen_document_line(struct pen_document *document, const char *path)
{
    const yaml_node_t *node = find(document, path);
    return node ? node->start_mark.line + 1 : 1;
}

int pen_document_pairs(struct pen_document *document, const char *path,
                       int (*pair)(void *context, const char *key, const char *value, size_t line), void *context)
{
    const yaml_node_t *node = find(document, path);
    if (!node || node->type != YAML_MAPPING_NODE)
        return 0;
    for (const yaml_node_pair_t *p = node->data.mapping.pairs.start; p < node->data.mapping.pairs.top; p++) {
        const yaml_node_t *key = yaml_document_get_node(&document->yaml, p->key);
        const yaml_node_t *value = yaml_document_get_node(&document->yaml, p->value);
        int rc = pair(context, scalar(key), scalar(value), key->start_mark.line + 1);
        if (rc)
            return rc;
    }
    return 0;
}
