/* Windows of one tokenised text. SPDX-License-Identifier: Apache-2.0 */
#include "train/text_source.h"

#include "base/file.h"
#include "base/random.h"

#include <string.h>

struct mlt_text_source {
    millet_allocator allocator;
    int32_t *tokens; /* all documents */
    bool *begins;    /* [n_tokens] a document begins here */
    size_t n_tokens, capacity;
    int32_t length;
    uint64_t n_windows, seed, digest;
    uint64_t *order; /* [n_windows] of round `round` */
    uint64_t round;  /* UINT64_MAX: none yet */
};

static millet_status append(struct mlt_text_source *s, int32_t token, bool begins, millet_error *err)
{
    if (s->n_tokens == s->capacity) {
        size_t capacity = s->capacity ? 2 * s->capacity : 1 << 16;
        int32_t *tokens = mlt_alloc(&s->allocator, capacity, sizeof *tokens, err);
        bool *marks = mlt_alloc(&s->allocator, capacity, sizeof *marks, err);
        if (!tokens || !marks) {
            mlt_free(&s->allocator, tokens);
            mlt_free(&s->allocator, marks);
            return MILLET_NO_MEMORY;
        }
        if (s->n_tokens) {
            memcpy(tokens, s->tokens, s->n_tokens * sizeof *tokens);
            memcpy(marks, s->begins, s->n_tokens * sizeof *marks);
        }
        mlt_free(&s->allocator, s->tokens);
        mlt_free(&s->allocator, s->begins);
        s->tokens = tokens;
        s->begins = marks;
        s->capacity = capacity;
    }
    s->tokens[s->n_tokens] = token;
    s->begins[s->n_tokens++] = begins;
    s->digest = (s->digest ^ (uint32_t)token) * UINT64_C(0x100000001b3);
    return MILLET_OK;
}

static millet_status add_document(struct mlt_text_source *s, const struct mlt_tokenizer *tokenizer,
                                  const char *text, size_t length, int32_t bos, int32_t eos,
                                  millet_error *err)
{
    int32_t *ids = NULL;
    size_t count = 0;
    MLT_TRY(mlt_tokenize(tokenizer, &s->allocator, text, length, 0, &ids, &count, err));
    millet_status status = MILLET_OK;
    if (count > 0 && bos >= 0) status = append(s, bos, true, err);
    for (size_t i = 0; status == MILLET_OK && i < count; i++)
        status = append(s, ids[i], i == 0 && bos < 0, err);
    if (status == MILLET_OK && count > 0 && eos >= 0) status = append(s, eos, false, err);
    mlt_free(&s->allocator, ids);
    return status;
}

static millet_status add_documents(struct mlt_text_source *s, const struct mlt_tokenizer *tokenizer,
                                   const char *text, size_t length, int32_t bos, int32_t eos,
                                   millet_error *err)
{
    static const char mark[] = "<|endoftext|>\n";
    for (size_t begin = 0; begin < length;) {
        const char *end = strstr(text + begin, mark);
        size_t n = end ? (size_t)(end - text) - begin : length - begin;
        MLT_TRY(add_document(s, tokenizer, text + begin, n, bos, eos, err));
        begin += n + (end ? sizeof mark - 1 : 0);
    }
    return MILLET_OK;
}

static millet_status fill_source(struct mlt_text_source *s, const char *path,
                                 const struct mlt_tokenizer *tokenizer, int32_t bos, int32_t eos,
                                 millet_error *err)
{
    enum { MOST_BYTES = 1 << 30 };
    char *text = NULL;
    uint64_t size = 0;
    MLT_TRY(mlt_file_read(&s->allocator, path, MOST_BYTES, &text, &size, err));
    millet_status status = MILLET_OK;
    if (memchr(text, 0, (size_t)size))
        status = mlt_fail_at(err, MILLET_BAD_FORMAT, path, NULL, MILLET_NO_OFFSET,
                             "the file holds NUL bytes: no text");
    else
        status = add_documents(s, tokenizer, text, (size_t)size, bos, eos, err);
    mlt_free(&s->allocator, text);
    MLT_TRY(status);
    if (s->n_tokens <= (size_t)s->length)
        return mlt_fail_at(err, MILLET_BAD_ARGUMENT, path, NULL, MILLET_NO_OFFSET,
                           "%zu tokens are too few for sequences of %d", s->n_tokens, s->length);
    s->n_windows = (s->n_tokens - 1) / (size_t)s->length;
    s->order = mlt_alloc(&s->allocator, (size_t)s->n_windows, sizeof *s->order, err);
    return s->order ? MILLET_OK : MILLET_NO_MEMORY;
}

