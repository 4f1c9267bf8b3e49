/*
 * Training a tokenizer: words are counted, merges or pieces learned, files written.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "corpus/learned_vocabulary.h"
#include "corpus/nfkc_map.h"
#include "corpus/unigram_train.h"

#include <string.h>

enum {
    DEFAULT_VOCABULARY = 8192,
    MAX_VOCABULARY = 1 << 21,
    DEFAULT_BPE_BYTES = 48,
    DEFAULT_PIECE_CHARACTERS = 16
};

#define DEFAULT_PRE "qwen2"

/* The words of the unigram model, after spaces have become U+2581: letters with the apostrophes between them,
 * numbers, symbols, each with the space before it; runs of white space. Pieces never reach from one into the
 * next. */
#define PIECE_LETTERS "\\x{2581}?[\\p{L}\\p{M}]+(?:['\\x{2019}][\\p{L}\\p{M}]+)*"
#define PIECE_REST "\\x{2581}?[^\\s\\x{2581}\\p{L}\\p{M}\\p{N}]+|\\x{2581}+(?=\\x{2581})|\\x{2581}|\\s+"
#define PIECE_WORDS PIECE_LETTERS "|\\x{2581}?\\p{N}+|" PIECE_REST
#define PIECE_WORDS_DIGITS PIECE_LETTERS "|\\p{N}|" PIECE_REST

/* The names that can be chosen, and what each is with every digit alone (NULL: that cannot be). */
static const struct pre_choice {
    const char *name, *digits;
} choices[] = {
    {"gpt-2", "starcoder"}, {"starcoder", "starcoder"}, {"llama-bpe", "qwen2"},
    {"qwen2", "qwen2"},     {"gpt-4o", "tekken"},       {"tekken", "tekken"},
};

const char *millet_pretokenizer_names(void)
{
    return "gpt-2, starcoder, llama-bpe, qwen2, gpt-4o, tekken";
}

millet_tokenizer_train_options millet_tokenizer_train_options_default(void)
{
    return (millet_tokenizer_train_options){0};
}

struct training {
    const millet_tokenizer_train_options *options;
    const millet_allocator *allocator;
    struct mlt_thread_pool *pool;
    struct mlt_learned_specials specials;
    const char *pre; /* BPE: name or NULL */
    int32_t vocabulary;
    uint64_t min_frequency;
    struct mlt_pretokenizer *pretokenizer;
    struct mlt_tokenizer *normalizer;
    struct mlt_trie special;
    struct mlt_word_counts words;
    struct mlt_learned learned;
    struct mlt_nfkc_map charsmap;
    double progress_from, progress_part; /* of the whole work: the step at hand */
};

static millet_status bad_option(millet_error *err, const char *option, const char *what)
{
    return mlt_fail_at(err, MILLET_BAD_ARGUMENT, NULL, option, MILLET_NO_OFFSET, "%s", what);
}

static millet_status choose_pre(struct training *t, millet_error *err)
{
    const millet_tokenizer_train_options *o = t->options;
    const char *wanted = o->pre_tokenizer ? o->pre_tokenizer : DEFAULT_PRE;
    if (o->pattern && o->pre_tokenizer)
        return bad_option(err, "pattern", "stands for a pre-tokeniser; give one of the two");
    if (o->pattern && o->split_digits)
        return bad_option(err, "split_digits", "the pattern says how digits are split");
    if (o->pattern) return MILLET_OK;
    for (size_t i = 0; i < MLT_COUNT(choices); i++)
        if (strcmp(choices[i].name, wanted) == 0)
            t->pre = o->split_digits ? choices[i].digits : choices[i].name;
    if (t->pre) return MILLET_OK;
    return mlt_fail_at(err, MILLET_BAD_ARGUMENT, NULL, "pre_tokenizer", MILLET_NO_OFFSET,
                       "\"%.40s\" is none of %s", wanted, millet_pretokenizer_names());
}

