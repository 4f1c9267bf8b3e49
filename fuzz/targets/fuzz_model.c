/*
 * A model from a hostile file: configuration, weights, tokenizer, and three tokens through the forward pass
 * where all of that was accepted. Logits may be anything, but the same whichever way the tokens are cut.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "format/readers.h"
#include "fuzz/capped_allocator.h"
#include "model/forward.h"

enum { N_CTX = 6, N_TOKENS = 3, MOST_WORKSPACE = 64 << 20 };

static void check(bool holds, const char *what)
{
    if (holds) return;
    fprintf(stderr, "%s\n", what);
    abort();
}

/* The last token's logits, the tokens computed in batches of `size`. */
static bool run(const millet_model *model, int32_t size, float *logits)
{
    struct mlt_forward_options options = {.n_ctx = MLT_MIN(N_CTX, model->config.n_ctx_train),
                                          .n_sequences = 1,
                                          .n_batch = size,
                                          .n_logits = 1,
                                          .n_threads = 1,
                                          .cache = MLT_F32};
    struct mlt_forward_memory memory;
    struct mlt_forward *forward;
    millet_error err;
    if (mlt_forward_estimate(model, &options, &memory, &err) != MILLET_OK) return false;
    if (memory.cache + memory.workspace > MOST_WORKSPACE) return false;
    if (mlt_forward_open(mlt_default_allocator(), model, &options, &forward, &err) != MILLET_OK) return false;
    for (int32_t done = 0; done < MLT_MIN(N_TOKENS, options.n_ctx); done += size) {
        millet_item items[N_TOKENS];
        int32_t count = MLT_MIN(size, MLT_MIN(N_TOKENS, options.n_ctx) - done);
        for (int32_t i = 0; i < count; i++)
            items[i] = (millet_item){(done + i) * 7 % model->config.n_vocab, 0, i == count - 1};
        mlt_forward_run(forward, items, count, logits);
    }
    mlt_forward_close(&forward);
    return true;
}

static void run_both_ways(const millet_model *model)
{
    size_t n_vocab = (size_t)model->config.n_vocab;
    float *at_once = malloc(n_vocab * sizeof *at_once), *one_by_one = malloc(n_vocab * sizeof *one_by_one);
    if (at_once && one_by_one && run(model, N_TOKENS, at_once) && run(model, 1, one_by_one)) {
        for (size_t i = 0; i < n_vocab; i++) {
            float a = at_once[i], b = one_by_one[i];
            check(memcmp(&a, &b, sizeof a) == 0 || (a != a && b != b), "logits depend on the batch");
        }
    }
    free(at_once);
    free(one_by_one);
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
    millet_error err;
    /* Vectors are floats in memory and may be 1.7 bits in the file; tokenizers have their tables. */
    capped_allocator_init(&capped, 512 * 1024, 64, size);
    if (mlt_checkpoint_new(&capped.allocator, "input", "", &checkpoint, &err) != MILLET_OK) return 0;
    mlt_gguf_recognise(&input);
    millet_status status = mlt_gguf_read(checkpoint, &input, no_piece, NULL, &err);
    if (status == MILLET_OK) status = mlt_checkpoint_seal(checkpoint, &err);
    if (status != MILLET_OK) {
        mlt_checkpoint_close(&checkpoint);
        return 0;
    }
    status = mlt_model_from_checkpoint(&capped.allocator, checkpoint, &model, &err);
    check((status == MILLET_OK) == (model != NULL), "a status that contradicts its result");
    if (status == MILLET_OK)
        run_both_ways(model);
    else
        check(err.status == status && err.message[0], "a failure without a message");
    millet_model_close(&model);
    capped_allocator_check(&capped);
    return 0;
}
