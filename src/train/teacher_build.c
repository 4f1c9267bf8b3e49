/* Teachers over a token cache, into a file. SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/part_file.h"
#include "corpus/batches.h"
#include "corpus/byte_source.h"
#include "corpus/permutation.h"
#include "corpus/token_cache.h"
#include "train/given_labels.h"
#include "train/teacher_file.h"
#include "train/teachers.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

enum { SAVE_SECONDS = 30 }; /* at most so much work is lost by a kill */

struct build {
    millet_allocator allocator;
    const millet_teacher_options *options;
    const char *cache_path, *output;
    millet_cache *cache;
    millet_batches *batches;
    struct mlt_teacher_header header;
    uint8_t *bits;
    uint64_t *counts;
    struct mlt_teachers teachers;
    struct mlt_given_labels labels;
    struct mlt_part_file *file;
    struct mlt_batch batch; /* [rows][length] */
    int64_t *positions;     /* [rows * length] those of the batch that have a row in the file */
    float *p;               /* [chunk_rows][wide] */
    int32_t *chosen;        /* [chunk_rows][top_k] */
    uint8_t *encoded;       /* [chunk_rows][row bytes] */
    double saved;
};

millet_teacher_options millet_teacher_options_default(void)
{
    return (millet_teacher_options){
        .labels_weight = 0.5f, .top_k = 32, .temperature = 2, .length = 256, .rows = 8};
}

static millet_status wrong(millet_error *err, const char *option, const char *what)
{
    return mlt_fail_at(err, MILLET_BAD_ARGUMENT, NULL, option, MILLET_NO_OFFSET, "%s", what);
}

static millet_status check_options(const millet_teacher_options *o, millet_error *err)
{
    if (!(o->labels_weight >= 0 && o->labels_weight <= 1))
        return wrong(err, "labels_weight", "0 to 1 is possible");
    if (o->top_k < 0) return wrong(err, "top_k", "at least 1 token is kept, or 0 for all of the vocabulary");
    if (!(o->temperature >= 0.01f && o->temperature <= 100))
        return wrong(err, "temperature", "0.01 to 100 is possible");
    if (o->length < 2 || o->length > 1 << 24) return wrong(err, "length", "2 to 16777216 tokens make a part");
    if (o->rows < 1 || o->rows > 1 << 16) return wrong(err, "rows", "1 to 65536 parts make a batch");
    if (o->n_threads < 0 || o->n_threads > MLT_MAX_THREADS)
        return wrong(err, "n_threads", "0 (one for each CPU) to 256 are possible");
    return MILLET_OK;
}

/* ---- What is to be made ---- */

static millet_status open_cache(struct build *b, millet_error *err)
{
    millet_batch_options o = millet_batch_options_default();
    o.allocator = &b->allocator;
    o.length = b->options->length;
    o.in_order = true;
    MLT_TRY(millet_cache_open(b->cache_path, &b->allocator, true, &b->cache, err));
    millet_mixture_part part = {.cache = b->cache, .weight = 1};
    MLT_TRY(millet_batches_open(&part, 1, &o, &b->batches, err));
    size_t tokens = (size_t)b->options->rows * (size_t)o.length;
    int32_t *block = mlt_alloc(&b->allocator, tokens, 4 * sizeof *block, err);
    if (!block) return MILLET_NO_MEMORY;
    b->batch = (struct mlt_batch){.rows = b->options->rows,
                                  .length = o.length,
                                  .tokens = block,
                                  .targets = block + tokens,
                                  .begin = block + 2 * tokens,
                                  .end = block + 3 * tokens};
    b->batch.source = mlt_alloc(&b->allocator, tokens, sizeof *b->batch.source, err);
    b->positions = mlt_alloc(&b->allocator, tokens, sizeof *b->positions, err);
    return b->batch.source && b->positions ? MILLET_OK : MILLET_NO_MEMORY;
}

/* Row `index` of the cache as row `row` of the batch. */
static millet_status fill_row(struct build *b, uint64_t index, int32_t row, millet_error *err)
{
    struct mlt_batch one = b->batch;
    size_t at = (size_t)row * (size_t)one.length;
    one.rows = 1;
    one.tokens += at, one.targets += at, one.begin += at, one.end += at, one.source += at;
    return mlt_batches_fill(b->batches, index, &one, err);
}

