/*
 * The tokenizer that a checkpoint's metadata describes (keys tokenizer.ggml.* of the GGUF specification).
 *
 * Files leave much unsaid; what a missing key means depends on the family and is as in llama.cpp, which most
 * files were made for. What GGUF has no key for, and importers of other layouts know, stands under
 * millet.tokenizer.*: see docs/import.md.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "model/vocabulary.h"
#include "tokenizer/pretokenizer.h"

#include <string.h>

#define KEY(name) "tokenizer.ggml." name
#define OWN(name) "millet.tokenizer." name

/* What is being put together; the arrays are released when the tokenizer is open. */
struct vocabulary {
    const millet_allocator *allocator;
    const struct mlt_checkpoint *checkpoint;
    struct mlt_tokenizer_spec spec;
    struct mlt_pretokenizer_traits traits; /* byte-level BPE only */
    struct mlt_token_text *tokens, *merges;
    int32_t *types, *ranks;
    uint8_t *strip;
};

static millet_status bad_key(const struct vocabulary *vocabulary, const char *key, millet_error *err,
                             const char *problem)
{
    return mlt_fail_at(err, MILLET_BAD_FORMAT, vocabulary->checkpoint->path, key, MILLET_NO_OFFSET, "%s",
                       problem);
}

/* The array under `key`, or NULL (and OK) where there is none. */
static millet_status find_array(const struct vocabulary *vocabulary, const char *key,
                                enum mlt_meta_type element, const struct mlt_meta **out, millet_error *err)
{
    const struct mlt_meta *meta = mlt_checkpoint_meta(vocabulary->checkpoint, key);
    *out = meta;
    if (!meta || (meta->type == MLT_META_ARRAY && meta->element == element)) return MILLET_OK;
    return mlt_fail_at(err, MILLET_BAD_FORMAT, vocabulary->checkpoint->path, key, MILLET_NO_OFFSET,
                       "is %s%s; an array of %s is expected",
                       meta->type == MLT_META_ARRAY ? "an array of " : "", mlt_meta_type_name(meta->element),
                       mlt_meta_type_name(element));
}

/* As find_array, and there must be one element for each token. */
static millet_status find_token_array(const struct vocabulary *vocabulary, const char *key,
                                      enum mlt_meta_type element, const struct mlt_meta **out,
                                      millet_error *err)
{
    MLT_TRY(find_array(vocabulary, key, element, out, err));
    if (!*out || (*out)->count == (uint64_t)vocabulary->spec.n_tokens) return MILLET_OK;
    return mlt_fail_at(err, MILLET_BAD_FORMAT, vocabulary->checkpoint->path, key, MILLET_NO_OFFSET,
                       "has %llu elements; the vocabulary has %d tokens", (unsigned long long)(*out)->count,
                       vocabulary->spec.n_tokens);
}

/* The strings of an array; *texts is owned by the caller. */
static millet_status read_strings(const struct vocabulary *vocabulary, const char *key,
                                  struct mlt_token_text **texts, int64_t *count, millet_error *err)
{
    const struct mlt_meta *meta;
    MLT_TRY(find_array(vocabulary, key, MLT_META_STRING, &meta, err));
    if (!meta)
        return mlt_fail_at(err, MILLET_NOT_FOUND, vocabulary->checkpoint->path, key, MILLET_NO_OFFSET,
                           "the key is missing; a file with a tokenizer of this kind needs it");
    if (meta->count > INT32_MAX)
        return mlt_fail_at(err, MILLET_UNSUPPORTED, vocabulary->checkpoint->path, key, MILLET_NO_OFFSET,
                           "%llu strings are too many", (unsigned long long)meta->count);
    *count = (int64_t)meta->count;
    *texts = mlt_alloc(vocabulary->allocator, (size_t)*count, sizeof **texts, err);
    if (!*texts) return MILLET_NO_MEMORY;
    const struct mlt_string *strings = meta->value.array;
    for (int64_t i = 0; i < *count; i++)
        (*texts)[i] = (struct mlt_token_text){strings[i].data, strings[i].length};
    return MILLET_OK;
}

