/*
 * compute_tokens: computes tokens and does nothing else, so that what counts instructions can count those of
 * a token.
 *
 *     compute_tokens MODEL [prompt=N] [generate=N] [threads=N]
 *
 * Computes a prompt of N tokens together, then N tokens one after the other, each with its logits. The tokens
 * are fixed numbers: nothing is sampled. What a token costs is the difference of two runs that differ in its
 * number only; bench/count.sh takes it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "base/base.h"
#include <millet/millet.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_TOKENS = 4096 };

static int fail(const char *what, const millet_error *err)
{
    fprintf(stderr, "compute_tokens: %s: %s\n", what, err->message);
    return 1;
}

static bool read_argument(const char *argument, int32_t *prompt, int32_t *generate, int32_t *threads)
{
    const struct {
        const char *name;
        int32_t *target;
    } names[] = {{"prompt=", prompt}, {"generate=", generate}, {"threads=", threads}};
    for (size_t i = 0; i < MLT_COUNT(names); i++) {
        size_t length = strlen(names[i].name);
        if (strncmp(argument, names[i].name, length) != 0) continue;
        char *end;
        long value = strtol(argument + length, &end, 10);
        if (*end || end == argument + length || value < 0 || value > MOST_TOKENS) return false;
        *names[i].target = (int32_t)value;
        return true;
    }
    return false;
}

int main(int argc, char **argv)
{
    int32_t prompt = 1, generate = 0, threads = 1;
    bool understood = argc >= 2;
    for (int i = 2; i < argc; i++)
        understood = understood && read_argument(argv[i], &prompt, &generate, &threads);
    if (!understood || prompt < 1) {
        fputs("compute_tokens MODEL [prompt=N] [generate=N] [threads=N]\n", stderr);
        return 2;
    }
    millet_error err;
    millet_model *model = NULL;
    millet_session *session = NULL;
    if (millet_model_open(argv[1], NULL, &model, &err)) return fail("model", &err);
    millet_model_info info;
    millet_model_get_info(model, &info);
    millet_session_options options = millet_session_options_default();
    options.n_ctx = 2 * MOST_TOKENS < info.n_ctx_train ? 2 * MOST_TOKENS : info.n_ctx_train;
    options.n_threads = threads;
    if (millet_session_open(model, &options, &session, &err)) return fail("session", &err);

    static millet_item items[MOST_TOKENS];
    for (int32_t i = 0; i < MOST_TOKENS; i++)
        items[i] = (millet_item){.token = (7 * i + 1) % info.n_vocab, .logits = i + 1 == prompt};
    if (millet_eval(session, items, prompt, &err)) return fail("prompt", &err);
    for (int32_t i = 0; i < generate; i++) {
        items[i].logits = true;
        if (millet_eval(session, &items[i], 1, &err)) return fail("generation", &err);
    }
    millet_session_close(&session);
    millet_model_close(&model);
    return 0;
}
