/*
 * Multiple choice: forms of records, templates and their errors; likelihoods bit for bit those of a naive way
 * that computes every answer alone, token by token; shares and what is left of a base against plain counting.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "eval/answers.h"
#include "eval/choice_records.h"
#include "eval/choice_template.h"
#include "eval/paired.h"
#include "millet/tasks.h"
#include "support/corpus_files.h"
#include "support/file_bytes.h"
#include "support/tiny_model.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

static int set_up(void **state)
{
    (void)state;
    return folder_make() ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    folder_remove();
    return 0;
}

static struct mlt_choice_records read_records(const char *text)
{
    struct mlt_choice_records records;
    millet_error err = {.status = MILLET_OK};
    const char *path = corpus_write("history.test.jsonl", text);
    if (mlt_choice_records_read(&records, mlt_default_allocator(), &path, 1, &err))
        fail_msg("%s", err.message);
    return records;
}

/* ---- Records ---- */

static void test_forms(void **state)
{
    (void)state;
    static const char *const forms[] = {
        "{\"question\":\" q \",\"choices\":[\"one\",\"two\",\"three\"],\"answer\":1,\"subject\":\"s\"}",
        "{\"question\":\"q\",\"choices\":[\"one\",\"two\",\"three\"],\"answer\":\"B\",\"category\":\"s\"}",
        "{\"question\":\"q\",\"choices\":[\"one\",\"two\",\"three\"],\"answer\":\"two\",\"subject\":\"s\"}",
        "{\"id\":0,\"Question\":\"q\",\"A\":\"one\",\"B\":\"two\",\"C\":\"three\",\"D\":null,\"Answer\":"
        "\"B\","
        "\"subject\":\"s\"}",
        "{\"passage\":null,\"question\":\"q\",\"options\":[\"(A)one\",\"(B) "
        "two\",\"(C)three\"],\"label\":\"B\","
        "\"answer\":null,\"subject\":\"s\"}",
        "{\"question\":\"q\",\"choices\":{\"text\":[\"one\",\"two\",\"three\"],\"label\":[\"1\",\"2\",\"3\"]}"
        ","
        "\"answerKey\":\"2\",\"subject\":\"s\"}",
        ("{\"question\":\"q\",\"options\":[\"A. one\",\"B. two\",\"C. "
         "three\"],\"answer\":[\"(b)\"],\"subject\":\"s\"}"),
    };
    for (size_t i = 0; i < MLT_COUNT(forms); i++) {
        struct mlt_choice_records records = read_records(forms[i]);
        assert_int_equal(records.count, 1);
        const struct mlt_choice_record *r = records.items;
        assert_string_equal(r->subject, "s");
        assert_string_equal(r->passage, "");
        assert_string_equal(r->question, "q");
        assert_int_equal(r->n_choices, 3);
        assert_string_equal(r->choices[0], "one");
        assert_string_equal(r->choices[1], "two");
        assert_string_equal(r->choices[2], "three");
        assert_int_equal(r->answer, 1);
        assert_false(mlt_choice_records_chinese(&records));
        mlt_choice_records_release(&records);
    }
    /* Letters are kept where not every choice has its own; numbers are written; the file names the subject.
     */
    struct mlt_choice_records records = read_records(
        "{\"passage\":\"p\",\"question\":\"\xe9\x97\xae\",\"choices\":[\"A. one\",22],\"answer\":0}\n"
        "{\"question\":\"q\",\"A\":1.5,\"B\":2,\"answer\":\"a\",\"subject\":\"b\"}\n");
    assert_int_equal(records.count, 2);
    assert_string_equal(records.items[0].subject, "b");
    assert_string_equal(records.items[0].choices[0], "1.5");
    assert_int_equal(records.items[0].line, 2);
    assert_string_equal(records.items[1].subject, "history");
    assert_string_equal(records.items[1].passage, "p");
    assert_string_equal(records.items[1].choices[0], "A. one");
    assert_string_equal(records.items[1].choices[1], "22");
    assert_true(mlt_choice_records_chinese(&records));
    size_t begin, end;
    mlt_choice_records_of(&records, "history", &begin, &end);
    assert_true(begin == 1 && end == 2);
    mlt_choice_records_of(&records, "c", &begin, &end);
    assert_true(begin == end);
    mlt_choice_records_release(&records);
}