static millet_status read_types(struct vocabulary *vocabulary, millet_error *err)
{
    const struct mlt_meta *meta = mlt_checkpoint_meta(vocabulary->checkpoint, KEY("token_type"));
    if (!meta) return MILLET_OK;
    /* The types are small numbers; some writers have them unsigned. */
    enum mlt_meta_type element = meta->element == MLT_META_U32 ? MLT_META_U32 : MLT_META_I32;
    MLT_TRY(find_token_array(vocabulary, KEY("token_type"), element, &meta, err));
    vocabulary->types =
        mlt_alloc(vocabulary->allocator, (size_t)vocabulary->spec.n_tokens, sizeof *vocabulary->types, err);
    if (!vocabulary->types) return MILLET_NO_MEMORY;
    memcpy(vocabulary->types, meta->value.array,
           (size_t)vocabulary->spec.n_tokens * sizeof *vocabulary->types);
    vocabulary->spec.types = vocabulary->types;
    return MILLET_OK;
}

static millet_status read_tokens(struct vocabulary *vocabulary, millet_error *err)
{
    struct mlt_tokenizer_spec *spec = &vocabulary->spec;
    int64_t n_tokens;
    MLT_TRY(read_strings(vocabulary, KEY("tokens"), &vocabulary->tokens, &n_tokens, err));
    spec->tokens = vocabulary->tokens;
    spec->n_tokens = (int32_t)n_tokens;
    MLT_TRY(read_types(vocabulary, err));
    const struct mlt_meta *scores;
    MLT_TRY(find_token_array(vocabulary, KEY("scores"), MLT_META_F32, &scores, err));
    if (scores) spec->scores = scores->value.array;
    return MILLET_OK;
}

/*
 * A special token: the key's value, else `fallback`, else -1. All ones (-1) is how writers say that there is
 * none. `control`: the fallback counts only where that token is a control token, for families whose
 * vocabularies differ.
 */
static millet_status read_id(const struct vocabulary *vocabulary, const char *key, int32_t fallback,
                             bool control, int32_t *id, millet_error *err)
{
    const struct mlt_tokenizer_spec *spec = &vocabulary->spec;
    const struct mlt_meta *meta = mlt_checkpoint_meta(vocabulary->checkpoint, key);
    bool is_signed = meta && (meta->type == MLT_META_I8 || meta->type == MLT_META_I16 ||
                              meta->type == MLT_META_I32 || meta->type == MLT_META_I64);
    if (!meta || (is_signed && meta->value.i == -1) ||
        (meta->type == MLT_META_U32 && meta->value.u == UINT32_MAX)) {
        *id = fallback < spec->n_tokens ? fallback : -1;
        if (control && *id >= 0 && !(spec->types && spec->types[*id] == MLT_TOKEN_CONTROL)) *id = -1;
        return MILLET_OK;
    }
    uint32_t value;
    MLT_TRY(mlt_meta_get_u32(vocabulary->checkpoint, key, NULL, &value, err));
    if (value >= (uint32_t)spec->n_tokens)
        return mlt_fail_at(err, MILLET_BAD_FORMAT, vocabulary->checkpoint->path, key, MILLET_NO_OFFSET,
                           "the id %u is outside the vocabulary of %d tokens", value, spec->n_tokens);
    *id = (int32_t)value;
    return MILLET_OK;
}

static millet_status read_ids(struct vocabulary *vocabulary, millet_error *err)
{
    struct mlt_tokenizer_spec *spec = &vocabulary->spec;
    enum mlt_tokenizer_kind kind = spec->kind;
    bool bpe = kind == MLT_TOKENIZER_BPE, spm = kind == MLT_TOKENIZER_SPM,
         wordpiece = kind == MLT_TOKENIZER_WORDPIECE;
    bool unigram = kind == MLT_TOKENIZER_UNIGRAM;
    int32_t bos = spm ? 1 : wordpiece ? 101 : bpe && !vocabulary->traits.no_default_bos ? 11 : -1;
    int32_t eos = spm ? 2 : unigram ? 1 : bpe ? 11 : -1;
    int32_t unknown = spm ? 0 : unigram ? 2 : wordpiece ? 100 : -1;
    MLT_TRY(read_id(vocabulary, KEY("bos_token_id"), bos, bpe || wordpiece, &spec->bos, err));
    MLT_TRY(read_id(vocabulary, KEY("eos_token_id"), eos, bpe, &spec->eos, err));
    MLT_TRY(read_id(vocabulary, KEY("eot_token_id"), -1, false, &spec->eot, err));
    MLT_TRY(read_id(vocabulary, KEY("unknown_token_id"), unknown, false, &spec->unknown, err));
    /* The specification's spelling. */
    MLT_TRY(
        read_id(vocabulary, KEY("seperator_token_id"), wordpiece ? 102 : -1, true, &spec->separator, err));
    MLT_TRY(read_id(vocabulary, KEY("padding_token_id"), wordpiece || unigram ? 0 : -1, false, &spec->padding,
                    err));
    MLT_TRY(read_id(vocabulary, KEY("mask_token_id"), wordpiece ? 103 : -1, true, &spec->mask, err));
    return read_id(vocabulary, KEY("cls_token_id"), spec->bos, false, &spec->cls, err);
}

