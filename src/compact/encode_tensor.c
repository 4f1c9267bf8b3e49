/* SPDX-License-Identifier: Apache-2.0 */
#include "compact/encode_tensor.h"

#include "tensor/codes.h"

#include <math.h>
#include <string.h>

/* Part of a row: what to do, and what came of it. */
struct mlt_segment {
    const uint8_t *from;
    uint8_t *to;
    const float *importance; /* of its elements, or NULL */
    int64_t elements;
    struct mlt_encode_error error;
    int64_t bad;  /* the first element that is not finite, or -1 */
    bool was_bad; /* it was so before encoding */
};

millet_status mlt_encoder_open(struct mlt_encoder *encoder, const millet_allocator *allocator, int n_threads,
                               millet_error *err)
{
    *encoder = (struct mlt_encoder){.allocator = *allocator};
    millet_status status = mlt_thread_pool_open(allocator, n_threads, &encoder->pool, err);
    if (status != MILLET_OK) return status;
    size_t threads = (size_t)mlt_thread_pool_size(encoder->pool), segment = MLT_SEGMENT_ELEMENTS;
    encoder->segments = mlt_alloc(allocator, MLT_GROUP_SEGMENTS, sizeof *encoder->segments, err);
    /* No dtype takes more than 8 bytes an element. */
    encoder->out = mlt_alloc(allocator, MLT_GROUP_SEGMENTS * segment, 8, err);
    encoder->values = mlt_alloc(allocator, threads * 2 * segment, sizeof(float), err);
    if (encoder->segments && encoder->out && encoder->values) return MILLET_OK;
    mlt_encoder_close(encoder);
    return MILLET_NO_MEMORY;
}

void mlt_encoder_close(struct mlt_encoder *encoder)
{
    mlt_thread_pool_close(&encoder->pool);
    mlt_free(&encoder->allocator, encoder->segments);
    mlt_free(&encoder->allocator, encoder->out);
    mlt_free(&encoder->allocator, encoder->values);
    mlt_free(&encoder->allocator, encoder->rows);
    encoder->segments = NULL;
    encoder->out = encoder->rows = NULL;
    encoder->values = NULL;
    encoder->rows_size = 0;
}

/* A group of segments at hand. */
struct group {
    struct mlt_encoder *encoder;
    mlt_dtype from, to;
    int count;
};

/*
 * Whether a value was too large to encode: F16 ends at 65504, and so do the scales of quantised blocks, which
 * stay at their end rather than become infinite. No type is off by a third at the largest value of a block.
 */
static bool is_lost(float before, float after)
{
    if (!isfinite(after)) return true;
    return fabsf(before) > 65504.0f && fabsf(after - before) > fabsf(before) / 3;
}

static void encode_segment(const struct group *group, struct mlt_segment *segment, float *before,
                           float *after)
{
    const struct mlt_dtype_info *from = mlt_dtype_info(group->from);
    segment->bad = -1;
    segment->error = (struct mlt_encode_error){0, 0};
    if (group->from == group->to)
        memcpy(segment->to, segment->from, mlt_dtype_row_bytes(group->to, segment->elements));
    if (!from->is_float) return;
    mlt_decode(group->from, segment->from, before, segment->elements);
    segment->bad = mlt_encode_check(before, segment->elements);
    segment->was_bad = segment->bad >= 0;
    if (segment->was_bad) return;
    for (int64_t i = 0; i < segment->elements; i++)
        segment->error.squares += (double)before[i] * (double)before[i];
    if (group->from == group->to) return;
    mlt_encode(group->to, before, segment->importance, segment->to, segment->elements);
    mlt_decode(group->to, segment->to, after, segment->elements);
    for (int64_t i = 0; i < segment->elements; i++) {
        double difference = (double)after[i] - (double)before[i];
        segment->error.difference += difference * difference;
        if (segment->bad < 0 && is_lost(before[i], after[i])) segment->bad = i;
    }
}

static void encode_share(void *argument, int thread, int threads)
{
    const struct group *group = argument;
    float *values = group->encoder->values + (size_t)thread * 2 * MLT_SEGMENT_ELEMENTS;
    int64_t begin, end;
    mlt_thread_share(group->count, 1, thread, threads, &begin, &end);
    for (int64_t i = begin; i < end; i++)
        encode_segment(group, &group->encoder->segments[i], values, values + MLT_SEGMENT_ELEMENTS);
}