/* Marks every token that has a target where it is an input. */
static millet_status make_index(struct build *b, millet_error *err)
{
    struct mlt_teacher_header *h = &b->header;
    uint64_t n_bytes = (h->n_tokens + 7) / 8, strides = h->n_tokens / MLT_TEACHER_STRIDE + 1;
    b->bits = mlt_alloc_zero(&b->allocator, (size_t)n_bytes, 1, err);
    b->counts = mlt_alloc_zero(&b->allocator, (size_t)strides, sizeof *b->counts, err);
    if (!b->bits || !b->counts) return MILLET_NO_MEMORY;
    for (uint64_t row = 0; row < h->n_batch_rows; row++) {
        MLT_TRY(fill_row(b, row, 0, err));
        for (int32_t i = 0; i < b->batch.length; i++) {
            if (b->batch.targets[i] < 0) continue;
            uint64_t token = mlt_source_token(b->batch.source[i]);
            b->bits[token / 8] |= (uint8_t)(1u << token % 8);
        }
    }
    for (uint64_t i = 0; i < n_bytes; i++) {
        if (i % (MLT_TEACHER_STRIDE / 8) == 0) b->counts[i / (MLT_TEACHER_STRIDE / 8)] = h->n_positions;
        h->n_positions += (uint64_t)__builtin_popcount(b->bits[i]);
    }
    if (h->n_tokens % MLT_TEACHER_STRIDE == 0) b->counts[strides - 1] = h->n_positions;
    return MILLET_OK;
}

static millet_status plan(struct build *b, millet_error *err)
{
    const millet_teacher_options *o = b->options;
    millet_cache_info cache;
    millet_batches_info rows;
    uint32_t temperature;
    memcpy(&temperature, &o->temperature, sizeof temperature);
    MLT_TRY(check_options(o, err));
    MLT_TRY(open_cache(b, err));
    millet_cache_get_info(b->cache, &cache);
    millet_batches_get_info(b->batches, &rows);
    bool all = o->top_k == 0 || o->top_k >= cache.n_vocab;
    b->header = (struct mlt_teacher_header){.cache_checksum = cache.checksum,
                                            .n_teachers = o->n_teachers,
                                            .n_tokens = cache.n_tokens,
                                            .n_vocab = (uint64_t)cache.n_vocab,
                                            .top_k = (uint64_t)(all ? cache.n_vocab : o->top_k),
                                            .length = (uint64_t)o->length,
                                            .temperature = temperature,
                                            .n_batch_rows = rows.n_rows};
    MLT_TRY(make_index(b, err));
    if (mlt_teacher_header_lay_out(&b->header)) return MILLET_OK;
    return mlt_fail_at(err, MILLET_BAD_ARGUMENT, b->cache_path, "top_k", MILLET_NO_OFFSET,
                       "the file would be beyond any size");
}

static bool same_contents(const struct mlt_teacher_header *a, const struct mlt_teacher_header *b)
{
    return memcmp(a, b, offsetof(struct mlt_teacher_header, n_done)) == 0;
}

static bool is_current(struct build *b, millet_teacher_info *info)
{
    struct mlt_teacher_file file;
    if (b->options->rebuild || mlt_teacher_file_open(b->output, true, &file, NULL) != MILLET_OK) return false;
    bool current = same_contents(&file.header, &b->header);
    if (current) mlt_teacher_describe(&file.header, info);
    mlt_teacher_file_close(&file);
    return current;
}

/* ---- Making it ---- */

/* Everything up to batch row `done` is in the file; what was written is on disk before that is said. */
static millet_status save(struct build *b, uint64_t done, millet_error *err)
{
    b->header.n_done = done;
    b->header.header_checksum = mlt_teacher_header_sum(&b->header);
    MLT_TRY(mlt_part_file_sync(b->file, err));
    b->saved = mlt_clock_seconds();
    return mlt_part_file_write(b->file, 0, &b->header, sizeof b->header, err);
}

static millet_status open_file(struct build *b, millet_error *err)
{
    struct mlt_teacher_header old, *h = &b->header;
    bool found;
    MLT_TRY(mlt_part_file_open(&b->allocator, b->output, h->file_bytes, &b->file, &found, err));
    if (found && !b->options->rebuild) {
        MLT_TRY(mlt_part_file_read(b->file, 0, &old, sizeof old, err));
        if (mlt_teacher_header_check(&old, h->file_bytes, b->output, NULL) == MILLET_OK &&
            same_contents(&old, h))
            h->n_done = old.n_done;
    }
    MLT_TRY(mlt_part_file_write(b->file, h->bits_at, b->bits, (h->n_tokens + 7) / 8, err));
    MLT_TRY(mlt_part_file_write(b->file, h->counts_at, b->counts, (h->n_tokens / MLT_TEACHER_STRIDE + 1) * 8,
                                err));
    return save(b, h->n_done, err);
}

