/* What a model takes. SPDX-License-Identifier: Apache-2.0 */
#include "compact/plan_memory.h"

#include "model/model.h"

enum {
    DEFAULT_CTX = 4096,
    /* Code, its libraries, stacks and what the C library keeps: what `millet run` takes of its own. */
    PROGRAM_BYTES = 7 << 20,
};

/* An allocator that knows how much is taken. A block's place and size stand before it. */
struct counter {
    const millet_allocator *inner;
    uint64_t bytes;
};

struct block {
    void *begin;
    size_t size;
};

static void *take(void *context, size_t size, size_t alignment)
{
    struct counter *counter = context;
    size_t before = MLT_MAX(alignment, sizeof(struct block));
    if (size > SIZE_MAX - before) return NULL;
    uint8_t *begin =
        counter->inner->allocate(counter->inner->context, before + size, MLT_MAX(alignment, sizeof(void *)));
    if (!begin) return NULL;
    struct block *block = (struct block *)(void *)(begin + before - sizeof *block);
    *block = (struct block){begin, size};
    counter->bytes += size;
    return begin + before;
}

static void give_back(void *context, void *at)
{
    struct counter *counter = context;
    struct block *block = (struct block *)(void *)((uint8_t *)at - sizeof *block);
    counter->bytes -= block->size;
    counter->inner->release(counter->inner->context, block->begin);
}

millet_status mlt_plan_memory(const millet_allocator *allocator, struct mlt_checkpoint *checkpoint,
                              int32_t n_ctx, int32_t n_threads, struct mlt_plan_memory *out,
                              millet_error *err)
{
    struct counter counter = {.inner = allocator};
    const millet_allocator counting = {&counter, take, give_back};
    uint64_t assembled = 0; /* what the compacted model has in its file */
    for (size_t i = 0; i < checkpoint->n_tensors; i++)
        if (!checkpoint->tensors[i].data) assembled += checkpoint->tensors[i].bytes;
    millet_model *model = NULL;
    MLT_TRY(mlt_model_from_checkpoint(&counting, checkpoint, &model, err));
    millet_session_options options = millet_session_options_default();
    millet_memory memory;
    int32_t trained = model->config.n_ctx_train;
    options.n_ctx = n_ctx ? n_ctx : trained > 0 ? MLT_MIN(DEFAULT_CTX, trained) : DEFAULT_CTX;
    options.n_threads = n_threads;
    millet_status status = millet_estimate(model, &options, &memory, err);
    if (status == MILLET_OK)
        *out = (struct mlt_plan_memory){memory.n_ctx, memory.total + PROGRAM_BYTES + counter.bytes -
                                                          MLT_MIN(counter.bytes, assembled)};
    millet_model_close(&model);
    return status;
}