static millet_status read_flags(struct vocabulary *vocabulary, millet_error *err)
{
    const struct mlt_checkpoint *checkpoint = vocabulary->checkpoint;
    struct mlt_tokenizer_spec *spec = &vocabulary->spec;
    spec->add_bos = spec->add_bos || vocabulary->traits.add_bos;
    /* Without a BOS there is none to add; only a file that asks for it all the same is contradictory. */
    if (spec->bos < 0 && spec->kind != MLT_TOKENIZER_WORDPIECE) spec->add_bos = false;
    if (spec->eos < 0) spec->add_eos = false;
    MLT_TRY(mlt_meta_get_bool(checkpoint, KEY("add_bos_token"), &spec->add_bos, &spec->add_bos, err));
    MLT_TRY(mlt_meta_get_bool(checkpoint, KEY("add_eos_token"), &spec->add_eos, &spec->add_eos, err));
    MLT_TRY(mlt_meta_get_bool(checkpoint, KEY("add_space_prefix"), &spec->add_space_prefix,
                              &spec->add_space_prefix, err));
    MLT_TRY(mlt_meta_get_bool(checkpoint, KEY("remove_extra_whitespaces"), &spec->remove_extra_whitespace,
                              &spec->remove_extra_whitespace, err));
    if (vocabulary->traits.always_bos && spec->bos >= 0) spec->add_bos = true;
    spec->ignore_merges = vocabulary->traits.ignore_merges;
    MLT_TRY(
        mlt_meta_get_bool(checkpoint, OWN("ignore_merges"), &spec->ignore_merges, &spec->ignore_merges, err));
    MLT_TRY(mlt_meta_get_bool(checkpoint, OWN("nfc"), &spec->nfc, &spec->nfc, err));
    return mlt_meta_get_bool(checkpoint, OWN("lowercase"), &spec->lowercase, &spec->lowercase, err);
}

/* Kimi K2's files have no merges: as in the tiktoken file that they come from, the ids are the ranks. */
static millet_status rank_by_id(struct vocabulary *vocabulary, millet_error *err)
{
    int32_t n_tokens = vocabulary->spec.n_tokens;
    vocabulary->ranks = mlt_alloc(vocabulary->allocator, (size_t)n_tokens, sizeof *vocabulary->ranks, err);
    if (!vocabulary->ranks) return MILLET_NO_MEMORY;
    for (int32_t id = 0; id < n_tokens; id++)
        vocabulary->ranks[id] = !vocabulary->types || vocabulary->types[id] == MLT_TOKEN_NORMAL ? id : -1;
    vocabulary->spec.ranks = vocabulary->ranks;
    return MILLET_OK;
}

static millet_status read_merges(struct vocabulary *vocabulary, millet_error *err)
{
    struct mlt_tokenizer_spec *spec = &vocabulary->spec;
    bool kimi = spec->pre && strcmp(spec->pre, "kimi-k2") == 0;
    if (kimi && !mlt_checkpoint_meta(vocabulary->checkpoint, KEY("merges")))
        return rank_by_id(vocabulary, err);
    MLT_TRY(read_strings(vocabulary, KEY("merges"), &vocabulary->merges, &spec->n_merges, err));
    spec->merges = vocabulary->merges;
    return MILLET_OK;
}

