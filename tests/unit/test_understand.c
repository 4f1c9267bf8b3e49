/*
 * Understanding commands: intents and labels against a search through all of them, spans of the text, and
 * refusals; and the scores that are made of them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "generate/utterance.h"
#include "millet/train.h"
#include "millet/understand.h"
#include "support/corpus_files.h"
#include "support/file_bytes.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const special[] = {"<|end|>",           "<|call|>",           "<|O|>",
                                      "<|home|>",          "<|call:home/on|>",   "<|call:home/off|>",
                                      "<|call:home/oos|>", "<|B:home/room|>",    "<|I:home/room|>",
                                      "<|B:home/thing|>",  "<|I:home/thing|>",   "<|shop|>",
                                      "<|call:shop/buy|>", "<|call:shop/sell|>", "<|B:other/x|>"};
enum { N_SPECIAL = sizeof special / sizeof special[0] };

static char tokenizer_path[512], model_path[512];
static millet_model *model;

static void must(millet_status status, const millet_error *err)
{
    char line[800];
    if (status == MILLET_OK) return;
    millet_error_format(err, line, sizeof line);
    fail_msg("%s", line);
}

static void write_text(const char *name, const char *text, char *path)
{
    strcpy(path, corpus_write(name, text));
}

/* A model of random weights with a vocabulary of two sets. */
static int set_up(void **state)
{
    (void)state;
    millet_error err;
    char text[512], cache[512];
    if (!folder_make()) return -1;
    strcpy(tokenizer_path, folder_path("tokenizer.gguf"));
    strcpy(model_path, folder_path("model.gguf"));
    strcpy(cache, folder_path("text.tokens"));
    write_text("text.txt",
               " turn on the lamp in the kitchen\n turn off the big lamp\n buy the lamp\n the kitchen lamp "
               "turn on\n",
               text);
    millet_tokenizer_train_options o = millet_tokenizer_train_options_default();
    const char *source = text;
    o.vocabulary = 320;
    o.special = special;
    o.n_special = N_SPECIAL;
    o.eos = "<|end|>";
    must(millet_tokenizer_train(&source, 1, tokenizer_path, NULL, &o, NULL, &err), &err);
    millet_tokenizer *tokenizer;
    must(millet_tokenizer_open(tokenizer_path, NULL, NULL, &tokenizer, &err), &err);
    must(millet_cache_build(text, cache, tokenizer, NULL, NULL, &err), &err);
    millet_tokenizer_close(&tokenizer);
    millet_train_options train = millet_train_options_default();
    const millet_train_data data = {.cache = cache};
    train.shape = "{\"architecture\": \"llama\", \"layers\": 2, \"width\": 32, \"heads\": 2, "
                  "\"feed_forward\": 48, \"context\": 64, \"spread\": 0.5}";
    train.tokenizer_path = tokenizer_path;
    train.data = &data;
    train.n_data = 1;
    train.rows = 1;
    train.length = 16;
    train.steps = 1;
    train.n_threads = 1;
    train.output = model_path;
    must(millet_train(&train, NULL, &err), &err);
    must(millet_model_open(model_path, NULL, &model, &err), &err);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    millet_model_close(&model);
    folder_remove();
    return 0;
}

static int32_t token(const char *text)
{
    int32_t ids[64];
    size_t n;
    millet_error err;
    must(millet_tokenize(model, text, strlen(text), MILLET_TOKENIZE_SPECIAL, ids, 64, &n, &err), &err);
    assert_int_equal(n, 1);
    return ids[0];
}

/* Logits of all positions of a prefix, computed with a session; the caller frees them. */
static float *logits_of(const int32_t *ids, int32_t n)
{
    millet_session_options options = millet_session_options_default();
    millet_session *session;
    millet_error err;
    options.n_logits = options.n_batch = options.n_ctx = n;
    options.n_threads = 1;
    options.cache_type = MILLET_CACHE_F32;
    must(millet_session_open(model, &options, &session, &err), &err);
    millet_item items[64];
    for (int32_t i = 0; i < n; i++)
        items[i] = (millet_item){ids[i], 0, true};
    must(millet_eval_prefix(session, items, n, &err), &err);
    millet_model_info info;
    millet_model_get_info(model, &info);
    size_t width = (size_t)info.n_vocab;
    float *logits = malloc((size_t)n * width * sizeof *logits);
    for (int32_t i = 0; i < n; i++)
        memcpy(logits + (size_t)i * width, millet_logits(session, i), width * sizeof *logits);
    millet_session_close(&session);
    return logits;
}

