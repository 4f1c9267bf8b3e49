/* SPDX-License-Identifier: Apache-2.0 */
#include "support/corpus_files.h"

#include "base/random.h"
#include "support/file_bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

const char *corpus_write(const char *name, const char *text)
{
    struct file_bytes bytes = {0};
    bytes_put(&bytes, text, strlen(text));
    file_write(folder_path(name), &bytes);
    bytes_free(&bytes);
    return folder_path(name);
}

void corpus_write_documents(const char *name, size_t bytes, uint64_t seed)
{
    static const char *const syllables[] = {"ka",  "lo", "mi",  "tur", "en", "sa",
                                            "vor", "ig", "pel", "na",  "st", "oo"};
    struct file_bytes out = {0};
    struct mlt_random random;
    mlt_random_seed(&random, seed);
    while (out.size < bytes) {
        size_t words = 1 + mlt_random_u64(&random) % 200;
        for (size_t w = 0; w < words; w++) {
            size_t n = 1 + mlt_random_u64(&random) % 4;
            for (size_t i = 0; i < n; i++) {
                size_t a = mlt_random_u64(&random) % 12,
                       b = mlt_random_u64(&random) % 12; /* the lower are more frequent */
                const char *syllable = syllables[a < b ? a : b];
                bytes_put(&out, syllable, strlen(syllable));
            }
            const char *end = w % 12 == 11 ? ".\n" : " ";
            bytes_put(&out, end, strlen(end));
        }
        bytes_put(&out, "\n<|endoftext|>\n", 15);
    }
    file_write(folder_path(name), &out);
    bytes_free(&out);
}

millet_tokenizer *corpus_tokenizer(const char *name, millet_tokenizer_kind kind, int32_t vocabulary)
{
    static const char *const special[] = {
        "<s>",   "</s>",        "<|endoftext|>", "<|im_start|>", "<|im_end|>",   "<|call|>",  "<|mask|>",
        "<|O|>", "<|B:place|>", "<|I:place|>",   "<|B:a/time|>", "<|I:a/time|>", "<|B:half|>"};
    millet_tokenizer_train_options options = millet_tokenizer_train_options_default();
    millet_tokenizer *tokenizer;
    millet_error err = {.status = MILLET_OK};
    corpus_write_documents("words-for-training.txt", 60000, 99);
    const char *source = folder_path("words-for-training.txt"), *path = folder_path(name);
    options.kind = kind;
    options.vocabulary = vocabulary;
    options.special = special;
    options.n_special = sizeof special / sizeof *special;
    if (kind == MILLET_TOKENIZER_BPE) options.special += 2, options.n_special -= 2;
    options.eos = kind == MILLET_TOKENIZER_BPE ? "<|endoftext|>" : "</s>";
    options.add_bos = options.add_prefix_space = kind == MILLET_TOKENIZER_UNIGRAM;
    options.chat_template =
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}";
    options.n_threads = 1;
    if (millet_tokenizer_train(&source, 1, path, NULL, &options, NULL, &err) != MILLET_OK)
        fail_msg("%s", err.message);
    if (millet_tokenizer_open(path, NULL, NULL, &tokenizer, &err) != MILLET_OK) fail_msg("%s", err.message);
    return tokenizer;
}
