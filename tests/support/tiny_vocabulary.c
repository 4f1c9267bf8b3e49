/* Small vocabularies for tests. SPDX-License-Identifier: Apache-2.0 */
#include "support/tiny_vocabulary.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MARK "\xE2\x96\x81" /* U+2581 */

void tiny_init(struct tiny_vocabulary *tiny, enum mlt_tokenizer_kind kind)
{
    memset(tiny, 0, sizeof *tiny);
    tiny->spec = mlt_tokenizer_spec_default(kind);
    tiny->spec.add_bos = tiny->spec.add_eos = false;
    tiny->spec.tokens = tiny->tokens;
    tiny->spec.types = tiny->types;
    tiny->spec.scores = tiny->scores;
}

int32_t tiny_add(struct tiny_vocabulary *tiny, const char *text, enum mlt_token_type type, float score)
{
    int32_t id = tiny->spec.n_tokens++;
    if (id >= TINY_TOKENS) abort();
    tiny->tokens[id] = (struct mlt_token_text){text, strlen(text)};
    tiny->types[id] = type;
    tiny->scores[id] = score;
    return id;
}

void tiny_add_byte_tokens(struct tiny_vocabulary *tiny)
{
    for (int byte = 0; byte < 256; byte++) {
        snprintf(tiny->bytes[byte], sizeof tiny->bytes[byte], "<0x%02X>", byte);
        tiny_add(tiny, tiny->bytes[byte], MLT_TOKEN_BYTE, 0);
    }
}

/* As the paper's code does it: printable bytes are themselves, the others U+0100 and up in their order. */
void tiny_add_mapped_bytes(struct tiny_vocabulary *tiny)
{
    unsigned moved = 0;
    for (unsigned byte = 0; byte < 256; byte++) {
        bool plain = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
        unsigned code = plain ? byte : 0x100 + moved++;
        char *text = tiny->bytes[byte];
        if (code < 0x80) {
            text[0] = (char)code;
        } else {
            text[0] = (char)(0xC0 | code >> 6);
            text[1] = (char)(0x80 | (code & 0x3F));
        }
        tiny_add(tiny, text, MLT_TOKEN_NORMAL, 0);
    }
}

void tiny_add_merge(struct tiny_vocabulary *tiny, const char *left_right)
{
    if (tiny->spec.n_merges >= TINY_MERGES) abort();
    tiny->merges[tiny->spec.n_merges++] = (struct mlt_token_text){left_right, strlen(left_right)};
    tiny->spec.merges = tiny->merges;
}

static void fill_sentencepiece(struct tiny_vocabulary *tiny, bool bytes)
{
    struct mlt_tokenizer_spec *spec = &tiny->spec;
    spec->unknown = tiny_add(tiny, "<unk>", MLT_TOKEN_UNKNOWN, 0);
    spec->bos = tiny_add(tiny, "<s>", MLT_TOKEN_CONTROL, 0);
    spec->eos = tiny_add(tiny, "</s>", MLT_TOKEN_CONTROL, 0);
    spec->add_space_prefix = true;
    if (bytes) tiny_add_byte_tokens(tiny);
    /* Those that come first merge first. */
    static const char *const pieces[] = {
        "h",    "e",     "l",          "o",      "w",      "r",  "d",  MARK,       "he",        "ll",
        "hell", "hello", MARK "hello", MARK "h", MARK "w", "or", "ld", "\xC3\xA9", MARK "world"};
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++)
        tiny_add(tiny, pieces[i], MLT_TOKEN_NORMAL, -(float)i);
    tiny_add(tiny, "<|im_end|>", MLT_TOKEN_CONTROL, 0);
    tiny_add(tiny, "<user>", MLT_TOKEN_USER_DEFINED, 0);
}

static void fill_bpe(struct tiny_vocabulary *tiny)
{
    tiny_add_mapped_bytes(tiny);
    /* U+0120 is the space. */
    static const char *const merges[] = {"h e",        "l l", "he ll",        "hell o",
                                         "\xC4\xA0 w", "o r", "\xC4\xA0w or", "l d"};
    static const char *const results[] = {"he",        "ll", "hell",        "hello",
                                          "\xC4\xA0w", "or", "\xC4\xA0wor", "ld"};
    for (size_t i = 0; i < sizeof merges / sizeof merges[0]; i++) {
        tiny_add_merge(tiny, merges[i]);
        tiny_add(tiny, results[i], MLT_TOKEN_NORMAL, 0);
    }
    tiny->spec.bos = tiny->spec.eos = tiny_add(tiny, "<|endoftext|>", MLT_TOKEN_CONTROL, 0);
    tiny->spec.pre = "gpt-2";
}

static void fill_wordpiece(struct tiny_vocabulary *tiny)
{
    struct mlt_tokenizer_spec *spec = &tiny->spec;
    spec->padding = tiny_add(tiny, "[PAD]", MLT_TOKEN_CONTROL, 0);
    spec->unknown = tiny_add(tiny, "[UNK]", MLT_TOKEN_CONTROL, 0);
    spec->cls = tiny_add(tiny, "[CLS]", MLT_TOKEN_CONTROL, 0);
    spec->separator = tiny_add(tiny, "[SEP]", MLT_TOKEN_CONTROL, 0);
    spec->add_bos = true;
    static const char *const pieces[] = {MARK "un",           "aff",    "able",       MARK "hello",
                                         MARK "world",        MARK "!", MARK ",",     MARK "\xE4\xB8\xAD",
                                         MARK "\xE6\x96\x87", "s",      MARK "resume"};
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++)
        tiny_add(tiny, pieces[i], MLT_TOKEN_NORMAL, 0);
}

void tiny_fill(struct tiny_vocabulary *tiny, enum mlt_tokenizer_kind kind)
{
    tiny_init(tiny, kind);
    switch (kind) {
    case MLT_TOKENIZER_SPM: fill_sentencepiece(tiny, true); break;
    case MLT_TOKENIZER_UNIGRAM: fill_sentencepiece(tiny, false); break;
    case MLT_TOKENIZER_BPE: fill_bpe(tiny); break;
    case MLT_TOKENIZER_WORDPIECE: fill_wordpiece(tiny); break;
    }
}