static const char *const labels[] = {"<|O|>", "<|B:home/room|>", "<|I:home/room|>", "<|B:home/thing|>",
                                     "<|I:home/thing|>"};
enum { N_LABELS = 5 };

static bool allowed(int before, int label)
{
    return label != 2 && label != 4 ? true : before == label || before == label - 1;
}

/* The most probable labels of n tokens, by trying all of them. */
static void search(const double (*p)[N_LABELS], int n, int *best)
{
    double greatest = -INFINITY;
    long ways = lround(pow(N_LABELS, n));
    for (long way = 0; way < ways; way++) {
        int chosen[16];
        double sum = 0;
        long rest = way;
        bool good = true;
        for (int i = 0; i < n && good; i++) {
            chosen[i] = (int)(rest % N_LABELS);
            rest /= N_LABELS;
            good = allowed(i ? chosen[i - 1] : 0, chosen[i]);
            sum += p[i][chosen[i]];
        }
        if (!good || sum <= greatest) continue;
        greatest = sum;
        memcpy(best, chosen, (size_t)n * sizeof *best);
    }
}

/* Bytes that the first n tokens stand for; a character that they only begin (with one byte) counts as that.
 */
static size_t bytes_of(const int32_t *ids, size_t n)
{
    char text[64];
    size_t length;
    millet_error err;
    must(millet_detokenize(model, ids, n, false, text, sizeof text, &length, &err), &err);
    bool begun = length >= 3 && memcmp(text + length - 3, "\xEF\xBF\xBD", 3) == 0;
    return begun ? length - 2 : length;
}

