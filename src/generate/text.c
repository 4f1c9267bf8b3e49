/* Text and tokens as the public API sees them. SPDX-License-Identifier: Apache-2.0 */
#include "model/model.h"
#include "tokenizer/chat_template.h"

#include <string.h>

static millet_status need_tokenizer(const millet_model *model, millet_error *err)
{
    if (model->tokenizer) return MILLET_OK;
    return mlt_fail_at(err, MILLET_UNSUPPORTED, model->checkpoint->path, NULL, MILLET_NO_OFFSET,
                       "the model has no tokenizer");
}

millet_status millet_tokenize(const millet_model *model, const char *text, size_t length, unsigned flags,
                              int32_t *ids, size_t capacity, size_t *count, millet_error *err)
{
    unsigned inner = 0;
    int32_t *all = NULL;
    *count = 0;
    MLT_TRY(need_tokenizer(model, err));
    if (flags & MILLET_TOKENIZE_SPECIAL) inner |= MLT_TOKENIZE_SPECIAL;
    if (flags & MILLET_TOKENIZE_BOS) inner |= MLT_TOKENIZE_BOS_EOS;
    MLT_TRY(mlt_tokenize(model->tokenizer, &model->allocator, text, length, inner, &all, count, err));
    size_t given = MLT_MIN(*count, capacity);
    if (given) memcpy(ids, all, given * sizeof *ids);
    mlt_free(&model->allocator, all);
    return MILLET_OK;
}

millet_status millet_detokenize(const millet_model *model, const int32_t *ids, size_t count, bool special,
                                char *text, size_t capacity, size_t *length, millet_error *err)
{
    *length = 0;
    MLT_TRY(need_tokenizer(model, err));
    return mlt_detokenize(model->tokenizer, &model->allocator, ids, count, special, text, capacity, length,
                          err);
}

const char *millet_token_text(const millet_model *model, int32_t id, size_t *length)
{
    *length = 0;
    if (!model->tokenizer || id < 0 || id >= mlt_tokenizer_size(model->tokenizer)) return NULL;
    struct mlt_token_text token = mlt_tokenizer_token(model->tokenizer, id);
    *length = token.length;
    return token.data;
}

int32_t millet_token_bos(const millet_model *model)
{
    return model->bos;
}

int32_t millet_token_eos(const millet_model *model)
{
    return model->eos;
}

bool millet_token_is_end(const millet_model *model, int32_t id)
{
    if (!model->tokenizer) return id >= 0 && id == model->eos;
    return id >= 0 && id < mlt_tokenizer_size(model->tokenizer) && mlt_tokenizer_is_end(model->tokenizer, id);
}

/* ---- Dialogues ------------------------------------------------------------------------------------------
 */

const char *millet_chat_template_names(void)
{
    return mlt_chat_names();
}

const char *millet_chat_template_detect(const millet_model *model)
{
    return mlt_chat_detect(model->chat_template, strlen(model->chat_template));
}

millet_status millet_chat_render(const millet_model *model, const char *name, const millet_message *messages,
                                 size_t n_messages, bool assistant, char *text, size_t capacity,
                                 size_t *length, millet_error *err)
{
    *length = 0;
    if (!name) name = millet_chat_template_detect(model);
    if (!name)
        return mlt_fail_at(err, MILLET_UNSUPPORTED, model->checkpoint->path, NULL, MILLET_NO_OFFSET,
                           "the model has %s; name one of %s",
                           model->chat_template[0] ? "a chat template that is not recognised"
                                                   : "no chat template",
                           mlt_chat_names());
    struct mlt_text all = {.allocator = &model->allocator};
    millet_status status = mlt_chat_render(name, messages, n_messages, assistant, &all, err);
    if (status == MILLET_OK) {
        *length = all.length;
        size_t given = MLT_MIN(all.length, capacity);
        if (given) memcpy(text, all.data, given);
    }
    mlt_text_release(&all);
    return status;
}
