/*
 * Training with tagged records: the losses of tags and of next tokens against a naive model, weights, masked
 * tokens, and a stopped run that goes on to the bit.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "millet/train.h"
#include "support/corpus_files.h"
#include "support/file_bytes.h"
#include "support/naive_forward.h"
#include "train/token_mask.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { LENGTH = 32, DOCUMENTS = 60 };

static char tokenizer_path[512], model[512], output[512], tagged[512], plain[512];
static const char shape[] = "{\"architecture\": \"llama\", \"layers\": 2, \"width\": 32, \"heads\": 2, "
                            "\"feed_forward\": 64, \"context\": 64}";
static millet_train_options options;

static void must(millet_status status, const millet_error *err)
{
    char line[800];
    if (status == MILLET_OK) return;
    millet_error_format(err, line, sizeof line);
    fail_msg("%s", line);
}

static void build(const char *name, const struct file_bytes *records, const millet_tokenizer *tokenizer,
                  char *cache)
{
    char source[512];
    millet_error err;
    millet_cache_options o = millet_cache_options_default();
    o.source.special = true;
    strcpy(source, folder_path(name));
    file_write(source, records);
    strcat(strcpy(cache, source), ".tokens");
    must(millet_cache_build(source, cache, tokenizer, &o, NULL, &err), &err);
}

/* Tagged records, some without a span, and others that nothing is said of. */
static void build_caches(void)
{
    static const char *const words[] = {"kalomi", "turen", "sa", "vorig", "lolo", "kasa mi"};
    struct file_bytes with = {0}, without = {0};
    millet_error err;
    millet_tokenizer *tokenizer = corpus_tokenizer("bpe.gguf", MILLET_TOKENIZER_BPE, 400);
    for (int i = 0; i < DOCUMENTS; i++) {
        char line[400];
        const char *before = words[i % 5], *place = words[(i + 2) % 6];
        int n = snprintf(line, sizeof line,
                         "{\"prompt\": \"%s %s<|call|>\", \"completion\": \"<|im_end|>\", \"prefix\": true",
                         before, place);
        if (i % 3)
            n += snprintf(line + n, sizeof line - (size_t)n,
                          ", \"tags\": [{\"start\": %zu, \"end\": %zu, \"name\": \"place\"}]}\n",
                          strlen(before) + 1, strlen(before) + 1 + strlen(place));
        else
            n += snprintf(line + n, sizeof line - (size_t)n, i % 2 ? ", \"tags\": []}\n" : "}\n");
        bytes_put(&with, line, (size_t)n);
        n = snprintf(line, sizeof line, "{\"prompt\": \"%s <|call|>\", \"completion\": \"%s\"}\n", before,
                     place);
        bytes_put(&without, line, (size_t)n);
    }
    build("tagged.jsonl", &with, tokenizer, tagged);
    build("plain.jsonl", &without, tokenizer, plain);
    bytes_free(&with);
    bytes_free(&without);
    millet_tokenizer_close(&tokenizer);
    strcpy(tokenizer_path, folder_path("bpe.gguf"));
    strcpy(model, folder_path("model.gguf"));
    strcpy(output, folder_path("out.gguf"));
    /* A model of that shape, as it is before it learns. */
    const millet_train_data one = {.cache = tagged, .weight = 0};
    millet_train_options o = millet_train_options_default();
    o.shape = shape;
    o.tokenizer_path = tokenizer_path;
    o.data = &one;
    o.n_data = 1;
    o.rows = 2;
    o.length = LENGTH;
    o.rate = 0;
    o.steps = 1;
    o.output = model;
    must(millet_train(&o, NULL, &err), &err);
}

static int set_up(void **state)
{
    (void)state;
    if (!folder_make()) return -1;
    build_caches();
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
    static const millet_train_data one = {.cache = tagged, .weight = 0};
    (void)state;
    options = millet_train_options_default();
    options.model = model;
    options.data = &one;
    options.n_data = 1;
    options.output = output;
    options.restart = true;
    options.rows = 2;
    options.length = LENGTH;
    options.rate = 0;
    options.steps = 1;
    options.n_threads = 2;
    return 0;
}

static millet_train_report train(void)
{
    millet_error err;
    millet_train_report report;
    must(millet_train(&options, &report, &err), &err);
    return report;
}

/* ---- Losses ---- */

