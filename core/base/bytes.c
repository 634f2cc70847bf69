#include "core/base/bytes.h"

#include "core/base/alloc.h"

size_t pt_bytes_common(struct peat_bytes a, struct peat_bytes b)
{
    const uint8_t *left = a.data;
    const uint8_t *right = b.data;
    size_t shared = a.size < b.size ? a.size : b.size;
    size_t i = 0;

    while (i < shared && left[i] == right[i])
        i++;
    return i;
}

enum peat_status pt_bytes_copy(struct peat_bytes source, struct peat_bytes *copy_out)
{
    void *data;

    *copy_out = pt_bytes(NULL, 0);
    if (source.data == NULL)
        return PEAT_OK;
    /* One byte more, so that empty bytes have an address and differ from none. */
    data = pt_malloc(source.size + 1);
    if (data == NULL)
        return pt_fail(PEAT_NO_MEMORY, "copy of %zu bytes", source.size);
    memcpy(data, source.data, source.size);
    *copy_out = pt_bytes(data, source.size);
    return PEAT_OK;
}

void pt_bytes_fini(struct peat_bytes *bytes)
{
    void *data;

    memcpy(&data, &bytes->data, sizeof(data)); /* ours: it was allocated by pt_bytes_copy() */
    pt_free(data);
    *bytes = pt_bytes(NULL, 0);
}