static void test_bad_records(void **state)
{
    (void)state;
    static const struct {
        const char *line, *says;
    } bad[] = {
        {"5", "no JSON object"},
        {"{\"question\":", "no JSON object"},
        {"{\"choices\":[\"a\",\"b\"],\"answer\":0}", "no \"question\""},
        {"{\"question\":7,\"choices\":[\"a\",\"b\"],\"answer\":0}", "\"question\" is no text"},
        {"{\"question\":\"q\",\"choices\":[\"a\"],\"answer\":0}", "two choices"},
        {"{\"question\":\"q\",\"answer\":0}", "two choices"},
        {"{\"question\":\"q\",\"choices\":\"ab\",\"answer\":0}", "a list of choices"},
        {"{\"question\":\"q\",\"choices\":{\"text\":1},\"answer\":0}", "a list \"text\""},
        {"{\"question\":\"q\",\"choices\":[\"a\",\" \"],\"answer\":0}", "an empty choice"},
        {"{\"question\":\"q\",\"choices\":[\"a\",[]],\"answer\":0}", "no text"},
        {"{\"question\":\"q\",\"choices\":[\"a\",\"b\"]}", "no \"answer\""},
        {"{\"question\":\"q\",\"choices\":[\"a\",\"b\"],\"answer\":2}", "none of its choices"},
        {"{\"question\":\"q\",\"choices\":[\"a\",\"b\"],\"answer\":-1}", "none of its choices"},
        {"{\"question\":\"q\",\"choices\":[\"a\",\"b\"],\"answer\":true}", "none of its choices"},
        {"{\"question\":\"q\",\"choices\":[\"a\",\"b\"],\"answer\":\"C\"}", "none of its choices"},
        {"{\"question\":\"q\",\"choices\":[\"a\",\"b\"],\"answer\":\"c\\u0000\"}", "no JSON object"},
        {"{\"question\":\"q\",\"choices\":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,"
         "26,27],"
         "\"answer\":0}",
         "26 choices"},
    };
    for (size_t i = 0; i < MLT_COUNT(bad); i++) {
        char text[1024];
        snprintf(text, sizeof text, "{\"question\":\"q\",\"choices\":[\"a\",\"b\"],\"answer\":0}\n%s\n",
                 bad[i].line);
        const char *path = corpus_write("bad.jsonl", text);
        struct mlt_choice_records records;
        millet_error err;
        assert_int_equal(mlt_choice_records_read(&records, mlt_default_allocator(), &path, 1, &err),
                         MILLET_BAD_FORMAT);
        assert_non_null(strstr(err.message, "line 2"));
        if (!strstr(err.message, bad[i].says))
            fail_msg("\"%s\" does not say \"%s\"", err.message, bad[i].says);
        assert_non_null(strstr(err.file, "bad.jsonl"));
        mlt_choice_records_release(&records);
    }
}

/* ---- Templates ---- */

static const char record_text[] =
    "{\"passage\":\"Read {this}.\",\"question\":\"Which?\",\"choices\":[\"cat\",\"hen\"],\"answer\":1,"
    "\"subject\":\"farm_life\"}";

static void check_written(const struct mlt_choice_template *t, enum mlt_template_part part,
                          const char *expected)
{
    struct mlt_choice_records records = read_records(record_text);
    struct mlt_text out = {.allocator = mlt_default_allocator()};
    assert_int_equal(mlt_choice_template_write(t, part, records.items, 1, &out, NULL), MILLET_OK);
    assert_string_equal(out.data, expected);
    mlt_text_release(&out);
    mlt_choice_records_release(&records);
}

