/* How compact a tokenizer is. SPDX-License-Identifier: Apache-2.0 */
#include "corpus/corpus_tokenizer.h"
#include "corpus/record_tokens.h"

#include <string.h>

struct measuring {
    const millet_tokenizer *tokenizer;
    millet_tokenizer_measure_result *result;
    bool lines;
    struct mlt_text decoded;
};

static void count_token(struct measuring *m, int32_t id)
{
    enum mlt_token_type type = mlt_tokenizer_type(m->tokenizer->tokenizer, id);
    struct mlt_token_text text = mlt_tokenizer_token(m->tokenizer->tokenizer, id);
    /* In byte-level BPE a byte beyond ASCII is a token of one character of two bytes, which stands for no
     * character alone. */
    bool byte_level = m->tokenizer->kind == MLT_TOKENIZER_BPE && text.length == 2;
    m->result->n_tokens++;
    m->result->n_unknown += type == MLT_TOKEN_UNKNOWN;
    m->result->n_bytes += type == MLT_TOKEN_BYTE ||
                          (byte_level && (uint8_t)text.data[0] >= 0xC2 && (uint8_t)text.data[0] <= 0xC3);
}

static millet_status compare(struct measuring *m, const char *text, size_t length, const int32_t *ids,
                             size_t count, millet_error *err)
{
    const millet_allocator *allocator = &m->tokenizer->allocator;
    size_t needed;
    if (m->decoded.capacity < length + 64) {
        m->decoded.length = 0;
        MLT_TRY(mlt_text_append(&m->decoded, text, length, err));
        MLT_TRY(mlt_text_append(&m->decoded,
                                "                                                                ", 64, err));
    }
    MLT_TRY(mlt_detokenize(m->tokenizer->tokenizer, allocator, ids, count, false, m->decoded.data,
                           length + 64, &needed, err));
    m->result->n_lost += needed != length || memcmp(m->decoded.data, text, length) != 0;
    return MILLET_OK;
}

static millet_status measure_text(struct measuring *m, const char *text, size_t length, millet_error *err)
{
    const millet_allocator *allocator = &m->tokenizer->allocator;
    int32_t *ids;
    size_t count;
    if (length == 0) return MILLET_OK;
    MLT_TRY(mlt_tokenize(m->tokenizer->tokenizer, allocator, text, length, 0, &ids, &count, err));
    for (size_t i = 0; i < count; i++)
        count_token(m, ids[i]);
    m->result->text_bytes += length;
    m->result->n_texts++;
    millet_status status = compare(m, text, length, ids, count, err);
    mlt_free(allocator, ids);
    return status;
}

static millet_status measure_record(void *context, const char *text, size_t length, millet_error *err)
{
    struct measuring *m = context;
    if (!m->lines) return measure_text(m, text, length, err);
    for (size_t begin = 0; begin < length;) {
        const char *end = memchr(text + begin, '\n', length - begin);
        size_t size = end ? (size_t)(end - text) - begin : length - begin;
        MLT_TRY(measure_text(m, text + begin, size, err));
        begin += size + 1;
    }
    return MILLET_OK;
}

millet_status millet_tokenizer_measure(const millet_tokenizer *tokenizer, const char *const *sources,
                                       size_t n_sources, bool lines, const millet_source_options *options,
                                       millet_tokenizer_measure_result *result, millet_error *err)
{
    const millet_source_options defaults = {0};
    struct measuring m = {tokenizer, result, lines, {.allocator = &tokenizer->allocator}};
    millet_status status = MILLET_OK;
    *result = (millet_tokenizer_measure_result){0};
    for (size_t i = 0; i < n_sources && status == MILLET_OK; i++) {
        struct mlt_record_reader *reader = NULL;
        bool found = true;
        status = mlt_record_reader_open(&tokenizer->allocator, sources[i], options ? options : &defaults,
                                        &reader, err);
        while (status == MILLET_OK && found) {
            struct mlt_raw_record record;
            millet_skip skip = MILLET_SKIP_REASONS;
            status = mlt_record_reader_next(reader, &record, &found, err);
            if (status == MILLET_OK && found)
                status = mlt_record_texts(&record, measure_record, &m, &skip, err);
            if (skip != MILLET_SKIP_REASONS) result->n_skipped[skip]++;
        }
        if (status == MILLET_OK) result->n_skipped[MILLET_SKIP_LONG] += mlt_record_reader_skipped(reader);
        if (status) mlt_error_in_file(err, sources[i]);
        mlt_record_reader_close(&reader);
    }
    mlt_text_release(&m.decoded);
    return status;
}
