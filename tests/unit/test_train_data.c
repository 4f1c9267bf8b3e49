/*
 * From token caches to the trainer: the loss of a whole epoch and of what is held out, against a naive model
 * that reads the caches' documents one by one; epochs and steps; data that cannot be learnt from.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "corpus/token_cache.h"
#include "millet/train.h"
#include "support/corpus_files.h"
#include "support/file_bytes.h"
#include "support/hf_files.h"
#include "support/naive_forward.h"
#include "support/tiny_model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { LENGTH = 48, DOCUMENTS = 41, HOLDOUT = 4 };

static char model[512], output[512], texts[512], pairs[512];
static uint64_t checksum; /* of the tokenizer */
static int32_t n_vocab;
static millet_train_options options;

static void must(millet_status status, const millet_error *err)
{
    char line[800];
    if (status == MILLET_OK) return;
    millet_error_format(err, line, sizeof line);
    fail_msg("%s", line);
}

/* Documents of several lengths, none longer than a row; of pairs, some have a prefix. */
static void build_caches(void)
{
    millet_error err;
    millet_tokenizer *tokenizer;
    millet_tokenizer_info info;
    struct file_bytes text = {0}, records = {0};
    char line[200], source[512];
    for (int i = 0; i < DOCUMENTS; i++) {
        int n = snprintf(line, sizeof line, "abc%.*s %d\n<|endoftext|>\n", i % 17, " de fgh abc de fgh", i);
        bytes_put(&text, line, (size_t)n);
        n = snprintf(line, sizeof line,
                     "{\"prompt\": \"abc %d%.*s\", \"completion\": \"%c de\", \"prefix\": %s}\n", i, i % 11,
                     " abcdefghij", 'a' + i % 7, i % 3 ? "true" : "false");
        bytes_put(&records, line, (size_t)n);
    }
    must(millet_tokenizer_open(model, NULL, NULL, &tokenizer, &err), &err);
    millet_tokenizer_get_info(tokenizer, &info);
    checksum = info.checksum;
    n_vocab = info.n_tokens;
    strcpy(source, folder_path("texts.txt"));
    file_write(source, &text);
    must(millet_cache_build(source, texts, tokenizer, NULL, NULL, &err), &err);
    strcpy(source, folder_path("pairs.jsonl"));
    file_write(source, &records);
    must(millet_cache_build(source, pairs, tokenizer, NULL, NULL, &err), &err);
    millet_tokenizer_close(&tokenizer);
    bytes_free(&text);
    bytes_free(&records);
}

