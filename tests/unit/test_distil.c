/*
 * Distillation: what teachers say about a cache, against a naive model and the engine; the divergence that
 * training reports, against its definition; files that are damaged, of others, or not finished; and that a
 * student comes nearer to its teacher by it.
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
#include "support/naive_forward.h"
#include "support/tiny_model.h"
#include "train/teacher_file.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LENGTH = 48, DOCUMENTS = 23, WIDEST = 1024, MOST_POSITIONS = 2048 };

static char student[512], teacher[512], second[512], output[512];
static char caches[2][600], outputs[2][512]; /* of texts, and of pairs of which some have a prefix */
static int32_t n_vocab;
static millet_train_options options;
static millet_teacher_options teaching;

static void must(millet_status status, const millet_error *err)
{
    char line[800];
    if (status == MILLET_OK) return;
    millet_error_format(err, line, sizeof line);
    fail_msg("%s", line);
}

static void write_model(char *path, const char *name, uint64_t seed, uint32_t layers)
{
    struct tiny_shape shape = tiny_default();
    shape.seed = seed;
    shape.n_layers = layers;
    strcpy(path, folder_path(name));
    tiny_write(path, &shape);
}

static void build_cache(const millet_tokenizer *tokenizer, const char *name, const struct file_bytes *source,
                        char *cache)
{
    millet_error err;
    char path[512];
    strcpy(path, folder_path(name));
    snprintf(cache, 600, "%s.tokens", path);
    file_write(path, source);
    must(millet_cache_build(path, cache, tokenizer, NULL, NULL, &err), &err);
}

static void build_caches(void)
{
    millet_error err;
    millet_tokenizer *tokenizer;
    millet_tokenizer_info info;
    struct file_bytes text = {0}, records = {0};
    char line[200];
    for (int i = 0; i < DOCUMENTS; i++) {
        int n = snprintf(line, sizeof line, "abc%.*s %d\n<|endoftext|>\n", i % 17, " de fgh abc de fgh", i);
        bytes_put(&text, line, (size_t)n);
        n = snprintf(line, sizeof line,
                     "{\"prompt\": \"abc %d%.*s\", \"completion\": \"%c de\", \"prefix\": %s}\n", i, i % 11,
                     " abcdefghij", 'a' + i % 7, i % 3 ? "true" : "false");
        bytes_put(&records, line, (size_t)n);
    }
    must(millet_tokenizer_open(student, NULL, NULL, &tokenizer, &err), &err);
    millet_tokenizer_get_info(tokenizer, &info);
    n_vocab = info.n_tokens;
    assert_true(n_vocab <= WIDEST);
    build_cache(tokenizer, "texts.txt", &text, caches[0]);
    build_cache(tokenizer, "pairs.jsonl", &records, caches[1]);
    millet_tokenizer_close(&tokenizer);
    bytes_free(&text);
    bytes_free(&records);
}

static int set_up(void **state)
{
    (void)state;
    if (!folder_make()) return -1;
    write_model(student, "student.gguf", 1, 1);
    write_model(teacher, "teacher.gguf", 2, 3);
    write_model(second, "second.gguf", 3, 2);
    strcpy(output, folder_path("out.gguf"));
    strcpy(outputs[0], folder_path("texts.teacher"));
    strcpy(outputs[1], folder_path("pairs.teacher"));
    build_caches();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    folder_remove();
    return 0;
}

static const char *const *one_teacher(void)
{
    static const char *paths[] = {teacher};
    return paths;
}

static const char *const *two_teachers(void)
{
    static const char *paths[] = {teacher, second};
    return paths;
}

static const char *const *both_outputs(void)
{
    static const char *paths[] = {outputs[0], outputs[1]};
    return paths;
}

static int each(void **state)
{
    (void)state;
    static const millet_train_data both[] = {{.cache = caches[0], .weight = 0},
                                             {.cache = caches[1], .weight = 0}};
    teaching = millet_teacher_options_default();
    teaching.teachers = one_teacher();
    teaching.n_teachers = 1;
    teaching.length = LENGTH;
    teaching.rows = 3;
    teaching.top_k = 7;
    teaching.n_threads = 2;
    options = millet_train_options_default();
    options.model = student;
    options.data = both;
    options.n_data = 2;
    options.output = output;
    options.restart = true;
    options.rows = 1;
    options.length = LENGTH;
    options.rate = 0; /* the weights stay as they are */
    options.n_threads = 2;
    options.distil.outputs = both_outputs();
    for (int i = 0; i < 2; i++)
        unlink(outputs[i]);
    return 0;
}