static void test_templates(void **state)
{
    (void)state;
    struct mlt_choice_template t = mlt_choice_template_of(false, false);
    assert_true(mlt_choice_template_letters(&t));
    check_written(&t, MLT_PART_HEADER,
                  "The following are multiple choice questions (with answers) about farm life.\n\n");
    check_written(&t, MLT_PART_QUESTION, "Read {this}.\nWhich?\nA. cat\nB. hen\nAnswer:");
    check_written(&t, MLT_PART_ANSWER, " B");
    t = mlt_choice_template_of(true, true);
    assert_false(mlt_choice_template_letters(&t));
    check_written(&t, MLT_PART_QUESTION, "Read {this}.\n问题：Which?\n答案：");
    check_written(&t, MLT_PART_ANSWER, "hen");

    const char *path =
        corpus_write("t.txt", "# a template\n\n[header]\r\nOf {subject}\n\n[question]\n{} {X} {question}\n"
                              "{options}>\n[option]\n{letter}={choice};\n[answer]\n {choice}\n");
    millet_error err;
    assert_int_equal(mlt_choice_template_read(&t, mlt_default_allocator(), path, &err), MILLET_OK);
    check_written(&t, MLT_PART_HEADER, "Of farm life\n");
    check_written(&t, MLT_PART_QUESTION, "{} {X} Which?\nA=cat;B=hen;>");
    check_written(&t, MLT_PART_ANSWER, " hen");
    check_written(&t, MLT_PART_BETWEEN, "\n\n");
    mlt_choice_template_release(&t);

    static const struct {
        const char *text, *says;
    } bad[] = {
        {"hello\n[question]\n", "line 1: a part is expected"},
        {"[question]\n{question}\n{topic}\n[answer]\n{letter}\n", "line 3: unknown placeholder"},
        {"[question]\n{letter}\n[answer]\n{letter}\n", "line 2: this part has no {letter}"},
        {"[question]\nx\n[question]\n", "line 3: this part stands twice"},
        {"[question]\nx\n", "no [answer]"},
        {"[answer]\n{letter}\n", "no [question]"},
        {"[question]\nx\n[answer]\nyes\n", "needs {letter} or {choice}"},
        {"", "no [question]"},
    };
    for (size_t i = 0; i < MLT_COUNT(bad); i++) {
        path = corpus_write("t.txt", bad[i].text);
        assert_int_equal(mlt_choice_template_read(&t, mlt_default_allocator(), path, &err),
                         MILLET_BAD_FORMAT);
        if (!strstr(err.message, bad[i].says))
            fail_msg("\"%s\" does not say \"%s\"", err.message, bad[i].says);
        mlt_choice_template_release(&t);
    }
}

/* ---- Likelihoods ---- */

/* Two subjects, choices of several lengths, one that begins like another. */
static const char questions[] =
    "{\"question\":\"the cat and\",\"choices\":[\"the hen\",\"the hen ran then there\",\"a "
    "tale\"],\"answer\":1,"
    "\"subject\":\"a\"}\n"
    "{\"question\":\"another thought in\",\"choices\":[\"an end\",\"a "
    "name\"],\"answer\":0,\"subject\":\"b\"}\n"
    "{\"question\":\"the thing "
    "that\",\"choices\":[\"hear\",\"rain\",\"ran\",\"thin\",\"think\",\"others\",\"t\","
    "\"in\",\"the end\",\"an inn\"],\"answer\":9,\"subject\":\"a\"}\n"
    "{\"question\":\"the thing\",\"choices\":[\"in\",\"in\"],\"answer\":1,\"subject\":\"a\"}\n"
    "{\"passage\":\"in the "
    "rain\",\"question\":\"hear\",\"choices\":[\"a\",\"the\"],\"answer\":1,\"subject\":\"a\"}\n";

struct question {
    const char *prompt;
    const char *answers[10];
    int n, right;
};

/* In the order of the output: by subject. With texts, no shots; and one shot, of the same subject, letters.
 */
static const struct question plain[] = {
    {"Question: the cat and\nAnswer:", {" the hen", " the hen ran then there", " a tale"}, 3, 1},
    {"Question: the thing that\nAnswer:",
     {" hear", " rain", " ran", " thin", " think", " others", " t", " in", " the end", " an inn"},
     10,
     9},
    {"Question: the thing\nAnswer:", {" in", " in"}, 2, 1},
    {"in the rain\nQuestion: hear\nAnswer:", {" a", " the"}, 2, 1},
    {"Question: another thought in\nAnswer:", {" an end", " a name"}, 2, 0},
};
#define A_HEAD "The following are multiple choice questions (with answers) about a.\n\n"
#define A_SHOT "the cat and\nA. the hen\nB. the hen ran then there\nC. a tale\nAnswer:"
static const struct question one_shot[] = {
    {A_HEAD
     "the thing that\nA. hear\nB. rain\nC. ran\nD. thin\nE. think\nF. others\nG. t\nH. in\nI. the end\n"
     "J. an inn\nAnswer: J\n\n" A_SHOT,
     {" A", " B", " C"},
     3,
     1},
    {A_HEAD A_SHOT
     " B\n\nthe thing that\nA. hear\nB. rain\nC. ran\nD. thin\nE. think\nF. others\nG. t\nH. in\n"
     "I. the end\nJ. an inn\nAnswer:",
     {" A", " B", " C", " D", " E", " F", " G", " H", " I", " J"},
     10,
     9},
    {A_HEAD A_SHOT " B\n\nthe thing\nA. in\nB. in\nAnswer:", {" A", " B"}, 2, 1},
    {A_HEAD A_SHOT " B\n\nin the rain\nhear\nA. a\nB. the\nAnswer:", {" A", " B"}, 2, 1},
    {"The following are multiple choice questions (with answers) about b.\n\nanother thought in\nA. an "
     "end\nB. a "
     "name\nAnswer:",
     {" A", " B"},
     2,
     0},
};

