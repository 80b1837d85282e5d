/* cli/sessions.c - penstock ps, detach, attach and stop: what the daemon has, and its end. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/control.h"
#include "cli/json.h"
#include "wire/futex.h"

static const char *const state_names[] = {"connected", "broken", "detached", "parked"};

static void print_json(const struct pen_msg_sessions *message)
{
    json_t *array = json_array();
    for (uint32_t i = 0; i < message->sessions_count; i++) {
        const struct pen_session_info *info = &message->sessions[i];
        json_t *session = json_pack("{s:I, s:o, s:I, s:I, s:f, s:I, s:I, s:s}", "session", (json_int_t)info->session,
                                    "program", pen_json_text(info->program), "pid", (json_int_t)info->client_pid,
                                    "worker", (json_int_t)info->worker_pid, "started", (double)info->started_ns / 1e9,
                                    "commands", (json_int_t)info->commands, "memory_bytes",
                                    (json_int_t)info->arena_used_bytes, "state", state_names[info->state]);
        json_array_append_new(array, session ? session : json_null());
    }
    json_dumpf(array, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(array);
}

static void print_table(const struct pen_msg_sessions *message)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    double now_s = (double)now.tv_sec + (double)now.tv_nsec / 1e9;
    printf("%7s %8s %8s %9s %12s %11s %-9s  %s\n", "SESSION", "PID", "WORKER", "SECONDS", "COMMANDS", "MEMORY", "STATE",
           "PROGRAM");
    for (uint32_t i = 0; i < message->sessions_count; i++) {
        const struct pen_session_info *info = &message->sessions[i];
        printf("%7" PRIu64 " %8u %8u %9.1f %12" PRIu64 " %7.1f MiB %-9s  %s\n", info->session, info->client_pid,
               info->worker_pid, now_s - (double)info->started_ns / 1e9, info->commands,
               (double)info->arena_used_bytes / (1 << 20), state_names[info->state], info->program);
    }
}

static int take_sessions(struct pen_control *control, struct pen_scratch *scratch, struct pen_msg_sessions *out,
                         struct pen_error *error)
{
    int rc = pen_msg_sessions_decode(control->frame.data, control->frame.size, scratch, out);
    return rc ? pen_fail(error, rc, "the daemon's list of sessions is malformed") : 0;
}

int pen_sessions_wait(const char *path, uint64_t timeout_ms, struct pen_error *error)
{
    const struct timespec pause = {.tv_nsec = 2000000};
    const struct pen_msg_record_list request = {.record_path = path};
    uint64_t deadline = pen_deadline_ms(timeout_ms);
    struct pen_control control;
    struct pen_scratch scratch = {0};
    struct pen_msg_sessions message = {.sessions_count = 1};
    int rc = pen_control_open(&control, error);
    while (!rc && message.sessions_count) {
        pen_scratch_reset(&scratch);
        rc = PEN_CONTROL_ASK(&control, record_list, &request, PEN_OP_SESSIONS, error);
        if (!rc)
            rc = take_sessions(&control, &scratch, &message, error);
        if (!rc && message.sessions_count && pen_now_ns() > deadline)
            rc = pen_fail(error, -PEN_ETIMEOUT, "the session of process %u has not ended after %llu ms",
                          message.sessions[0].client_pid, (unsigned long long)timeout_ms);
        else if (!rc && message.sessions_count)
            nanosleep(&pause, NULL);
    }
    pen_scratch_finish(&scratch);
    pen_control_close(&control);
    return rc;
}

int pen_cli_ps(int argc, char **argv)
{
    static const struct option known[] = {{"json", no_argument, NULL, 'j'}, {0}};
    bool json = false;
    int option;
    while ((option = pen_cli_option(argc, argv, known)) != -1) {
        if (option == '?')
            return PEN_EXIT_USAGE;
        json = true;
    }
    if (optind < argc)
        return pen_cli_fail(PEN_EXIT_USAGE, "ps takes no argument \"%s\"; see penstock help", argv[optind]);

    struct pen_control control;
    struct pen_error error = {0};
    struct pen_scratch scratch = {0};
    struct pen_msg_sessions message;
    int rc = pen_control_open(&control, &error);
    if (!rc)
        rc = PEN_CONTROL_ASK(&control, session_list, &(struct pen_msg_session_list){0}, PEN_OP_SESSIONS, &error);
    if (!rc)
        rc = take_sessions(&control, &scratch, &message, &error);
    if (!rc && json)
        print_json(&message);
    else if (!rc)
        print_table(&message);
    pen_scratch_finish(&scratch);
    pen_control_close(&control);
    return rc ? pen_cli_fail(PEN_EXIT_FAILED, "%s", error.message) : 0;
}

/* SESSION and options, in any order. */
struct change {
    uint64_t session;
    bool park, json;
};