static millet_status check_options(struct training *t, millet_error *err)
{
    const millet_tokenizer_train_options *o = t->options;
    bool bpe = o->kind == MILLET_TOKENIZER_BPE;
    if (o->kind != MILLET_TOKENIZER_BPE && o->kind != MILLET_TOKENIZER_UNIGRAM)
        return bad_option(err, "kind", "is none");
    static const char *const bpe_special[] = {"<|endoftext|>"}, *const unigram_special[] = {"<s>", "</s>"};
    struct mlt_learned_specials *s = &t->specials;
    *s = (struct mlt_learned_specials){o->special, o->n_special, o->bos, o->eos, o->pad};
    if (!o->special) {
        s->texts = bpe ? bpe_special : unigram_special;
        s->count = bpe ? 1 : 2;
    }
    if (s->count > 4096) return bad_option(err, "special", "at most 4096 special tokens");
    if (!o->bos && s->count) s->bos = s->texts[0];
    if (!o->eos && s->count) s->eos = s->texts[bpe || s->count < 2 ? 0 : 1];
    t->vocabulary = o->vocabulary ? o->vocabulary : DEFAULT_VOCABULARY;
    int32_t least = 256 + (int32_t)s->count + (bpe ? 0 : 65);
    if (t->vocabulary < least || t->vocabulary > MAX_VOCABULARY)
        return mlt_fail_at(err, MILLET_BAD_ARGUMENT, NULL, "vocabulary", MILLET_NO_OFFSET,
                           "%d; from %d (bytes and special tokens%s) to %d make sense", t->vocabulary, least,
                           bpe ? "" : ", and 64 pieces", (int)MAX_VOCABULARY);
    t->min_frequency = o->min_frequency ? o->min_frequency : 2;
    if (o->max_token_bytes < 0 || o->max_token_bytes == 1 || (bpe && o->max_token_bytes > 512) ||
        (!bpe && o->max_token_bytes > MLT_MAX_PIECE_CHARACTERS))
        return bad_option(err, "max_token_bytes", "2 to 512 bytes in BPE, 2 to 64 characters in unigram");
    if (!(o->character_coverage >= 0 && o->character_coverage <= 1))
        return bad_option(err, "character_coverage", "a part from 0 to 1");
    if (o->add_bos && !s->bos) return bad_option(err, "add_bos", "there is no bos");
    if (bpe && (o->nfkc || o->add_prefix_space))
        return bad_option(err, o->nfkc ? "nfkc" : "add_prefix_space",
                          "is for unigram; byte-level BPE takes texts as they are");
    if (!bpe && (o->pattern || o->pre_tokenizer))
        return bad_option(err, o->pattern ? "pattern" : "pre_tokenizer",
                          "is for BPE; unigram finds words by itself");
    return bpe ? choose_pre(t, err) : MILLET_OK;
}

/* A tokenizer with no pieces, for its normalisation: what is learned from is what the new tokenizer will see.
 */
static millet_status open_normalizer(struct training *t, millet_error *err)
{
    const struct mlt_token_text unknown = {"<unk>", 5};
    const float score = 0;
    const int32_t type = MLT_TOKEN_UNKNOWN;
    struct mlt_tokenizer_spec spec = mlt_tokenizer_spec_default(MLT_TOKENIZER_UNIGRAM);
    spec.n_tokens = 1;
    spec.tokens = &unknown;
    spec.scores = &score;
    spec.types = &type;
    spec.unknown = 0;
    spec.add_eos = false;
    spec.add_space_prefix = t->options->add_prefix_space;
    spec.remove_extra_whitespace = t->options->nfkc;
    spec.charsmap = t->charsmap.bytes;
    spec.charsmap_bytes = t->charsmap.size;
    return mlt_tokenizer_open(t->allocator, &spec, &t->normalizer, err);
}