/* The text's log-likelihood after the prompt, token by token from an empty sequence. Tokens of this tokenizer
 * do not reach over the border. */
static double naive(const millet_model *model, const char *prompt, const char *answer)
{
    char text[2048];
    int32_t ids[1024];
    size_t n_prompt, n;
    snprintf(text, sizeof text, "%s%s", prompt, answer);
    assert_int_equal(
        millet_tokenize(model, prompt, strlen(prompt), MILLET_TOKENIZE_BOS, ids, 1024, &n_prompt, NULL),
        MILLET_OK);
    assert_int_equal(millet_tokenize(model, text, strlen(text), MILLET_TOKENIZE_BOS, ids, 1024, &n, NULL),
                     MILLET_OK);
    millet_session *session;
    millet_session_options options = {.n_threads = 1, .n_ctx = 1024};
    assert_int_equal(millet_session_open(model, &options, &session, NULL), MILLET_OK);
    double log_p = 0;
    for (size_t i = 0; i + 1 < n; i++) {
        millet_item item = {ids[i], 0, true};
        assert_int_equal(millet_eval(session, &item, 1, NULL), MILLET_OK);
        if (i + 1 < n_prompt) continue;
        const float *logits = millet_logits(session, 0);
        double max = -INFINITY, sum = 0;
        for (int v = 0; v < model->config.n_vocab; v++)
            max = max > (double)logits[v] ? max : (double)logits[v]; /* gcc 12 for ARM breaks on fmax here */
        for (int v = 0; v < model->config.n_vocab; v++)
            sum += exp((double)logits[v] - max);
        sum = max + log(sum);
        if (i + 1 == n_prompt)
            log_p = (double)logits[ids[i + 1]] - sum;
        else
            log_p -= sum - (double)logits[ids[i + 1]];
    }
    millet_session_close(&session);
    return log_p;
}

static millet_model *model_of(uint64_t seed)
{
    struct tiny_shape shape = tiny_default();
    shape.n_ctx = 1024;
    shape.seed += seed;
    return tiny_model(mlt_default_allocator(), &shape);
}

/* What the measuring wrote about each question, against the naive way. */
static void check_answers(const millet_model *model, const char *path, const struct question *expected)
{
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    for (int i = 0; i < 5; i++) {
        json_t *line = json_loadf(file, JSON_DISABLE_EOF_CHECK, NULL);
        assert_non_null(line);
        const struct question *q = &expected[i];
        int sum = 0, length = 0;
        double log_p[10], rate[10];
        for (int c = 0; c < q->n; c++) {
            log_p[c] = naive(model, q->prompt, q->answers[c]);
            rate[c] = log_p[c] / (double)(strlen(q->answers[c]) - 1);
            const json_t *choice = json_array_get(json_object_get(line, "choices"), (size_t)c);
            double got = json_real_value(json_object_get(choice, "log_p"));
            if (got != log_p[c]) fail_msg("question %d, choice %d: %.17g is not %.17g", i, c, got, log_p[c]);
            if (log_p[c] > log_p[sum]) sum = c;
            if (rate[c] > rate[length]) length = c;
        }
        assert_int_equal(json_integer_value(json_object_get(line, "by_sum")), sum);
        assert_int_equal(json_integer_value(json_object_get(line, "by_length")), length);
        assert_int_equal(json_integer_value(json_object_get(line, "answer")), q->right);
        json_decref(line);
    }
    assert_int_equal(fgetc(file), '\n');
    assert_int_equal(fgetc(file), EOF);
    fclose(file);
}