static void is_the_best_of_all(void **state)
{
    (void)state;
    millet_understander *u;
    millet_error err;
    millet_understanding got;
    static const char *const texts[] = {"Turn on LAMP", "  the kitchen lamp\n", "turn off big lamp on", "x y",
                                        "k\xc3\xbc lamp"};
    must(millet_understander_open(model, &(millet_understander_options){.n_threads = 1}, &u, &err), &err);
    int found = 0;
    for (size_t t = 0; t < sizeof texts / sizeof texts[0]; t++) {
        const char *text = texts[t];
        must(millet_understand(u, "home", text, strlen(text), &got, &err), &err);
        assert_false(got.cut);

        char spelled[64] = " ", *at = spelled + 1;
        size_t lead = strspn(text, " ");
        for (const char *c = text + lead; *c && *c != '\n'; c++)
            *at++ = *c >= 'A' && *c <= 'Z' ? (char)(*c + 32) : *c;
        *at = 0;
        int32_t ids[32];
        size_t n;
        ids[0] = token("<|home|>");
        must(millet_tokenize(model, spelled, strlen(spelled), 0, ids + 1, 24, &n, &err), &err);
        ids[n + 1] = token("<|call|>");
        float *logits = logits_of(ids, (int32_t)n + 2);
        millet_model_info info;
        millet_model_get_info(model, &info);
        size_t width = (size_t)info.n_vocab;

        /* Intents. */
        const float *last = logits + (n + 1) * width;
        static const char *const names[] = {"on", "off", "oos"};
        double sum = 0, all = 0;
        for (int i = 0; i < 3; i++)
            sum += exp((double)last[token(special[4 + i])]);
        assert_int_equal(got.n_intents, 3);
        for (int i = 0; i < 3; i++) {
            double p = -1;
            for (int j = 0; j < 3; j++)
                if (strcmp(names[j], got.intents[i].name) == 0)
                    p = exp((double)last[token(special[4 + j])]) / sum;
            assert_true(fabs(p - (double)got.intents[i].probability) < 1e-5);
            assert_true(i == 0 || got.intents[i].probability <= got.intents[i - 1].probability);
            all += (double)got.intents[i].probability;
        }
        assert_true(fabs(all - 1) < 1e-5);

        /* Labels; all ways are tried, so texts are short. */
        assert_in_range(n, 1, 9);
        double p[16][N_LABELS];
        int best[16];
        for (size_t i = 0; i < n; i++) {
            double total = 0;
            for (int l = 0; l < N_LABELS; l++)
                total += exp((double)logits[(i + 1) * width + (size_t)token(labels[l])]);
            for (int l = 0; l < N_LABELS; l++)
                p[i][l] = (double)logits[(i + 1) * width + (size_t)token(labels[l])] - log(total);
        }
        search(p, (int)n, best);
        int32_t slot = 0;
        for (size_t i = 0; i < n; i++) {
            if (best[i] != 1 && best[i] != 3) continue;
            size_t end = i + 1, start = bytes_of(ids + 1, i);
            while (end < n && best[end] == best[i] + 1)
                end++;
            size_t length = bytes_of(ids + 1, end);
            while (start < length && spelled[start] == ' ')
                start++;
            while (length > start && spelled[length - 1] == ' ')
                length--;
            if (start == length) continue; /* a space is no value */
            assert_true(slot < got.n_slots);
            assert_string_equal(got.slots[slot].name, best[i] == 1 ? "room" : "thing");
            assert_int_equal(got.slots[slot].start, start - 1 + lead);
            assert_int_equal(got.slots[slot].end, length - 1 + lead);
            assert_true(got.slots[slot].probability > 0 && got.slots[slot].probability <= 1);
            slot++;
            found++;
        }
        assert_int_equal(slot, got.n_slots);
        free(logits);
    }
    assert_true(found >= 3);

    /* The other set has no slots. */
    must(millet_understand(u, "shop", "buy", 3, &got, &err), &err);
    assert_int_equal(got.n_intents, 2);
    assert_int_equal(got.n_slots, 0);
    assert_string_equal(millet_understander_set(u, 0), "home");
    assert_string_equal(millet_understander_set(u, 1), "shop");
    assert_null(millet_understander_set(u, 2));
    assert_string_equal(millet_understander_intent(u, 1, 1), "sell");
    assert_null(millet_understander_intent(u, 1, 2));
    assert_null(millet_understander_intent(u, 2, 0));
    millet_understander_close(&u);
}

/* The rules of utterance.h, and where each byte comes from. */
static void spells(void **state)
{
    (void)state;
    static const struct {
        const char *text, *spelled;
        size_t end;
    } cases[] = {
        {"Wake me  up\tAT 7 P.M.", "wake me up at 7 p.m.", 21},
        {"  What's  on?! ", "what's on", 12},
        {"What\xE2\x80\x99s on \xE2\x80\xA6", "what's on", 11},
        {"play x.", "play x.", 7},
        {"play it.", "play it", 7},
        {"play it. .", "play it", 7},
        {"g. m. t.", "g. m. t.", 8},
        {"\xC2\xA0\xE5\xBC\x80\xE7\x81\xAF\xE3\x80\x82", "\xE5\xBC\x80\xE7\x81\xAF", 8},
        {"rock\xE2\x80\x99", "rock'", 7},
        {"?!", "", 0},
        {"", "", 0},
        {" . ", "", 0},
        {"3.", "3", 1},
        {"\xC3\x89t\xC3\xA9", "\xC3\x89t\xC3\xA9", 5},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char spelled[64];
        size_t where[65], length = strlen(cases[i].text);
        size_t n = mlt_utterance_spell(cases[i].text, length, spelled, where);
        spelled[n] = 0;
        assert_string_equal(spelled, cases[i].spelled);
        assert_int_equal(where[n], cases[i].end);
        for (size_t b = 0; b < n; b++) {
            assert_true(where[b] < where[b + 1]);
            char c = cases[i].text[where[b]];
            if (spelled[b] != ' ' && spelled[b] != '\'')
                assert_int_equal(spelled[b], c >= 'A' && c <= 'Z' ? c + 32 : c);
        }
    }
}

