/* tokenizer.json: normaliser and pre-tokeniser. SPDX-License-Identifier: Apache-2.0 */
#include "import/hf_vocab.h"

#include <string.h>

enum { MAX_DEPTH = 4, MAX_STEPS = 16 };

/* A normaliser or pre-tokeniser, its sequences taken apart. */
struct steps {
    const json_t *step[MAX_STEPS];
    size_t n;
};

static millet_status flatten(const struct mlt_json *json, const char *key, const char *list_name,
                             const json_t *step, int depth, struct steps *out, millet_error *err)
{
    if (!step || json_is_null(step)) return MILLET_OK;
    const char *type = mlt_json_string(step, "type");
    if (!type) return mlt_json_fail(json, key, err, MILLET_BAD_FORMAT, "a step has no \"type\"");
    if (strcmp(type, "Sequence") != 0) {
        if (out->n == MAX_STEPS)
            return mlt_json_fail(json, key, err, MILLET_UNSUPPORTED, "more than %d steps", (int)MAX_STEPS);
        out->step[out->n++] = step;
        return MILLET_OK;
    }
    if (depth == MAX_DEPTH)
        return mlt_json_fail(json, key, err, MILLET_UNSUPPORTED, "sequences nested more than %d deep",
                             (int)MAX_DEPTH);
    const json_t *list = mlt_json_array(step, list_name);
    for (size_t i = 0; i < json_array_size(list); i++)
        MLT_TRY(flatten(json, key, list_name, json_array_get(list, i), depth + 1, out, err));
    return MILLET_OK;
}

static bool is(const json_t *step, const char *type)
{
    return strcmp(mlt_json_string(step, "type"), type) == 0;
}

/* The pattern of a Split or Replace: {"Regex": ...} or {"String": ...}; NULL where it has none of `kind`. */
static const char *pattern_of(const json_t *step, const char *kind)
{
    return mlt_json_string(json_object_get(step, "pattern"), kind);
}

/* GPT-2's expression, which ByteLevel stands for unless it says otherwise. */
#define GPT2_PATTERN "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define WORDS "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+"
#define REST " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define CASED_A "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+"
#define CASED_B "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*"
#define CASED_REST " ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define CJK "[\u4E00-\u9FA5\u3040-\u309F\u30A0-\u30FF]+"
#define CJK_KOREAN "[\u4E00-\u9FA5\u0800-\u4E00\uAC00-\uD7FF]+"

/*
 * Pre-tokenisers that GGUF has a name for. A line is one step: an expression whose matches are split off, or
 * one of the names in angle brackets. "..." at the end of a line stands for any rest (lists of all
 * alphabets).
 */
static const struct known_row {
    const char *name;       /* tokenizer.ggml.pre */
    int ignore_merges, nfc; /* 1, 0: must be so; -1: either */
    const char *steps;
} known[] = {
    {"gpt-2", -1, 0, GPT2_PATTERN "\n"},
    {"olmo", -1, 1, GPT2_PATTERN "\n"},
    {"starcoder", -1, -1, "<digit>\n" GPT2_PATTERN "\n"},
    {"llama-bpe", 1, -1, CONTRACTIONS "|" WORDS "|\\p{N}{1,3}|" REST "\n"},
    {"dbrx", 0, -1, CONTRACTIONS "|" WORDS "|\\p{N}{1,3}|" REST "\n"},
    {"qwen2", -1, 1, CONTRACTIONS "|" WORDS "|\\p{N}|" REST "\n"},
    {"stablelm2", -1, 0, CONTRACTIONS "|" WORDS "|\\p{N}|" REST "\n"},
    {"tekken", -1, -1, CASED_A "|" CASED_B "|\\p{N}|" CASED_REST "\n"},
    {"gpt-4o", -1, -1, CASED_A CONTRACTIONS "?|" CASED_B CONTRACTIONS "?|\\p{N}{1,3}|" CASED_REST "\n"},
    {"falcon", -1, -1, "<punctuation>\n" GPT2_PATTERN "\n<digits>\n[0-9][0-9][0-9]\n"},
    {"deepseek-llm", -1, -1, "[\r\n]\n\\s?[A-Za-z...\n\\s?[!-/:-~...\n\\s+$\n" CJK_KOREAN "\n<digit...\n"},
    {"deepseek-coder", -1, -1, "[\r\n]\n\\s?\\p{L}+\n\\s?\\p{P}+\n" CJK_KOREAN "\n<digit>\n"},
    {"deepseek-v3", -1, -1,
     "\\p{N}{1,3}\n" CJK "\n[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?"
     "[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+\n"},
};

