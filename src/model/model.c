/* Making a model of a checkpoint. SPDX-License-Identifier: Apache-2.0 */
#include "model/model.h"

#include <string.h>

/* The tokenizer, if there is one, must speak of tokens that the matrices have rows for. */
static millet_status open_vocabulary(millet_model *model, millet_error *err)
{
    const struct mlt_checkpoint *checkpoint = model->checkpoint;
    MLT_TRY(mlt_vocabulary_open(&model->allocator, checkpoint, &model->tokenizer, &model->bos, &model->eos,
                                &model->add_bos, &model->add_eos, err));
    int32_t n_vocab = model->config.n_vocab;
    int32_t n_tokens = model->tokenizer ? mlt_tokenizer_size(model->tokenizer) : 0;
    if (n_tokens > n_vocab)
        return mlt_fail_at(err, MILLET_BAD_FORMAT, checkpoint->path, "tokenizer.ggml.tokens",
                           MILLET_NO_OFFSET, "%d tokens, but token_embd.weight has %d rows", n_tokens,
                           n_vocab);
    if (model->bos >= n_vocab || model->eos >= n_vocab)
        return mlt_fail_at(err, MILLET_BAD_FORMAT, checkpoint->path,
                           model->bos >= n_vocab ? "tokenizer.ggml.bos_token_id"
                                                 : "tokenizer.ggml.eos_token_id",
                           MILLET_NO_OFFSET, "the token is outside the vocabulary of %d", n_vocab);
    return MILLET_OK;
}

static millet_status fill(millet_model *model, millet_error *err)
{
    const struct mlt_checkpoint *checkpoint = model->checkpoint;
    MLT_TRY(mlt_config_read(&model->config, checkpoint, &model->config_arena, err));
    MLT_TRY(mlt_weights_load(&model->weights, &model->allocator, checkpoint, &model->config, err));
    MLT_TRY(open_vocabulary(model, err));
    struct mlt_string none = {"", 0}, template;
    MLT_TRY(mlt_meta_get_string(checkpoint, "tokenizer.chat_template", &none, &template, err));
    model->chat_template = template.data;
    return MILLET_OK;
}

millet_status mlt_model_from_checkpoint(const millet_allocator *allocator, struct mlt_checkpoint *checkpoint,
                                        millet_model **out, millet_error *err)
{
    *out = NULL;
    millet_model *model = mlt_alloc_zero(allocator, 1, sizeof *model, err);
    if (!model) {
        mlt_checkpoint_close(&checkpoint);
        return MILLET_NO_MEMORY;
    }
    model->allocator = *allocator;
    model->checkpoint = checkpoint;
    model->bos = model->eos = -1;
    mlt_arena_init(&model->config_arena, allocator);
    millet_status status = fill(model, err);
    if (status != MILLET_OK) {
        mlt_error_in_file(err, checkpoint->path);
        millet_model_close(&model);
        return status;
    }
    *out = model;
    return MILLET_OK;
}

millet_model_options millet_model_options_default(void)
{
    return (millet_model_options){0};
}

millet_status millet_model_open(const char *path, const millet_model_options *options, millet_model **model,
                                millet_error *err)
{
    *model = NULL;
    millet_model_options defaults = millet_model_options_default();
    if (!options) options = &defaults;
    const millet_allocator *allocator = options->allocator ? options->allocator : mlt_default_allocator();
    struct mlt_checkpoint *checkpoint = NULL;
    MLT_TRY(mlt_checkpoint_open(allocator, path, options->tokenizer_path, &checkpoint, err));
    return mlt_model_from_checkpoint(allocator, checkpoint, model, err);
}

void millet_model_close(millet_model **handle)
{
    millet_model *model = *handle;
    if (!model) return;
    millet_allocator allocator = model->allocator;
    mlt_tokenizer_close(&model->tokenizer);
    mlt_arena_release(&model->weights.arena);
    mlt_arena_release(&model->config_arena);
    mlt_checkpoint_close(&model->checkpoint);
    mlt_free(&allocator, model);
    *handle = NULL;
}
