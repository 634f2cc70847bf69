#include "tests/trace.h"

#include <stdlib.h>
#include <string.h>

void pt_trace_init(struct pt_trace *trace)
{
    *trace = (struct pt_trace){.op_count = 0};
}

static void base_fini(struct pt_disk_base *base)
{
    free(base->durable);
    free(base->live);
    *base = (struct pt_disk_base){.durable_size = 0};
}

void pt_trace_fini(struct pt_trace *trace)
{
    base_fini(&trace->base);
    free(trace->ops);
    free(trace->data);
    pt_trace_init(trace);
}

static uint8_t *copy_of(const uint8_t *bytes, uint64_t size)
{
    uint8_t *copy = malloc(size + 1);

    PT_REQUIRE(copy != NULL);
    if (size > 0)
        memcpy(copy, bytes, size);
    return copy;
}

void pt_trace_begin(struct pt_trace *trace, const uint8_t *durable, uint64_t durable_size,
                    const uint8_t *live, uint64_t live_size, bool named, struct pt_promise promise)
{
    struct pt_disk_base base = {.durable = copy_of(durable, durable_size),
                                .durable_size = durable_size,
                                .live = copy_of(live, live_size),
                                .live_size = live_size,
                                .named = named,
                                .promise = promise};

    base_fini(&trace->base);
    trace->base = base;
    trace->op_count = 0;
    trace->data_size = 0;
}

/* Room for @p wanted items of @p item_size bytes. */
static void *grow(void *items, size_t item_size, size_t wanted, size_t *capacity)
{
    size_t larger = *capacity == 0 ? 1024 : *capacity;

    if (wanted <= *capacity)
        return items;
    while (larger < wanted)
        larger *= 2;
    items = realloc(items, larger * item_size);
    PT_REQUIRE(items != NULL);
    *capacity = larger;
    return items;
}

void pt_trace_add(struct pt_trace *trace, struct pt_disk_op op, const void *bytes)
{
    if (op.kind == PT_DISK_WRITE) {
        trace->data = grow(trace->data, 1, trace->data_size + op.size, &trace->data_capacity);
        op.data = trace->data_size;
        memcpy(trace->data + trace->data_size, bytes, op.size);
        trace->data_size += op.size;
    }
    trace->ops = grow(trace->ops, sizeof(op), trace->op_count + 1, &trace->op_capacity);
    trace->ops[trace->op_count++] = op;
}

/* ---- In a file: as they are in memory, it is read by the program that wrote it ---- */

static bool block_write(int fd, const void *block, size_t size)
{
    return pt_pipe_write(fd, &size, sizeof(size)) && pt_pipe_write(fd, block, size);
}

/* NULL: the file ended. */
static void *block_read(int fd, size_t *size_out)
{
    uint8_t *block = NULL;

    if (!pt_pipe_read(fd, size_out, sizeof(*size_out)))
        return NULL;
    block = malloc(*size_out + 1);
    PT_REQUIRE(block != NULL);
    if (*size_out > 0 && !pt_pipe_read(fd, block, *size_out)) {
        free(block);
        return NULL;
    }
    return block;
}

bool pt_trace_write(const struct pt_trace *trace, int fd)
{
    return pt_pipe_write(fd, trace, sizeof(*trace)) &&
           block_write(fd, trace->base.durable, trace->base.durable_size) &&
           block_write(fd, trace->base.live, trace->base.live_size) &&
           block_write(fd, trace->ops, trace->op_count * sizeof(*trace->ops)) &&
           block_write(fd, trace->data, trace->data_size);
}

bool pt_trace_read(struct pt_trace *trace, int fd)
{
    size_t size;

    pt_trace_fini(trace);
    if (!pt_pipe_read(fd, trace, sizeof(*trace))) {
        pt_trace_init(trace);
        return false;
    }
    trace->base.durable = block_read(fd, &size);
    trace->base.live = block_read(fd, &size);
    trace->ops = block_read(fd, &size);
    trace->op_capacity = trace->op_count;
    trace->data = block_read(fd, &size);
    trace->data_capacity = trace->data_size;
    return trace->base.durable != NULL && trace->base.live != NULL && trace->ops != NULL &&
           trace->data != NULL;
}