static millet_teacher_info teach(int i)
{
    millet_error err;
    millet_teacher_info info, before;
    must(millet_teacher_estimate(caches[i], &teaching, &before, &err), &err);
    must(millet_teacher_build(caches[i], outputs[i], &teaching, &info, &err), &err);
    assert_int_equal(info.file_bytes, before.file_bytes);
    assert_int_equal(info.n_positions, before.n_positions);
    return info;
}

/* ---- The naive side ---- */

struct document {
    int32_t tokens[LENGTH + 1], n, prefix;
    uint64_t first;
    bool target[LENGTH];
};

static struct document read_document(const millet_cache *cache, uint64_t index)
{
    struct document d = {0};
    millet_document document;
    assert_int_equal(millet_cache_document(cache, index, &document, NULL), MILLET_OK);
    d.n = (int32_t)document.count - 1;
    assert_true(d.n >= 1 && d.n <= LENGTH);
    d.prefix = MLT_MIN((int32_t)document.prefix, d.n);
    d.first = document.first;
    for (int32_t i = 0; i <= d.n; i++) {
        bool trained;
        d.tokens[i] = millet_cache_token(cache, document.first + (uint64_t)i, &trained);
        if (i > 0) d.target[i - 1] = trained && i - 1 >= d.prefix - 1;
    }
    return d;
}

/* Adds weight * softmax(logits / temperature) of a model at every position of a document to p[n][n_vocab]. */
static void add_softened(const char *path, const struct document *d, double temperature, double weight,
                         double *p)
{
    millet_error err;
    millet_model *model = NULL;
    static double logits[LENGTH * WIDEST];
    must(millet_model_open(path, NULL, &model, &err), &err);
    assert_int_equal(model->config.n_vocab, n_vocab);
    naive_forward_prefix(model, d->tokens, d->n, d->prefix, LENGTH, logits);
    millet_model_close(&model);
    for (int32_t i = 0; i < d->n; i++) {
        double *row = logits + (int64_t)i * n_vocab, most = -INFINITY, sum = 0;
        for (int32_t v = 0; v < n_vocab; v++)
            most = fmax(most, row[v]);
        for (int32_t v = 0; v < n_vocab; v++)
            sum += row[v] = exp((row[v] - most) / temperature);
        for (int32_t v = 0; v < n_vocab; v++)
            p[(int64_t)i * n_vocab + v] += weight * row[v] / sum;
    }
}

/* What is given about the completions of even records: two tokens, in parts that do not sum to 1. */
static const double given[2] = {0.6, 0.3};
static int32_t given_ids[2];

static void add_given(const struct document *d, uint64_t index, double *p)
{
    if (!teaching.labels || d->prefix == 0 || index % 2) return;
    double *row = p + (int64_t)(d->prefix - 1) * n_vocab, weight = (double)teaching.labels_weight, sum = 0;
    double power = 1 / (double)teaching.temperature;
    for (int32_t v = 0; v < n_vocab; v++)
        row[v] *= 1 - weight;
    for (int j = 0; j < 2; j++)
        sum += pow(given[j] / 0.9, power);
    for (int j = 0; j < 2; j++)
        row[given_ids[j]] += weight * pow(given[j] / 0.9, power) / sum;
}

static void teachers_say(const struct document *d, double *p)
{
    memset(p, 0, (size_t)(d->n * n_vocab) * sizeof *p);
    for (size_t t = 0; t < teaching.n_teachers; t++)
        add_softened(teaching.teachers[t], d, (double)teaching.temperature, 1 / (double)teaching.n_teachers,
                     p);
}

/* ---- Files ---- */

/* A row of the file against the probabilities p, softly: 16 bits keep 0.025%. */
static void compare_row(const struct mlt_teacher_file *file, uint64_t row, const double *p)
{
    static float got[WIDEST];
    static int32_t ids[WIDEST];
    static bool there[WIDEST];
    millet_error err;
    struct mlt_soft_target soft;
    double rest = 1, least = INFINITY, sum, entropy;
    must(mlt_teacher_file_read(file, row, n_vocab, got, ids, &soft, &err), &err);
    bool all = teaching.top_k == 0;
    assert_int_equal(soft.k, all ? n_vocab : teaching.top_k);
    assert_int_equal(soft.ids == NULL, all);
    memset(there, 0, sizeof there);
    sum = (double)soft.rest;
    entropy = soft.rest > 0 ? (double)soft.rest * log((double)soft.rest) : 0;
    for (int64_t j = 0; j < soft.k; j++) {
        int32_t id = all ? (int32_t)j : ids[j];
        double q = (double)got[j];
        if (fabs(q - p[id]) > 1e-3 * p[id] + 1e-9) fail_msg("token %d: %.9g, naively %.9g", id, q, p[id]);
        there[id] = true;
        rest -= p[id];
        sum += q;
        entropy += q > 0 ? q * log(q) : 0;
        least = fmin(least, p[id]);
    }
    assert_true(fabs(sum - 1) < 1e-5);
    assert_true(fabs(entropy - soft.negative_entropy) < 1e-4);
    if (all) return;
    assert_true(fabs((double)soft.rest - rest) < 1e-3 * rest);
    for (int32_t v = 0; v < n_vocab; v++)
        if (!there[v] && p[v] > least * (1 + 1e-4)) fail_msg("token %d is left out", v);
}

