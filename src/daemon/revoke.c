/* daemon/revoke.c - a tenant that is revoked loses its sessions: its key goes, or a mark NAME.revoked comes, in the
 * directory of tenants, which is watched from the first tenant's coming on. */
#include <errno.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "daemon/daemon.h"
#include "net/tenant.h"

/* Until tenants are looked up again of whom something could not be told. */
#define AGAIN_S 1

/* NAME of "NAME.key" or "NAME.revoked"; false when the file is something else. */
static bool tenant_of(const char *file, const char *suffix, char out[PEN_TLS_IDENTITY_BYTES + 1])
{
    size_t length = strlen(file), end = strlen(suffix);
    if (length <= end || length - end > PEN_TLS_IDENTITY_BYTES || strcmp(file + length - end, suffix) != 0)
        return false;
    memcpy(out, file, length - end);
    out[length - end] = '\0';
    return true;
}

static void drop(struct pen_daemon *daemon, const char *tenant)
{
    pen_report(PEN_REPORT_INFO, "tenant %s is revoked: its sessions end", tenant);
    pen_gate_drop_tenant(daemon, tenant);
    pen_clients_drop_tenant(daemon, tenant);
    pen_workers_drop_tenant(daemon, tenant);
}

/* What has changed is not known (more than the kernel keeps for us, or the directory itself): each tenant who has
 * something here is looked up. */
static void check_all(struct pen_daemon *daemon)
{
    char tenant[PEN_TLS_IDENTITY_BYTES + 1];
    while (daemon->gate_fd >= 0 && (pen_gate_unknown(daemon, tenant) || pen_clients_unknown(daemon, tenant) ||
                                    pen_workers_unknown(daemon, tenant)))
        drop(daemon, tenant);
}

static void look_again(evutil_socket_t fd, short what, void *context)
{
    (void)fd, (void)what;
    check_all(context);
}

void pen_revoke_look_again(struct pen_daemon *daemon)
{
    const struct timeval soon = {AGAIN_S, 0};
    if (!daemon->revoke_again)
        daemon->revoke_again = evtimer_new(daemon->base, look_again, daemon);
    if (!daemon->revoke_again || evtimer_add(daemon->revoke_again, &soon))
        pen_report(PEN_REPORT_ERROR, "out of memory: whether tenants are revoked is not looked at again");
}

/* Of the directory itself: that which has the name now is watched, before it is looked at. */
static void directory_changed(struct pen_daemon *daemon, const struct inotify_event *event)
{
    if (event->mask & IN_MOVE_SELF) {
        (void)inotify_rm_watch(daemon->revoke_fd, event->wd);
        daemon->revoke_wd = -1;
    }
    pen_revoke_watch(daemon);
    check_all(daemon);
}

static void happened(struct pen_daemon *daemon, const struct inotify_event *event)
{
    char tenant[PEN_TLS_IDENTITY_BYTES + 1];
    bool gone = event->mask & (IN_DELETE | IN_MOVED_FROM), all = event->mask & IN_Q_OVERFLOW;
    if (!all && event->wd != daemon->revoke_wd)
        return; /* in a directory that was the tenants' once */
    if (all || event->mask & (IN_IGNORED | IN_MOVE_SELF))
        directory_changed(daemon, event);
    else if (event->len && tenant_of(event->name, gone ? ".key" : ".revoked", tenant))
        drop(daemon, tenant);
}

static void changed(evutil_socket_t fd, short what, void *context)
{
    _Alignas(struct inotify_event) char bytes[4096];
    ssize_t got;
    (void)what;
    while ((got = read((int)fd, bytes, sizeof bytes)) > 0) {
        const struct inotify_event *event;
        for (char *at = bytes; at < bytes + got; at += sizeof *event + event->len) {
            event = (const struct inotify_event *)(const void *)at;
            happened(context, event);
        }
    }
}

/* The watch is set again each time, which does nothing unless the directory is another by now: then that one is watched
 * instead. */
void pen_revoke_watch(struct pen_daemon *daemon)
{
    if (daemon->revoke_fd < 0) {
        daemon->revoke_wd = -1;
        daemon->revoke_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
        if (daemon->revoke_fd >= 0)
            daemon->revoke_event = event_new(daemon->base, daemon->revoke_fd, EV_READ | EV_PERSIST, changed, daemon);
        if (daemon->revoke_event)
            event_add(daemon->revoke_event, NULL);
    }
    int wd = -1;
    if (daemon->revoke_event)
        wd = inotify_add_watch(daemon->revoke_fd, daemon->tenants_dir,
                               IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_MOVE_SELF | IN_ONLYDIR);
    if (wd < 0) {
        pen_report(PEN_REPORT_WARN, "%s cannot be watched (%s): a tenant that is revoked keeps its open sessions",
                   daemon->tenants_dir, strerror(errno));
        return;
    }
    if (daemon->revoke_wd >= 0 && daemon->revoke_wd != wd)
        (void)inotify_rm_watch(daemon->revoke_fd, daemon->revoke_wd);
    daemon->revoke_wd = wd;
}

void pen_revoke_stop(struct pen_daemon *daemon)
{
    if (daemon->revoke_event)
        event_free(daemon->revoke_event);
    daemon->revoke_event = NULL;
    if (daemon->revoke_again)
        event_free(daemon->revoke_again);
    daemon->revoke_again = NULL;
    if (daemon->revoke_fd >= 0)
        close(daemon->revoke_fd);
    daemon->revoke_fd = -1;
}