/*
 * Compares the steps that were found with a row. A line ends where the row's does: expressions may hold line
 * feeds themselves, so both sides are read along together.
 */
static bool same_steps(const char *row, const char *found)
{
    while (*row && *found) {
        if (strncmp(row, "...\n", 4) == 0) {
            const char *end = strchr(found, '\n');
            if (!end) return false;
            row += 3;
            found = end;
        }
        if (*row++ != *found++) return false;
    }
    return *row == *found;
}

/* What a byte-level tokenizer does to text before the merges. */
struct rules {
    bool nfc, ignore_merges;
    size_t n_steps;
    const char *only_pattern; /* of the single step, where there is one */
    struct mlt_text steps;    /* a line a step, as in `known` */
};

static millet_status add_step(struct rules *rules, const char *step, millet_error *err)
{
    rules->only_pattern = rules->n_steps++ == 0 && step[0] != '<' ? step : NULL;
    MLT_TRY(mlt_text_append(&rules->steps, step, strlen(step), err));
    return mlt_text_append(&rules->steps, "\n", 1, err);
}

/* A Split whose matches become pieces of their own, however that is said. */
static bool isolates(const json_t *step)
{
    const char *behavior = mlt_json_string(step, "behavior");
    bool invert = json_is_true(json_object_get(step, "invert"));
    if (!behavior) return false;
    /* Removing everything between the matches is the same for expressions that leave nothing between them,
     * which those in use do. */
    return strcmp(behavior, invert ? "Removed" : "Isolated") == 0;
}

static millet_status read_step(const struct mlt_json *json, const json_t *step, struct rules *rules,
                               millet_error *err)
{
    const char *type = mlt_json_string(step, "type");
    if (is(step, "ByteLevel")) {
        if (json_is_true(json_object_get(step, "add_prefix_space")))
            return mlt_json_fail(
                json, "pre_tokenizer", err, MILLET_UNSUPPORTED,
                "a space before the text (add_prefix_space) is not supported in byte-level BPE");
        const json_t *regex = json_object_get(step, "use_regex");
        return json_is_false(regex) ? MILLET_OK : add_step(rules, GPT2_PATTERN, err);
    }
    if (is(step, "Digits")) {
        bool each = json_is_true(json_object_get(step, "individual_digits"));
        return add_step(rules, each ? "<digit>" : "<digits>", err);
    }
    if (is(step, "Punctuation")) return add_step(rules, "<punctuation>", err);
    const char *regex = pattern_of(step, "Regex");
    if (is(step, "Split") && regex && isolates(step)) return add_step(rules, regex, err);
    return mlt_json_fail(json, "pre_tokenizer", err, MILLET_UNSUPPORTED,
                         "byte-level BPE after a step of type \"%.40s\" with these options is not supported",
                         type);
}

static millet_status read_byte_level(const struct mlt_json *json, const struct steps *normaliser,
                                     const struct steps *pre, struct rules *rules, millet_error *err)
{
    for (size_t i = 0; i < normaliser->n; i++) {
        if (!is(normaliser->step[i], "NFC"))
            return mlt_json_fail(json, "normalizer", err, MILLET_UNSUPPORTED,
                                 "\"%.40s\" is not supported before byte-level BPE; known: NFC",
                                 mlt_json_string(normaliser->step[i], "type"));
        rules->nfc = true;
    }
    for (size_t i = 0; i < pre->n; i++)
        MLT_TRY(read_step(json, pre->step[i], rules, err));
    const json_t *model = json_object_get(json->object, "model");
    rules->ignore_merges = json_is_true(json_object_get(model, "ignore_merges"));
    return MILLET_OK;
}

static millet_status set_text(struct mlt_checkpoint *checkpoint, const char *key, const char *value,
                              millet_error *err)
{
    return mlt_checkpoint_set_string(checkpoint, key, value, strlen(value), err);
}

