/*
 * Hostile text, hostile vocabularies, hostile vocabulary files and chat templates.
 *
 * The first byte says what the rest is:
 *   0..3  text for a small vocabulary of each family
 *   4     a specification (see read_spec), then text for it
 *   5     a tiktoken file     6  a SentencePiece model; where they open, the file is also tokenised
 *   7     the source of a chat template, and a dialogue
 *   8     text for a pre-tokeniser, whose number the second byte is
 * What must hold: ids are in range, what tokens decode to is valid UTF-8 within its bound, pieces make up the
 * text.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tokenizer/chat_template.h"
#include "tokenizer/pretokenizer.h"
#include "tokenizer/utf8.h"
#include "tokenizer/vocabulary_file.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds) abort();
}

/* ---- Reading numbers and texts off the input ---- */

struct input {
    const uint8_t *data;
    size_t size;
};

static uint8_t take_byte(struct input *input)
{
    if (!input->size) return 0;
    input->size--;
    return *input->data++;
}

static struct mlt_token_text take_text(struct input *input)
{
    size_t wanted = take_byte(input), length = MLT_MIN(wanted, input->size);
    struct mlt_token_text text = {(const char *)input->data, length};
    input->data += length;
    input->size -= length;
    return text;
}

/* ---- Tokenising ---- */

static void decode(const struct mlt_tokenizer *tokenizer, const int32_t *ids, size_t count, bool special)
{
    char *piece = malloc(mlt_tokenizer_max_piece(tokenizer) + 12);
    struct mlt_decode_state state = {0};
    for (size_t i = 0; i <= count && piece; i++) {
        size_t length = i < count ? mlt_decode_token(tokenizer, &state, ids[i], special, piece)
                                  : mlt_decode_finish(&state, piece);
        check(length <= mlt_tokenizer_max_piece(tokenizer) + 12);
        check(mlt_utf8_valid(piece, length));
    }
    free(piece);
}

static void tokenize(const struct mlt_tokenizer *tokenizer, const char *text, size_t length)
{
    for (unsigned flags = 0; flags < 4; flags += 3) {
        int32_t *ids;
        size_t count;
        millet_error err;
        if (mlt_tokenize(tokenizer, mlt_default_allocator(), text, length, flags, &ids, &count, &err))
            continue;
        for (size_t i = 0; i < count; i++) {
            check(ids[i] >= 0 && ids[i] < mlt_tokenizer_size(tokenizer));
            struct mlt_token_text token = mlt_tokenizer_token(tokenizer, ids[i]);
            int32_t found = mlt_tokenizer_find(tokenizer, token.data, token.length);
            check(found >= 0 && found <= ids[i]);
        }
        decode(tokenizer, ids, count, flags != 0);
        mlt_free(mlt_default_allocator(), ids);
    }
}

static void open_and_tokenize(const struct mlt_tokenizer_spec *spec, const char *text, size_t length)
{
    struct mlt_tokenizer *tokenizer;
    millet_error err;
    if (mlt_tokenizer_open(mlt_default_allocator(), spec, &tokenizer, &err)) return;
    tokenize(tokenizer, text, length);
    mlt_tokenizer_close(&tokenizer);
}

/* ---- Small vocabularies ---- */

enum { SMALL_TOKENS = 300 };

static struct mlt_token_text small_tokens[SMALL_TOKENS];
static int32_t small_types[SMALL_TOKENS];
static float small_scores[SMALL_TOKENS];
static char byte_texts[256][8];

static void add_small(struct mlt_tokenizer_spec *spec, const char *text, int32_t type)
{
    int32_t id = spec->n_tokens++;
    small_tokens[id] = (struct mlt_token_text){text, strlen(text)};
    small_types[id] = type;
    small_scores[id] = -(float)(id % 17);
}

static void add_bytes(struct mlt_tokenizer_spec *spec, bool mapped)
{
    static const char digits[] = "0123456789ABCDEF";
    unsigned moved = 0;
    for (unsigned byte = 0; byte < 256; byte++) {
        char *text = byte_texts[byte];
        bool plain = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte != 0xAD);
        memset(text, 0, sizeof byte_texts[byte]);
        if (mapped)
            mlt_utf8_encode(plain ? byte : 0x100 + moved++, text);
        else
            memcpy(text, (char[]){'<', '0', 'x', digits[byte >> 4], digits[byte & 15], '>'}, 6);
        add_small(spec, text, mapped ? MLT_TOKEN_NORMAL : MLT_TOKEN_BYTE);
    }
}