static millet_status report(const struct mlt_tensor *tensor, mlt_dtype to, uint64_t element, bool before,
                            millet_error *err)
{
    uint64_t columns = (uint64_t)tensor->ne[0];
    if (before)
        return mlt_fail_at(
            err, MILLET_BAD_ARGUMENT, tensor->file, tensor->name.data, tensor->offset,
            "element %llu (row %llu, column %llu) is NaN or infinite: the checkpoint is damaged",
            (unsigned long long)element, (unsigned long long)(element / columns),
            (unsigned long long)(element % columns));
    return mlt_fail_at(
        err, MILLET_BAD_ARGUMENT, tensor->file, tensor->name.data, tensor->offset,
        "element %llu (row %llu, column %llu) is too large for %s; keep this tensor as it is, or "
        "choose another type for it",
        (unsigned long long)element, (unsigned long long)(element / columns),
        (unsigned long long)(element % columns), mlt_dtype_info(to)->name);
}

/* What mlt_encode_tensor works on. */
struct work {
    struct group group;
    const struct mlt_tensor *tensor;
    const struct mlt_rounding *rounding;
    mlt_encode_sink *sink;
    void *context;
    struct mlt_encode_error *error;
    uint64_t row;  /* the next to be gathered */
    uint64_t done; /* elements */
};

/* Encodes the segments that have been gathered and gives them to the sink. */
static millet_status finish_group(struct work *w, millet_error *err)
{
    struct mlt_encoder *encoder = w->group.encoder;
    uint64_t bytes = 0, elements = 0;
    mlt_thread_pool_run(encoder->pool, encode_share, &w->group);
    for (int i = 0; i < w->group.count; i++) {
        const struct mlt_segment *segment = &encoder->segments[i];
        if (segment->bad >= 0)
            return report(w->tensor, w->group.to, w->done + elements + (uint64_t)segment->bad,
                          segment->was_bad, err);
        w->error->squares += segment->error.squares;
        w->error->difference += segment->error.difference;
        bytes += mlt_dtype_row_bytes(w->group.to, segment->elements);
        elements += (uint64_t)segment->elements;
    }
    w->group.count = 0;
    w->done += elements;
    return w->sink(w->context, encoder->out, bytes, elements, err);
}

/* The importances of a row, or NULL. */
static const float *importance_of(const struct work *w, uint64_t row)
{
    if (!w->rounding || !w->rounding->importance) return NULL;
    return w->rounding->importance + row / w->rounding->slice_rows * (uint64_t)w->tensor->ne[0];
}

/* Encodes `rows` rows whose bytes are at `bytes`. */
static millet_status encode_rows(struct work *w, const uint8_t *bytes, uint64_t rows, millet_error *err)
{
    struct mlt_encoder *encoder = w->group.encoder;
    uint8_t *out = encoder->out;
    for (uint64_t row = 0; row < rows; row++) {
        const float *importance = importance_of(w, w->row++);
        for (int64_t column = 0, elements; column < w->tensor->ne[0]; column += elements) {
            elements = MLT_MIN(w->tensor->ne[0] - column, (int64_t)MLT_SEGMENT_ELEMENTS);
            struct mlt_segment *segment = &encoder->segments[w->group.count++];
            segment->elements = elements;
            segment->from = bytes + row * w->tensor->row_bytes + mlt_dtype_row_bytes(w->group.from, column);
            segment->to = out;
            segment->importance = importance ? importance + column : NULL;
            out += mlt_dtype_row_bytes(w->group.to, elements);
            if (w->group.count < MLT_GROUP_SEGMENTS) continue;
            MLT_TRY(finish_group(w, err));
            out = encoder->out;
        }
    }
    return w->group.count ? finish_group(w, err) : MILLET_OK;
}

/* ---- Whole rows with feedback ---- */

enum { FED_ROWS_A_THREAD = 4 };

/* Rows that are rounded together. */
struct fed_rows {
    struct work *work;
    uint64_t first, count, row_bytes, scratch_floats;
    uint8_t *from;                /* rows as they are stored */
    float *values;                /* [rows][columns] */
    uint8_t *to;                  /* [rows][row_bytes] */
    float *scratch;               /* [threads][scratch_floats] */
    struct mlt_segment *segments; /* [rows]: of these only what came of it */
};

static void feed_share(void *argument, int thread, int threads)
{
    const struct fed_rows *r = argument;
    const struct work *w = r->work;
    int64_t columns = w->tensor->ne[0], begin, end;
    float *scratch = r->scratch + (uint64_t)thread * r->scratch_floats;
    mlt_thread_share((int64_t)r->count, 1, thread, threads, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        struct mlt_segment *segment = &r->segments[i];
        float *before = r->values + i * columns;
        uint8_t *to = r->to + (uint64_t)i * r->row_bytes;
        *segment = (struct mlt_segment){.elements = columns};
        mlt_decode(w->tensor->dtype, r->from + (uint64_t)i * w->tensor->row_bytes, before, columns);
        segment->bad = mlt_encode_check(before, columns);
        segment->was_bad = segment->bad >= 0;
        if (segment->was_bad) continue;
        mlt_feedback_round(w->rounding->feedback, w->group.to, before, to, scratch);
        mlt_decode(w->group.to, to, scratch, columns);
        for (int64_t k = 0; k < columns; k++) {
            double difference = (double)scratch[k] - (double)before[k];
            segment->error.squares += (double)before[k] * (double)before[k];
            segment->error.difference += difference * difference;
            if (segment->bad < 0 && is_lost(before[k], scratch[k])) segment->bad = k;
        }
    }
}