static void compare_file(int i)
{
    static double p[LENGTH * WIDEST];
    millet_error err;
    millet_cache *cache;
    struct mlt_teacher_file file;
    uint64_t rows = 0;
    must(millet_cache_open(caches[i], NULL, true, &cache, &err), &err);
    must(mlt_teacher_file_open(outputs[i], true, &file, &err), &err);
    for (uint64_t index = 0; index < DOCUMENTS; index++) {
        struct document d = read_document(cache, index);
        teachers_say(&d, p);
        add_given(&d, index, p);
        for (int32_t at = 0; at <= d.n; at++) {
            uint64_t row = mlt_teacher_index_find(&file.index, d.first + (uint64_t)at);
            bool expected = at < d.n && d.target[at];
            assert_int_equal(row, expected ? rows++ : UINT64_MAX);
            if (expected) compare_row(&file, row, p + (int64_t)at * n_vocab);
        }
    }
    assert_int_equal(rows, file.header.n_positions);
    assert_true(rows > 60);
    mlt_teacher_file_close(&file);
    millet_cache_close(&cache);
}

static void files_say_what_teachers_say(void **state)
{
    for (int form = 0; form < 4; form++) {
        each(state);
        teaching.top_k = form & 1 ? 0 : 7;
        teaching.temperature = form == 2 ? 1 : 2.5f;
        if (form & 2) teaching.teachers = two_teachers(), teaching.n_teachers = 2;
        for (int i = 0; i < 2; i++) {
            millet_teacher_info info = teach(i);
            assert_false(info.reused);
            assert_int_equal(info.n_teachers, teaching.n_teachers);
            compare_file(i);
        }
    }
}

/* A file of labels, last records first; `end` behind the last line. */
static void write_labels(char *path, const char *end)
{
    millet_error err;
    millet_tokenizer *tokenizer;
    struct file_bytes bytes = {0};
    char line[300];
    must(millet_tokenizer_open(student, NULL, NULL, &tokenizer, &err), &err);
    const char *texts[2];
    for (int32_t id = 0, found = 0; found < 2; id++) { /* two letters */
        size_t length;
        texts[found] = millet_tokenizer_token(tokenizer, id, &length);
        if (length != 1 || *texts[found] < 'a' || *texts[found] > 'z') continue;
        given_ids[found++] = id;
    }
    for (int line_number = DOCUMENTS; line_number >= 0; line_number--) {
        int i = line_number == DOCUMENTS ? 4 : line_number; /* one comes twice */
        if (i % 2) continue;
        int n = snprintf(line, sizeof line,
                         "{\"prompt\": \"abc %d%.*s\", \"probabilities\": {\"%.1s\": %g, \"%.1s\": %g}}\n", i,
                         i % 11, " abcdefghij", texts[0], given[0], texts[1], given[1]);
        bytes_put(&bytes, line, (size_t)n);
    }
    bytes_put(&bytes, end, strlen(end));
    millet_tokenizer_close(&tokenizer);
    strcpy(path, folder_path("labels.jsonl"));
    file_write(path, &bytes);
    bytes_free(&bytes);
}

