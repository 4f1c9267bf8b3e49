/* tiktoken's rank files. SPDX-License-Identifier: Apache-2.0 */
#include "tokenizer/tokenizer_internal.h"
#include "tokenizer/utf8.h"
#include "tokenizer/vocabulary_file.h"

#include <string.h>

/* How many ids without a token a file may leave free, for each it has and in all: an id is no reason for
 * memory. */
enum { SPARE_IDS = 1024 };

struct line {
    const char *base64;
    size_t base64_length;
    int32_t rank;
};

struct cursor {
    const char *at, *end;
    uint64_t number; /* of the line, from 1 */
};

static millet_status bad_line(const struct cursor *cursor, millet_error *err, const char *problem)
{
    return mlt_fail(err, MILLET_BAD_FORMAT, "line %llu of the rank file %s",
                    (unsigned long long)cursor->number, problem);
}

/* The next line that is not empty; *found is false at the end. */
static millet_status next_line(struct cursor *cursor, struct line *line, bool *found, millet_error *err)
{
    *found = false;
    while (cursor->at < cursor->end) {
        const char *begin = cursor->at;
        const char *feed = memchr(begin, '\n', (size_t)(cursor->end - begin));
        const char *end = feed ? feed : cursor->end;
        cursor->at = feed ? feed + 1 : cursor->end;
        cursor->number++;
        if (end > begin && end[-1] == '\r') end--;
        if (end == begin) continue;

        const char *space = memchr(begin, ' ', (size_t)(end - begin));
        if (!space || space == begin) return bad_line(cursor, err, "is not \"BASE64 RANK\"");
        int64_t rank = 0;
        for (const char *digit = space + 1; digit < end; digit++) {
            if (*digit < '0' || *digit > '9') return bad_line(cursor, err, "has a rank that is not a number");
            rank = rank * 10 + (*digit - '0');
            if (rank > INT32_MAX) return bad_line(cursor, err, "has a rank above 2^31");
        }
        if (space + 1 == end) return bad_line(cursor, err, "has no rank");
        *line = (struct line){begin, (size_t)(space - begin), (int32_t)rank};
        *found = true;
        break;
    }
    return MILLET_OK;
}

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Decodes to `out` (3 bytes for every 4 characters) in byte-mapped form (2 bytes each at most); false if
 * malformed. */
static bool decode_base64(const struct line *line, char *out, size_t *length)
{
    size_t count = line->base64_length;
    while (count && line->base64[count - 1] == '=' && line->base64_length - count < 2)
        count--;
    if (line->base64_length % 4 || count % 4 == 1) return false;
    uint32_t bits = 0;
    int n_bits = 0;
    *length = 0;
    for (size_t i = 0; i < count; i++) {
        int value = base64_value(line->base64[i]);
        if (value < 0) return false;
        bits = bits << 6 | (uint32_t)value;
        n_bits += 6;
        if (n_bits < 8) continue;
        n_bits -= 8;
        *length += mlt_utf8_encode(mlt_codepoint_of_byte((uint8_t)(bits >> n_bits)), out + *length);
    }
    return true;
}

/* Counts the lines and finds the largest id. */
static millet_status measure(struct cursor cursor, const struct mlt_special_token *special, size_t n_special,
                             int32_t *n_tokens, size_t *text_bytes, millet_error *err)
{
    int64_t lines = 0, largest = -1;
    struct line line;
    bool found;
    *text_bytes = 0;
    for (;;) {
        MLT_TRY(next_line(&cursor, &line, &found, err));
        if (!found) break;
        lines++;
        largest = MLT_MAX(largest, line.rank);
        *text_bytes += 2 * (line.base64_length / 4 * 3);
    }
    for (size_t i = 0; i < n_special; i++) {
        if (special[i].id < 0)
            return mlt_fail(err, MILLET_BAD_ARGUMENT, "the special token \"%.40s\" has a negative id",
                            special[i].text);
        largest = MLT_MAX(largest, special[i].id);
    }
    lines += (int64_t)n_special;
    if (lines == 0) return mlt_fail(err, MILLET_BAD_FORMAT, "the rank file is empty");
    if (largest >= 2 * lines + SPARE_IDS)
        return mlt_fail(err, MILLET_BAD_FORMAT, "the rank file has %lld tokens, but ids up to %lld",
                        (long long)lines, (long long)largest);
    *n_tokens = (int32_t)largest + 1;
    return MILLET_OK;
}

