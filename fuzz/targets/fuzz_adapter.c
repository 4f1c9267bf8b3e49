/*
 * An adapter from a hostile file, for a small model: read, checked against the model, used in the forward
 * pass with tokens together and one by one, which must give the same logits, and merged.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "compact/merge_adapter.h"
#include "format/readers.h"
#include "fuzz/capped_allocator.h"
#include "model/forward.h"
#include "train/shape.h"

enum { N_TOKENS = 3, N_VOCAB = 8, MOST_WORKSPACE = 64 << 20 };

/* Of the seeds too (make_format_corpus.py). */
static const char shape[] =
    "{\"architecture\": \"llama\", \"layers\": 1, \"width\": 32, \"heads\": 2, \"kv_heads\": 1,"
    " \"feed_forward\": 32, \"context\": 8, \"vocabulary\": 8, \"tied\": false}";

static void check(bool holds, const char *what)
{
    if (holds) return;
    fprintf(stderr, "%s\n", what);
    abort();
}

static struct mlt_checkpoint *make_base(void)
{
    struct mlt_checkpoint *base = NULL;
    millet_status status = mlt_shape_checkpoint(mlt_default_allocator(), shape, NULL, 1, &base, NULL);
    check(status == MILLET_OK, "the model cannot be made");
    return base;
}

static bool run(const millet_model *model, const millet_adapter *adapter, int32_t size, float *logits)
{
    const millet_adapter_use use = {adapter, 0.5f};
    struct mlt_forward_options options = {.n_ctx = 8,
                                          .n_sequences = 1,
                                          .n_batch = size,
                                          .n_logits = 1,
                                          .n_threads = 1,
                                          .cache = MLT_F32,
                                          .adapters = &use,
                                          .n_adapters = 1};
    struct mlt_forward_memory memory;
    struct mlt_forward *forward;
    if (mlt_forward_estimate(model, &options, &memory, NULL) != MILLET_OK) return false;
    if (memory.cache + memory.workspace > MOST_WORKSPACE) return false;
    if (mlt_forward_open(mlt_default_allocator(), model, &options, &forward, NULL) != MILLET_OK) return false;
    for (int32_t done = 0; done < N_TOKENS; done += size) {
        millet_item items[N_TOKENS];
        for (int32_t i = 0; i < size; i++)
            items[i] = (millet_item){(done + i) * 3 % N_VOCAB, 0, i == size - 1};
        mlt_forward_run(forward, items, size, logits);
    }
    mlt_forward_close(&forward);
    return true;
}

static void use(const millet_model *model, const millet_adapter *adapter)
{
    float at_once[N_VOCAB], one_by_one[N_VOCAB];
    if (!run(model, adapter, N_TOKENS, at_once) || !run(model, adapter, 1, one_by_one)) return;
    for (int i = 0; i < N_VOCAB; i++) {
        float a = at_once[i], b = one_by_one[i];
        check(memcmp(&a, &b, sizeof a) == 0 || (a != a && b != b), "logits depend on the batch");
    }
}

static void merge(const millet_adapter *adapter)
{
    struct mlt_checkpoint *base = make_base();
    struct mlt_adapter_file file;
    struct mlt_arena arena;
    static float values[32 * 32];
    mlt_arena_init(&arena, mlt_default_allocator());
    check(mlt_adapter_file_read(adapter->checkpoint, base, &arena, &file, NULL) == MILLET_OK,
          "what a model takes cannot be merged");
    check(mlt_merge_adapter(base, &file, 1, NULL) == MILLET_OK, "merging failed");
    for (size_t i = 0; i < base->n_tensors; i++)
        check(mlt_tensor_read(&base->tensors[i], 0, base->tensors[i].rows, values, NULL) == MILLET_OK,
              "a merged tensor cannot be read");
    mlt_checkpoint_close(&base);
    mlt_arena_release(&arena);
}

/* A split file whose other pieces are missing. */
static millet_status no_piece(struct mlt_checkpoint *checkpoint, const struct mlt_source *first,
                              uint32_t index, uint32_t count, void *context, struct mlt_source *piece,
                              millet_error *err)
{
    (void)checkpoint, (void)count, (void)context, (void)piece;
    return mlt_fail_at(err, MILLET_NOT_FOUND, first->path, NULL, MILLET_NO_OFFSET, "no piece %u", index);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct capped_allocator capped;
    struct mlt_checkpoint *checkpoint;
    struct mlt_source input = {"input", data, size};
    millet_model *model = NULL;
    millet_adapter *adapter = NULL;
    millet_error err;
    capped_allocator_init(&capped, 512 * 1024, 64, size);
    millet_status status = mlt_model_from_checkpoint(&capped.allocator, make_base(), &model, &err);
    check(status == MILLET_OK, "the model cannot be opened");
    check(mlt_checkpoint_new(&capped.allocator, "input", "", &checkpoint, &err) == MILLET_OK,
          "no checkpoint");
    mlt_gguf_recognise(&input);
    status = mlt_gguf_read(checkpoint, &input, no_piece, NULL, &err);
    if (status == MILLET_OK) status = mlt_checkpoint_seal(checkpoint, &err);
    if (status != MILLET_OK) {
        mlt_checkpoint_close(&checkpoint);
    } else {
        status = mlt_adapter_from_checkpoint(model, checkpoint, &adapter, &err);
        check((status == MILLET_OK) == (adapter != NULL), "a status that contradicts its result");
        if (status != MILLET_OK) check(err.status == status && err.message[0], "a failure without a message");
    }
    if (adapter) {
        use(model, adapter);
        merge(adapter);
    }
    millet_adapter_close(&adapter);
    millet_model_close(&model);
    capped_allocator_check(&capped);
    return 0;
}