static millet_status feed_group(struct fed_rows *r, millet_error *err)
{
    struct work *w = r->work;
    uint64_t columns = (uint64_t)w->tensor->ne[0];
    MLT_TRY(mlt_tensor_read(w->tensor, r->first, r->count, r->from, err));
    mlt_thread_pool_run(w->group.encoder->pool, feed_share, r);
    for (uint64_t i = 0; i < r->count; i++) {
        const struct mlt_segment *segment = &r->segments[i];
        if (segment->bad >= 0)
            return report(w->tensor, w->group.to, (r->first + i) * columns + (uint64_t)segment->bad,
                          segment->was_bad, err);
        w->error->squares += segment->error.squares;
        w->error->difference += segment->error.difference;
    }
    return w->sink(w->context, r->to, r->count * r->row_bytes, r->count * columns, err);
}

static millet_status encode_with_feedback(struct work *w, millet_error *err)
{
    struct mlt_encoder *encoder = w->group.encoder;
    const struct mlt_tensor *tensor = w->tensor;
    size_t threads = (size_t)mlt_thread_pool_size(encoder->pool), rows = FED_ROWS_A_THREAD * threads;
    struct fed_rows r = {.work = w,
                         .row_bytes = mlt_dtype_row_bytes(w->group.to, tensor->ne[0]),
                         .scratch_floats = mlt_feedback_scratch(tensor->ne[0])};
    r.from = mlt_alloc(&encoder->allocator, rows, (size_t)tensor->row_bytes, err);
    r.values = mlt_alloc(&encoder->allocator, rows * (size_t)tensor->ne[0], sizeof *r.values, err);
    r.to = mlt_alloc(&encoder->allocator, rows, (size_t)r.row_bytes, err);
    r.scratch = mlt_alloc(&encoder->allocator, threads * (size_t)r.scratch_floats, sizeof *r.scratch, err);
    r.segments = mlt_alloc(&encoder->allocator, rows, sizeof *r.segments, err);
    millet_status status =
        r.from && r.values && r.to && r.scratch && r.segments ? MILLET_OK : MILLET_NO_MEMORY;
    for (; r.first < tensor->rows && status == MILLET_OK; r.first += r.count) {
        r.count = MLT_MIN(rows, tensor->rows - r.first);
        status = feed_group(&r, err);
    }
    mlt_free(&encoder->allocator, r.from);
    mlt_free(&encoder->allocator, r.values);
    mlt_free(&encoder->allocator, r.to);
    mlt_free(&encoder->allocator, r.scratch);
    mlt_free(&encoder->allocator, r.segments);
    return status;
}

millet_status mlt_encode_tensor(struct mlt_encoder *encoder, const struct mlt_tensor *tensor, mlt_dtype to,
                                const struct mlt_rounding *rounding, mlt_encode_sink *sink, void *context,
                                struct mlt_encode_error *error, millet_error *err)
{
    struct work w = {.group = {encoder, tensor->dtype, to, 0},
                     .tensor = tensor,
                     .rounding = rounding,
                     .sink = sink,
                     .context = context,
                     .error = error};
    *error = (struct mlt_encode_error){0, 0};
    if (rounding && rounding->feedback && tensor->dtype != to && mlt_code_count(to))
        return encode_with_feedback(&w, err);
    if (tensor->data) return encode_rows(&w, tensor->data, tensor->rows, err);
    /* As many rows at once as a group of segments holds, but at least one. */
    uint64_t rows = (uint64_t)MLT_GROUP_SEGMENTS * MLT_SEGMENT_ELEMENTS / (uint64_t)tensor->ne[0];
    rows = MLT_MIN(MLT_MAX(rows, 1), tensor->rows);
    if (encoder->rows_size < rows * tensor->row_bytes) {
        mlt_free(&encoder->allocator, encoder->rows);
        encoder->rows_size = 0;
        encoder->rows = mlt_alloc(&encoder->allocator, (size_t)rows, (size_t)tensor->row_bytes, err);
        if (!encoder->rows) return MILLET_NO_MEMORY;
        encoder->rows_size = rows * tensor->row_bytes;
    }
    for (uint64_t row = 0; row < tensor->rows; row += rows) {
        uint64_t count = MLT_MIN(rows, tensor->rows - row);
        MLT_TRY(mlt_tensor_read(tensor, row, count, encoder->rows, err));
        MLT_TRY(encode_rows(&w, encoder->rows, count, err));
    }
    return MILLET_OK;
}