static void refuses(void **state)
{
    (void)state;
    millet_understander *u;
    millet_error err;
    millet_understanding got;
    assert_int_equal(
        millet_understander_open(model, &(millet_understander_options){.max_tokens = -1}, &u, &err),
        MILLET_BAD_ARGUMENT);
    assert_null(u);
    must(millet_understander_open(model, &(millet_understander_options){.max_tokens = 3, .n_threads = 1}, &u,
                                  &err),
         &err);
    assert_int_equal(millet_understand(u, "garden", "turn", 4, &got, &err), MILLET_NOT_FOUND);
    assert_non_null(strstr(err.message, "home, shop"));
    assert_int_equal(millet_understand(u, "home", " \t\n ", 4, &got, &err), MILLET_BAD_ARGUMENT);
    assert_int_equal(millet_understand(u, "home", "", 0, &got, &err), MILLET_BAD_ARGUMENT);
    /* What is too long is cut, and spans stay in the text. */
    const char *text = "turn on the lamp in the kitchen";
    must(millet_understand(u, "home", text, strlen(text), &got, &err), &err);
    assert_true(got.cut);
    for (int32_t i = 0; i < got.n_slots; i++)
        assert_true(got.slots[i].start < got.slots[i].end && got.slots[i].end <= strlen("turn on the lamp"));
    millet_understander_close(&u);

    /* A model that was not trained for it. */
    char plain[512], corpus[512], path[512];
    millet_tokenizer_train_options o = millet_tokenizer_train_options_default();
    const char *source = corpus;
    write_text("plain.txt", "some text some text", corpus);
    strcpy(plain, folder_path("plain.gguf"));
    strcpy(path, folder_path("plain.tokens"));
    o.vocabulary = 258;
    must(millet_tokenizer_train(&source, 1, plain, NULL, &o, NULL, &err), &err);
    millet_tokenizer *tokenizer;
    must(millet_tokenizer_open(plain, NULL, NULL, &tokenizer, &err), &err);
    must(millet_cache_build(corpus, path, tokenizer, NULL, NULL, &err), &err);
    millet_tokenizer_close(&tokenizer);
    millet_train_options train = millet_train_options_default();
    const millet_train_data data = {.cache = path};
    train.shape = "{\"architecture\": \"llama\", \"layers\": 1, \"width\": 32, \"heads\": 2, "
                  "\"feed_forward\": 32, \"context\": 64}";
    train.tokenizer_path = plain;
    train.data = &data;
    train.n_data = train.rows = 1;
    train.length = 4;
    train.steps = 1;
    train.output = folder_path("plain_model.gguf");
    must(millet_train(&train, NULL, &err), &err);
    millet_model *other;
    must(millet_model_open(train.output, NULL, &other, &err), &err);
    assert_int_equal(millet_understander_open(other, NULL, &u, &err), MILLET_UNSUPPORTED);
    assert_null(u);
    millet_model_close(&other);
}

/* ---- Scores ---- */