/* The labels are one more teacher: what they say is part of the checksum. */
static millet_status add_labels(struct build *b, bool estimate, millet_error *err)
{
    const millet_teacher_options *o = b->options;
    struct mlt_source_identity identity;
    uint32_t weight;
    memcpy(&weight, &o->labels_weight, sizeof weight);
    MLT_TRY(mlt_source_checksum(&b->allocator, o->labels, &identity, err));
    b->header.teachers_checksum =
        mlt_mix64(b->header.teachers_checksum ^ mlt_mix64((uint64_t)weight << 32 | identity.checksum));
    if (estimate) return MILLET_OK;
    return mlt_given_labels_open(&b->allocator, o->labels, b->teachers.models[0]->checkpoint, &b->labels,
                                 err);
}

static millet_status open_teachers(struct build *b, bool estimate, millet_error *err)
{
    const millet_teacher_options *o = b->options;
    millet_cache_info cache;
    millet_cache_get_info(b->cache, &cache);
    struct mlt_teachers_options options = {.paths = o->teachers,
                                           .n = o->n_teachers,
                                           .temperature = o->temperature,
                                           .tokenizer_checksum = cache.tokenizer_checksum,
                                           .n_vocab = cache.n_vocab,
                                           .data = b->cache_path,
                                           .estimate = estimate};
    options.pass = (struct mlt_pass_options){
        .rows = o->rows, .length = o->length, .n_threads = o->n_threads ? o->n_threads : mlt_cpu_count()};
    mlt_teachers_close(&b->teachers);
    MLT_TRY(mlt_teachers_open(&b->allocator, &options, &b->teachers, err));
    b->header.teachers_checksum = b->teachers.checksum;
    if (o->labels) MLT_TRY(add_labels(b, estimate, err));
    if (estimate) return MILLET_OK;
    size_t rows = (size_t)b->teachers.chunk_rows;
    b->p = mlt_alloc(&b->allocator, rows * (size_t)b->teachers.wide, sizeof *b->p, err);
    b->chosen = mlt_alloc(&b->allocator, rows * (size_t)b->header.top_k, sizeof *b->chosen, err);
    b->encoded = mlt_alloc(&b->allocator, rows, (size_t)mlt_teacher_row_bytes(&b->header), err);
    return b->p && b->chosen && b->encoded ? MILLET_OK : MILLET_NO_MEMORY;
}

static void encode_rows(const void *argument, int64_t begin, int64_t end)
{
    const struct build *b = argument;
    uint64_t bytes = mlt_teacher_row_bytes(&b->header);
    for (int64_t i = begin; i < end; i++)
        mlt_teacher_encode(&b->header, b->p + i * b->teachers.wide, b->teachers.wide,
                           b->chosen + i * (int64_t)b->header.top_k, b->encoded + (uint64_t)i * bytes);
}

/* Writes the rows of positions [0, n), those that follow one another in the file together. */
static millet_status write_rows(struct build *b, const int64_t *position, int64_t n, millet_error *err)
{
    const struct mlt_teacher_header *h = &b->header;
    const struct mlt_teacher_index index = {b->bits, b->counts};
    uint64_t bytes = mlt_teacher_row_bytes(h), first = 0;
    int64_t begin = 0;
    for (int64_t i = 0; i <= n; i++) {
        uint64_t row = i == n
                           ? UINT64_MAX
                           : mlt_teacher_index_find(&index, mlt_source_token(b->batch.source[position[i]]));
        if (i == 0) first = row;
        if (i == 0 || row == first + (uint64_t)(i - begin)) continue;
        MLT_TRY(mlt_part_file_write(b->file, h->rows_at + first * bytes, b->encoded + (uint64_t)begin * bytes,
                                    (uint64_t)(i - begin) * bytes, err));
        begin = i;
        first = row;
    }
    return MILLET_OK;
}

static millet_status run_batch(struct build *b, uint64_t first, int32_t rows, millet_error *err)
{
    int64_t n = 0;
    b->batch.rows = rows;
    for (int32_t row = 0; row < rows; row++)
        MLT_TRY(fill_row(b, first + (uint64_t)row, row, err));
    for (int64_t i = 0; i < (int64_t)rows * b->batch.length; i++)
        if (b->batch.targets[i] >= 0) b->positions[n++] = i;
    if (n == 0) return MILLET_OK;
    MLT_TRY(mlt_teachers_forward(&b->teachers, &b->batch, err));
    for (int64_t done = 0; done < n;) {
        int64_t part = MLT_MIN(n - done, b->teachers.chunk_rows);
        MLT_TRY(mlt_teachers_soften(&b->teachers, b->positions + done, part, b->p, NULL, err));
        for (int64_t i = 0; b->labels.n_labels && i < part; i++) {
            uint64_t token = mlt_source_token(b->batch.source[b->positions[done + i]]);
            const struct mlt_given_label *label = mlt_given_labels_find(&b->labels, b->cache, token);
            if (label)
                mlt_given_labels_mix(&b->labels, label, b->options->labels_weight, b->options->temperature,
                                     b->p + i * b->teachers.wide, b->teachers.wide);
        }
        mlt_for_range(&b->teachers.passes[0]->workers, part, 1, encode_rows, b);
        MLT_TRY(write_rows(b, b->positions + done, part, err));
        done += part;
    }
    return MILLET_OK;
}