struct sums {
    double tags, tokens;
    long n_tags, n_tokens;
};

static double naive_nll(const double *row, int32_t width, int32_t target)
{
    double most = -INFINITY, sum = 0;
    for (int32_t v = 0; v < width; v++)
        most = fmax(most, row[v]);
    for (int32_t v = 0; v < width; v++)
        sum += exp(row[v] - most);
    return most + log(sum) - row[target];
}

static void naive_sums(const char *path, struct sums *sums)
{
    static double logits[LENGTH * 512];
    millet_cache *cache;
    millet_model *naive = NULL;
    millet_cache_info info;
    millet_error err;
    must(millet_cache_open(path, NULL, true, &cache, &err), &err);
    must(millet_model_open(model, NULL, &naive, &err), &err);
    millet_cache_get_info(cache, &info);
    int32_t width = naive->config.n_vocab;
    assert_true(width <= 512);
    for (uint64_t d = 0; d < info.n_documents; d++) {
        millet_document document;
        int32_t tokens[LENGTH + 1];
        must(millet_cache_document(cache, d, &document, &err), &err);
        int32_t n = (int32_t)document.count - 1, prefix = (int32_t)document.prefix;
        assert_true(n <= LENGTH);
        for (int32_t i = 0; i <= n; i++)
            tokens[i] = millet_cache_token(cache, document.first + (uint64_t)i, NULL);
        naive_forward_prefix(naive, tokens, n, prefix, LENGTH, logits);
        for (int32_t i = 0; i < n; i++) {
            const double *row = logits + (int64_t)i * width;
            bool trained;
            int32_t label = millet_cache_label(cache, document.first + (uint64_t)i);
            millet_cache_token(cache, document.first + (uint64_t)i + 1, &trained);
            if (label >= 0) {
                sums->tags += naive_nll(row, width, label);
                sums->n_tags++;
            } else if (trained && i >= prefix - 1) {
                sums->tokens += naive_nll(row, width, tokens[i + 1]);
                sums->n_tokens++;
            }
        }
    }
    millet_model_close(&naive);
    millet_cache_close(&cache);
}

static void expect_near(double got, double expected)
{
    if (!(fabs(got - expected) < 1e-5 * expected)) fail_msg("the loss is %.9g, naively %.9g", got, expected);
}

static void losses_are_weighted(void **state)
{
    (void)state;
    struct sums s = {0};
    const char *const own[] = {tagged};
    naive_sums(tagged, &s);
    assert_true(s.n_tags > 100 && s.n_tokens == 2 * DOCUMENTS);
    options.evaluation_data = own;
    options.n_evaluation_data = 1;
    static const double weights[] = {1, 0.25, 3, 0};
    for (int i = 0; i < 4; i++) {
        double w = weights[i];
        options.tag_weight = (float)w;
        millet_train_report report = train();
        expect_near(report.evaluation_loss,
                    (w * s.tags + s.tokens) / (w * (double)s.n_tags + (double)s.n_tokens));
        expect_near(report.evaluation_tag_loss, s.tags / (double)s.n_tags);
        expect_near(report.evaluation_token_loss, s.tokens / (double)s.n_tokens);
        assert_true(isfinite(report.loss) && isfinite(report.tag_loss));
    }
    /* Without tags there is nothing to say of them. */
    const millet_train_data one = {.cache = plain, .weight = 0};
    const char *const others[] = {plain};
    options.data = &one;
    options.evaluation_data = others;
    millet_train_report report = train();
    assert_true(isnan(report.tag_loss) && isnan(report.evaluation_tag_loss));
    assert_true(report.evaluation_token_loss == report.evaluation_loss);
}

/* One step over all rows, in batches: the loss is that of the whole, not a mean of means. */
static void a_step_is_one_mean(void **state)
{
    (void)state;
    struct sums s = {0};
    millet_cache *cache;
    millet_batches *batches;
    millet_batches_info info;
    millet_batch_options o = millet_batch_options_default();
    o.length = LENGTH;
    naive_sums(tagged, &s);
    assert_int_equal(millet_cache_open(tagged, NULL, true, &cache, NULL), MILLET_OK);
    assert_int_equal(
        millet_batches_open(&(millet_mixture_part){.cache = cache, .weight = 1}, 1, &o, &batches, NULL),
        MILLET_OK);
    millet_batches_get_info(batches, &info);
    millet_batches_close(&batches);
    millet_cache_close(&cache);
    options.rows = 1;
    options.accumulate = (int32_t)info.n_rows;
    options.tag_weight = 2;
    assert_true(info.n_rows > 5);
    millet_train_report report = train();
    expect_near(report.loss, (2 * s.tags + s.tokens) / (2 * (double)s.n_tags + (double)s.n_tokens));
    expect_near(report.tag_loss, s.tags / (double)s.n_tags);
}