static millet_status open_rules(struct training *t, millet_error *err)
{
    const millet_tokenizer_train_options *o = t->options;
    if (o->kind == MILLET_TOKENIZER_UNIGRAM) {
        if (o->nfkc) MLT_TRY(mlt_nfkc_map_build(t->allocator, &t->charsmap, err));
        MLT_TRY(open_normalizer(t, err));
    }
    const char *pattern = o->kind == MILLET_TOKENIZER_BPE ? o->pattern
                          : o->split_digits               ? PIECE_WORDS_DIGITS
                                                          : PIECE_WORDS;
    MLT_TRY(mlt_pretokenizer_open(t->allocator, t->pre, pattern, &t->pretokenizer, err));
    struct mlt_trie_entry *entries = mlt_alloc(t->allocator, t->specials.count, sizeof *entries, err);
    if (!entries) return MILLET_NO_MEMORY;
    for (size_t i = 0; i < t->specials.count; i++)
        entries[i] =
            (struct mlt_trie_entry){t->specials.texts[i], (uint32_t)strlen(t->specials.texts[i]), (int32_t)i};
    size_t n = 0;
    for (size_t i = 0; i < t->specials.count; i++)
        if (entries[i].length) entries[n++] = entries[i];
    millet_status status = mlt_trie_open(&t->special, t->allocator, entries, n, err);
    mlt_free(t->allocator, entries);
    return status;
}

static bool step_progress(void *context, double fraction)
{
    const struct training *t = context;
    const millet_tokenizer_train_options *o = t->options;
    return !o->progress || o->progress(o->context, t->progress_from + t->progress_part * fraction);
}

static millet_status learn_bpe(struct training *t, millet_tokenizer_training *result, millet_error *err)
{
    const millet_tokenizer_train_options *o = t->options;
    int32_t wanted = t->vocabulary - 256 - (int32_t)t->specials.count, n_merges = 0;
    struct mlt_bpe_options options = {
        .n_merges = wanted,
        .min_frequency = t->min_frequency,
        .max_bytes = o->max_token_bytes ? o->max_token_bytes : DEFAULT_BPE_BYTES,
        .progress = step_progress,
        .context = t,
    };
    struct mlt_bpe_merge *merges = mlt_alloc(t->allocator, (size_t)wanted, sizeof *merges, err);
    if (!merges) return MILLET_NO_MEMORY;
    millet_status status =
        mlt_bpe_train(t->allocator, &t->words, &options, merges, &n_merges, &result->n_text_tokens, err);
    if (status == MILLET_OK) status = mlt_learned_from_bpe(&t->learned, &t->specials, merges, n_merges, err);
    mlt_free(t->allocator, merges);
    result->n_learned = n_merges;
    t->learned.pre = t->pre;
    t->learned.pattern = o->pattern;
    return status;
}

static millet_status learn_unigram(struct training *t, millet_tokenizer_training *result, millet_error *err)
{
    const millet_tokenizer_train_options *o = t->options;
    size_t wanted = (size_t)t->vocabulary - 257 - t->specials.count;
    struct mlt_seed_options seed = {
        .max_seeds = MLT_MAX((size_t)1000000, 8 * wanted),
        .min_frequency = t->min_frequency,
        .max_characters = o->max_token_bytes ? o->max_token_bytes : DEFAULT_PIECE_CHARACTERS,
        .coverage = o->character_coverage > 0 ? o->character_coverage : 0.9995,
        .max_required = wanted / 2, /* of a script with thousands of characters the rest is left to bytes */
        .pool = t->pool,
    };
    struct mlt_unigram_options options = {.n_pieces = wanted,
                                          .shrink = 0.75,
                                          .em_steps = 2,
                                          .pool = t->pool,
                                          .progress = step_progress,
                                          .context = t};
    struct mlt_piece_set set;
    MLT_TRY(mlt_seed_pieces(&t->words, &seed, &set, err));
    millet_status status = mlt_unigram_train(&t->words, &options, &set, &result->n_text_tokens, err);
    if (status == MILLET_OK) status = mlt_learned_from_pieces(&t->learned, &t->specials, &set, err);
    result->n_learned = (int32_t)set.count;
    mlt_piece_set_release(&set);
    t->learned.add_prefix_space = o->add_prefix_space;
    t->learned.collapse_spaces = o->nfkc;
    t->learned.charsmap = t->charsmap.bytes;
    t->learned.charsmap_bytes = t->charsmap.size;
    return status;
}