static void test_likelihoods(void **state)
{
    (void)state;
    millet_model *model = model_of(0);
    const char *path = corpus_write("q.jsonl", questions);
    for (int i = 0; i < 4; i++) {
        millet_choice_options options = {.texts = i % 2 == 0,
                                         .n_shots = i % 2,
                                         .answers = folder_path("answers.jsonl"),
                                         .session = {.n_threads = 1 + i / 2, .n_batch = i < 2 ? 0 : 5}};
        millet_choice_scores *scores;
        millet_error err;
        if (millet_choice_measure(model, NULL, &path, 1, &options, &scores, &err))
            fail_msg("%s", err.message);
        check_answers(model, options.answers, i % 2 ? one_shot : plain);
        assert_int_equal(scores->all.n_questions, 5);
        assert_int_equal(scores->n_subjects, 2);
        assert_string_equal(scores->template_name, i % 2 ? "en letters" : "en texts");
        assert_int_equal(scores->listed, i % 2);
        assert_true(scores->n_computed < scores->n_tokens); /* something was shared */
        assert_true(scores->n_shortened == 0 && scores->n_cut == 0);
        assert_true(fabs(scores->all.chance - (1.0 / 3 + 0.1 + 1.5) / 5) < 1e-12);
        assert_true(isnan(scores->all.sum.kept.value) && isnan(scores->base_subject_mean_sum));
        double mean = (scores->subjects[0].sum.right.value + scores->subjects[1].sum.right.value) / 2;
        assert_true(fabs(scores->subject_mean_sum - mean) < 1e-12);
        millet_choice_scores_free(&scores);
        assert_null(scores);
    }
    millet_model_close(&model);
}

/* A context with less room: fewer shots, then a cut; and an answer that does not fit at all. */
static void test_context(void **state)
{
    (void)state;
    millet_model *model = model_of(0);
    const char *path = corpus_write("q.jsonl", questions);
    millet_choice_options options = {.n_shots = 2, .session = {.n_threads = 1, .n_ctx = 200}};
    millet_choice_scores *scores;
    millet_error err;
    if (millet_choice_measure(model, NULL, &path, 1, &options, &scores, &err)) fail_msg("%s", err.message);
    assert_true(scores->n_shortened > 0 && scores->n_cut < scores->n_shortened);
    millet_choice_scores_free(&scores);
    options.session.n_ctx = 12;
    if (millet_choice_measure(model, NULL, &path, 1, &options, &scores, &err)) fail_msg("%s", err.message);
    assert_int_equal(scores->n_cut, 5);
    millet_choice_scores_free(&scores);
    options.texts = true;
    assert_int_equal(millet_choice_measure(model, NULL, &path, 1, &options, &scores, &err),
                     MILLET_BAD_ARGUMENT);
    assert_non_null(strstr(err.message, "too long for the context"));
    assert_null(scores);
    millet_model_close(&model);
}

/* ---- Shares ---- */

static void test_base(void **state)
{
    (void)state;
    millet_model *model = model_of(0), *base = model_of(1);
    const char *path = corpus_write("q.jsonl", questions);
    millet_choice_options options = {.texts = true, .session = {.n_threads = 1}};
    millet_choice_scores *one, *other, *both, *same;
    assert_int_equal(millet_choice_measure(model, NULL, &path, 1, &options, &one, NULL), MILLET_OK);
    assert_int_equal(millet_choice_measure(base, NULL, &path, 1, &options, &other, NULL), MILLET_OK);
    assert_int_equal(millet_choice_measure(model, base, &path, 1, &options, &both, NULL), MILLET_OK);
    assert_int_equal(millet_choice_measure(model, model, &path, 1, &options, &same, NULL), MILLET_OK);
    const millet_task_share *pair = &both->all.length;
    assert_true(pair->right.value == one->all.length.right.value);
    assert_true(pair->base.value == other->all.length.right.value);
    assert_true(fabs(pair->difference.value - (pair->right.value - pair->base.value)) < 1e-12);
    assert_true(pair->difference.low < pair->difference.value &&
                pair->difference.value < pair->difference.high);
    if (pair->base.value > 0)
        assert_true(fabs(pair->kept.value - pair->right.value / pair->base.value) < 1e-12);
    assert_true(both->base_subject_mean_sum == other->subject_mean_sum);
    assert_true(same->all.sum.agreement.value == 1 && same->all.sum.difference.value == 0);
    options.max_records = 2;
    millet_choice_scores_free(&both);
    assert_int_equal(millet_choice_measure(model, base, &path, 1, &options, &both, NULL), MILLET_OK);
    assert_int_equal(both->all.n_questions, 3);
    assert_int_equal(both->subjects[0].n_questions, 2);
    millet_choice_scores_free(&one);
    millet_choice_scores_free(&other);
    millet_choice_scores_free(&both);
    millet_choice_scores_free(&same);
    millet_model_close(&model);
    millet_model_close(&base);
}

