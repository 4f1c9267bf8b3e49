/* SPDX-License-Identifier: Apache-2.0 */
#include "support/pruned_vocabulary.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "compact/prune_vocabulary.h"
#include "model/vocabulary.h"
#include "tokenizer/vocabulary_subset.h"

#define REQUIRE(call)                                                                                        \
    do {                                                                                                     \
        millet_error err = {.status = MILLET_OK};                                                            \
        if ((call) != MILLET_OK) fail_msg("%s: %s: %s", #call, err.item, err.message);                       \
    } while (0)

enum { FORMS = 2 };
static const unsigned forms[FORMS] = {0, MLT_TOKENIZE_SPECIAL | MLT_TOKENIZE_BOS_EOS};

struct ids {
    int32_t *list;
    size_t count;
};

static struct ids encode(const struct mlt_tokenizer *tokenizer, const struct pruned_vocabulary_text *text,
                         unsigned flags)
{
    struct ids ids;
    REQUIRE(mlt_tokenize(tokenizer, mlt_default_allocator(), text->data, text->length, flags, &ids.list,
                         &ids.count, &err));
    return ids;
}

static void release(struct ids *ids)
{
    mlt_free(mlt_default_allocator(), ids->list);
}

static char *decode(const struct mlt_tokenizer *tokenizer, const struct ids *ids, size_t *length)
{
    REQUIRE(mlt_detokenize(tokenizer, mlt_default_allocator(), ids->list, ids->count, true, NULL, 0, length,
                           &err));
    char *text = malloc(*length + 1);
    REQUIRE(mlt_detokenize(tokenizer, mlt_default_allocator(), ids->list, ids->count, true, text, *length,
                           length, &err));
    return text;
}

static struct mlt_tokenizer *open(const struct mlt_checkpoint *checkpoint)
{
    struct mlt_tokenizer *tokenizer = NULL;
    int32_t bos, eos;
    bool add_bos, add_eos;
    REQUIRE(mlt_vocabulary_open(mlt_default_allocator(), checkpoint, &tokenizer, &bos, &eos, &add_bos,
                                &add_eos, &err));
    assert_non_null(tokenizer);
    return tokenizer;
}

static uint64_t *count_tokens(const struct mlt_tokenizer *tokenizer,
                              const struct pruned_vocabulary_text *texts, size_t n)
{
    uint64_t *counts = calloc((size_t)mlt_tokenizer_size(tokenizer), sizeof *counts);
    for (size_t i = 0; i < n; i++)
        for (int form = 0; form < FORMS; form++) {
            struct ids ids = encode(tokenizer, &texts[i], forms[form]);
            for (size_t k = 0; k < ids.count; k++)
                counts[ids.list[k]]++;
            release(&ids);
        }
    return counts;
}

/* A token of the old vocabulary that an id of the new one stands for. */
static int32_t old_id(const int32_t *list, int32_t id)
{
    return id < 0 ? -1 : list[id];
}

static void compare_tokens(const char *name, const struct mlt_tokenizer *old, const struct mlt_tokenizer *new,
                           const int32_t *list, int32_t n)
{
    assert_int_equal(mlt_tokenizer_size(new), n);
    for (int32_t id = 0; id < n; id++) {
        struct mlt_token_text a = mlt_tokenizer_token(old, list[id]), b = mlt_tokenizer_token(new, id);
        if (a.length != b.length || memcmp(a.data, b.data, a.length) != 0 ||
            mlt_tokenizer_type(old, list[id]) != mlt_tokenizer_type(new, id) ||
            mlt_tokenizer_is_end(old, list[id]) != mlt_tokenizer_is_end(new, id))
            fail_msg("%s: token %d is not token %d", name, id, list[id]);
    }
    struct mlt_special_ids a = mlt_tokenizer_special_ids(old), b = mlt_tokenizer_special_ids(new);
    assert_int_equal(a.bos, old_id(list, b.bos));
    assert_int_equal(a.eos, old_id(list, b.eos));
    assert_int_equal(a.eot, old_id(list, b.eot));
    assert_int_equal(a.unknown, old_id(list, b.unknown));
    assert_int_equal(a.separator, old_id(list, b.separator));
    assert_int_equal(a.cls, old_id(list, b.cls));
}

static void compare_text(const char *name, const struct mlt_tokenizer *old, const struct mlt_tokenizer *new,
                         const int32_t *list, const struct pruned_vocabulary_text *text, bool same,
                         bool lossless)
{
    for (int form = 0; form < FORMS; form++) {
        struct ids a = encode(old, text, forms[form]), b = encode(new, text, forms[form]);
        bool equal = a.count == b.count;
        for (size_t k = 0; equal && k < a.count; k++)
            equal = list[b.list[k]] == a.list[k];
        if (same && !equal) fail_msg("%s: other tokens for \"%.*s\"", name, (int)text->length, text->data);
        if (lossless) {
            size_t a_length, b_length;
            char *a_text = decode(old, &a, &a_length), *b_text = decode(new, &b, &b_length);
            if (a_length != b_length || memcmp(a_text, b_text, a_length) != 0)
                fail_msg("%s: \"%.*s\" comes back as \"%.*s\", not \"%.*s\"", name, (int)text->length,
                         text->data, (int)b_length, b_text, (int)a_length, a_text);
            free(a_text);
            free(b_text);
        }
        assert_true(!text->length || b.count > 0 || a.count == 0);
        release(&a);
        release(&b);
    }
}

int32_t check_pruned_vocabulary(const char *name, const struct mlt_checkpoint *from,
                                const struct pruned_vocabulary_text *texts, size_t n_texts, size_t n_corpus,
                                uint64_t min_count, bool lossless)
{
    struct mlt_tokenizer *old = open(from);
    int32_t *list, n;
    struct mlt_checkpoint *smaller = NULL;
    struct mlt_arena arena;
    mlt_arena_init(&arena, mlt_default_allocator());
    uint64_t *counts = count_tokens(old, texts, n_corpus);
    REQUIRE(mlt_vocabulary_choose(from, counts, mlt_tokenizer_size(old), min_count, &arena, &list, &n, &err));
    REQUIRE(mlt_checkpoint_new(mlt_default_allocator(), "smaller", "test", &smaller, &err));
    for (size_t i = 0; i < from->n_metas; i++)
        if (!mlt_vocabulary_has_key(from->metas[i].key.data))
            REQUIRE(mlt_checkpoint_add_meta(smaller, &from->metas[i], &err));
    REQUIRE(mlt_vocabulary_write(from, list, n, smaller, &err));
    REQUIRE(mlt_checkpoint_seal(smaller, &err));
    struct mlt_tokenizer *new = open(smaller);
    compare_tokens(name, old, new, list, n);
    for (size_t i = 0; i < n_texts; i++)
        compare_text(name, old, new, list, &texts[i], i < n_corpus && min_count == 1, lossless);
    mlt_tokenizer_close(&new);
    mlt_tokenizer_close(&old);
    mlt_checkpoint_close(&smaller);
    mlt_arena_release(&arena);
    free(counts);
    return n;
}

/* ---- Checkpoints ---- */

static void add_array(struct mlt_checkpoint *c, const char *key, enum mlt_meta_type element, int64_t count,
                      const void *array)
{
    struct mlt_meta meta = {{key, strlen(key)}, MLT_META_ARRAY, element, (uint64_t)count, {.array = array}};
    REQUIRE(mlt_checkpoint_add_meta(c, &meta, &err));
}

static void add_strings(struct mlt_checkpoint *c, const char *key, const struct mlt_token_text *texts,
                        int64_t n)
{
    struct mlt_string *strings = calloc((size_t)n + 1, sizeof *strings);
    for (int64_t i = 0; i < n; i++)
        strings[i] = (struct mlt_string){texts[i].data, texts[i].length};
    add_array(c, key, MLT_META_STRING, n, strings);
    free(strings);
}

static void add_id(struct mlt_checkpoint *c, const char *key, int32_t id)
{
    if (id >= 0) REQUIRE(mlt_checkpoint_set_u32(c, key, (uint32_t)id, &err));
}

struct mlt_checkpoint *vocabulary_checkpoint(const char *model, const struct mlt_tokenizer_spec *spec)
{
    struct mlt_checkpoint *c = NULL;
    REQUIRE(mlt_checkpoint_new(mlt_default_allocator(), "vocabulary", "test", &c, &err));
    REQUIRE(mlt_checkpoint_set_string(c, "tokenizer.ggml.model", model, strlen(model), &err));
    if (spec->pre)
        REQUIRE(mlt_checkpoint_set_string(c, "tokenizer.ggml.pre", spec->pre, strlen(spec->pre), &err));
    add_strings(c, "tokenizer.ggml.tokens", spec->tokens, spec->n_tokens);
    if (spec->scores) add_array(c, "tokenizer.ggml.scores", MLT_META_F32, spec->n_tokens, spec->scores);
    if (spec->types) add_array(c, "tokenizer.ggml.token_type", MLT_META_I32, spec->n_tokens, spec->types);
    if (spec->strip) add_array(c, "millet.tokenizer.strip", MLT_META_U8, spec->n_tokens, spec->strip);
    if (spec->merges) add_strings(c, "tokenizer.ggml.merges", spec->merges, spec->n_merges);
    add_id(c, "tokenizer.ggml.bos_token_id", spec->bos);
    add_id(c, "tokenizer.ggml.eos_token_id", spec->eos);
    add_id(c, "tokenizer.ggml.unknown_token_id", spec->unknown);
    add_id(c, "tokenizer.ggml.seperator_token_id", spec->separator);
    add_id(c, "tokenizer.ggml.padding_token_id", spec->padding);
    add_id(c, "tokenizer.ggml.cls_token_id", spec->cls);
    REQUIRE(mlt_checkpoint_set_bool(c, "tokenizer.ggml.add_bos_token", spec->add_bos, &err));
    REQUIRE(mlt_checkpoint_set_bool(c, "tokenizer.ggml.add_eos_token", spec->add_eos, &err));
    REQUIRE(mlt_checkpoint_set_bool(c, "tokenizer.ggml.add_space_prefix", spec->add_space_prefix, &err));
    if (spec->ignore_merges)
        REQUIRE(mlt_checkpoint_set_bool(c, "millet.tokenizer.ignore_merges", true, &err));
    REQUIRE(mlt_checkpoint_seal(c, &err));
    return c;
}