/* The name, or the expression itself where it has none, and what a name alone does not say. */
static millet_status add_byte_level(struct mlt_checkpoint *checkpoint, const struct mlt_json *json,
                                    const struct rules *rules, millet_error *err)
{
    const char *found = rules->steps.data ? rules->steps.data : "", *name = NULL;
    for (size_t i = 0; i < MLT_COUNT(known) && !name; i++) {
        if (known[i].nfc >= 0 && known[i].nfc != rules->nfc) continue;
        if (known[i].ignore_merges >= 0 && known[i].ignore_merges != rules->ignore_merges) continue;
        if (same_steps(known[i].steps, found)) name = known[i].name;
    }
    if (!name && !rules->only_pattern)
        return mlt_json_fail(json, "pre_tokenizer", err, MILLET_UNSUPPORTED,
                             "this combination of %zu steps has no name in GGUF", rules->n_steps);
    MLT_TRY(set_text(checkpoint, "tokenizer.ggml.pre", name ? name : "default", err));
    if (!name) MLT_TRY(set_text(checkpoint, "millet.tokenizer.pattern", rules->only_pattern, err));
    MLT_TRY(mlt_checkpoint_set_bool(checkpoint, "millet.tokenizer.nfc", rules->nfc, err));
    return mlt_checkpoint_set_bool(checkpoint, "millet.tokenizer.ignore_merges", rules->ignore_merges, err);
}

static bool text_is(const char *text, const char *wanted)
{
    return text && strcmp(text, wanted) == 0;
}