static struct mlt_tokenizer *open_small(enum mlt_tokenizer_kind kind)
{
    static const char *const plain[] = {"\xE2\x96\x81", "a",        "b", "ab", "\342\226\201a",
                                        "abab",         "\xC3\xA9", "1", "!"};
    static const struct mlt_token_text merges[] = {{"a b", 3}, {"ab ab", 5}, {"\xC4\xA0 a", 4}, {"1 1", 3}};
    struct mlt_tokenizer_spec spec = mlt_tokenizer_spec_default(kind);
    spec.tokens = small_tokens;
    spec.types = small_types;
    spec.scores = small_scores;
    spec.n_tokens = 0;
    add_small(&spec, "<unk>", MLT_TOKEN_UNKNOWN);
    add_small(&spec, "<s>", MLT_TOKEN_CONTROL);
    add_small(&spec, "<|im_end|>", MLT_TOKEN_CONTROL);
    add_small(&spec, "<u>", MLT_TOKEN_USER_DEFINED);
    bool mapped = kind == MLT_TOKENIZER_BPE;
    if (kind == MLT_TOKENIZER_SPM || mapped) add_bytes(&spec, mapped);
    for (size_t i = mapped ? 3 : 0; i < MLT_COUNT(plain); i++)
        if (!mapped || (uint8_t)plain[i][0] < 0x80) add_small(&spec, plain[i], MLT_TOKEN_NORMAL);
    if (mapped) spec.n_tokens -= 2; /* "1" and "!" are bytes */
    spec.unknown = 0;
    spec.bos = spec.eos = spec.cls = spec.separator = 1;
    spec.add_bos = true;
    spec.merges = merges;
    spec.n_merges = mapped ? (int64_t)MLT_COUNT(merges) : 0;
    spec.pre = "llama-bpe";
    spec.nfc = mapped;
    struct mlt_tokenizer *tokenizer = NULL;
    millet_error err;
    check(mlt_tokenizer_open(mlt_default_allocator(), &spec, &tokenizer, &err) == MILLET_OK);
    return tokenizer;
}

/* ---- A specification from bytes ---- */

enum { FUZZ_TOKENS = 64 };

/*
 * Kind, flags, ids, then tokens (type, score, length, text), merges, the name or text of the pattern, the
 * character map; what is left is the text.
 */
static void try_spec(struct input *input)
{
    struct mlt_token_text tokens[FUZZ_TOKENS], merges[FUZZ_TOKENS];
    int32_t types[FUZZ_TOKENS], ranks[FUZZ_TOKENS];
    float scores[FUZZ_TOKENS];
    uint8_t strip[FUZZ_TOKENS];
    struct mlt_tokenizer_spec spec =
        mlt_tokenizer_spec_default((enum mlt_tokenizer_kind)(take_byte(input) % 4));
    uint8_t flags = take_byte(input), more = take_byte(input);
    spec.add_bos = flags & 1;
    spec.add_eos = flags & 2;
    spec.add_space_prefix = flags & 4;
    spec.remove_extra_whitespace = flags & 8;
    spec.ignore_merges = flags & 16;
    spec.nfc = flags & 32;
    spec.lowercase = flags & 64;
    int32_t *ids[] = {&spec.bos, &spec.eos, &spec.eot, &spec.unknown, &spec.separator, &spec.cls};
    for (size_t i = 0; i < MLT_COUNT(ids); i++)
        *ids[i] = (int8_t)take_byte(input);
    spec.n_tokens = take_byte(input) % FUZZ_TOKENS;
    for (int32_t i = 0; i < spec.n_tokens; i++) {
        uint8_t type = take_byte(input);
        types[i] = type & 7;
        strip[i] = type >> 6;
        scores[i] = (float)(int8_t)take_byte(input);
        ranks[i] = i - (type >> 4 & 1) * 100;
        tokens[i] = take_text(input);
    }
    spec.tokens = tokens;
    spec.types = more & 1 ? types : NULL;
    spec.scores = more & 2 ? scores : NULL;
    spec.strip = more & 4 ? strip : NULL;
    spec.ranks = more & 8 ? ranks : NULL;
    spec.n_merges = take_byte(input) % FUZZ_TOKENS;
    for (int64_t i = 0; i < spec.n_merges; i++)
        merges[i] = take_text(input);
    spec.merges = merges;
    spec.pre = mlt_pretokenizer_sources[take_byte(input) % mlt_pretokenizer_source_count].name;
    struct mlt_token_text map = take_text(input);
    spec.charsmap = map.data;
    spec.charsmap_bytes = map.length;
    char pattern[32];
    if (more & 16) {
        struct mlt_token_text text = take_text(input);
        size_t length = MLT_MIN(text.length, sizeof pattern - 1);
        memcpy(pattern, text.data, length);
        pattern[length] = 0;
        spec.pre_pattern = pattern;
        /* Patterns may take their allowance of steps at every byte. */
        input->size = MLT_MIN(input->size, (size_t)32);
    }
    open_and_tokenize(&spec, (const char *)input->data, input->size);
}