/* Labels from elsewhere are one more teacher at the ends of the prefixes that they are for. */
static void labels_are_one_more_teacher(void **state)
{
    char labels[512];
    millet_error err;
    for (int form = 0; form < 3; form++) {
        each(state);
        write_labels(labels, "");
        teaching.labels = labels;
        teaching.labels_weight = form == 0 ? 0.5f : form == 1 ? 1 : 0.25f;
        teaching.temperature = form == 2 ? 1 : 2;
        teaching.top_k = form == 1 ? 0 : 9;
        assert_false(teach(1).reused);
        compare_file(1);
        assert_true(teach(1).reused);
        teaching.labels_weight = 0.75f;
        assert_false(teach(1).reused);
    }
    static const struct {
        const char *end, *says;
    } wrong[] = {
        {"{\"prompt\": \"x\"}\n", "line 14"},
        {"[1]\n", "line 14"},
        {"{\"prompt\": \"x\", \"probabilities\": {\"no such token\": 1}}\n", "no token"},
        {"{\"prompt\": \"x\", \"probabilities\": {}}\n", "all 0"},
        {"{\"prompt\": \"x\", \"probabilities\": {\"a\": 1.5}}\n", "between 0 and 1"},
        {"{\"prompt\": \"abc 0\", \"probabilities\": {\"a\": 1}}\n", "two lines that differ"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        each(state);
        write_labels(labels, wrong[i].end);
        teaching.labels = labels;
        assert_int_equal(millet_teacher_build(caches[1], outputs[1], &teaching, NULL, &err),
                         MILLET_BAD_FORMAT);
        if (!strstr(err.message, wrong[i].says)) fail_msg("%s", err.message);
    }
    teaching.labels = "missing.jsonl";
    assert_int_equal(millet_teacher_build(caches[1], outputs[1], &teaching, NULL, &err), MILLET_NOT_FOUND);
    teaching.labels_weight = 1.5f;
    assert_int_equal(millet_teacher_build(caches[1], outputs[1], &teaching, NULL, &err), MILLET_BAD_ARGUMENT);
}

/* A quantised teacher: the engine's own logits, with float activations as the teacher has them. */
static void quantised_teachers_are_the_engines(void **state)
{
    (void)state;
    static double p[WIDEST];
    char quantised[512];
    const char *paths[] = {quantised};
    millet_error err;
    millet_model *model = NULL;
    millet_session *session = NULL;
    millet_cache *cache;
    struct mlt_teacher_file file;
    strcpy(quantised, folder_path("quantised.gguf"));
    millet_quantize_options how = millet_quantize_options_default();
    how.type = "Q4_0";
    must(millet_quantize(teacher, quantised, &how, NULL, &err), &err);
    teaching.teachers = paths;
    teach(0);
    must(millet_model_open(quantised, NULL, &model, &err), &err);
    millet_session_options o = millet_session_options_default();
    o.exact_activations = true;
    o.cache_type = MILLET_CACHE_F32;
    o.n_threads = 1;
    o.n_logits = LENGTH;
    must(millet_session_open(model, &o, &session, &err), &err);
    must(millet_cache_open(caches[0], NULL, true, &cache, &err), &err);
    must(mlt_teacher_file_open(outputs[0], true, &file, &err), &err);
    for (uint64_t index = 0; index < DOCUMENTS; index++) {
        struct document d = read_document(cache, index);
        millet_item items[LENGTH];
        for (int32_t i = 0; i < d.n; i++)
            items[i] = (millet_item){.token = d.tokens[i], .logits = true};
        must(millet_sequence_truncate(session, 0, 0, &err), &err);
        must(millet_eval(session, items, d.n, &err), &err);
        for (int32_t at = 0; at < d.n; at++) {
            const float *row = millet_logits(session, at);
            double sum = 0;
            for (int32_t v = 0; v < n_vocab; v++)
                sum += p[v] = exp((double)row[v] / (double)teaching.temperature);
            for (int32_t v = 0; v < n_vocab; v++)
                p[v] /= sum;
            compare_row(&file, mlt_teacher_index_find(&file.index, d.first + (uint64_t)at), p);
        }
    }
    mlt_teacher_file_close(&file);
    millet_cache_close(&cache);
    millet_session_close(&session);
    millet_model_close(&model);
}

/* Documents longer than the teacher's length are cut; every position that has a target has a row. */
static void long_documents_are_cut(void **state)
{
    (void)state;
    millet_error err;
    millet_teacher_info whole = teach(0), cut;
    millet_train_report report;
    teaching.length = 5;
    cut = teach(0);
    assert_false(cut.reused);
    assert_int_equal(cut.n_positions, whole.n_positions);
    assert_int_equal(cut.length, 5);
    /* Students may see more. */
    options.n_data = 1;
    options.steps = 1;
    must(millet_train(&options, &report, &err), &err);
    assert_true(report.divergence > 0);
}

/* ---- Reuse ---- */

static void current_files_are_used_again(void **state)
{
    (void)state;
    millet_teacher_info first = teach(0);
    assert_false(first.reused);
    millet_teacher_info again = teach(0);
    assert_true(again.reused);
    assert_int_equal(again.checksum, first.checksum);
    teaching.n_threads = 1;
    teaching.rows = 1;
    assert_true(teach(0).reused);
    teaching.rebuild = true;
    again = teach(0); /* other threads and batches, the same bytes */
    assert_false(again.reused);
    assert_int_equal(again.checksum, first.checksum);
    teaching.rebuild = false;
    teaching.temperature = 3;
    assert_false(teach(0).reused);
    teaching.top_k = 8;
    assert_false(teach(0).reused);
    teaching.teachers = two_teachers() + 1;
    again = teach(0);
    assert_false(again.reused);
    assert_true(teach(0).reused);
    /* Another model under the teacher's name. */
    char name[512];
    strcpy(name, folder_path("second.gguf"));
    struct file_bytes kept = file_read(name), changed = file_read(name);
    changed.data[changed.size - 5] ^= 4;
    file_write(name, &changed);
    millet_teacher_info now = teach(0);
    file_write(name, &kept);
    bytes_free(&kept);
    bytes_free(&changed);
    assert_false(now.reused);
    assert_true(now.checksum != again.checksum);
}

static struct {
    int calls, stop_at;
} progress;

static bool count_progress(void *context, double fraction)
{
    (void)context;
    assert_true(fraction > 0 && fraction <= 1);
    return ++progress.calls != progress.stop_at;
}

/* Stopped after any batch, the next run goes on, and the file is the same. */
static void stopped_runs_are_gone_on_with(void **state)
{
    (void)state;
    millet_error err;
    millet_teacher_info info;
    char part[600];
    snprintf(part, sizeof part, "%s.part", outputs[1]);
    teaching.progress = count_progress;
    teaching.rows = 1;
    progress.calls = progress.stop_at = 0;
    teach(1);
    struct file_bytes whole = file_read(outputs[1]);
    int batches = progress.calls;
    assert_true(batches > 3);
    for (int at = 1; at < batches; at++) {
        unlink(outputs[1]);
        progress.calls = 0;
        progress.stop_at = at;
        assert_int_equal(millet_teacher_build(caches[1], outputs[1], &teaching, &info, &err),
                         MILLET_CANCELLED);
        assert_int_equal(access(outputs[1], F_OK), -1);
        assert_int_equal(access(part, F_OK), 0);
        progress.stop_at = 0;
        progress.calls = 0;
        teaching.n_threads = at % 3 + 1;
        must(millet_teacher_build(caches[1], outputs[1], &teaching, &info, &err), &err);
        assert_int_equal(progress.calls, batches - at);
        assert_true(fabs(info.taken_over - (double)at / batches) < 1e-12);
        assert_int_equal(access(part, F_OK), -1);
        struct file_bytes now = file_read(outputs[1]);
        assert_int_equal(now.size, whole.size);
        assert_memory_equal(now.data, whole.data, whole.size);
        bytes_free(&now);
    }
    /* What another teacher has begun is not gone on with. */
    unlink(outputs[1]);
    progress.calls = 0;
    progress.stop_at = 2;
    assert_int_equal(millet_teacher_build(caches[1], outputs[1], &teaching, &info, &err), MILLET_CANCELLED);
    progress.stop_at = 0;
    teaching.temperature = 1;
    must(millet_teacher_build(caches[1], outputs[1], &teaching, &info, &err), &err);
    assert_true(info.taken_over == 0);
    compare_file(1);
    bytes_free(&whole);
}

/* ---- What is refused ---- */

static millet_status open_changed(const struct file_bytes *bytes, size_t size)
{
    struct mlt_teacher_file file;
    struct file_bytes copy = *bytes;
    char path[512];
    strcpy(path, folder_path("changed.teacher"));
    copy.size = size;
    file_write(path, &copy);
    millet_status status = mlt_teacher_file_open(path, true, &file, NULL);
    if (status == MILLET_OK) mlt_teacher_file_close(&file);
    return status;
}

/* Each byte changed, and every length: never taken for whole. */
static void damaged_files(void **state)
{
    (void)state;
    teaching.top_k = 2;
    teach(1);
    struct file_bytes bytes = file_read(outputs[1]);
    assert_int_equal(open_changed(&bytes, bytes.size), MILLET_OK);
    for (size_t i = 0; i < bytes.size; i += i < 512 ? 1 : 7) {
        bytes.data[i] ^= (uint8_t)(1 + i % 255);
        millet_status status = open_changed(&bytes, bytes.size);
        bytes.data[i] ^= (uint8_t)(1 + i % 255);
        if (status != MILLET_BAD_FORMAT && status != MILLET_UNSUPPORTED)
            fail_msg("byte %zu was changed, and the status is %d", i, (int)status);
    }
    for (size_t size = 0; size < bytes.size; size += 13)
        assert_int_equal(open_changed(&bytes, size), MILLET_BAD_FORMAT);
    bytes_free(&bytes);
}

/* Rows that are no distributions, in a file whose checksums are not looked at or have been put right. */
static void rows_are_checked(void **state)
{
    (void)state;
    millet_error err;
    struct mlt_teacher_file file;
    struct mlt_soft_target soft;
    float p[WIDEST];
    int32_t ids[WIDEST];
    teach(1);
    must(mlt_teacher_file_open(outputs[1], true, &file, &err), &err);
    uint64_t at = file.header.rows_at, levels = at + 2 * file.header.top_k;
    mlt_teacher_file_close(&file);
    struct file_bytes kept = file_read(outputs[1]);
    for (int form = 0; form < 4; form++) {
        struct file_bytes bytes = file_read(outputs[1]);
        uint16_t *id = (uint16_t *)(void *)(bytes.data + at),
                 *level = (uint16_t *)(void *)(bytes.data + levels);
        if (form == 0) id[6] = (uint16_t)n_vocab;  /* outside */
        if (form == 1) id[1] = id[0];              /* twice */
        if (form == 2) memset(level, 0xff, 8 * 2); /* nothing at all */
        if (form == 3) memset(level, 0, 8 * 2);    /* eight times certain */
        file_write(outputs[1], &bytes);
        bytes_free(&bytes);
        must(mlt_teacher_file_open(outputs[1], false, &file, &err), &err);
        assert_int_equal(mlt_teacher_file_read(&file, 0, n_vocab, p, ids, &soft, &err), MILLET_BAD_FORMAT);
        assert_non_null(strstr(err.message, "no distribution"));
        must(mlt_teacher_file_read(&file, 1, n_vocab, p, ids, &soft, &err), &err);
        mlt_teacher_file_close(&file);
        file_write(outputs[1], &kept);
    }
    bytes_free(&kept);
}

static void expect_refusal(const char *what)
{
    millet_error err;
    assert_int_equal(millet_train(&options, NULL, &err), MILLET_BAD_ARGUMENT);
    if (!strstr(err.message, what) && !strstr(err.item, what))
        fail_msg("\"%s\" is not in \"%s\"", what, err.message);
}

static void others_files_are_refused(void **state)
{
    (void)state;
    const char *swapped[] = {outputs[1], outputs[0]};
    teach(0);
    teach(1);
    options.steps = 1;
    options.distil.outputs = swapped;
    expect_refusal("another token cache");
    options.distil.outputs = both_outputs();
    options.distil.temperature = 3;
    expect_refusal("temperature");
    options.distil.temperature = NAN;
    expect_refusal("temperature");
    options.distil.temperature = 2;
    options.distil.alpha = 1.5f;
    expect_refusal("alpha");
    options.distil.alpha = 0.5f;
    unlink(outputs[1]);
    assert_int_equal(millet_train(&options, NULL, NULL), MILLET_NOT_FOUND);
}

static void teachers_are_checked(void **state)
{
    millet_error err;
    char other[512];
    const char *paths[] = {other};
    strcpy(other, folder_path("other.gguf"));
    struct tiny_shape shape = tiny_default();
    shape.word = "unheard";
    tiny_write(other, &shape);
    teaching.teachers = paths;
    assert_int_equal(millet_teacher_build(caches[0], outputs[0], &teaching, NULL, &err), MILLET_BAD_ARGUMENT);
    assert_non_null(strstr(err.message, "another tokenizer"));
#define REFUSED(change, name)                                                                                \
    do {                                                                                                     \
        each(state);                                                                                         \
        teaching.change;                                                                                     \
        assert_int_equal(millet_teacher_build(caches[0], outputs[0], &teaching, NULL, &err),                 \
                         MILLET_BAD_ARGUMENT);                                                               \
        assert_string_equal(err.item, name);                                                                 \
    } while (0)
    REFUSED(n_teachers = 0, "teachers");
    REFUSED(n_teachers = 17, "teachers");
    REFUSED(top_k = -1, "top_k");
    REFUSED(temperature = 0, "temperature");
    REFUSED(temperature = NAN, "temperature");
    REFUSED(length = 1, "length");
    REFUSED(rows = 0, "rows");
    REFUSED(n_threads = -1, "n_threads");
    each(state);
    teaching.length = 4096; /* beyond the context */
    assert_int_equal(millet_teacher_build(caches[0], outputs[0], &teaching, NULL, &err), MILLET_BAD_ARGUMENT);
}

/* ---- The student ---- */

/* The mean divergence over all positions of both caches, by definition; those not among the k most probable
 * are one event. */
static double naive_divergence(int32_t k)
{
    static double p[LENGTH * WIDEST], q[LENGTH * WIDEST];
    double sum = 0, positions = 0;
    for (int i = 0; i < 2; i++) {
        millet_cache *cache;
        assert_int_equal(millet_cache_open(caches[i], NULL, true, &cache, NULL), MILLET_OK);
        for (uint64_t index = 0; index < DOCUMENTS; index++) {
            struct document d = read_document(cache, index);
            teachers_say(&d, p);
            memset(q, 0, sizeof q);
            add_softened(student, &d, (double)teaching.temperature, 1, q);
            for (int32_t at = 0; at < d.n; at++) {
                double *a = p + (int64_t)at * n_vocab, *b = q + (int64_t)at * n_vocab, r = 1, s = 1;
                if (!d.target[at]) continue;
                for (int32_t j = 0; j < k; j++) {
                    int32_t most = 0;
                    for (int32_t v = 1; v < n_vocab; v++)
                        if (a[v] > a[most]) most = v;
                    sum += a[most] * log(a[most] / b[most]);
                    r -= a[most];
                    s -= b[most];
                    a[most] = 0;
                }
                if (k < n_vocab) sum += r * log(r / s);
                positions++;
            }
        }
        millet_cache_close(&cache);
    }
    return sum / positions;
}

/* As training measures it, with few tokens and with all of them. */
static void the_divergence_is_by_definition(void **state)
{
    static const char *evaluation[] = {caches[0], caches[1]};
    static const char *again[4] = {outputs[0], outputs[1], outputs[0], outputs[1]};
    for (int form = 0; form < 3; form++) {
        millet_error err;
        millet_train_report report;
        each(state);
        teaching.top_k = form == 0 ? 0 : 7;
        if (form == 2) teaching.teachers = two_teachers(), teaching.n_teachers = 2;
        teach(0);
        teach(1);
        options.steps = 1;
        options.evaluation_data = evaluation;
        options.n_evaluation_data = 2;
        options.distil.outputs = again;
        must(millet_train(&options, &report, &err), &err);
        double naive = naive_divergence(form == 0 ? n_vocab : 7);
        assert_true(naive > 0.01);
        if (fabs(report.evaluation_divergence - naive) > 1e-3 * naive)
            fail_msg("form %d: the divergence is %.9g, naively %.9g", form, report.evaluation_divergence,
                     naive);
        assert_true(report.divergence > 0);
    }
}

static millet_train_report learn(float alpha, uint64_t steps)
{
    millet_error err;
    millet_train_report report;
    options.rate = 1e-2f;
    options.rows = 4;
    options.steps = steps;
    options.distil.alpha = alpha;
    must(millet_train(&options, &report, &err), &err);
    return report;
}

/* The demonstration: by the teacher's probabilities a student comes nearer to it than by the labels, on
 * documents that neither has learnt from; labels alone are what training without a teacher does. */
static void students_come_nearer(void **state)
{
    (void)state;
    teach(0);
    teach(1);
    options.holdout = 4;
    millet_train_report before = learn(0.5f, 1), labels = learn(0, 60), taught = learn(1, 60);
    assert_true(taught.evaluation_divergence < 0.5 * before.evaluation_divergence);
    assert_true(taught.evaluation_divergence < 0.5 * labels.evaluation_divergence);
    assert_true(labels.evaluation_loss < taught.evaluation_loss);
    options.distil.outputs = NULL;
    millet_train_report plain = learn(0.9f, 60);
    assert_true(fabs(plain.evaluation_loss - labels.evaluation_loss) < 2e-2 * plain.evaluation_loss);
    assert_true(isnan(plain.divergence) && isnan(plain.evaluation_divergence));
}

static void a_mixture_of_both(void **state)
{
    (void)state;
    teach(0);
    teach(1);
    options.holdout = 4;
    millet_train_report labels = learn(0, 60), taught = learn(1, 60), mixed = learn(0.5f, 60);
    assert_true(mixed.evaluation_loss < taught.evaluation_loss);
    assert_true(mixed.evaluation_divergence < labels.evaluation_divergence);
}

/* Teachers beside the student say the same as a file of all tokens, but for its 16 bits. */
static void beside_the_student(void **state)
{
    for (int form = 0; form < 2; form++) {
        each(state);
        teaching.top_k = 0;
        if (form) teaching.teachers = two_teachers(), teaching.n_teachers = 2;
        teach(0);
        teach(1);
        options.holdout = 4;
        millet_train_report from_files = learn(0.7f, 20);
        options.distil.outputs = NULL;
        options.distil.teachers = teaching.teachers;
        options.distil.n_teachers = teaching.n_teachers;
        millet_train_report beside = learn(0.7f, 20);
        double a = from_files.divergence, b = beside.divergence;
        if (fabs(a - b) > 2e-3 * a) fail_msg("divergence %.9g from files, %.9g beside the student", a, b);
        a = from_files.evaluation_divergence, b = beside.evaluation_divergence;
        if (fabs(a - b) > 2e-3 * a) fail_msg("evaluation %.9g from files, %.9g beside the student", a, b);
        assert_true(fabs(from_files.evaluation_loss - beside.evaluation_loss) <
                    1e-3 * beside.evaluation_loss);
    }
}

static uint64_t count_maps(const char *path)
{
    struct file_bytes bytes = file_read(path);
    static const char name[] = "train.map.hidden.";
    uint64_t count = 0;
    for (size_t i = 0; i + sizeof name < bytes.size; i++)
        count += memcmp(bytes.data + i, name, sizeof name - 1) == 0;
    bytes_free(&bytes);
    return count;
}

/* Matched states: the error falls, on what is held out too; the maps stay in the state. */
static void hidden_states_come_nearer(void **state)
{
    (void)state;
    static const millet_layer_match matches[] = {{0, 0}, {1, 3}};
    char saved[600];
    snprintf(saved, sizeof saved, "%s.state", output);
    options.holdout = 4;
    options.distil.outputs = NULL;
    options.distil.teachers = one_teacher();
    options.distil.n_teachers = 1;
    options.distil.hidden = matches;
    options.distil.n_hidden = 2;
    millet_train_report before = learn(0.5f, 1), after = learn(0.5f, 60);
    assert_true(after.hidden < 0.7 * before.hidden);
    assert_true(after.evaluation_hidden < 0.7 * before.evaluation_hidden);
    assert_int_equal(count_maps(output), 0);
    assert_int_equal(count_maps(saved), 6); /* the two, and their moments */
    /* A state goes on with its own matches; those of others are refused. */
    options.restart = false;
    options.resume = true;
    options.distil.n_hidden = 1;
    expect_refusal("hidden");
    options.distil.n_hidden = 2;
    options.distil.hidden_weight = 2;
    expect_refusal("hidden_weight=");
    options.distil.hidden_weight = 1;
    learn(0.5f, 60);
}

/* Matched attention comes nearer too; it is a setting, and nothing of it is in a file. */
static void attention_comes_nearer(void **state)
{
    (void)state;
    static const millet_layer_match matches[] = {{1, 3}};
    options.holdout = 4;
    options.distil.outputs = NULL;
    options.distil.teachers = one_teacher();
    options.distil.n_teachers = 1;
    options.distil.attention = matches;
    options.distil.n_attention = 1;
    millet_train_report before = learn(0.5f, 1), after = learn(0.5f, 60);
    assert_true(isnan(after.hidden));
    assert_true(after.attention < 0.7 * before.attention);
    assert_true(after.evaluation_attention < 0.7 * before.evaluation_attention);
    options.restart = false;
    options.resume = true;
    options.distil.attention_weight = 2;
    expect_refusal("attention_weight=");
    options.distil.attention_weight = 1;
    learn(0.5f, 60);
}

/* A state goes on with its own teacher and mixture only. */
static void settings_are_compared(void **state)
{
    (void)state;
    teach(0);
    teach(1);
    learn(0.5f, 3);
    options.restart = false;
    options.resume = true;
    options.distil.alpha = 0.6f;
    expect_refusal("alpha=");
    options.distil.alpha = 0.5f;
    teaching.top_k = 8;
    teach(1);
    expect_refusal("teacher outputs 2=");
    options.distil.outputs = NULL;
    expect_refusal("alpha=");
    options.distil.outputs = both_outputs();
    teaching.top_k = 7;
    teach(1);
    learn(0.5f, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(files_say_what_teachers_say, each),
        cmocka_unit_test_setup(labels_are_one_more_teacher, each),
        cmocka_unit_test_setup(quantised_teachers_are_the_engines, each),
        cmocka_unit_test_setup(long_documents_are_cut, each),
        cmocka_unit_test_setup(current_files_are_used_again, each),
        cmocka_unit_test_setup(stopped_runs_are_gone_on_with, each),
        cmocka_unit_test_setup(damaged_files, each),
        cmocka_unit_test_setup(rows_are_checked, each),
        cmocka_unit_test_setup(others_files_are_refused, each),
        cmocka_unit_test_setup(teachers_are_checked, each),
        cmocka_unit_test_setup(the_divergence_is_by_definition, each),
        cmocka_unit_test_setup(students_come_nearer, each),
        cmocka_unit_test_setup(a_mixture_of_both, each),
        cmocka_unit_test_setup(beside_the_student, each),
        cmocka_unit_test_setup(hidden_states_come_nearer, each),
        cmocka_unit_test_setup(attention_comes_nearer, each),
        cmocka_unit_test_setup(settings_are_compared, each),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
