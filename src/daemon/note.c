/* daemon/note.c - what is left for the daemon after us, should we be killed: where the workers of programs on other
 * hosts wait for it, and whose sessions they serve. See README.md, invariant 5. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/daemon.h"

#define SESSION ".session"
#define CONTROL ".control"
/* More than a note ever has. */
#define NOTE_BYTES 4096

static void name_of(uint64_t number, const char *suffix, char out[64])
{
    snprintf(out, 64, "worker-%" PRIu64 "%s", number, suffix);
}

/* By the descriptor of the directory: its path may be longer than a socket's address. */
static struct sockaddr_un address_of(const struct pen_daemon *daemon, uint64_t number)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char name[64];
    name_of(number, CONTROL, name);
    snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s", daemon->work_fd, name);
    return address;
}

int pen_note_listen(const struct pen_daemon *daemon, uint64_t number, int *out_fd, struct pen_error *error)
{
    const struct sockaddr_un address = address_of(daemon, number);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* fchmod before bind: the file is born with mode 0600. */
    if (fd < 0 || fchmod(fd, 0600) || bind(fd, (const struct sockaddr *)&address, sizeof address) || listen(fd, 1)) {
        int rc = pen_fail(error, -PEN_EIO, "starting a worker: cannot listen in %.300s: %s", daemon->work_dir,
                          strerror(errno));
        if (fd >= 0)
            close(fd);
        return rc;
    }
    *out_fd = fd;
    return 0;
}

/* When a process began: field 22 of proc_pid_stat(5), the 20th behind the name in parentheses. 0: not told. */
static uint64_t began(pid_t pid)
{
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    if (fd >= 0)
        close(fd);
    text[size > 0 ? size : 0] = '\0';
    char *at = strrchr(text, ')');
    for (int field = 2; at && field < 22; field++)
        at = strchr(at + 1, ' ');
    return at ? strtoull(at, NULL, 10) : 0;
}

int pen_note_write(const struct pen_daemon *daemon, const struct pen_note *note)
{
    const struct pen_msg_session_note message = {.session = note->session,
                                                 .started_ns = note->started_ns,
                                                 .worker_began = began(note->pid),
                                                 .worker_pid = (uint32_t)note->pid,
                                                 .client_pid = (uint32_t)note->client_pid,
                                                 .detached = note->detached,
                                                 .program = note->program,
                                                 .tenant = note->tenant};
    _Alignas(8) unsigned char bytes[NOTE_BYTES];
    char name[64];
    size_t size = pen_msg_session_note_size(&message);
    name_of(note->number, SESSION, name);
    /* Not emptied first: one that is written again is as long, and whole whenever we are killed. */
    int fd = openat(daemon->work_fd, name, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -PEN_EIO;
    pen_msg_session_note_encode(&message, 0, bytes);
    bool written = write(fd, bytes, size) == (ssize_t)size;
    close(fd);
    return written ? 0 : -PEN_EIO;
}

void pen_note_remove(const struct pen_daemon *daemon, uint64_t number)
{
    char name[64];
    name_of(number, SESSION, name);
    unlinkat(daemon->work_fd, name, 0);
    name_of(number, CONTROL, name);
    unlinkat(daemon->work_fd, name, 0);
}

/* Of the process that the note says, and of no other that has its number by now. -1: it is gone. */
static int open_process(const struct pen_msg_session_note *message)
{
    int pidfd = pidfd_open((pid_t)message->worker_pid, 0);
    if (pidfd >= 0 && began((pid_t)message->worker_pid) == message->worker_began &&
        !pidfd_send_signal(pidfd, 0, NULL, 0))
        return pidfd;
    if (pidfd >= 0)
        close(pidfd);
    return -1;
}

static int connect_to(const struct pen_daemon *daemon, uint64_t number)
{
    const struct sockaddr_un address = address_of(daemon, number);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof address)) {
        close(fd);
        return -1;
    }
    return fd;
}

static ssize_t read_file(const struct pen_daemon *daemon, const char *name, void *out)
{
    int fd = openat(daemon->work_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    ssize_t size = fd >= 0 ? read(fd, out, NOTE_BYTES) : -1;
    if (fd >= 0)
        close(fd);
    return size;
}

/* False: it is no note. */
static bool decode(const void *bytes, ssize_t size, struct pen_scratch *scratch, struct pen_msg_session_note *out)
{
    return size > 0 && !pen_msg_session_note_decode(bytes, (size_t)size, scratch, out) &&
           strlen(out->program) < PEN_DAEMON_PROGRAM && strlen(out->tenant) <= PEN_TLS_IDENTITY_BYTES;
}

static void take_note(struct pen_daemon *daemon, uint64_t number, const struct pen_msg_session_note *message,
                      void (*take)(struct pen_daemon *, const struct pen_note *, int, int))
{
    struct pen_note note = {.number = number,
                            .session = message->session,
                            .started_ns = message->started_ns,
                            .pid = (pid_t)message->worker_pid,
                            .client_pid = (pid_t)message->client_pid,
                            .detached = message->detached};
    strcpy(note.program, message->program);
    strcpy(note.tenant, message->tenant);
    int pidfd = open_process(message), control_fd = pidfd >= 0 ? connect_to(daemon, number) : -1;
    if (control_fd >= 0) {
        take(daemon, &note, pidfd, control_fd);
        return;
    }
    pen_report(PEN_REPORT_WARN, "session %" PRIu64 " of %s (pid %d) has ended while there was no penstockd",
               note.session, note.program, (int)note.client_pid);
    if (pidfd >= 0)
        close(pidfd);
}

void pen_note_each(struct pen_daemon *daemon,
                   void (*take)(struct pen_daemon *daemon, const struct pen_note *note, int pidfd, int control_fd))
{
    _Alignas(8) unsigned char bytes[NOTE_BYTES];
    DIR *directory = opendir(daemon->work_dir);
    if (!directory)
        return;
    for (struct dirent *entry; (entry = readdir(directory));) {
        struct pen_scratch scratch = {0};
        struct pen_msg_session_note message;
        char *end = NULL;
        uint64_t number = strncmp(entry->d_name, "worker-", 7) != 0 ? 0 : strtoull(entry->d_name + 7, &end, 10);
        if (number && !strcmp(end, SESSION) &&
            decode(bytes, read_file(daemon, entry->d_name, bytes), &scratch, &message))
            take_note(daemon, number, &message, take);
        pen_scratch_finish(&scratch);
    }
    closedir(directory);
}
