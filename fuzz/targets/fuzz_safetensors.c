/*
 * One safetensors file from memory: the header, and a byte of every tensor that it claims.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "import/safetensors.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mlt_arena arena;
    struct mlt_safetensors set;
    struct mlt_source source = {"input", data, size};
    millet_error err;
    mlt_arena_init(&arena, mlt_default_allocator());
    if (mlt_safetensors_parse(&arena, &source, &set, &err) == MILLET_OK) {
        volatile uint8_t sum = 0;
        for (size_t i = 0; i < set.n_tensors; i++) {
            const struct mlt_safetensor *tensor = &set.tensors[i];
            if (tensor->bytes) sum = (uint8_t)(sum + tensor->data[0] + tensor->data[tensor->bytes - 1]);
            if (tensor->data + tensor->bytes > data + size) abort();
        }
    }
    mlt_arena_release(&arena);
    return 0;
}
