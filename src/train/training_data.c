/* Caches for training. SPDX-License-Identifier: Apache-2.0 */
#include "train/training_data.h"

#include "corpus/corpus_tokenizer.h"

#include <math.h>
#include <string.h>

static millet_status open_cache(struct mlt_training_data *data, const char *path,
                                const struct mlt_trainable *model, millet_error *err)
{
    millet_cache *cache;
    millet_cache_info info;
    if (!path) return mlt_fail(err, MILLET_BAD_ARGUMENT, "a cache has no name");
    MLT_TRY(millet_cache_open(path, &data->allocator, true, &cache, err));
    data->caches[data->n_caches++] = cache;
    millet_cache_get_info(cache, &info);
    if (info.tokenizer_checksum != mlt_tokenizer_checksum(model->checkpoint))
        return mlt_fail_at(err, MILLET_BAD_ARGUMENT, path, NULL, MILLET_NO_OFFSET,
                           "was made with another tokenizer than the model's, that of %.200s",
                           model->checkpoint->path);
    if (info.n_vocab > model->config.n_vocab)
        return mlt_fail_at(err, MILLET_BAD_ARGUMENT, path, NULL, MILLET_NO_OFFSET,
                           "has a vocabulary of %d tokens, but the model of %d", info.n_vocab,
                           model->config.n_vocab);
    return MILLET_OK;
}

static millet_batch_options batch_options(const struct mlt_training_data *data, const millet_train_options *o)
{
    millet_batch_options options = millet_batch_options_default();
    options.allocator = &data->allocator;
    options.length = o->length;
    options.packing = o->packing;
    options.skip_long = o->skip_long;
    options.seed = o->seed;
    options.holdout = o->holdout;
    return options;
}

/* ---- To learn from ---- */

static millet_status open_batches(struct mlt_training_data *data, const millet_train_options *o,
                                  millet_error *err)
{
    millet_batch_options options = batch_options(data, o);
    millet_mixture_part *parts = mlt_alloc(&data->allocator, o->n_data, sizeof *parts, err);
    if (!parts) return MILLET_NO_MEMORY;
    for (size_t i = 0; i < o->n_data; i++)
        parts[i] = (millet_mixture_part){data->caches[i], o->data[i].weight, o->data[i].loss_weight};
    millet_status status = millet_batches_open(parts, o->n_data, &options, &data->batches, err);
    mlt_free(&data->allocator, parts);
    MLT_TRY(status);
    millet_batches_get_info(data->batches, &data->info);
    if (data->info.n_targets == 0)
        return mlt_fail_at(err, MILLET_BAD_ARGUMENT, o->data[0].cache, NULL, MILLET_NO_OFFSET,
                           "there is no token to learn from");
    if (data->info.n_rows < (uint64_t)o->rows)
        return mlt_fail_at(
            err, MILLET_BAD_ARGUMENT, o->data[0].cache, "rows", MILLET_NO_OFFSET,
            "%llu tokens make %llu sequences of %d, too few for a batch of %d: more text, a shorter length "
            "or fewer rows are needed",
            (unsigned long long)data->info.n_positions, (unsigned long long)data->info.n_rows, o->length,
            o->rows);
    return MILLET_OK;
}

/* ---- To measure on ---- */

static millet_status open_held_out(struct mlt_training_data *data, const millet_train_options *o,
                                   millet_error *err)
{
    bool apart = o->n_evaluation_data > 0; /* caches of their own */
    size_t first = apart ? o->n_data : 0, n = apart ? o->n_evaluation_data : o->n_data;
    millet_batch_options options = batch_options(data, o);
    options.in_order = true;
    options.holdout = apart ? 0 : o->holdout;
    options.held_out = !apart;
    data->held_out = mlt_alloc_zero(&data->allocator, n, sizeof *data->held_out, err);
    if (!data->held_out) return MILLET_NO_MEMORY;
    uint64_t n_targets = 0;
    for (; data->n_held_out < n; data->n_held_out++) {
        millet_mixture_part part = {data->caches[first + data->n_held_out], 1, 1};
        millet_batches_info info;
        MLT_TRY(millet_batches_open(&part, 1, &options, &data->held_out[data->n_held_out], err));
        millet_batches_get_info(data->held_out[data->n_held_out], &info);
        data->n_held_out_rows += info.n_rows;
        n_targets += info.n_targets;
    }
    if (n_targets == 0)
        return mlt_fail(err, MILLET_BAD_ARGUMENT, "what is kept for evaluation has no token to predict");
    return MILLET_OK;
}

