/* cli/execution.c - see execution.h. The timeline is in the Trace Event Format (Google, "Trace Event Format", 2016),
 * which Perfetto and Chrome read. */
#include "cli/execution.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/scratch.h"
#include "cli/cli.h"
#include "cli/json.h"
#include "penstock-protocol.h"
#include "state/log.h"

struct node {
    uint64_t id, device, region, bytes;
    uint32_t lane;
    bool copies, to_host, done, observed;
    int status;
    uint64_t started_ns, ended_ns;
    char *name;
    struct pen_predecessor *after;
    uint32_t after_count;
};

struct execution {
    struct node **nodes; /* in the order in which they were placed */
    uint32_t count, room;
    struct pen_map by_id;   /* -> struct node */
    struct pen_map devices; /* id -> malloc'ed name */
    bool whole;             /* a trace has its end */
    struct pen_scratch scratch;
};

/* ---- reading ------------------------------------------------------------------------------------------------ */

static int name_device(struct execution *execution, const struct pen_msg_device *device)
{
    char *name = strdup(device->name);
    if (!name)
        return -PEN_ENOMEM;
    free(pen_map_remove(&execution->devices, device->device));
    int rc = pen_map_set(&execution->devices, device->device, name);
    if (rc)
        free(name);
    return rc;
}

static void free_node(struct node *node)
{
    if (!node)
        return;
    free(node->name);
    free(node->after);
    free(node);
}

static int reserve(struct execution *execution)
{
    if (execution->count < execution->room)
        return 0;
    uint32_t room = execution->room ? 2 * execution->room : 256;
    struct node **more = realloc(execution->nodes, room * sizeof(struct node *));
    if (!more)
        return -PEN_ENOMEM;
    execution->nodes = more;
    execution->room = room;
    return 0;
}

static struct node *make_node(const struct pen_msg_placed *placed)
{
    struct node *node = calloc(1, sizeof *node);
    if (!node)
        return NULL;
    *node = (struct node){.id = placed->node,
                          .device = placed->device,
                          .lane = placed->lane,
                          .region = placed->region,
                          .bytes = placed->bytes,
                          .copies = placed->region != 0,
                          .to_host = placed->to_host,
                          .name = strdup(placed->name),
                          .after = malloc((placed->after_count + 1) * sizeof *node->after),
                          .after_count = placed->after_count};
    if (!node->name || !node->after) {
        free_node(node);
        return NULL;
    }
    if (placed->after_count)
        memcpy(node->after, placed->after, placed->after_count * sizeof *node->after);
    return node;
}

static int add_node(struct execution *execution, const struct pen_msg_placed *placed)
{
    struct node *node = make_node(placed);
    if (!node || reserve(execution) || pen_map_set(&execution->by_id, placed->node, node)) {
        free_node(node);
        return -PEN_ENOMEM;
    }
    execution->nodes[execution->count++] = node;
    return 0;
}

static void end_node(struct execution *execution, const struct pen_msg_executed *executed)
{
    struct node *node = pen_map_get(&execution->by_id, executed->node);
    if (!node)
        return;
    node->done = true;
    node->status = executed->status;
    node->observed = executed->observed;
    node->started_ns = executed->started;
    node->ended_ns = executed->ended;
}

static int read_entry(struct execution *execution, const struct pen_log_entry *entry)
{
    union {
        struct pen_msg_device device;
        struct pen_msg_placed placed;
        struct pen_msg_executed executed;
    } m;
    struct pen_scratch *scratch = &execution->scratch;
    int rc = 0;
    pen_scratch_reset(scratch);
    execution->whole = entry->opcode == PEN_OP_SESSION_TRACED;
    if (entry->opcode == PEN_OP_DEVICE) {
        rc = pen_msg_device_decode(entry->frame, entry->size, scratch, &m.device);
        return rc ? rc : m.device.device ? name_device(execution, &m.device) : -PEN_EPROTO;
    }
    if (entry->opcode == PEN_OP_PLACED) {
        rc = pen_msg_placed_decode(entry->frame, entry->size, scratch, &m.placed);
        return rc ? rc : m.placed.node ? add_node(execution, &m.placed) : -PEN_EPROTO;
    }
    if (entry->opcode == PEN_OP_EXECUTED &&
        !(rc = pen_msg_executed_decode(entry->frame, entry->size, scratch, &m.executed)))
        end_node(execution, &m.executed);
    return rc;
}

static void finish(struct execution *execution)
{
    for (uint32_t i = 0; i < execution->count; i++)
        free_node(execution->nodes[i]);
    free(execution->nodes);
    for (uint32_t i = 0; i < execution->devices.capacity; i++)
        if (execution->devices.entries[i].key)
            free(execution->devices.entries[i].value);
    pen_map_finish(&execution->by_id);
    pen_map_finish(&execution->devices);
    pen_scratch_finish(&execution->scratch);
}

