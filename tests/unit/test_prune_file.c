/*
 * millet_prune from file to file: the vocabulary's rows, losses, storage, what is refused.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "millet/prune.h"
#include "model/forward.h"
#include "support/corpus_files.h"
#include "support/file_bytes.h"
#include "support/tiny_model.h"

#include <math.h>

static char model[1024], cache[1024], other[1024], known[1024], output[1024];
static millet_train_data data;
static millet_prune_options options;
static const char *const text = "the cat and the hen in the inn\n<|endoftext|>\nan ant ran and the rest";

static void must(millet_status status, const millet_error *err)
{
    char message[800];
    if (status == MILLET_OK) return;
    millet_error_format(err, message, sizeof message);
    fail_msg("%s", message);
}

static void make_cache(const char *tokenizer_of, const char *name, const char *words, const char *path)
{
    millet_error err;
    millet_tokenizer *tokenizer = NULL;
    must(millet_tokenizer_open(tokenizer_of, NULL, NULL, &tokenizer, &err), &err);
    must(millet_cache_build(corpus_write(name, words), path, tokenizer, NULL, NULL, &err), &err);
    millet_tokenizer_close(&tokenizer);
}

static int set_up(void **state)
{
    (void)state;
    if (!folder_make()) return -1;
    struct tiny_shape shape = tiny_default();
    snprintf(model, sizeof model, "%s", folder_path("m.gguf"));
    snprintf(cache, sizeof cache, "%s", folder_path("t.tokens"));
    snprintf(known, sizeof known, "%s", folder_path("v.tokens"));
    snprintf(other, sizeof other, "%s", folder_path("u.tokens"));
    snprintf(output, sizeof output, "%s", folder_path("o.gguf"));
    tiny_write(model, &shape);
    make_cache(model, "t.txt", text, cache);
    make_cache(model, "u.txt", "the hen in the inn\n<|endoftext|>\nquite other words, pqxyz", other);
    make_cache(model, "v.txt", "the hen in the inn", known);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    folder_remove();
    return 0;
}

static int each(void **state)
{
    (void)state;
    unlink(output);
    data = (millet_train_data){.cache = cache};
    options = millet_prune_options_default();
    options.data = &data;
    options.n_data = 1;
    options.rows = 2;
    options.length = 16;
    options.n_threads = 1;
    return 0;
}

static millet_pruning *prune(void)
{
    millet_error err;
    millet_pruning *result = NULL;
    must(millet_prune(model, output, &options, &result, &err), &err);
    return result;
}

static millet_model *open_model(const char *path)
{
    millet_error err;
    millet_model *opened = NULL;
    must(millet_model_open(path, NULL, &opened, &err), &err);
    return opened;
}

static float *logits_of(const millet_model *m, const int32_t *tokens, int32_t n)
{
    millet_error err;
    struct mlt_forward *f;
    struct mlt_forward_options how = {.n_ctx = 64,
                                      .n_sequences = 1,
                                      .n_batch = 64,
                                      .n_logits = 64,
                                      .n_threads = 1,
                                      .cache = MLT_F32,
                                      .exact_activations = true};
    millet_item items[64];
    float *logits = malloc((size_t)n * (size_t)m->config.n_vocab * sizeof *logits);
    for (int32_t i = 0; i < n; i++)
        items[i] = (millet_item){.token = tokens[i], .logits = true};
    must(mlt_forward_open(mlt_default_allocator(), m, &how, &f, &err), &err);
    mlt_forward_run(f, items, n, logits);
    mlt_forward_close(&f);
    return logits;
}

/* The id in `from` of a token of `m`. */
static int32_t same_token(const millet_model *m, const millet_model *from, int32_t id)
{
    struct mlt_token_text token = mlt_tokenizer_token(m->tokenizer, id);
    int32_t found = mlt_tokenizer_find(from->tokenizer, token.data, token.length);
    assert_true(found >= 0);
    return found;
}

/* The smaller vocabulary's logits are the old ones' of the same tokens, to the bit; the texts' tokens are the
 * same. */
static void rows_of_the_vocabulary(void **state)
{
    (void)state;
    options.vocabulary_min_count = 1;
    millet_pruning *p = prune();
    millet_model *whole = open_model(model), *small = open_model(output);
    assert_int_equal(p->after.vocabulary, small->config.n_vocab);
    assert_true(p->after.vocabulary < p->before.vocabulary);
    assert_true(p->tokens_used > 5 && p->tokens_used < p->after.vocabulary);
    int32_t *old_ids, *ids;
    size_t n, n_old;
    millet_error err;
    must(mlt_tokenize(whole->tokenizer, mlt_default_allocator(), text, 30, MLT_TOKENIZE_BOS_EOS, &old_ids,
                      &n_old, &err),
         &err);
    must(mlt_tokenize(small->tokenizer, mlt_default_allocator(), text, 30, MLT_TOKENIZE_BOS_EOS, &ids, &n,
                      &err),
         &err);
    assert_int_equal(n, n_old);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(same_token(small, whole, ids[i]), old_ids[i]);
    float *a = logits_of(whole, old_ids, (int32_t)n), *b = logits_of(small, ids, (int32_t)n);
    size_t n_whole = (size_t)whole->config.n_vocab, n_small = (size_t)small->config.n_vocab;
    for (size_t i = 0; i < n; i++)
        for (int32_t id = 0; id < small->config.n_vocab; id++)
            assert_true(b[i * n_small + (size_t)id] == a[i * n_whole + (size_t)same_token(small, whole, id)]);
    /* The softmax goes over fewer tokens: the loss can only fall. */
    assert_true(p->loss_after < p->loss_before);
    free(a);
    free(b);
    mlt_free(mlt_default_allocator(), ids);
    mlt_free(mlt_default_allocator(), old_ids);
    millet_model_close(&whole);
    millet_model_close(&small);
    millet_pruning_free(&p);
}

