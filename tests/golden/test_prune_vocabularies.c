/*
 * Pruned vocabularies of published models: texts of the corpus have the same tokens, and all texts can be
 * tokenised.
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

#include <cmocka.h>

#include "support/pruned_vocabulary.h"
#include "support/test_data.h"

#define SEPARATOR "\n__ggml_vocab_test__\n"

enum { MOST = 256 };

/* The texts that vocabularies are compared with; all but every fourth are the corpus, which stands first. */
static size_t split(const char *all, struct pruned_vocabulary_text *texts, size_t *n_corpus)
{
    struct pruned_vocabulary_text apart[MOST];
    size_t n = 0, n_apart = 0, count = 0;
    for (const char *text = all; text && count < MOST; count++) {
        const char *end = strstr(text, SEPARATOR);
        struct pruned_vocabulary_text one = {text, end ? (size_t)(end - text) : strlen(text)};
        if (count % 4 == 3)
            apart[n_apart++] = one;
        else
            texts[n++] = one;
        text = end ? end + strlen(SEPARATOR) : NULL;
    }
    *n_corpus = n;
    memcpy(texts + n, apart, n_apart * sizeof *apart);
    return n + n_apart;
}

static void published_vocabularies(void **state)
{
    (void)state;
    static const struct {
        const char *name, *texts;
        bool lossless;
    } all[] = {
        {"bert-bge", "bert-bge.gguf.inp", false},
        {"deepseek-llm", "deepseek-llm.gguf.inp", true},
        {"gpt-2", "gpt-2.gguf.inp", true},
        {"llama-spm", "llama-spm.gguf.inp", true},
        {"mpt", "mpt.gguf.inp", true},
        {"phi-3", "phi-3.gguf.inp", true},
        {"starcoder", "starcoder.gguf.inp", true},
        {"baichuan", "llama-spm.gguf.inp", true},
        {"gpt-neox", "mpt.gguf.inp", true},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        char path[128];
        size_t size, n_corpus;
        struct mlt_checkpoint *c;
        millet_error err;
        static struct pruned_vocabulary_text texts[MOST];
        snprintf(path, sizeof path, "tokenizers/%s", all[i].texts);
        char *text = test_data_read(path, &size);
        text = realloc(text, size + 1);
        text[size] = 0;
        size_t n = split(text, texts, &n_corpus);
        assert_true(n > 30);
        snprintf(path, sizeof path, "tokenizers/%s.gguf", all[i].name);
        if (mlt_checkpoint_open(mlt_default_allocator(), test_data_path(path), NULL, &c, &err) != MILLET_OK)
            fail_msg("%s", err.message);
        uint64_t before = mlt_checkpoint_meta(c, "tokenizer.ggml.tokens")->count;
        int32_t after = check_pruned_vocabulary(all[i].name, c, texts, n, n_corpus, 1, all[i].lossless);
        fprintf(stderr, "%s: %llu tokens, %d of them stay\n", all[i].name, (unsigned long long)before, after);
        assert_true(after > 0 && (uint64_t)after < before);
        mlt_checkpoint_close(&c);
        free(text);
    }
}

int main(void)
{
    if (!test_data_root()) return TEST_SKIPPED;
    const struct CMUnitTest tests[] = {cmocka_unit_test(published_vocabularies)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
