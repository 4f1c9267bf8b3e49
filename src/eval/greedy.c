/* SPDX-License-Identifier: Apache-2.0 */
#include "eval/greedy.h"

int32_t mlt_greedy_width(const struct mlt_answering *a)
{
    return MLT_MIN(a->n_branches, a->n_rows);
}

/* Takes the most probable token of a row. */
static millet_status take(struct mlt_answering *a, struct mlt_written *w, int32_t row, char *piece,
                          mlt_enough *enough, millet_error *err)
{
    double sum;
    if (!mlt_log_sum(millet_logits(a->session, row), a->model->config.n_vocab, &sum, &w->last))
        return mlt_fail_at(err, MILLET_BAD_FORMAT, a->model->checkpoint->path, NULL, MILLET_NO_OFFSET,
                           "the logits after a question are not finite: the model is damaged");
    w->n_tokens++;
    if (w->last >= mlt_tokenizer_size(a->model->tokenizer) ||
        mlt_tokenizer_is_end(a->model->tokenizer, w->last)) {
        w->ended = true;
        return MILLET_OK;
    }
    size_t length = mlt_decode_token(a->model->tokenizer, &w->state, w->last, false, piece);
    MLT_TRY(mlt_text_append(&w->text, piece, length, err));
    w->ended = enough(&w->text);
    return MILLET_OK;
}

static bool goes_on(const struct mlt_answering *a, const struct mlt_written *w, int32_t max_tokens)
{
    return !w->ended && w->n_tokens < max_tokens && w->n_in < a->n_ctx;
}

static millet_status write(struct mlt_answering *a, int32_t *const *prompts, const int32_t *counts, int32_t n,
                           int32_t max_tokens, mlt_enough *enough, struct mlt_written *written, char *piece,
                           millet_error *err)
{
    for (int32_t i = 0; i < n; i++) {
        struct mlt_written *w = &written[i];
        *w = (struct mlt_written){.text = w->text, .n_in = counts[i]};
        w->text.length = 0;
        MLT_TRY(mlt_text_append(&w->text, "", 0, err));
        MLT_TRY(mlt_answering_text(a, prompts[i], counts[i], err));
        MLT_TRY(millet_sequence_copy(a->session, 0, 1 + i, err));
        MLT_TRY(take(a, w, 0, piece, enough, err));
    }
    for (;;) {
        int32_t rows = 0;
        for (int32_t i = 0; i < n; i++)
            if (goes_on(a, &written[i], max_tokens))
                a->items[rows++] = (millet_item){written[i].last, 1 + i, true};
        if (rows == 0) return MILLET_OK;
        MLT_TRY(millet_eval(a->session, a->items, rows, err));
        for (int32_t row = 0; row < rows; row++) {
            struct mlt_written *w = &written[a->items[row].sequence - 1];
            w->n_in++;
            MLT_TRY(take(a, w, row, piece, enough, err));
        }
    }
}

millet_status mlt_greedy_write(struct mlt_answering *a, int32_t *const *prompts, const int32_t *counts,
                               int32_t n, int32_t max_tokens, mlt_enough *enough, struct mlt_written *written,
                               millet_error *err)
{
    char *piece = mlt_alloc(&a->allocator, mlt_tokenizer_max_piece(a->model->tokenizer), 1, err);
    if (!piece) return MILLET_NO_MEMORY;
    millet_status status = write(a, prompts, counts, n, max_tokens, enough, written, piece, err);
    mlt_free(&a->allocator, piece);
    return status;
}