static void nothing_is_the_same_file(void **state)
{
    (void)state;
    millet_pruning *p = prune();
    assert_true(p->loss_before == p->loss_after);
    assert_int_equal(p->before.parameters, p->after.parameters);
    assert_true(files_are_same("m.gguf", "o.gguf"));
    millet_pruning_free(&p);
}

/* Losses on texts of their own; documents with tokens that were dropped have none. */
static void losses_are_measured_apart(void **state)
{
    (void)state;
    const char *const evaluation[] = {other};
    options.feed_forward = 40;
    millet_pruning *p = prune();
    double before = p->loss_before, after = p->loss_after;
    assert_true(isfinite(before) && isfinite(after) && before != after);
    millet_pruning_free(&p);
    options.evaluation_data = evaluation;
    options.n_evaluation_data = 1;
    p = prune();
    assert_true(isfinite(p->loss_before) && p->loss_before != before && isfinite(p->loss_after));
    before = p->loss_before;
    millet_pruning_free(&p);
    options.vocabulary_min_count = 1;
    p = prune();
    assert_true(fabs(p->loss_before - before) > 1e-3);
    before = p->loss_before;
    after = p->loss_after;
    millet_pruning_free(&p);
    const char *const known_alone[] = {known};
    options.evaluation_data = known_alone;
    p = prune();
    assert_true(fabs(p->loss_before - before) < 1e-5 && fabs(p->loss_after - after) < 1e-5);
    millet_pruning_free(&p);
    /* The loss after is that of the file: pruning nothing of it finds it again. */
    each(NULL);
    options.feed_forward = 40;
    options.storage = MILLET_PRUNE_F16;
    p = prune();
    after = p->loss_after;
    millet_pruning_free(&p);
    millet_error err;
    options.feed_forward = 0;
    must(millet_prune(output, NULL, &options, &p, &err), &err);
    assert_true(p->loss_before == after);
    assert_int_equal(p->file_bytes, 0);
    millet_pruning_free(&p);
}

static void chance_is_reproducible(void **state)
{
    (void)state;
    options.feed_forward = 30;
    options.random = 5;
    millet_pruning *a = prune(), *b = prune();
    options.random = 6;
    millet_pruning *c = prune();
    bool other_choice = false;
    for (int64_t i = 0; i < (int64_t)a->before.layers * a->before.feed_forward; i++) {
        assert_true(a->feed_forward[i].kept == b->feed_forward[i].kept);
        assert_true(a->feed_forward[i].importance == c->feed_forward[i].importance);
        other_choice = other_choice || a->feed_forward[i].kept != c->feed_forward[i].kept;
    }
    assert_true(other_choice);
    millet_pruning_free(&a);
    millet_pruning_free(&b);
    millet_pruning_free(&c);
}

static bool stop(void *context, double fraction)
{
    (void)context;
    return fraction < 0.5;
}

static void wrong_options(void **state)
{
    millet_error err;
    millet_pruning *result = NULL;
#define REFUSED(change, name)                                                                                \
    do {                                                                                                     \
        each(state);                                                                                         \
        options.change;                                                                                      \
        assert_int_equal(millet_prune(model, output, &options, &result, &err), MILLET_BAD_ARGUMENT);         \
        assert_string_equal(err.item, name);                                                                 \
        assert_null(result);                                                                                 \
        assert_int_equal(access(output, F_OK), -1);                                                          \
    } while (0)
    REFUSED(data = NULL, "data");
    REFUSED(n_data = 0, "data");
    REFUSED(rows = 0, "rows");
    REFUSED(length = 1, "length");
    REFUSED(length = -5, "length");
    REFUSED(n_threads = -1, "n_threads");
    REFUSED(storage = (millet_prune_storage)9, "storage");
    REFUSED(layers = 9, "layers");
    REFUSED(heads = 3, "heads");
    REFUSED(kv_heads = 3, "kv_heads");
    REFUSED(width = -1, "width");
    REFUSED(feed_forward = 1000000, "feed_forward");
    each(state);
    options.progress = stop;
    assert_int_equal(millet_prune(model, output, &options, &result, &err), MILLET_CANCELLED);
    assert_int_equal(access(output, F_OK), -1);
    each(state);
    assert_int_equal(millet_prune("no such file", output, &options, &result, &err), MILLET_NOT_FOUND);
    /* As small as can be. */
    options.layers = options.kv_heads = options.heads = options.feed_forward = options.width = 1;
    options.vocabulary_min_count = UINT64_MAX;
    result = prune();
    assert_int_equal(result->after.width, 1);
    assert_true(isnan(result->loss_before) && isnan(result->loss_after));
    millet_pruning_free(&result);
    millet_model *small = open_model(output);
    millet_model_close(&small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(rows_of_the_vocabulary, each),
        cmocka_unit_test_setup(nothing_is_the_same_file, each),
        cmocka_unit_test_setup(losses_are_measured_apart, each),
        cmocka_unit_test_setup(chance_is_reproducible, each),
        cmocka_unit_test_setup(wrong_options, each),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