/* Records whose expectations are what the model says, or are not, so that all scores are known. */
static void scores_are_counted(void **state)
{
    (void)state;
    static const char *const texts[] = {"turn on the lamp",
                                        "the kitchen lamp",
                                        "turn off big lamp on",
                                        "buy it",
                                        "sell the lamp in the kitchen",
                                        "lamp"};
    enum { N = sizeof texts / sizeof texts[0] };
    millet_understander *u;
    millet_error err;
    millet_understanding got;
    struct file_bytes bytes = {0};
    char path[512], line[2000];
    int64_t slots = 0, right_slots = 0, found = 0, right = 0, whole = 0, inside = 0;
    must(millet_understander_open(model, NULL, &u, &err), &err);
    for (int i = 0; i < N; i++) {
        must(millet_understand(u, "home", texts[i], strlen(texts[i]), &got, &err), &err);
        int best = strcmp(got.intents[0].name, "oos") == 0;
        bool good = i % 3 != 2, outside = i == 4, drop = i == 1 && got.n_slots > 0;
        const char *intent = outside ? "oos" : good ? got.intents[best].name : "never";
        int n = snprintf(line, sizeof line,
                         "{\"text\": \"%s\", \"intent\": \"%s\", \"set\": \"home\", \"slots\": [", texts[i],
                         intent);
        for (int32_t s = drop ? 1 : 0; s < got.n_slots; s++)
            n += snprintf(line + n, sizeof line - (size_t)n,
                          "%s{\"name\": \"%s\", \"start\": %zu, \"end\": %zu}", s > drop ? ", " : "",
                          got.slots[s].name, got.slots[s].start,
                          got.slots[s].end + (i == 5)); /* a wrong end */
        n += snprintf(line + n, sizeof line - (size_t)n, "]}\n");
        bytes_put(&bytes, line, (size_t)n);
        slots += got.n_slots - drop;
        found += got.n_slots;
        right_slots += i == 5 ? 0 : got.n_slots - drop;
        if (outside) continue;
        inside++;
        right += good;
        whole += good && !drop && (i != 5 || got.n_slots == 0);
    }
    millet_understander_close(&u);
    strcpy(path, folder_path("records.jsonl"));
    file_write(path, &bytes);
    bytes_free(&bytes);
    millet_nlu_scores scores;
    char predictions[512];
    strcpy(predictions, folder_path("predictions.jsonl"));
    must(millet_nlu_measure(model, path,
                            &(millet_nlu_options){.predictions = predictions, .outside_cost = 0.9}, &scores,
                            &err),
         &err);
    assert_string_equal(scores.set, "home");
    assert_int_equal(scores.n_records, N);
    assert_int_equal(scores.n_inside, inside);
    assert_int_equal(scores.n_outside, 1);
    assert_true(fabs(scores.intent.value - (double)right / (double)inside) < 1e-12);
    assert_true(scores.intent.low < scores.intent.value && scores.intent.high > scores.intent.value);
    assert_true(fabs(scores.whole.value - (double)whole / (double)inside) < 1e-12);
    assert_true(slots > 0);
    assert_int_equal(scores.n_slots, slots);
    assert_int_equal(scores.n_found, found);
    assert_int_equal(scores.n_right, right_slots);
    assert_true(fabs(scores.slot_f1 - 2 * (double)right_slots / (double)(slots + found)) < 1e-12);
    assert_true(scores.intent_at_threshold >= scores.intent.value - 0.9);
    assert_true(scores.outside_recall.value == 0 || scores.outside_recall.value == 1);
    struct file_bytes written = file_read(predictions);
    assert_non_null(written.data);
    size_t lines = 0;
    for (size_t i = 0; i < written.size; i++)
        lines += written.data[i] == '\n';
    assert_int_equal(lines, N);
    bytes_free(&written);

    /* A line that is none names itself. */
    write_text("bad.jsonl", "{\"text\": \"lamp\", \"intent\": \"on\", \"set\": \"home\"}\n[1]\n", path);
    assert_int_equal(millet_nlu_measure(model, path, NULL, &scores, &err), MILLET_BAD_FORMAT);
    assert_non_null(strstr(err.message, "line 2"));
    write_text(
        "bad.jsonl",
        "{\"text\": \"lamp\", \"intent\": \"on\", \"set\": \"home\"}\n{\"text\": \"lamp\", \"intent\": "
        "\"buy\", \"set\": \"shop\"}\n",
        path);
    assert_int_equal(millet_nlu_measure(model, path, NULL, &scores, &err), MILLET_BAD_ARGUMENT);
    must(millet_nlu_measure(model, path, &(millet_nlu_options){.set = "shop"}, &scores, &err), &err);
    assert_int_equal(millet_nlu_measure(model, path, &(millet_nlu_options){.set = "sea"}, &scores, &err),
                     MILLET_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spells),
        cmocka_unit_test(is_the_best_of_all),
        cmocka_unit_test(refuses),
        cmocka_unit_test(scores_are_counted),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