/* ---- Files, chat templates, patterns ---- */

static void try_file(struct input input, bool sentencepiece)
{
    struct mlt_vocabulary_file file;
    millet_error err;
    const char *text = (const char *)input.data;
    millet_status status =
        sentencepiece ? mlt_sentencepiece_read(mlt_default_allocator(), text, input.size, &file, &err)
                      : mlt_tiktoken_read(mlt_default_allocator(), text, input.size, NULL, 0, &file, &err);
    if (status) return;
    open_and_tokenize(&file.spec, text, input.size);
    mlt_vocabulary_file_release(&file);
}

static void try_chat(struct input *input)
{
    char role[32], said[256];
    struct mlt_token_text role_text = take_text(input), said_text = take_text(input);
    size_t role_length = MLT_MIN(role_text.length, sizeof role - 1),
           said_length = MLT_MIN(said_text.length, sizeof said - 1);
    memcpy(role, role_text.data, role_length);
    memcpy(said, said_text.data, said_length);
    role[role_length] = said[said_length] = 0;
    const millet_message messages[] = {{"system", said}, {role, said}, {"user", role}, {"assistant", said}};
    const char *name = mlt_chat_detect((const char *)input->data, input->size);
    size_t index = take_byte(input);
    if (!name) name = mlt_chat_name(index);
    if (!name) return;
    struct mlt_text out = {.allocator = mlt_default_allocator()};
    millet_error err;
    if (!mlt_chat_render(name, messages, 4, true, &out, &err)) check(strlen(out.data) == out.length);
    mlt_text_release(&out);
}

static millet_status count_word(void *context, const char *word, size_t length, millet_error *err)
{
    (void)err;
    const char **at = context;
    check(word == *at && length > 0);
    *at += length;
    return MILLET_OK;
}

static void try_pattern(struct input *input)
{
    /* Compiling costs more than matching: each is compiled once. */
    static struct mlt_pretokenizer *opened[256];
    struct mlt_pretokenizer_scratch *scratch;
    millet_error err;
    size_t index = take_byte(input) % mlt_pretokenizer_source_count;
    const char *text = (const char *)input->data, *at = text;
    if (!mlt_utf8_valid(text, input->size)) return;
    const char *name = mlt_pretokenizer_sources[index].name;
    if (!opened[index])
        check(mlt_pretokenizer_open(mlt_default_allocator(), name, NULL, &opened[index], &err) == MILLET_OK);
    check(mlt_pretokenizer_scratch_open(opened[index], mlt_default_allocator(), &scratch, &err) == MILLET_OK);
    check(mlt_pretokenizer_split(opened[index], scratch, text, input->size, count_word, &at, &err) ==
          MILLET_OK);
    check(at == text + input->size);
    mlt_pretokenizer_scratch_close(&scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct mlt_tokenizer *small[4];
    struct input input = {data, size};
    uint8_t what = take_byte(&input) % 9;
    if (what < 4) {
        if (!small[what]) small[what] = open_small((enum mlt_tokenizer_kind)what);
        tokenize(small[what], (const char *)input.data, input.size);
    } else if (what == 4) {
        try_spec(&input);
    } else if (what < 7) {
        try_file(input, what == 6);
    } else if (what == 7) {
        try_chat(&input);
    } else {
        try_pattern(&input);
    }
    return 0;
}