static millet_status read_charsmap(struct vocabulary *vocabulary, millet_error *err)
{
    const char *key = KEY("precompiled_charsmap");
    const struct mlt_meta *meta = mlt_checkpoint_meta(vocabulary->checkpoint, key);
    if (!meta) return MILLET_OK;
    if (meta->type != MLT_META_ARRAY || (meta->element != MLT_META_U8 && meta->element != MLT_META_I8))
        return bad_key(vocabulary, key, err, "is not an array of bytes");
    vocabulary->spec.charsmap = meta->value.array;
    vocabulary->spec.charsmap_bytes = (size_t)meta->count;
    return MILLET_OK;
}

/* Whether `text` contains `part`, which is in lower case, in any case. */
static bool contains(struct mlt_string text, const char *part)
{
    size_t length = strlen(part);
    for (size_t i = 0; i + length <= text.length; i++) {
        size_t same = 0;
        while (same < length) {
            char c = text.data[i + same];
            if (c >= 'A' && c <= 'Z') c = (char)(c - 'A' + 'a');
            if (c != part[same]) break;
            same++;
        }
        if (same == length) return true;
    }
    return false;
}

static void strip(struct vocabulary *vocabulary, const char *text, uint8_t value)
{
    size_t length = strlen(text);
    for (int32_t id = 0; id < vocabulary->spec.n_tokens; id++)
        if (vocabulary->tokens[id].length == length && memcmp(vocabulary->tokens[id].data, text, length) == 0)
            vocabulary->strip[id] = value;
}

/*
 * Which special tokens swallow the white space beside them. GGUF has no key for it; where ours is missing
 * too, these are the models whose tokenizer.json says so.
 */
static millet_status read_strip(struct vocabulary *vocabulary, millet_error *err)
{
    const struct mlt_meta *own;
    MLT_TRY(find_token_array(vocabulary, OWN("strip"), MLT_META_U8, &own, err));
    if (own) {
        vocabulary->spec.strip = own->value.array;
        return MILLET_OK;
    }
    const struct mlt_string none = {"", 0};
    struct mlt_string name, architecture;
    MLT_TRY(mlt_meta_get_string(vocabulary->checkpoint, "general.name", &none, &name, err));
    MLT_TRY(mlt_meta_get_string(vocabulary->checkpoint, "general.architecture", &none, &architecture, err));
    const char *pre_text = vocabulary->spec.pre ? vocabulary->spec.pre : "";
    const struct mlt_string pre = {pre_text, strlen(pre_text)};
    bool jina = contains(pre, "jina-v2-de") || contains(pre, "jina-v2-es") || contains(pre, "jina-v2-code") ||
                contains(architecture, "nomic-bert-moe") || contains(architecture, "jina-bert-v3");
    bool phi3 = contains(name, "phi-3") || contains(name, "phi3"),
         modern_bert = contains(name, "modern-bert");
    if (!jina && !phi3 && !modern_bert) return MILLET_OK;
    vocabulary->strip = mlt_alloc_zero(vocabulary->allocator, (size_t)vocabulary->spec.n_tokens, 1, err);
    if (!vocabulary->strip) return MILLET_NO_MEMORY;
    vocabulary->spec.strip = vocabulary->strip;
    if (jina) {
        strip(vocabulary, "<mask>", MLT_STRIP_LEFT);
    } else if (phi3) {
        for (int32_t id = 0; vocabulary->types && id < vocabulary->spec.n_tokens; id++)
            if (vocabulary->types[id] == MLT_TOKEN_CONTROL || vocabulary->types[id] == MLT_TOKEN_UNKNOWN ||
                vocabulary->types[id] == MLT_TOKEN_USER_DEFINED)
                vocabulary->strip[id] = MLT_STRIP_RIGHT;
        strip(vocabulary, "</s>", MLT_STRIP_RIGHT);
        strip(vocabulary, "<unk>", 0);
        strip(vocabulary, "<s>", 0);
        strip(vocabulary, "<|endoftext|>", 0);
    } else {
        strip(vocabulary, "[MASK]", MLT_STRIP_LEFT);
    }
    return MILLET_OK;
}

