/*
 * Every allocation of opening a tokenizer, of tokenising and of rendering a dialogue is refused in turn: each
 * time the call fails with NO_MEMORY and gives back all it took.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/counting_allocator.h"
#include "support/tiny_vocabulary.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/vocabulary_file.h"

static const char text[] = "Hello w\xC3\xA9rld, e\xCC\x81 \xFF<|im_end|> <user>1234 \xE4\xB8\xAD unaffable!";

typedef millet_status work(struct counting_allocator *counting, millet_error *err);

/* Runs `what` with the first allocation refused, then the second, until it succeeds. */
static void refuse_each(work *what)
{
    for (long long at = 0;; at++) {
        struct counting_allocator counting;
        counting_allocator_init(&counting);
        counting.fail_at = at;
        millet_error err = {0};
        millet_status status = what(&counting, &err);
        assert_int_equal(atomic_load(&counting.live), 0);
        if (status == MILLET_OK) {
            assert_true(at > 0);
            return;
        }
        assert_int_equal(status, MILLET_NO_MEMORY);
        assert_int_equal(err.status, MILLET_NO_MEMORY);
        assert_true(at < 10000);
    }
}

static enum mlt_tokenizer_kind kind;
static struct tiny_vocabulary tiny;

static millet_status open_and_tokenize(struct counting_allocator *counting, millet_error *err)
{
    struct mlt_tokenizer *tokenizer;
    MLT_TRY(mlt_tokenizer_open(&counting->allocator, &tiny.spec, &tokenizer, err));
    int32_t *ids;
    size_t count;
    millet_status status = mlt_tokenize(tokenizer, &counting->allocator, text, sizeof text - 1,
                                        MLT_TOKENIZE_SPECIAL | MLT_TOKENIZE_BOS_EOS, &ids, &count, err);
    assert_true(status == MILLET_OK ? count > 0 : !ids && !count);
    mlt_free(&counting->allocator, ids);
    mlt_tokenizer_close(&tokenizer);
    return status;
}

static void tokenizers(void **state)
{
    (void)state;
    for (kind = MLT_TOKENIZER_SPM; kind <= MLT_TOKENIZER_WORDPIECE; kind++) {
        tiny_fill(&tiny, kind);
        tiny.spec.nfc = true;
        refuse_each(open_and_tokenize);
    }
    tiny_fill(&tiny, MLT_TOKENIZER_BPE);
    for (int32_t id = 0; id < tiny.spec.n_tokens; id++)
        tiny.ranks[id] = id;
    tiny.spec.ranks = tiny.ranks;
    refuse_each(open_and_tokenize);
    /* A character map that maps nothing. */
    tiny_fill(&tiny, MLT_TOKENIZER_UNIGRAM);
    tiny.spec.charsmap = "\0\0\0\0";
    tiny.spec.charsmap_bytes = 4;
    refuse_each(open_and_tokenize);
}

static millet_status read_files(struct counting_allocator *counting, millet_error *err)
{
    struct mlt_vocabulary_file file;
    MLT_TRY(mlt_tiktoken_read(&counting->allocator, "YQ== 0\nYWI= 1\n", 14, NULL, 0, &file, err));
    mlt_vocabulary_file_release(&file);
    MLT_TRY(mlt_sentencepiece_read(&counting->allocator,
                                   "\x0A\x03\x0A\x01"
                                   "a"
                                   "\x1A\x06\x12\x04\0\0\0\0",
                                   13, &file, err));
    mlt_vocabulary_file_release(&file);
    return MILLET_OK;
}

static millet_status render(struct counting_allocator *counting, millet_error *err)
{
    const millet_message messages[] = {{"system", "Be brief."}, {"user", "Hello"}};
    struct mlt_text out = {.allocator = &counting->allocator};
    millet_status status = mlt_chat_render("gemma", messages, 2, true, &out, err);
    mlt_text_release(&out);
    return status;
}

static void files_and_dialogues(void **state)
{
    (void)state;
    refuse_each(read_files);
    refuse_each(render);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokenizers),
        cmocka_unit_test(files_and_dialogues),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