millet_status mlt_text_source_open(const millet_allocator *allocator, const char *path,
                                   const struct mlt_tokenizer *tokenizer, int32_t bos, int32_t eos,
                                   int32_t length, uint64_t seed, struct mlt_text_source **out,
                                   millet_error *err)
{
    *out = NULL;
    struct mlt_text_source *s = mlt_alloc_zero(allocator, 1, sizeof *s, err);
    if (!s) return MILLET_NO_MEMORY;
    s->allocator = *allocator;
    s->length = length;
    s->seed = seed;
    s->round = UINT64_MAX;
    s->digest = UINT64_C(0xcbf29ce484222325);
    millet_status status = fill_source(s, path, tokenizer, bos, eos, err);
    if (status != MILLET_OK) {
        mlt_error_in_file(err, path);
        mlt_text_source_close(&s);
        return status;
    }
    *out = s;
    return MILLET_OK;
}

void mlt_text_source_close(struct mlt_text_source **handle)
{
    struct mlt_text_source *s = *handle;
    if (!s) return;
    millet_allocator allocator = s->allocator;
    mlt_free(&allocator, s->tokens);
    mlt_free(&allocator, s->begins);
    mlt_free(&allocator, s->order);
    mlt_free(&allocator, s);
    *handle = NULL;
}

uint64_t mlt_text_source_windows(const struct mlt_text_source *source)
{
    return source->n_windows;
}

uint64_t mlt_text_source_digest(const struct mlt_text_source *source)
{
    return source->digest;
}

void mlt_text_source_window(const struct mlt_text_source *s, uint64_t index, struct mlt_batch *batch,
                            int32_t row)
{
    size_t from = (size_t)index * (size_t)s->length, to = (size_t)row * (size_t)batch->length;
    int32_t begin = 0;
    for (int32_t i = 0; i < s->length; i++) {
        if (s->begins[from + (size_t)i]) begin = i;
        size_t at = to + (size_t)i, next = from + (size_t)i + 1;
        batch->tokens[at] = s->tokens[next - 1];
        batch->targets[at] = s->begins[next] ? MLT_NO_TARGET : s->tokens[next];
        batch->begin[at] = begin;
        batch->end[at] = i;
    }
}

/* Fisher and Yates' shuffle, by the seed and the round's number alone. */
static void shuffle(struct mlt_text_source *s, uint64_t round)
{
    struct mlt_random random;
    mlt_random_seed(&random, s->seed ^ (round + 1) * UINT64_C(0x9e3779b97f4a7c15));
    for (uint64_t i = 0; i < s->n_windows; i++)
        s->order[i] = i;
    for (uint64_t i = s->n_windows - 1; i > 0; i--) {
        uint64_t j = mlt_random_u64(&random) % (i + 1), kept = s->order[i];
        s->order[i] = s->order[j];
        s->order[j] = kept;
    }
    s->round = round;
}

static millet_status fill_batch(void *context, uint64_t step, struct mlt_batch *batch, millet_error *err)
{
    struct mlt_text_source *s = context;
    if (batch->length != s->length)
        return mlt_fail(err, MILLET_BAD_ARGUMENT, "a batch of length %d from windows of %d", batch->length,
                        s->length);
    for (int32_t row = 0; row < batch->rows; row++) {
        uint64_t index = step * (uint64_t)batch->rows + (uint64_t)row;
        if (index / s->n_windows != s->round) shuffle(s, index / s->n_windows);
        mlt_text_source_window(s, s->order[index % s->n_windows], batch, row);
    }
    return MILLET_OK;
}

struct mlt_batch_source mlt_text_batches(struct mlt_text_source *source)
{
    return (struct mlt_batch_source){source, fill_batch};
}