/* An exit status. A log that stops in the middle is good as far as it goes. Takes the reader. */
static int load(struct pen_log_reader *reader, const char *what, struct execution *out)
{
    struct pen_log_entry entry;
    struct pen_error error = {0};
    int rc;
    *out = (struct execution){0};
    while ((rc = pen_log_next(reader, &entry, &error)) == 1) {
        if ((rc = read_entry(out, &entry))) {
            pen_fail(&error, rc, "byte %" PRIu64 ": %s", entry.file_offset, pen_error_text(rc));
            break;
        }
    }
    pen_log_reader_destroy(reader);
    return rc < 0 ? pen_cli_fail(PEN_EXIT_FAILED, "%s: %s", what, error.message) : 0;
}

static int load_file(const char *file, struct execution *out)
{
    struct pen_log_reader *reader = NULL;
    *out = (struct execution){0};
    int status = pen_cli_open_log(file, &reader);
    if (!status)
        status = load(reader, file, out);
    if (!status && !out->count)
        status = pen_cli_fail(PEN_EXIT_FAILED,
                              "%s has no executed command: it was recorded by an older version, or its "
                              "program ran none",
                              file);
    return status;
}

/* ---- graph -------------------------------------------------------------------------------------------------- */

static const char *device_name(const struct execution *execution, const struct node *node)
{
    const char *name = pen_map_get(&execution->devices, node->device);
    return name ? name : "device";
}

/* As a quoted string of Graphviz: a kernel's name may be anything that its language lets be one. */
static void print_quoted(const char *text)
{
    for (; *text; text++)
        if (*text == '"' || *text == '\\')
            printf("\\%c", *text);
        else if ((unsigned char)*text >= ' ')
            putchar(*text);
}

static void print_node(const struct execution *execution, const struct node *node)
{
    printf("  n%" PRIu64 " [", node->id);
    if (node->copies)
        printf("shape=ellipse, label=\"%s\\n%" PRIu64 " bytes\"", node->to_host ? "to host" : "from host", node->bytes);
    else {
        printf("label=\"");
        print_quoted(node->name);
        printf("\\n%" PRIu64 "\"", node->id);
    }
    printf(", fillcolor=\"/set312/%u\", tooltip=\"", 1 + (unsigned)(node->device + node->lane) % 12);
    print_quoted(device_name(execution, node));
    printf(", part %u%s\"%s];\n", node->lane, node->done ? "" : ", not done", node->status < 0 ? ", color=red" : "");
}

/* What they mean is in penstock-log(1). */
static void print_edges(const struct execution *execution, const struct node *node)
{
    static const char *const drawn[] = {[PEN_EDGE_WAIT] = "label=wait, color=blue",
                                        [PEN_EDGE_READ_AFTER_WRITE] = "label=RAW",
                                        [PEN_EDGE_WRITE_AFTER_READ] = "label=WAR, style=dashed",
                                        [PEN_EDGE_WRITE_AFTER_WRITE] = "label=WAW, style=bold",
                                        [PEN_EDGE_BARRIER] = "label=barrier, color=blue, style=dashed",
                                        [PEN_EDGE_IN_ORDER] = "label=\"in order\", color=gray, style=dotted"};
    for (uint32_t i = 0; i < node->after_count; i++)
        if (pen_map_get(&execution->by_id, node->after[i].node))
            printf("  n%" PRIu64 " -> n%" PRIu64 " [%s];\n", node->after[i].node, node->id, drawn[node->after[i].why]);
}

int pen_cli_graph(const char *file, bool json)
{
    struct execution execution;
    if (json)
        return pen_cli_fail(PEN_EXIT_USAGE, "log graph prints for Graphviz; penstock trace prints JSON");
    int status = load_file(file, &execution);
    if (!status) {
        puts("digraph session {\n  node [shape=box, style=filled, fontname=sans];");
        for (uint32_t i = 0; i < execution.count; i++)
            print_node(&execution, execution.nodes[i]);
        for (uint32_t i = 0; i < execution.count; i++)
            print_edges(&execution, execution.nodes[i]);
        puts("}");
    }
    finish(&execution);
    return status;
}

/* ---- timeline ----------------------------------------------------------------------------------------------- */

/* A lane each for what a device computes and for what is copied to and from it. */
static json_int_t lane_of(const struct node *node)
{
    uint64_t lane = node->lane;
    lane = node->device * 128 + lane * 2 + (node->copies ? 1 : 0);
    return (json_int_t)lane;
}

static void print_event(json_t *event, bool *first)
{
    if (!event)
        return;
    fputs(*first ? "\n" : ",\n", stdout);
    *first = false;
    json_dumpf(event, stdout, JSON_COMPACT);
    json_decref(event);
}