static int parse_change(bool detached, int argc, char **argv, struct change *out)
{
    static const struct option known[] = {{"json", no_argument, NULL, 'j'}, {"park", no_argument, NULL, 'p'}, {0}};
    const char *number = NULL;
    char *end = NULL;
    while (optind < argc) {
        int option = pen_cli_option(argc, argv, detached ? known : (const struct option[]){known[0], {0}});
        if (option == '?')
            return PEN_EXIT_USAGE;
        out->json = out->json || option == 'j';
        out->park = out->park || option == 'p';
        if (option != -1)
            continue;
        if (optind < argc && !number)
            number = argv[optind++];
        else if (optind < argc)
            return pen_cli_fail(PEN_EXIT_USAGE, "%s takes one session, not also \"%s\"", argv[0], argv[optind]);
    }
    if (!number)
        return pen_cli_fail(PEN_EXIT_USAGE, "%s needs a session's number, which penstock ps shows", argv[0]);
    out->session = strtoull(number, &end, 10);
    if (end == number || *end)
        return pen_cli_fail(PEN_EXIT_USAGE, "\"%s\" is no session's number; penstock ps shows them", number);
    return 0;
}

static int change_state(bool detached, int argc, char **argv)
{
    struct change change = {0};
    int rc = parse_change(detached, argc, argv, &change);
    if (rc)
        return rc;
    const struct pen_msg_session_detach request = {change.session, detached, change.park};
    struct pen_control control;
    struct pen_error error = {0};
    rc = pen_control_open(&control, &error);
    if (!rc)
        rc = PEN_CONTROL_ASK(&control, session_detach, &request, PEN_OP_DONE, &error);
    pen_control_close(&control);
    if (rc)
        return pen_cli_fail(PEN_EXIT_FAILED, "%s", error.message);
    if (change.json)
        printf("{\"session\": %" PRIu64 ", \"detached\": %s}\n", change.session, detached ? "true" : "false");
    return 0;
}

int pen_cli_detach(int argc, char **argv)
{
    return change_state(true, argc, argv);
}

int pen_cli_attach(int argc, char **argv)
{
    return change_state(false, argc, argv);
}

int pen_cli_stop(int argc, char **argv)
{
    static const struct option known[] = {{"keep-sessions", no_argument, NULL, 'k'}, {0}};
    bool keep = false;
    for (int option; (option = pen_cli_option(argc, argv, known)) != -1; keep = true)
        if (option == '?')
            return PEN_EXIT_USAGE;
    if (optind < argc)
        return pen_cli_fail(PEN_EXIT_USAGE, "stop takes no argument \"%s\"; see penstock help", argv[optind]);
    struct pen_control control;
    struct pen_error error = {0};
    int rc = pen_control_open(&control, &error);
    if (!rc && keep)
        rc = PEN_CONTROL_ASK(&control, hand_over, &(struct pen_msg_hand_over){0}, PEN_OP_DONE, &error);
    else if (!rc)
        rc = PEN_CONTROL_ASK(&control, shutdown, &(struct pen_msg_shutdown){0}, PEN_OP_DONE, &error);
    pen_control_close(&control);
    return rc ? pen_cli_fail(PEN_EXIT_FAILED, "%s", error.message) : 0;
}