/* Both are learnt: a model that is trained on the records knows tags and completions. */
static void tags_are_learnt(void **state)
{
    (void)state;
    const char *const own[] = {tagged};
    options.evaluation_data = own;
    options.n_evaluation_data = 1;
    options.rate = 1e-2f;
    options.rows = 4;
    options.steps = 120;
    millet_train_report report = train();
    if (report.evaluation_tag_loss > 0.3 || report.evaluation_token_loss > 0.3)
        fail_msg("after training the loss of tags is %g, of tokens %g", report.evaluation_tag_loss,
                 report.evaluation_token_loss);
}

/* ---- Masks ---- */

static millet_status fill_mixed(void *context, uint64_t step, struct mlt_batch *batch, millet_error *err)
{
    (void)context;
    (void)err;
    for (int32_t i = 0; i < batch->rows * batch->length; i++) {
        batch->tokens[i] = (int32_t)((step * 7 + (uint64_t)i) % 300);
        batch->marks[i] = i % 3 ? MILLET_MARK_PREFIX | MILLET_MARK_LABEL : MILLET_MARK_LABEL;
    }
    return MILLET_OK;
}

static void masks_fall_on_prefixes(void **state)
{
    (void)state;
    enum { ROWS = 50, N = ROWS * LENGTH };
    static int32_t tokens[2][N], kept[N], targets[N];
    static uint8_t marks[N];
    struct mlt_checkpoint *checkpoint;
    struct mlt_token_mask mask;
    millet_tokenizer *tokenizer;
    millet_error err;
    must(mlt_checkpoint_open(mlt_default_allocator(), model, NULL, &checkpoint, &err), &err);
    must(millet_tokenizer_open(model, NULL, NULL, &tokenizer, &err), &err);
    struct mlt_batch batch = {
        .rows = ROWS, .length = LENGTH, .tokens = kept, .targets = targets, .marks = marks};
    const struct mlt_batch_source inner = {NULL, fill_mixed};
    must(mlt_token_mask_open(mlt_default_allocator(), checkpoint, inner, 0.3, false, 5, &mask, &err), &err);
    struct mlt_batch_source source = mlt_token_mask_source(&mask);
    long candidates = 0, masked = 0, same = 0;
    for (uint64_t step = 0; step < 20; step++) {
        batch.tokens = kept;
        must(fill_mixed(NULL, step, &batch, &err), &err);
        for (int twice = 0; twice < 2; twice++) {
            batch.tokens = tokens[twice];
            must(source.fill(source.context, step, &batch, &err), &err);
        }
        assert_memory_equal(tokens[0], tokens[1], sizeof tokens[0]);
        for (int i = 0; i < N; i++) {
            size_t length;
            const char *text = millet_tokenizer_token(tokenizer, kept[i], &length);
            bool candidate = i % 3 && !(length > 3 && memcmp(text, "<|", 2) == 0);
            candidates += candidate;
            if (tokens[0][i] == kept[i]) continue;
            text = millet_tokenizer_token(tokenizer, tokens[0][i], &length);
            assert_true(candidate && length == 8 && memcmp(text, "<|mask|>", 8) == 0);
            masked++;
        }
        /* Another step masks others. */
        batch.tokens = tokens[1];
        must(source.fill(source.context, step + 300, &batch, &err), &err); /* the same tokens */
        for (int i = 0; i < N; i++)
            same += (tokens[0][i] == kept[i]) == (tokens[1][i] == kept[i]);
    }
    /* What is hidden may be what is to be predicted, but where there is a target already. */
    mask.predict = true;
    for (int i = 0; i < N; i++)
        targets[i] = i % 5 ? MLT_NO_TARGET : 7;
    batch.tokens = kept;
    must(fill_mixed(NULL, 3, &batch, &err), &err);
    batch.tokens = tokens[0];
    must(source.fill(source.context, 3, &batch, &err), &err);
    for (int i = 0; i < N; i++) {
        bool hidden = tokens[0][i] != kept[i] && i % 5;
        assert_int_equal(targets[i], hidden ? kept[i] : i % 5 ? MLT_NO_TARGET : 7);
        assert_true(!hidden || marks[i] & MILLET_MARK_LABEL);
    }
    double part = (double)masked / (double)candidates;
    assert_true(fabs(part - 0.3) < 5 * sqrt(0.21 / (double)candidates));
    assert_true(same < 20 * N - masked);
    mlt_token_mask_close(&mask);
    millet_tokenizer_close(&tokenizer);
    mlt_checkpoint_close(&checkpoint);
}