static void name_lanes(const struct execution *execution, bool *first)
{
    struct pen_map named = {0};
    for (uint32_t i = 0; i < execution->count; i++) {
        const struct node *node = execution->nodes[i];
        uint64_t lane = (uint64_t)lane_of(node) + 1;
        char name[160];
        if (pen_map_get(&named, lane) || pen_map_set(&named, lane, execution->nodes[i]))
            continue;
        snprintf(name, sizeof name, "%.100s, part %u%s", device_name(execution, node), node->lane,
                 node->copies ? ", copies" : "");
        print_event(json_pack("{s:s, s:s, s:i, s:I, s:{s:o}}", "name", "thread_name", "ph", "M", "pid", 1, "tid",
                              lane_of(node), "args", "name", pen_json_text(name)),
                    first);
    }
    pen_map_finish(&named);
}

static double microseconds(uint64_t ns, uint64_t origin_ns)
{
    return (double)(ns - origin_ns) / 1e3;
}

/* An arrow from the end of what it waited for to its beginning. What a queue orders by itself needs none. */
static void print_arrows(const struct execution *execution, const struct node *node, uint64_t origin_ns,
                         json_int_t *arrows, bool *first)
{
    for (uint32_t i = 0; i < node->after_count; i++) {
        const struct node *before = pen_map_get(&execution->by_id, node->after[i].node);
        if (!before || !before->ended_ns || node->after[i].why == PEN_EDGE_IN_ORDER)
            continue;
        json_int_t arrow = ++*arrows;
        print_event(json_pack("{s:s, s:s, s:s, s:I, s:i, s:I, s:f}", "name", "after", "cat", "order", "ph", "s", "id",
                              arrow, "pid", 1, "tid", lane_of(before), "ts", microseconds(before->ended_ns, origin_ns)),
                    first);
        print_event(json_pack("{s:s, s:s, s:s, s:s, s:I, s:i, s:I, s:f}", "name", "after", "cat", "order", "ph", "f",
                              "bp", "e", "id", arrow, "pid", 1, "tid", lane_of(node), "ts",
                              microseconds(node->started_ns, origin_ns)),
                    first);
    }
}

/* Copies are counted from 0. */
static json_t *event_of(const struct node *node, uint64_t origin_ns)
{
    json_t *event = json_pack(
        "{s:o, s:s, s:s, s:i, s:I, s:f, s:f, s:{s:I, s:i}}", "name", pen_json_text(node->name), "cat",
        node->copies ? "copy" : "command", "ph", "X", "pid", 1, "tid", lane_of(node), "ts",
        microseconds(node->started_ns, origin_ns), "dur", (double)(node->ended_ns - node->started_ns) / 1e3, "args",
        node->copies ? "copy" : "command", (json_int_t)(node->id & ~PEN_LOG_COPIES), "status", node->status);
    json_t *args = json_object_get(event, "args");
    if (node->copies)
        json_object_set_new(args, "bytes", json_integer((json_int_t)node->bytes));
    if (node->observed)
        json_object_set_new(args, "times", json_string("observed"));
    return event;
}

static uint64_t first_start(const struct execution *execution)
{
    uint64_t first_ns = UINT64_MAX;
    for (uint32_t i = 0; i < execution->count; i++)
        if (execution->nodes[i]->started_ns && execution->nodes[i]->started_ns < first_ns)
            first_ns = execution->nodes[i]->started_ns;
    return first_ns;
}

static void print_timeline(const struct execution *execution)
{
    uint64_t origin_ns = first_start(execution);
    json_int_t arrows = 0;
    bool first = true;
    fputs("{\"displayTimeUnit\": \"ns\", \"traceEvents\": [", stdout);
    name_lanes(execution, &first);
    for (uint32_t i = 0; i < execution->count; i++) {
        const struct node *node = execution->nodes[i];
        if (!node->started_ns || node->ended_ns < node->started_ns)
            continue;
        print_event(event_of(node, origin_ns), &first);
        print_arrows(execution, node, origin_ns, &arrows, &first);
    }
    puts("\n]}");
}

int pen_cli_timeline(const char *file)
{
    struct execution execution;
    int status = load_file(file, &execution);
    if (!status)
        print_timeline(&execution);
    finish(&execution);
    return status;
}

int pen_timeline_read(struct pen_log_reader *reader, const char *what)
{
    struct execution execution;
    int status = load(reader, what, &execution);
    if (!status && !execution.whole)
        pen_cli_fail(0, "%s: its worker has not written the end of its trace: what ran last is missing", what);
    if (!status)
        print_timeline(&execution);
    finish(&execution);
    return status;
}