static millet_status run_all(struct build *b, millet_error *err)
{
    const millet_teacher_options *o = b->options;
    uint64_t all = b->header.n_batch_rows;
    for (uint64_t done = b->header.n_done; done < all;) {
        int32_t rows = (int32_t)MLT_MIN(all - done, (uint64_t)o->rows);
        MLT_TRY(run_batch(b, done, rows, err));
        done += (uint64_t)rows;
        bool stop = o->progress && !o->progress(o->context, (double)done / (double)all);
        if (stop || mlt_clock_seconds() - b->saved > SAVE_SECONDS) MLT_TRY(save(b, done, err));
        if (stop)
            return mlt_fail_at(err, MILLET_CANCELLED, b->output, NULL, MILLET_NO_OFFSET,
                               "stopped after %.1f%%; the next run goes on there",
                               100 * (double)done / (double)all);
        b->header.n_done = done;
    }
    return MILLET_OK;
}

static millet_status finish(struct build *b, millet_error *err)
{
    enum { PIECE = 1 << 16 };
    uint8_t *piece = mlt_alloc(&b->allocator, PIECE, 1, err);
    if (!piece) return MILLET_NO_MEMORY;
    millet_status status = MILLET_OK;
    uLong sum = 0;
    for (uint64_t at = sizeof b->header; status == MILLET_OK && at < b->header.file_bytes;) {
        uint64_t n = MLT_MIN(b->header.file_bytes - at, (uint64_t)PIECE);
        status = mlt_part_file_read(b->file, at, piece, n, err);
        if (status == MILLET_OK) sum = crc32(sum, piece, (uInt)n);
        at += n;
    }
    mlt_free(&b->allocator, piece);
    b->header.body_checksum = sum;
    if (status == MILLET_OK) status = save(b, b->header.n_batch_rows, err);
    return status == MILLET_OK ? mlt_part_file_commit(&b->file, err) : status;
}

static millet_status make(struct build *b, millet_teacher_info *info, millet_error *err)
{
    MLT_TRY(plan(b, err));
    MLT_TRY(open_teachers(b, true, err));
    if (!mlt_teacher_header_lay_out(&b->header)) return wrong(err, "top_k", "the file would be too large");
    if (is_current(b, info)) {
        info->reused = true;
        return MILLET_OK;
    }
    MLT_TRY(open_teachers(b, false, err));
    MLT_TRY(open_file(b, err));
    double taken_over = (double)b->header.n_done / (double)b->header.n_batch_rows;
    MLT_TRY(run_all(b, err));
    MLT_TRY(finish(b, err));
    mlt_teacher_describe(&b->header, info);
    info->taken_over = taken_over;
    return MILLET_OK;
}

static struct build start(const char *cache, const char *output, const millet_teacher_options *o)
{
    return (struct build){.allocator = o->allocator ? *o->allocator : *mlt_default_allocator(),
                          .options = o,
                          .cache_path = cache,
                          .output = output};
}

static void close_build(struct build *b)
{
    mlt_part_file_close(&b->file);
    mlt_teachers_close(&b->teachers);
    mlt_given_labels_close(&b->labels);
    millet_batches_close(&b->batches);
    millet_cache_close(&b->cache);
    mlt_free(&b->allocator, b->bits);
    mlt_free(&b->allocator, b->counts);
    mlt_free(&b->allocator, b->batch.tokens);
    mlt_free(&b->allocator, b->batch.source);
    mlt_free(&b->allocator, b->positions);
    mlt_free(&b->allocator, b->p);
    mlt_free(&b->allocator, b->chosen);
    mlt_free(&b->allocator, b->encoded);
}

millet_status millet_teacher_estimate(const char *cache, const millet_teacher_options *options,
                                      millet_teacher_info *info, millet_error *err)
{
    millet_teacher_options defaults = millet_teacher_options_default();
    struct build b = start(cache, NULL, options ? options : &defaults);
    *info = (millet_teacher_info){0};
    millet_status status = plan(&b, err);
    if (status == MILLET_OK) mlt_teacher_describe(&b.header, info);
    close_build(&b);
    return status;
}

millet_status millet_teacher_build(const char *cache, const char *output,
                                   const millet_teacher_options *options, millet_teacher_info *info,
                                   millet_error *err)
{
    millet_teacher_options defaults = millet_teacher_options_default();
    millet_teacher_info unwanted;
    struct build b = start(cache, output, options ? options : &defaults);
    if (!info) info = &unwanted;
    *info = (millet_teacher_info){0};
    millet_status status = make(&b, info, err);
    close_build(&b);
    return status;
}