/* SentencePiece's own: spaces become U+2581, and one may be put before the text. */
static millet_status read_spaces(const struct mlt_json *json, const struct mlt_hf_vocab *vocab,
                                 const struct steps *normaliser, const struct steps *pre, bool *prefix,
                                 const json_t **charsmap, bool *squeeze, millet_error *err)
{
    for (size_t i = 0; i < normaliser->n; i++) {
        const json_t *step = normaliser->step[i];
        bool unigram = vocab->kind == MLT_HF_UNIGRAM;
        const char *string = pattern_of(step, "String"), *regex = pattern_of(step, "Regex");
        if (is(step, "Prepend") && text_is(mlt_json_string(step, "prepend"), MLT_HF_SPACE))
            *prefix = true;
        else if (is(step, "Replace") && text_is(string, " "))
            continue; /* by U+2581: what every tokenizer of this kind does */
        else if (is(step, "Replace") && unigram && text_is(regex, " {2,}"))
            *squeeze = true;
        else if (is(step, "Strip") && unigram)
            *squeeze = true;
        else if (is(step, "Precompiled") && unigram)
            *charsmap = json_object_get(step, "precompiled_charsmap");
        else
            return mlt_json_fail(json, "normalizer", err, MILLET_UNSUPPORTED,
                                 "\"%.40s\" with these options is not supported in a tokenizer of this kind",
                                 mlt_json_string(step, "type"));
    }
    for (size_t i = 0; i < pre->n; i++) {
        const json_t *step = pre->step[i];
        if (is(step, "Metaspace")) {
            const char *scheme = mlt_json_string(step, "prepend_scheme");
            bool older = json_is_true(json_object_get(step, "add_prefix_space"));
            *prefix = scheme ? strcmp(scheme, "never") != 0 : older;
        } else if (is(step, "WhitespaceSplit") && vocab->kind == MLT_HF_UNIGRAM) {
            *squeeze = true;
        } else if (!is(step, "Split") || !text_is(pattern_of(step, "String"), " ")) {
            /* A split at spaces finds none: the normaliser has replaced them. */
            return mlt_json_fail(json, "pre_tokenizer", err, MILLET_UNSUPPORTED,
                                 "\"%.40s\" with these options is not supported in a tokenizer of this kind",
                                 mlt_json_string(step, "type"));
        }
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

/* SentencePiece's character map, base64 in the file, bytes in GGUF. */
static millet_status add_charsmap(struct mlt_checkpoint *checkpoint, const struct mlt_json *json,
                                  const json_t *value, millet_error *err)
{
    const char *text = json_string_value(value);
    size_t length = json_string_length(value), n = 0;
    if (length == 0) return MILLET_OK;
    uint8_t *bytes = mlt_arena_alloc(&checkpoint->arena, length, 1, err);
    if (!bytes) return MILLET_NO_MEMORY;
    uint32_t held = 0;
    int bits = 0;
    for (size_t i = 0; i < length && text[i] != '='; i++) {
        int digit = base64_value(text[i]);
        if (digit < 0)
            return mlt_json_fail(json, "normalizer", err, MILLET_BAD_FORMAT,
                                 "character %zu of precompiled_charsmap is no base64", i);
        held = (held << 6 | (uint32_t)digit) & 0xFFFFFF;
        bits += 6;
        if (bits < 8) continue;
        bits -= 8;
        bytes[n++] = (uint8_t)(held >> bits);
    }
    static const char key[] = "tokenizer.ggml.precompiled_charsmap";
    struct mlt_meta meta = {.key = {key, sizeof key - 1}, .type = MLT_META_ARRAY, .element = MLT_META_U8};
    meta.count = n;
    meta.value.array = bytes;
    return mlt_checkpoint_add_meta(checkpoint, &meta, err);
}

static millet_status add_sentence_piece(struct mlt_checkpoint *checkpoint, const struct mlt_json *json,
                                        const struct mlt_hf_vocab *vocab, const struct steps *normaliser,
                                        const struct steps *pre, millet_error *err)
{
    bool prefix = false, squeeze = false;
    const json_t *charsmap = NULL;
    MLT_TRY(read_spaces(json, vocab, normaliser, pre, &prefix, &charsmap, &squeeze, err));
    MLT_TRY(set_text(checkpoint, "tokenizer.ggml.pre", "default", err));
    MLT_TRY(mlt_checkpoint_set_bool(checkpoint, "tokenizer.ggml.add_space_prefix", prefix, err));
    if (vocab->kind != MLT_HF_UNIGRAM) return MILLET_OK;
    MLT_TRY(mlt_checkpoint_set_bool(checkpoint, "tokenizer.ggml.remove_extra_whitespaces", squeeze, err));
    return add_charsmap(checkpoint, json, charsmap, err);
}

/* BERT's: the only question is whether letters are lowered (and with that, accents stripped). */
static millet_status add_word_piece(struct mlt_checkpoint *checkpoint, const struct mlt_json *json,
                                    const struct steps *normaliser, const struct steps *pre,
                                    millet_error *err)
{
    bool lower = false;
    for (size_t i = 0; i < normaliser->n; i++) {
        const json_t *step = normaliser->step[i];
        bool bert = is(step, "BertNormalizer");
        if (is(step, "Lowercase") || (bert && !json_is_false(json_object_get(step, "lowercase"))))
            lower = true;
        else if (!bert && !is(step, "NFD") && !is(step, "StripAccents"))
            return mlt_json_fail(json, "normalizer", err, MILLET_UNSUPPORTED,
                                 "\"%.40s\" is not supported before WordPiece",
                                 mlt_json_string(step, "type"));
    }
    for (size_t i = 0; i < pre->n; i++)
        if (!is(pre->step[i], "BertPreTokenizer") && !is(pre->step[i], "Whitespace"))
            return mlt_json_fail(json, "pre_tokenizer", err, MILLET_UNSUPPORTED,
                                 "\"%.40s\" is not supported before WordPiece",
                                 mlt_json_string(pre->step[i], "type"));
    MLT_TRY(set_text(checkpoint, "tokenizer.ggml.pre", "default", err));
    return mlt_checkpoint_set_bool(checkpoint, "millet.tokenizer.lowercase", lower, err);
}

millet_status mlt_hf_tokenizer_rules(struct mlt_checkpoint *checkpoint, const struct mlt_json *json,
                                     const struct mlt_hf_vocab *vocab, millet_error *err)
{
    struct steps normaliser = {.n = 0}, pre = {.n = 0};
    MLT_TRY(flatten(json, "normalizer", "normalizers", json_object_get(json->object, "normalizer"), 0,
                    &normaliser, err));
    MLT_TRY(flatten(json, "pre_tokenizer", "pretokenizers", json_object_get(json->object, "pre_tokenizer"), 0,
                    &pre, err));
    if (vocab->kind == MLT_HF_WORDPIECE) return add_word_piece(checkpoint, json, &normaliser, &pre, err);
    if (vocab->kind != MLT_HF_BYTE_LEVEL)
        return add_sentence_piece(checkpoint, json, vocab, &normaliser, &pre, err);
    struct rules rules = {.steps.allocator = &checkpoint->allocator};
    millet_status status = read_byte_level(json, &normaliser, &pre, &rules, err);
    if (status == MILLET_OK) status = add_byte_level(checkpoint, json, &rules, err);
    mlt_text_release(&rules.steps);
    return status;
}