/* Hidden words make it harder while learning; what is measured is as it was. */
static void masks_are_for_learning_only(void **state)
{
    (void)state;
    const char *const own[] = {tagged};
    options.evaluation_data = own;
    options.n_evaluation_data = 1;
    options.rows = 8;
    millet_train_report without = train();
    options.mask = 0.5f;
    options.dropout = 0.3f;
    millet_train_report with = train();
    assert_true(with.evaluation_loss == without.evaluation_loss);
    assert_true(with.loss != without.loss);
}

static void refused_masks(void **state)
{
    (void)state;
    millet_error err;
    options.mask = 1.5f;
    assert_int_equal(millet_train(&options, NULL, &err), MILLET_BAD_ARGUMENT);
    assert_string_equal(err.item, "mask");
    options.mask = 0;
    options.dropout = 1;
    assert_int_equal(millet_train(&options, NULL, &err), MILLET_BAD_ARGUMENT);
    assert_string_equal(err.item, "dropout");
    options.dropout = 0;
    options.tag_weight = -1;
    assert_int_equal(millet_train(&options, NULL, &err), MILLET_BAD_ARGUMENT);
    assert_string_equal(err.item, "tag_weight");
}

/* ---- Going on ---- */

static uint64_t stop_after;

static bool stop(void *context, const millet_train_report *report)
{
    (void)context;
    return report->step != stop_after;
}

static void expect_changed(const char *what)
{
    millet_error err;
    assert_int_equal(millet_train(&options, NULL, &err), MILLET_BAD_ARGUMENT);
    if (!strstr(err.message, what)) fail_msg("\"%s\" is not in \"%s\"", what, err.message);
}

/* Stopped anywhere, gone on with another number of threads and with recomputing: the same file. */
static void stopped_runs_go_on(void **state)
{
    (void)state;
    millet_error err;
    options.rate = 1e-2f;
    options.steps = 9;
    options.accumulate = 2;
    options.tag_weight = 0.5f;
    options.mask = 0.2f;
    options.dropout = 0.1f;
    train();
    struct file_bytes whole = file_read(output);
    options.report = stop;
    for (stop_after = 1; stop_after < 9; stop_after += 3) {
        options.restart = true;
        options.resume = false;
        options.n_threads = 1;
        assert_int_equal(millet_train(&options, NULL, &err), MILLET_CANCELLED);
        options.restart = false;
        options.resume = true;
        options.n_threads = 3;
        options.recompute = true;
        train();
        options.recompute = false;
        struct file_bytes now = file_read(output);
        assert_int_equal(now.size, whole.size);
        assert_memory_equal(now.data, whole.data, whole.size);
        bytes_free(&now);
    }
    bytes_free(&whole);
    options.tag_weight = 0.25f;
    expect_changed("tag_weight=");
    options.tag_weight = 1; /* as without the option */
    expect_changed("tag_weight=");
    options.tag_weight = 0.5f;
    options.mask = 0;
    expect_changed("mask=");
    options.mask = 0.2f;
    options.dropout = 0.2f;
    expect_changed("dropout=");
    options.dropout = 0.1f;
    train();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(losses_are_weighted, each),
        cmocka_unit_test_setup(a_step_is_one_mean, each),
        cmocka_unit_test_setup(tags_are_learnt, each),
        cmocka_unit_test_setup(masks_fall_on_prefixes, each),
        cmocka_unit_test_setup(masks_are_for_learning_only, each),
        cmocka_unit_test_setup(refused_masks, each),
        cmocka_unit_test_setup(stopped_runs_go_on, each),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