static int set_up(void **state)
{
    (void)state;
    if (!folder_make()) return -1;
    strcpy(model, folder_path("in.gguf"));
    strcpy(output, folder_path("out.gguf"));
    strcpy(texts, folder_path("texts.tokens"));
    strcpy(pairs, folder_path("pairs.tokens"));
    struct tiny_shape shape = tiny_default();
    tiny_write(model, &shape);
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
    (void)state;
    static const millet_train_data both[] = {{.cache = texts, .weight = 0}, {.cache = pairs, .weight = 0}};
    options = millet_train_options_default();
    options.model = model;
    options.data = both;
    options.n_data = 2;
    options.output = output;
    options.restart = true;
    options.rows = 1;
    options.length = LENGTH;
    options.rate = 0; /* the weights stay as they are */
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

/* ---- The naive side ---- */

struct sums {
    double nll;
    long targets;
};

/* A document that fits into a row: the loss where it is trained on and has not been seen. */
static void add_document(const millet_model *naive, const millet_cache *cache, uint64_t index,
                         struct sums *sums)
{
    millet_document document;
    int32_t tokens[LENGTH + 1];
    static double logits[LENGTH * 1024];
    assert_int_equal(millet_cache_document(cache, index, &document, NULL), MILLET_OK);
    int32_t n = (int32_t)document.count - 1, width = naive->config.n_vocab;
    int32_t prefix = MLT_MIN((int32_t)document.prefix, n);
    assert_true(n >= 1 && n <= LENGTH && width <= 1024);
    for (int32_t i = 0; i <= n; i++)
        tokens[i] = millet_cache_token(cache, document.first + (uint64_t)i, NULL);
    naive_forward_prefix(naive, tokens, n, prefix, LENGTH, logits);
    for (int32_t i = 0; i < n; i++) {
        bool trained;
        millet_cache_token(cache, document.first + (uint64_t)i + 1, &trained);
        if (!trained || i < prefix - 1) continue;
        double *row = logits + (int64_t)i * width, most = -INFINITY, sum = 0;
        for (int32_t v = 0; v < width; v++)
            most = fmax(most, row[v]);
        for (int32_t v = 0; v < width; v++)
            sum += exp(row[v] - most);
        sums->nll += most + log(sum) - row[tokens[i + 1]];
        sums->targets++;
    }
}

/* side: 0 all documents, 1 those held out, 2 the others. */
static double naive_loss(const char *path, int side, struct sums *sums)
{
    millet_cache *cache;
    millet_error err;
    millet_model *naive = NULL;
    millet_cache_info info;
    must(millet_cache_open(path, NULL, true, &cache, &err), &err);
    must(millet_model_open(model, NULL, &naive, &err), &err);
    millet_cache_get_info(cache, &info);
    assert_int_equal(info.n_documents, DOCUMENTS);
    for (uint64_t d = 0; d < info.n_documents; d++)
        if (side == 0 || (d % HOLDOUT == HOLDOUT - 1) == (side == 1)) add_document(naive, cache, d, sums);
    millet_model_close(&naive);
    millet_cache_close(&cache);
    return sums->nll / (double)sums->targets;
}

static void expect_near(double got, double expected)
{
    if (!(fabs(got - expected) < 1e-5 * expected)) fail_msg("the loss is %.9g, naively %.9g", got, expected);
}

/* Rows of one cache, without what is held out. */
static uint64_t count_rows(const char *path)
{
    millet_cache *cache;
    millet_batches *batches;
    millet_batches_info info;
    millet_batch_options o = millet_batch_options_default();
    o.length = LENGTH;
    o.packing = options.packing;
    o.holdout = options.holdout;
    assert_int_equal(millet_cache_open(path, NULL, true, &cache, NULL), MILLET_OK);
    assert_int_equal(
        millet_batches_open(&(millet_mixture_part){.cache = cache, .weight = 1}, 1, &o, &batches, NULL),
        MILLET_OK);
    millet_batches_get_info(batches, &info);
    millet_batches_close(&batches);
    millet_cache_close(&cache);
    return info.n_rows;
}

/* ---- Tests ---- */

/* One step over all rows of an epoch: each document that is not held out is in it once. */
static void an_epoch_is_all_documents(void **state)
{
    const char *paths[] = {texts, pairs};
    for (int i = 0; i < 2; i++) {
        struct sums sums = {0};
        each(state);
        const millet_train_data one = {.cache = paths[i], .weight = 0};
        options.data = &one;
        options.n_data = 1;
        options.holdout = HOLDOUT;
        options.accumulate = (int32_t)count_rows(paths[i]);
        options.epochs = 1;
        assert_true(options.accumulate > 3);
        millet_train_report report = train();
        assert_int_equal(report.steps, 1);
        assert_true(report.epochs == 1);
        expect_near(report.loss, naive_loss(paths[i], 2, &sums));
    }
}

static void held_out_documents_are_measured(void **state)
{
    (void)state;
    struct sums sums = {0};
    options.holdout = HOLDOUT;
    options.steps = 1;
    options.rows = 3; /* the last batch of the evaluation is smaller */
    naive_loss(texts, 1, &sums);
    expect_near(train().evaluation_loss, naive_loss(pairs, 1, &sums));

    /* Data of their own, in full; with the other data's holdout off. */
    const char *const own[] = {pairs};
    options.holdout = 0;
    options.evaluation_data = own;
    options.n_evaluation_data = 1;
    memset(&sums, 0, sizeof sums);
    double expected = naive_loss(pairs, 0, &sums);
    expect_near(train().evaluation_loss, expected);

    /* Some rows of them: another number, the same each time. */
    options.evaluate_rows = 2;
    double some = train().evaluation_loss;
    assert_true(some != expected && fabs(some - expected) < 0.5 * expected);
    assert_true(train().evaluation_loss == some);
}

static uint64_t evaluations, last_step;

static bool count_evaluations(void *context, const millet_train_report *report)
{
    (void)context;
    evaluations += isfinite(report->evaluation_loss);
    last_step = report->step;
    return true;
}

static void epochs_become_steps(void **state)
{
    (void)state;
    options.report = count_evaluations;
    options.holdout = HOLDOUT;
    options.evaluate_every = 4;
    options.rows = 2;
    options.epochs = 2.5f;
    uint64_t rows = count_rows(texts) + count_rows(pairs);
    uint64_t steps = (uint64_t)ceil(2.5 * (double)rows / 2);
    evaluations = 0;
    millet_train_report report = train();
    assert_int_equal(report.steps, steps);
    assert_int_equal(last_step, steps);
    assert_int_equal(evaluations, steps / 4 + (steps % 4 != 0));
    assert_true(fabs(report.epochs - 2.5) < 2.0 / (double)rows + 1e-9);
    /* As many as said: the state is of the same settings. */
    options.restart = false;
    options.resume = true;
    train();
}

/* A cache of made-up tokens; trained: which are trained on. */
static void write_cache(const char *path, uint64_t tokenizer, int32_t vocabulary, size_t n_tokens,
                        size_t n_documents, bool (*trained)(size_t))
{
    struct mlt_cache_writer *writer;
    const struct mlt_cache_origin origin = {"made-up", tokenizer, 2, vocabulary};
    const struct mlt_source_identity identity = {0};
    const uint64_t skipped[MILLET_SKIP_REASONS] = {0};
    millet_error err;
    must(mlt_cache_writer_open(mlt_default_allocator(), path, &origin, &writer, &err), &err);
    for (size_t d = 0; d < n_documents; d++) {
        for (size_t i = 0; i < n_tokens; i++) {
            int32_t token = (int32_t)(5 + (d * 7 + i * i) % 200);
            uint8_t mark = trained(i);
            must(mlt_cache_writer_put(writer, &token, &mark, NULL, 1, &err), &err);
        }
        must(mlt_cache_writer_end_document(writer, 0, &err), &err);
    }
    must(mlt_cache_writer_commit(&writer, &identity, skipped, 0, NULL, &err), &err);
}

static bool all(size_t i)
{
    return i < SIZE_MAX;
}

static bool none(size_t i)
{
    return i == SIZE_MAX;
}

static bool behind_a_row(size_t i)
{
    return i > LENGTH;
}

static void expect_refusal(const char *what)
{
    millet_error err;
    assert_int_equal(millet_train(&options, NULL, &err), MILLET_BAD_ARGUMENT);
    if (!strstr(err.message, what)) fail_msg("\"%s\" is not in \"%s\"", what, err.message);
}

static void useless_data_are_refused(void **state)
{
    (void)state;
    char path[512];
    const millet_train_data one = {.cache = path, .weight = 0},
                            two[] = {{.cache = texts, .weight = 0}, {.cache = path, .weight = 0}};
    strcpy(path, folder_path("made.tokens"));
    options.data = &one;
    options.n_data = 1;
    options.steps = 2;
    write_cache(path, checksum + 1, n_vocab, 30, 20, all);
    expect_refusal("another tokenizer");
    options.data = two;
    options.n_data = 2;
    expect_refusal("another tokenizer");
    options.data = &one;
    options.n_data = 1;
    write_cache(path, checksum, n_vocab + 1, 30, 20, all);
    expect_refusal("vocabulary");
    write_cache(path, checksum, n_vocab, 30, 20, none);
    expect_refusal("no token to learn from");
    write_cache(path, checksum, n_vocab, LENGTH, 5, all);
    options.rows = 6;
    expect_refusal("too few for a batch of 6");
    options.rows = 5;
    options.holdout = 6;
    expect_refusal("has 5 documents");
    options.holdout = 0;
    options.skip_long = true;
    write_cache(path, checksum, n_vocab, LENGTH + 2, 5, all);
    expect_refusal("fits into rows");
    options.skip_long = false;
    train();
    /* A cache that is damaged: its checksum tells. */
    struct file_bytes bytes = file_read(path);
    bytes.data[80] ^= 1;
    file_write(path, &bytes);
    bytes_free(&bytes);
    assert_int_equal(millet_train(&options, NULL, NULL), MILLET_BAD_FORMAT);
    strcpy(path, folder_path("nowhere.tokens"));
    assert_int_equal(millet_train(&options, NULL, NULL), MILLET_NOT_FOUND);
}

static uint64_t without_loss, with_loss;

static bool count_losses(void *context, const millet_train_report *report)
{
    (void)context;
    if (isnan(report->loss))
        without_loss++;
    else
        with_loss++;
    return true;
}

/* A prompt that fills a row leaves a step with nothing to learn: it is passed over, and training goes on. */
static void steps_without_targets(void **state)
{
    (void)state;
    char path[512];
    const millet_train_data one = {.cache = path, .weight = 0};
    strcpy(path, folder_path("long.tokens"));
    write_cache(path, checksum, n_vocab, 2 * LENGTH + 1, 6, behind_a_row);
    options.data = &one;
    options.n_data = 1;
    options.rate = 1e-2f;
    options.epochs = 1;
    options.report = count_losses;
    without_loss = with_loss = 0;
    train();
    assert_int_equal(without_loss, 6);
    assert_int_equal(with_loss, 6);
}

/* The state of a Hugging Face folder's model has the folder's tokenizer: the same caches will do. */
static void folders_and_their_states_share_caches(void **state)
{
    (void)state;
    millet_error err;
    millet_tokenizer *tokenizer;
    millet_cache_info info;
    char folder[512], cache[512], source[512], saved[512];
    millet_tokenizer_train_options o = millet_tokenizer_train_options_default();
    const char *from = source;
    struct tiny_shape shape = tiny_default();
    struct mlt_checkpoint *checkpoint = tiny_checkpoint(mlt_default_allocator(), &shape);
    hf_export(checkpoint, 1);
    mlt_checkpoint_close(&checkpoint);
    strcpy(source, folder_path("texts.txt"));
    strcpy(folder, folder_path("tokenizer.json"));
    o.vocabulary = 270;
    must(millet_tokenizer_train(&from, 1, NULL, folder, &o, NULL, &err), &err);
    *strrchr(folder, '/') = 0;
    strcpy(cache, folder_path("folder.tokens"));
    strcpy(saved, folder_path("out.gguf.state"));
    must(millet_tokenizer_open(folder, NULL, NULL, &tokenizer, &err), &err);
    must(millet_cache_build(source, cache, tokenizer, NULL, &info, &err), &err);
    millet_tokenizer_close(&tokenizer);
    const millet_train_data one = {.cache = cache, .weight = 0};
    options.model = folder;
    options.data = &one;
    options.n_data = 1;
    options.steps = 2;
    train();
    must(millet_tokenizer_open(saved, NULL, NULL, &tokenizer, &err), &err);
    must(millet_cache_build(source, cache, tokenizer, NULL, &info, &err), &err);
    assert_true(info.reused);
    millet_tokenizer_close(&tokenizer);
    options.restart = false;
    options.resume = true;
    train();
}

/* A state goes on with its own data only. */
static void other_data_are_refused(void **state)
{
    (void)state;
    millet_train_data weighted[] = {{.cache = texts, .weight = 1}, {.cache = pairs, .weight = 2}};
    millet_error err;
    char copy[512];
    options.data = weighted;
    options.steps = 3;
    train();
    options.restart = false;
    options.resume = true;
    weighted[1].weight = 3;
    expect_refusal("weight 2");
    weighted[1].weight = 2;
    options.n_data = 1;
    expect_refusal("data 2");
    options.n_data = 2;
    weighted[1].cache = texts;
    expect_refusal("the data are not those");
    /* Where they lie does not matter. */
    strcpy(copy, folder_path("copy.tokens"));
    struct file_bytes bytes = file_read(pairs);
    file_write(copy, &bytes);
    bytes_free(&bytes);
    weighted[1].cache = copy;
    train();
    options.packing = MILLET_PACK_SEQUENTIAL;
    expect_refusal("packing=");
    options.allow_changes = true;
    must(millet_train(&options, NULL, &err), &err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(an_epoch_is_all_documents, each),
        cmocka_unit_test_setup(held_out_documents_are_measured, each),
        cmocka_unit_test_setup(epochs_become_steps, each),
        cmocka_unit_test_setup(useless_data_are_refused, each),
        cmocka_unit_test_setup(steps_without_targets, each),
        cmocka_unit_test_setup(folders_and_their_states_share_caches, each),
        cmocka_unit_test_setup(other_data_are_refused, each),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
