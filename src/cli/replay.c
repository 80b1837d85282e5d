/* cli/replay.c - penstock log replay: opens the log and a session, and says what came of it. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/replay.h"

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void print(const struct pen_replay_counts *counts, double took, bool truncated, bool json)
{
    if (!json) {
        printf("%" PRIu64 " commands in %.3f s; %" PRIu64 " builds, %" PRIu64 " of them failed; %" PRIu64
               " reads, %" PRIu64 " compared, %" PRIu64 " different%s\n",
               counts->commands, took, counts->builds, counts->failed_builds, counts->reads, counts->compared,
               counts->different, truncated ? "; the log ends in the middle of an entry" : "");
        return;
    }
    json_t *object =
        json_pack("{s:I, s:f, s:I, s:I, s:I, s:I, s:I, s:b}", "commands", (json_int_t)counts->commands, "seconds", took,
                  "builds", (json_int_t)counts->builds, "failed_builds", (json_int_t)counts->failed_builds, "reads",
                  (json_int_t)counts->reads, "compared", (json_int_t)counts->compared, "different",
                  (json_int_t)counts->different, "truncated", (int)truncated);
    json_dumpf(object, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(object);
}

/* All entries, and then what is still under way. */
static int replay_all(struct pen_log_reader *reader, struct pen_session *session, const struct pen_pool *pool,
                      bool json, bool *out_different, struct pen_error *error)
{
    struct pen_replay replay;
    struct pen_log_entry entry;
    double begin = seconds();
    int rc;
    pen_replay_init(&replay, session, pool);
    while ((rc = pen_log_next(reader, &entry, error)) == 1) {
        rc = pen_replay_entry(&replay, &entry, error);
        if (rc)
            break;
    }
    if (!rc)
        rc = pen_replay_drain(&replay, error);
    pen_progress_end();
    if (!rc)
        print(&replay.counts, seconds() - begin, pen_log_truncated(reader), json);
    *out_different = replay.counts.different > 0;
    pen_replay_finish(&replay);
    return rc;
}

int pen_cli_replay(const char *file, bool json)
{
    struct pen_log_reader *reader = NULL;
    struct pen_session *session = NULL;
    struct pen_helper helper = {.lifeline = -1};
    struct pen_pools pools = {0};
    struct pen_error error = {0};
    bool different = false;

    int rc = pen_cli_open_log(file, &reader);
    if (rc)
        return rc;
    unsetenv("PENSTOCK_RECORD");
    pen_progress_begin("replaying");
    rc = pen_helper_pool(&helper, &(struct pen_private){0}, &error);
    if (!rc)
        rc = pen_pools_query(&pools, &error);
    const struct pen_pool *pool = rc ? NULL : &pools.pools[0]; /* a log is of one session */
    if (pool && pool->status)
        rc = pen_fail(&error, pool->status, "%s", pool->error.message);
    if (!rc)
        rc = pen_session_open(pool, &session, &error);
    if (!rc)
        rc = replay_all(reader, session, pool, json, &different, &error);
    pen_progress_end();
    if (pool && pools.count > 1)
        fprintf(stderr, "penstock: %s: of %u pools the first is used, %s\n", file, pools.count, pool->name);
    pen_session_close(session);
    pen_pools_finish(&pools);
    pen_log_reader_destroy(reader);
    pen_helper_end(&helper);
    if (rc)
        return pen_cli_fail(PEN_EXIT_FAILED, "%s: %s", file, error.message);
    return different ? PEN_EXIT_FAILED : 0;
}