millet_status mlt_training_data_held_out(const struct mlt_training_data *data, uint64_t index,
                                         struct mlt_batch *batch, int32_t row, millet_error *err)
{
    for (size_t i = 0; i < data->n_held_out; i++) {
        millet_batches_info info;
        millet_batches_get_info(data->held_out[i], &info);
        if (index < info.n_rows) {
            struct mlt_batch one = *batch;
            int64_t at = (int64_t)row * batch->length, part = (int64_t)i;
            if (data->n_caches > data->n_held_out) part += (int64_t)(data->n_caches - data->n_held_out);
            one.rows = 1;
            one.tokens += at, one.targets += at, one.begin += at, one.end += at;
            if (one.marks) one.marks += at;
            if (one.row_weight) one.row_weight += row;
            if (one.source) one.source += at;
            MLT_TRY(mlt_batches_fill(data->held_out[i], index, &one, err));
            for (int32_t j = 0; one.source && j < one.length; j++)
                if (one.source[j] != MLT_NO_SOURCE) one.source[j] = mlt_source((uint64_t)part, one.source[j]);
            return MILLET_OK;
        }
        index -= info.n_rows;
    }
    return mlt_fail(err, MILLET_BAD_ARGUMENT, "there is no such row");
}

/* ---- All ---- */

millet_status mlt_training_data_open(const millet_allocator *allocator, const millet_train_options *o,
                                     const struct mlt_trainable *model, struct mlt_training_data *data,
                                     millet_error *err)
{
    *data = (struct mlt_training_data){.allocator = *allocator};
    size_t n = o->n_data + o->n_evaluation_data;
    data->caches = mlt_alloc_zero(allocator, n, sizeof(millet_cache *), err);
    if (!data->caches) return MILLET_NO_MEMORY;
    for (size_t i = 0; i < n; i++)
        MLT_TRY(open_cache(data, i < o->n_data ? o->data[i].cache : o->evaluation_data[i - o->n_data], model,
                           err));
    MLT_TRY(open_batches(data, o, err));
    return o->holdout || o->n_evaluation_data ? open_held_out(data, o, err) : MILLET_OK;
}

void mlt_training_data_close(struct mlt_training_data *data)
{
    millet_batches_close(&data->batches);
    for (size_t i = 0; i < data->n_held_out; i++)
        millet_batches_close(&data->held_out[i]);
    for (size_t i = 0; i < data->n_caches; i++)
        millet_cache_close(&data->caches[i]);
    mlt_free(&data->allocator, data->held_out);
    mlt_free(&data->allocator, data->caches);
    memset(data, 0, sizeof *data);
}

uint64_t mlt_training_data_steps(const struct mlt_training_data *data, const millet_train_options *o)
{
    double rows = (double)o->rows * (double)o->accumulate;
    /* A tenth of 1000 rows is 100, although a float's tenth is a little more. */
    double steps = ceil((double)o->epochs * (double)data->info.n_rows / rows * (1 - 1e-6));
    return steps > 1 ? (uint64_t)steps : 1;
}

millet_status mlt_training_data_describe(const struct mlt_training_data *data, const millet_train_options *o,
                                         struct mlt_text *out, millet_error *err)
{
    MLT_TRY(mlt_text_printf(out, err, "packing=%s\nskip_long=%d\nholdout=%d\n",
                            o->packing == MILLET_PACK_SEQUENTIAL ? "sequential" : "best fit", o->skip_long,
                            o->holdout));
    for (size_t i = 0; i < o->n_data; i++) {
        millet_cache_info info;
        millet_cache_get_info(data->caches[i], &info);
        MLT_TRY(mlt_text_printf(out, err, "data %zu=%016llx of %llu documents, %llu tokens, weight %.9g\n",
                                i + 1, (unsigned long long)info.checksum,
                                (unsigned long long)info.n_documents, (unsigned long long)info.n_tokens,
                                o->data[i].weight));
        if (o->data[i].loss_weight > 0 && o->data[i].loss_weight != 1)
            MLT_TRY(mlt_text_printf(out, err, "loss weight %zu=%a\n", i + 1, (double)o->data[i].loss_weight));
    }
    return MILLET_OK;
}