static millet_status learn(struct training *t, const char *const *sources, size_t n_sources,
                           millet_tokenizer_training *result, millet_error *err)
{
    const millet_tokenizer_train_options *o = t->options;
    bool bpe = o->kind == MILLET_TOKENIZER_BPE;
    /* Parts of the time that the steps take, about. */
    t->progress_from = bpe ? 0.8 : 0.25;
    t->progress_part = 1 - t->progress_from;
    struct mlt_reading reading = {.allocator = t->allocator,
                                  .options = &o->source,
                                  .pool = t->pool,
                                  .max_bytes = o->max_bytes,
                                  .progress = o->progress,
                                  .context = o->context,
                                  .progress_share = t->progress_from};
    const struct mlt_word_rules rules = {t->pretokenizer, t->normalizer, &t->special};
    MLT_TRY(mlt_count_words(&reading, sources, n_sources, &rules, &t->words, err));
    result->text_bytes = reading.text_bytes;
    result->n_words = reading.n_words;
    result->n_distinct = t->words.n_words;
    memcpy(result->n_skipped, reading.n_skipped, sizeof result->n_skipped);
    if (t->words.n_words == 0)
        return mlt_fail_at(err, MILLET_BAD_FORMAT, n_sources ? sources[0] : NULL, NULL, MILLET_NO_OFFSET,
                           "there is no text in the sources to learn from");
    MLT_TRY(bpe ? learn_bpe(t, result, err) : learn_unigram(t, result, err));
    result->n_tokens = t->learned.n_tokens;
    result->n_special = (int32_t)t->specials.count + !bpe;
    result->n_bytes = 256;
    t->learned.add_bos = o->add_bos;
    t->learned.name = o->name;
    t->learned.chat_template = o->chat_template;
    return MILLET_OK;
}

static millet_status train(struct training *t, const char *const *sources, size_t n_sources, const char *gguf,
                           const char *json, millet_tokenizer_training *result, millet_error *err)
{
    MLT_TRY(check_options(t, err));
    MLT_TRY(open_rules(t, err));
    MLT_TRY(mlt_thread_pool_open(t->allocator, t->options->n_threads, &t->pool, err));
    MLT_TRY(learn(t, sources, n_sources, result, err));
    if (!step_progress(t, 1)) return mlt_fail(err, MILLET_CANCELLED, "stopped");
    if (gguf) MLT_TRY(mlt_learned_write_gguf(t->allocator, &t->learned, gguf, err));
    return json ? mlt_learned_write_json(t->allocator, &t->learned, json, err) : MILLET_OK;
}

millet_status millet_tokenizer_train(const char *const *sources, size_t n_sources, const char *gguf,
                                     const char *json, const millet_tokenizer_train_options *options,
                                     millet_tokenizer_training *result, millet_error *err)
{
    millet_tokenizer_train_options defaults = millet_tokenizer_train_options_default();
    millet_tokenizer_training unused;
    if (!options) options = &defaults;
    if (!result) result = &unused;
    *result = (millet_tokenizer_training){0};
    struct training t = {.options = options,
                         .allocator = options->allocator ? options->allocator : mlt_default_allocator()};
    t.words.allocator = t.allocator;
    mlt_arena_init(&t.learned.arena, t.allocator);
    millet_status status = train(&t, sources, n_sources, gguf, json, result, err);
    mlt_arena_release(&t.learned.arena);
    mlt_word_counts_release(&t.words);
    if (t.special.nodes) mlt_trie_close(&t.special);
    mlt_tokenizer_close(&t.normalizer);
    mlt_pretokenizer_close(&t.pretokenizer);
    mlt_nfkc_map_release(&t.charsmap);
    mlt_thread_pool_close(&t.pool);
    return status;
}
