#include "tests/reader_process.h"

#include "tests/compare.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum request_kind { REQUEST_OPEN, REQUEST_REFRESH, REQUEST_HOLD, REQUEST_HELD, REQUEST_CLOSE };

struct request {
    enum request_kind kind;
    char path[PATH_MAX];
};

struct pt_reader {
    pid_t process;
    int request_fd; /* written here, read there */
    int answer_fd;
};

/* The other process's side. */
struct server {
    struct peat_db *db;
    struct peat_snapshot *held;
    struct pt_tree *held_tree;
};

static struct pt_reader_view newest_view(struct server *server)
{
    struct peat_snapshot *snapshot;
    struct pt_reader_view view;
    struct pt_tree *tree;

    PT_REQUIRE_OK(peat_snapshot_open(server->db, &snapshot));
    tree = pt_tree_open(server->db, snapshot);
    view.commit = peat_snapshot_commit(snapshot);
    view.fingerprint = pt_tree_fingerprint(tree, snapshot);
    pt_tree_close(tree);
    peat_snapshot_close(snapshot);
    return view;
}

static void held_release(struct server *server)
{
    pt_tree_close(server->held_tree);
    peat_snapshot_close(server->held);
    server->held_tree = NULL;
    server->held = NULL;
}

static struct pt_reader_view serve(struct server *server, const struct request *request)
{
    struct pt_reader_view view = {0, 0};
    struct peat_options options = pt_test_options(PEAT_READ_ONLY);

    switch (request->kind) {
    case REQUEST_OPEN:
        PT_REQUIRE_OK(peat_open(request->path, &options, &server->db));
        return newest_view(server);
    case REQUEST_REFRESH:
        PT_REQUIRE_OK(peat_refresh(server->db));
        return newest_view(server);
    case REQUEST_HOLD:
        held_release(server);
        PT_REQUIRE_OK(peat_snapshot_open(server->db, &server->held));
        server->held_tree = pt_tree_open(server->db, server->held);
        return view;
    case REQUEST_HELD:
        view.commit = peat_snapshot_commit(server->held);
        view.fingerprint = pt_tree_fingerprint(server->held_tree, server->held);
        return view;
    case REQUEST_CLOSE:
        held_release(server);
        PT_REQUIRE_OK(peat_close(server->db));
        server->db = NULL;
        return view;
    }
    pt_test_fail(__FILE__, __LINE__, "an unknown request");
}

/* The pipes' ends, as seen from the other process. */
struct server_ends {
    int request_fd;
    int answer_fd;
    int unused_fds[2]; /* the ends of this side, to be closed there */
};

static void server_run(void *context)
{
    const struct server_ends *ends = context;
    struct server server = {NULL, NULL, NULL};
    struct request request;

    pt_test_context("reader process");
    (void)close(ends->unused_fds[0]);
    (void)close(ends->unused_fds[1]);
    while (pt_pipe_read(ends->request_fd, &request, sizeof(request))) {
        struct pt_reader_view view = serve(&server, &request);

        PT_REQUIRE(pt_pipe_write(ends->answer_fd, &view, sizeof(view)));
    }
}

struct pt_reader *pt_reader_start(void)
{
    struct pt_reader *reader = calloc(1, sizeof(*reader));
    struct server_ends ends;
    int requests[2];
    int answers[2];

    PT_REQUIRE(reader != NULL && pipe2(requests, O_CLOEXEC) == 0 && pipe2(answers, O_CLOEXEC) == 0);
    reader->request_fd = requests[1];
    reader->answer_fd = answers[0];
    ends = (struct server_ends){requests[0], answers[1], {requests[1], answers[0]}};
    reader->process = pt_child_start(server_run, &ends);
    (void)close(requests[0]);
    (void)close(answers[1]);
    return reader;
}

static void reader_free(struct pt_reader *reader)
{
    (void)close(reader->answer_fd);
    free(reader);
}

void pt_reader_stop(struct pt_reader *reader)
{
    (void)close(reader->request_fd);
    pt_child_join(reader->process);
    reader_free(reader);
}

void pt_reader_kill(struct pt_reader *reader)
{
    pt_child_kill(reader->process);
    (void)close(reader->request_fd);
    reader_free(reader);
}

static struct pt_reader_view ask(struct pt_reader *reader, enum request_kind kind, const char *path)
{
    struct request request = {.kind = kind};
    struct pt_reader_view view = {0, 0};

    PT_REQUIRE(strlen(path) < sizeof(request.path));
    memcpy(request.path, path, strlen(path) + 1);
    if (!pt_pipe_write(reader->request_fd, &request, sizeof(request)) ||
        !pt_pipe_read(reader->answer_fd, &view, sizeof(view)))
        pt_test_fail(__FILE__, __LINE__, "the reader process is gone");
    return view;
}

struct pt_reader_view pt_reader_open(struct pt_reader *reader, const char *path)
{
    return ask(reader, REQUEST_OPEN, path);
}

struct pt_reader_view pt_reader_refresh(struct pt_reader *reader)
{
    return ask(reader, REQUEST_REFRESH, "");
}

void pt_reader_hold(struct pt_reader *reader)
{
    (void)ask(reader, REQUEST_HOLD, "");
}

struct pt_reader_view pt_reader_held(struct pt_reader *reader)
{
    return ask(reader, REQUEST_HELD, "");
}

void pt_reader_close(struct pt_reader *reader)
{
    (void)ask(reader, REQUEST_CLOSE, "");
}