static void assert_near(double a, double b, double tolerance)
{
    if (!(fabs(a - b) <= tolerance)) fail_msg("%.12g is not %.12g within %g", a, b, tolerance);
}

static void test_pairs(void **state)
{
    (void)state;
    /* Approval in two surveys (Agresti, Categorical Data Analysis): 0.04, between 0.021 and 0.059. */
    struct mlt_pairs pairs = {.both = 794, .first = 150, .second = 86, .neither = 570};
    millet_interval x = mlt_pairs_difference(&pairs);
    assert_near(x.value, 0.04, 1e-12);
    assert_near(x.low, 0.021, 5e-4);
    assert_near(x.high, 0.059, 5e-4);
    x = mlt_pairs_ratio(&pairs);
    assert_near(x.value, 944.0 / 880, 1e-12);
    /* By the delta method on the logarithm, which agrees with it for large numbers. */
    double error = sqrt(236.0 / (944.0 * 880)) * 1.959964;
    assert_near(log(x.low), log(x.value) - error, 1e-3);
    assert_near(log(x.high), log(x.value) + error, 1e-3);
    struct mlt_pairs swapped = {.both = 794, .first = 86, .second = 150, .neither = 570};
    millet_interval y = mlt_pairs_ratio(&swapped);
    assert_near(y.low, 1 / x.high, 1e-9);
    /* No difference seen is no certainty that there is none. */
    pairs = (struct mlt_pairs){.both = 10, .neither = 10};
    x = mlt_pairs_difference(&pairs);
    assert_true(x.value == 0 && x.low < -0.01 && x.high > 0.01);
    x = mlt_pairs_ratio(&pairs);
    assert_true(x.value == 1 && x.low < 0.95 && x.high > 1.05);
    pairs = (struct mlt_pairs){.first = 3, .neither = 10};
    assert_true(isnan(mlt_pairs_ratio(&pairs).value));
}

static bool stop(void *context, double fraction)
{
    double *last = context;
    assert_true(fraction > *last && fraction <= 1);
    *last = fraction;
    return fraction < 0.6;
}

static void test_errors(void **state)
{
    (void)state;
    millet_model *model = model_of(0);
    const char *path = corpus_write("q.jsonl", questions);
    millet_error err;
    millet_choice_scores *scores;
    millet_choice_options options = {.n_shots = -1};
    assert_int_equal(millet_choice_measure(model, NULL, &path, 1, &options, &scores, &err),
                     MILLET_BAD_ARGUMENT);
    options = (millet_choice_options){.language = "fr"};
    assert_int_equal(millet_choice_measure(model, NULL, &path, 1, &options, &scores, &err),
                     MILLET_BAD_ARGUMENT);
    options = (millet_choice_options){.session = {.n_ctx = 1}};
    assert_int_equal(millet_choice_measure(model, NULL, &path, 1, &options, &scores, &err),
                     MILLET_BAD_ARGUMENT);
    options = (millet_choice_options){.shots_path = folder_path("none.jsonl")};
    assert_int_equal(millet_choice_measure(model, NULL, &path, 1, &options, &scores, &err), MILLET_NOT_FOUND);
    assert_int_equal(millet_choice_measure(model, NULL, NULL, 0, NULL, &scores, &err), MILLET_BAD_ARGUMENT);
    double last = 0;
    options =
        (millet_choice_options){.progress = stop, .context = &last, .answers = folder_path("kept.jsonl")};
    assert_int_equal(millet_choice_measure(model, NULL, &path, 1, &options, &scores, &err), MILLET_CANCELLED);
    FILE *file = fopen(options.answers, "r");
    assert_null(file);
    millet_model_close(&model);
    struct tiny_shape shape = tiny_default();
    shape.no_tokenizer = true;
    model = tiny_model(mlt_default_allocator(), &shape);
    assert_int_equal(millet_choice_measure(model, NULL, &path, 1, NULL, &scores, &err), MILLET_UNSUPPORTED);
    millet_model_close(&model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),     cmocka_unit_test(test_bad_records),
        cmocka_unit_test(test_templates), cmocka_unit_test(test_likelihoods),
        cmocka_unit_test(test_context),   cmocka_unit_test(test_base),
        cmocka_unit_test(test_pairs),     cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