struct tables {
    struct mlt_token_text *tokens;
    int32_t *types, *ranks;
    char *text; /* where the next token's text goes */
};

static millet_status fill(struct cursor cursor, const struct tables *tables, millet_error *err)
{
    char *text = tables->text;
    struct line line;
    bool found;
    for (;;) {
        MLT_TRY(next_line(&cursor, &line, &found, err));
        if (!found) return MILLET_OK;
        size_t length;
        if (!decode_base64(&line, text, &length) || length == 0)
            return bad_line(&cursor, err, "has a token that is not Base64");
        if (tables->ranks[line.rank] >= 0)
            return bad_line(&cursor, err, "has a rank that stood there before");
        tables->tokens[line.rank] = (struct mlt_token_text){text, length};
        tables->types[line.rank] = MLT_TOKEN_NORMAL;
        tables->ranks[line.rank] = line.rank;
        text += length;
    }
}

static millet_status read_file(struct mlt_vocabulary_file *file, struct cursor cursor,
                               const struct mlt_special_token *special, size_t n_special, millet_error *err)
{
    int32_t n_tokens = 0;
    size_t text_bytes = 0;
    MLT_TRY(measure(cursor, special, n_special, &n_tokens, &text_bytes, err));
    struct tables tables;
    size_t n = (size_t)n_tokens;
    if (!(tables.tokens = mlt_arena_alloc(&file->arena, n, sizeof *tables.tokens, err)) ||
        !(tables.types = mlt_arena_alloc(&file->arena, n, sizeof *tables.types, err)) ||
        !(tables.ranks = mlt_arena_alloc(&file->arena, n, sizeof *tables.ranks, err)) ||
        !(tables.text = mlt_arena_alloc(&file->arena, text_bytes, 1, err)))
        return MILLET_NO_MEMORY;
    for (size_t i = 0; i < n; i++) {
        tables.tokens[i] = (struct mlt_token_text){"", 0};
        tables.types[i] = MLT_TOKEN_UNUSED;
        tables.ranks[i] = -1;
    }
    MLT_TRY(fill(cursor, &tables, err));
    for (size_t i = 0; i < n_special; i++) {
        int32_t id = special[i].id;
        size_t length = strlen(special[i].text);
        if (tables.tokens[id].length)
            return mlt_fail(err, MILLET_BAD_FORMAT,
                            "the id %d of the special token \"%.40s\" is another token's", id,
                            special[i].text);
        char *text = mlt_arena_text(&file->arena, special[i].text, length, err);
        if (!text) return MILLET_NO_MEMORY;
        tables.tokens[id] = (struct mlt_token_text){text, length};
        tables.types[id] = MLT_TOKEN_CONTROL;
    }
    file->spec.n_tokens = n_tokens;
    file->spec.tokens = tables.tokens;
    file->spec.types = tables.types;
    file->spec.ranks = tables.ranks;
    return MILLET_OK;
}

millet_status mlt_tiktoken_read(const millet_allocator *allocator, const char *text, size_t length,
                                const struct mlt_special_token *special, size_t n_special,
                                struct mlt_vocabulary_file *out, millet_error *err)
{
    out->spec = mlt_tokenizer_spec_default(MLT_TOKENIZER_BPE);
    mlt_arena_init(&out->arena, allocator);
    struct cursor cursor = {text, text + length, 0};
    millet_status status = length ? read_file(out, cursor, special, n_special, err)
                                  : mlt_fail(err, MILLET_BAD_FORMAT, "the rank file is empty");
    if (status) mlt_vocabulary_file_release(out);
    return status;
}

void mlt_vocabulary_file_release(struct mlt_vocabulary_file *file)
{
    mlt_arena_release(&file->arena);
    file->spec = (struct mlt_tokenizer_spec){.n_tokens = 0};
}