/* The family and the pre-tokeniser; *found is false where the file has no tokenizer. */
static millet_status read_kind(struct vocabulary *vocabulary, bool *found, millet_error *err)
{
    const struct mlt_string none = {"", 0};
    struct mlt_string model, pre;
    *found = false;
    MLT_TRY(mlt_meta_get_string(vocabulary->checkpoint, KEY("model"), &none, &model, err));
    MLT_TRY(mlt_meta_get_string(vocabulary->checkpoint, KEY("pre"), &none, &pre, err));
    if (!model.length || strcmp(model.data, "none") == 0 || strcmp(model.data, "no_vocab") == 0)
        return MILLET_OK;
    static const struct {
        const char *name;
        enum mlt_tokenizer_kind kind;
    } kinds[] = {
        {"llama", MLT_TOKENIZER_SPM},      {"gpt2", MLT_TOKENIZER_BPE},   {"t5", MLT_TOKENIZER_UNIGRAM},
        {"bert", MLT_TOKENIZER_WORDPIECE}, {"gemma4", MLT_TOKENIZER_BPE},
    };
    for (size_t i = 0; i < MLT_COUNT(kinds) && !*found; i++) {
        if (strcmp(model.data, kinds[i].name) != 0) continue;
        vocabulary->spec = mlt_tokenizer_spec_default(kinds[i].kind);
        *found = true;
    }
    if (!*found)
        return mlt_fail_at(
            err, MILLET_UNSUPPORTED, vocabulary->checkpoint->path, KEY("model"), MILLET_NO_OFFSET,
            "the tokenizer \"%.40s\" is not supported; llama, gpt2, t5, bert and gemma4 are", model.data);
    if (vocabulary->spec.kind == MLT_TOKENIZER_BPE) {
        vocabulary->spec.pre = strcmp(model.data, "gemma4") == 0 ? "gemma4" : pre.data;
        /* An unknown name is refused when the tokenizer is opened. */
        mlt_pretokenizer_traits(vocabulary->spec.pre, &vocabulary->traits);
        struct mlt_string pattern;
        MLT_TRY(mlt_meta_get_string(vocabulary->checkpoint, OWN("pattern"), &none, &pattern, err));
        if (pattern.length) vocabulary->spec.pre_pattern = pattern.data;
    }
    return MILLET_OK;
}

static millet_status read_all(struct vocabulary *vocabulary, millet_error *err)
{
    MLT_TRY(read_tokens(vocabulary, err));
    MLT_TRY(read_ids(vocabulary, err));
    MLT_TRY(read_flags(vocabulary, err));
    if (vocabulary->spec.kind == MLT_TOKENIZER_BPE) MLT_TRY(read_merges(vocabulary, err));
    if (vocabulary->spec.kind == MLT_TOKENIZER_UNIGRAM) MLT_TRY(read_charsmap(vocabulary, err));
    return read_strip(vocabulary, err);
}

millet_status mlt_vocabulary_open(const millet_allocator *allocator, const struct mlt_checkpoint *checkpoint,
                                  struct mlt_tokenizer **out, int32_t *bos, int32_t *eos, bool *add_bos,
                                  bool *add_eos, millet_error *err)
{
    *out = NULL;
    *bos = *eos = -1;
    *add_bos = *add_eos = false;
    struct vocabulary vocabulary = {.allocator = allocator, .checkpoint = checkpoint};
    bool found;
    MLT_TRY(read_kind(&vocabulary, &found, err));
    if (!found) return MILLET_OK;
    millet_status status = read_all(&vocabulary, err);
    if (!status) status = mlt_tokenizer_open(allocator, &vocabulary.spec, out, err);
    if (status) {
        mlt_error_in_file(err, checkpoint->path);
    } else {
        *bos = vocabulary.spec.kind == MLT_TOKENIZER_WORDPIECE ? vocabulary.spec.cls : vocabulary.spec.bos;
        *eos = vocabulary.spec.eos;
        *add_bos = vocabulary.spec.add_bos;
        *add_eos = vocabulary.spec.add_eos;
    }
    mlt_free(allocator, vocabulary.tokens);
    mlt_free(allocator, vocabulary.merges);
    mlt_free(allocator, vocabulary.types);
    mlt_free(allocator, vocabulary.ranks);
    mlt_free(allocator, vocabulary.strip);
    return status;
}
