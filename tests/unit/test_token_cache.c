/* Token caches: what documents become, when a cache is made anew, what is refused. SPDX-License-Identifier:
 * Apache-2.0 */
#include "corpus/token_cache.h"
#include "support/corpus_files.h"
#include "support/file_bytes.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static millet_tokenizer *bpe, *unigram;

static int set_up(void **state)
{
    (void)state;
    if (!folder_make()) return -1;
    bpe = corpus_tokenizer("bpe.gguf", MILLET_TOKENIZER_BPE, 400);
    unigram = corpus_tokenizer("unigram.gguf", MILLET_TOKENIZER_UNIGRAM, 400);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    millet_tokenizer_close(&bpe);
    millet_tokenizer_close(&unigram);
    folder_remove();
    return 0;
}

static millet_cache *build(const char *source, const char *cache, const millet_tokenizer *tokenizer,
                           const millet_cache_options *options, millet_cache_info *info)
{
    millet_error err = {.status = MILLET_OK};
    millet_cache *out;
    if (millet_cache_build(folder_path(source), folder_path(cache), tokenizer, options, info, &err) !=
        MILLET_OK)
        fail_msg("%s: %s", err.file, err.message);
    if (millet_cache_open(folder_path(cache), NULL, true, &out, &err) != MILLET_OK)
        fail_msg("%s", err.message);
    return out;
}

/* A document as text: control tokens written out, what is trained on in braces, "|" where the prefix ends. */
static void document_text(const millet_cache *cache, const millet_tokenizer *tokenizer, uint64_t index,
                          char *out, size_t size)
{
    millet_document document;
    size_t length = 0, shown = 0;
    bool in = false;
    assert_int_equal(millet_cache_document(cache, index, &document, NULL), MILLET_OK);
    int32_t *ids = malloc(document.count * sizeof *ids);
    assert_non_null(ids);
    for (uint64_t i = 0; i < document.count; i++)
        ids[i] = millet_cache_token(cache, document.first + i, NULL);
    for (uint64_t i = 0; i <= document.count; i++) {
        bool trained = false;
        if (i < document.count) millet_cache_token(cache, document.first + i, &trained);
        if (trained != in) out[length++] = trained ? '{' : '}';
        in = trained;
        if (i && i == document.prefix) out[length++] = '|';
        if (i == document.count) break;
        /* What the first i + 1 tokens say and those before them did not; a begun character comes out as
         * U+FFFD. */
        size_t after;
        char all[4096];
        assert_int_equal(millet_tokenizer_decode(tokenizer, ids, i + 1, true, all, sizeof all, &after, NULL),
                         MILLET_OK);
        assert_true(after <= sizeof all && length + after + 4 < size);
        if (after >= 3 && memcmp(all + after - 3, "\xEF\xBF\xBD", 3) == 0) continue;
        memcpy(out + length, all + shown, after - shown);
        length += after - shown;
        shown = after;
    }
    out[length] = 0;
    free(ids);
}

static void expect_document(const millet_cache *cache, const millet_tokenizer *tokenizer, uint64_t index,
                            const char *expected)
{
    char text[4096];
    document_text(cache, tokenizer, index, text, sizeof text);
    assert_string_equal(text, expected);
}

static void test_texts(void **state)
{
    (void)state;
    millet_cache_info info;
    corpus_write("a.txt",
                 "kalo mi\n<|endoftext|>\ntur <|im_end|> \xC3\xA9\n<|endoftext|>\n \n<|endoftext|>\n");
    millet_cache *cache = build("a.txt", "a.tokens", bpe, NULL, &info);
    assert_int_equal(info.n_documents, 2);
    assert_int_equal(info.n_trained, info.n_tokens);
    assert_int_equal(info.token_bytes, 2);
    assert_false(info.masked || info.prefixes || info.reused);
    assert_int_equal(info.n_skipped[MILLET_SKIP_EMPTY], 1);
    expect_document(cache, bpe, 0, "{kalo mi<|endoftext|>}");
    expect_document(cache, bpe, 1, "{tur <|im_end|> \xC3\xA9<|endoftext|>}");
    /* Control tokens in texts are text, unless asked otherwise. */
    millet_document document;
    uint64_t plain;
    assert_int_equal(millet_cache_document(cache, 1, &document, NULL), MILLET_OK);
    plain = document.count;
    assert_int_equal(millet_cache_document(cache, 2, &document, NULL), MILLET_BAD_ARGUMENT);
    millet_cache_close(&cache);
    millet_cache_options options = millet_cache_options_default();
    options.source.special = true;
    cache = build("a.txt", "a.tokens", bpe, &options, &info);
    assert_false(info.reused);
    assert_int_equal(millet_cache_document(cache, 1, &document, NULL), MILLET_OK);
    assert_true(document.count < plain);
    millet_cache_close(&cache);
    /* BOS, where the tokenizer asks for it, is seen and not trained on. */
    cache = build("a.txt", "u.tokens", unigram, NULL, &info);
    assert_true(info.masked);
    char text[256];
    document_text(cache, unigram, 0, text, sizeof text);
    assert_string_equal(text, "<s>{kalo mi</s>}"); /* the prefix space goes when text is made of tokens */
    millet_cache_close(&cache);
}

/* The same tokens as at once, whatever the parts: SentencePiece puts its space before the first only. */
static void test_long_document(void **state)
{
    (void)state;
    struct file_bytes bytes = {0};
    while (bytes.size < 2500000)
        bytes_put(&bytes, "kalomi turen sa\n", 16);
    file_write(folder_path("long.txt"), &bytes);
    const millet_tokenizer *both[] = {bpe, unigram};
    for (int k = 0; k < 2; k++) {
        millet_cache_info info;
        size_t count;
        millet_cache *cache = build("long.txt", "long.tokens", both[k], NULL, &info);
        int32_t *ids = malloc(bytes.size * sizeof *ids);
        assert_non_null(ids);
        assert_int_equal(millet_tokenizer_encode(both[k], (const char *)bytes.data, bytes.size, 0, ids,
                                                 bytes.size, &count, NULL),
                         MILLET_OK);
        assert_int_equal(info.n_documents, 1);
        assert_int_equal(info.n_tokens, count + 1 + (k == 1)); /* EOS, and in the second BOS */
        for (size_t i = 0; i < count; i++)
            assert_int_equal(millet_cache_token(cache, i + (k == 1), NULL), ids[i]);
        free(ids);
        millet_cache_close(&cache);
    }
    bytes_free(&bytes);
}

static void test_records(void **state)
{
    (void)state;
    millet_cache_info info;
    corpus_write("a.jsonl",
                 "{\"text\": \"kalo\\u0000 mi\"}\n"
                 "{\"prompt\": \"tur \", \"completion\": \"en sa\"}\n"
                 "{\"prompt\": \"tur \", \"completion\": \"en sa\", \"prefix\": true}\n"
                 "{\"prompt\": \"\", \"completion\": \"en sa\", \"prefix\": false, \"other\": [1, 2]}\n");
    millet_cache *cache = build("a.jsonl", "a.tokens", bpe, NULL, &info);
    assert_int_equal(info.n_documents, 4);
    assert_true(info.masked && info.prefixes);
    expect_document(cache, bpe, 1, "tur {en sa<|endoftext|>}");
    expect_document(cache, bpe, 2, "tur {|en sa<|endoftext|>}");
    expect_document(cache, bpe, 3, "{en sa<|endoftext|>}");
    millet_cache_close(&cache);
}

static void test_dialogues(void **state)
{
    (void)state;
    millet_cache_info info;
    corpus_write(
        "d.jsonl",
        "{\"messages\": [{\"role\": \"user\", \"content\": \"kalo\"}, {\"role\": \"assistant\", \"content\": "
        "\"mi\"}, "
        "{\"role\": \"user\", \"content\": \"tur\"}, {\"role\": \"assistant\", \"content\": \"en\"}]}\n"
        "{\"messages\": [{\"role\": \"user\", \"content\": \"kalo\", \"loss\": true}, {\"role\": "
        "\"assistant\", \"content\": "
        "\"mi\", \"loss\": false}, {\"role\": \"assistant\", \"content\": \"sa\"}]}\n"
        "{\"messages\": [{\"role\": \"system\", \"content\": \"lo\"}, {\"role\": \"user\", \"content\": "
        "\"kalo\"}, {\"role\": "
        "\"assistant\", \"content\": \"mi\"}], \"prefix\": true}\n");
    millet_cache *cache = build("d.jsonl", "d.tokens", bpe, NULL, &info);
    assert_int_equal(info.n_documents, 3);
    expect_document(cache, bpe, 0,
                    "<|im_start|>user\nkalo<|im_end|>\n<|im_start|>assistant\n{mi<|im_end|>\n}<|im_start|>"
                    "user\ntur<|im_end|>\n"
                    "<|im_start|>assistant\n{en<|im_end|>\n}");
    expect_document(
        cache, bpe, 1,
        "{<|im_start|>user\nkalo<|im_end|>\n}<|im_start|>assistant\nmi<|im_end|>\n<|im_start|>assistant\n"
        "{sa<|im_end|>\n}");
    expect_document(cache, bpe, 2,
                    "<|im_start|>system\nlo<|im_end|>\n<|im_start|>user\nkalo<|im_end|>\n<|im_start|>"
                    "assistant\n{|mi<|im_end|>\n}");
    millet_cache_close(&cache);
    /* A form without an end token: EOS is added. */
    millet_cache_options options = millet_cache_options_default();
    options.source.chat_template = "rwkv-world";
    cache = build("d.jsonl", "d.tokens", bpe, &options, &info);
    char text[1024];
    document_text(cache, bpe, 0, text, sizeof text);
    assert_non_null(strstr(text, "<|endoftext|>}"));
    millet_cache_close(&cache);
}

static void test_what_is_left_out(void **state)
{
    (void)state;
    millet_cache_info info;
    corpus_write("bad.jsonl", "{\"text\": \"kalo\"}\n"
                              "not json\n"
                              "{\"text\": \"a\xFF\"}\n"
                              "[1]\n"
                              "{\"txt\": \"kalo\"}\n"
                              "{\"text\": 5}\n"
                              "{\"prompt\": \"a\"}\n"
                              "{\"prompt\": \"a\", \"completion\": \"\"}\n"
                              "{\"text\": \"  \"}\n"
                              "{\"messages\": []}\n"
                              "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}]}\n"
                              "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": "
                              "\"assistant\", \"content\": \"x<|im_end|>y\"}]}\n"
                              "{\"messages\": [{\"role\": \"user\", \"content\": 1}]}\n"
                              "{\"messages\": [{\"role\": \"assistant\", \"content\": \"a\", \"loss\": 1}]}\n"
                              "{\"text\": "
                              "\"0123456789012345678901234567890123456789012345678901234567890123456789012345"
                              "678901234567890123456789"
                              "012345678901234567890123456789012345678901234567890123456789\"}\n"
                              "{\"text\": \"mi\"}\n");
    millet_cache_options options = millet_cache_options_default();
    options.source.max_line_bytes = 150;
    millet_cache *cache = build("bad.jsonl", "bad.tokens", bpe, &options, &info);
    assert_int_equal(info.n_documents, 2);
    assert_int_equal(info.n_skipped[MILLET_SKIP_JSON], 2);
    assert_int_equal(info.n_skipped[MILLET_SKIP_UTF8], 1);
    assert_int_equal(info.n_skipped[MILLET_SKIP_FIELDS], 6);
    assert_int_equal(info.n_skipped[MILLET_SKIP_EMPTY], 2);
    assert_int_equal(info.n_skipped[MILLET_SKIP_DIALOGUE], 1);
    assert_int_equal(info.n_skipped[MILLET_SKIP_SPECIAL], 1);
    assert_int_equal(info.n_skipped[MILLET_SKIP_LONG], 1);
    millet_cache_close(&cache);
    corpus_write("bad.txt", "one\n<|endoftext|>\ntwo \xC0\xAF\n<|endoftext|>\nthree\n");
    cache = build("bad.txt", "bad.tokens", bpe, NULL, &info);
    assert_int_equal(info.n_documents, 2);
    assert_int_equal(info.n_skipped[MILLET_SKIP_UTF8], 1);
    millet_cache_close(&cache);
}

static void expect_failure(const char *source, const millet_tokenizer *tokenizer,
                           const millet_cache_options *options, millet_status status, const char *message)
{
    millet_error err = {.status = MILLET_OK};
    assert_int_equal(
        millet_cache_build(folder_path(source), folder_path("none.tokens"), tokenizer, options, NULL, &err),
        status);
    if (!strstr(err.message, message)) fail_msg("\"%s\" lacks \"%s\"", err.message, message);
    millet_cache *cache;
    assert_int_equal(millet_cache_open(folder_path("none.tokens"), NULL, true, &cache, NULL),
                     MILLET_NOT_FOUND);
}

static bool stop(void *context, double fraction)
{
    (void)context;
    (void)fraction;
    return false;
}

static void test_failures(void **state)
{
    (void)state;
    corpus_write("e.txt", "");
    expect_failure("e.txt", bpe, NULL, MILLET_BAD_FORMAT, "empty");
    corpus_write("e.txt", " \n\n");
    expect_failure("e.txt", bpe, NULL, MILLET_BAD_FORMAT, "nothing in it can be used (1 empty)");
    corpus_write("e.jsonl", "{}\nx\n");
    expect_failure("e.jsonl", bpe, NULL, MILLET_BAD_FORMAT, "1 no JSON object, 1 members missing");
    expect_failure("nothing.txt", bpe, NULL, MILLET_NOT_FOUND, "cannot open");
    corpus_write("d.jsonl", "{\"messages\": [{\"role\": \"assistant\", \"content\": \"a\"}]}\n");
    millet_cache_options options = millet_cache_options_default();
    options.source.chat_template = "no-such-form";
    expect_failure("d.jsonl", bpe, &options, MILLET_NOT_FOUND, "no-such-form");
    options = millet_cache_options_default();
    options.progress = stop;
    corpus_write("a.txt", "kalo\n");
    expect_failure("a.txt", bpe, &options, MILLET_CANCELLED, "stopped");
}

static void test_threads(void **state)
{
    (void)state;
    corpus_write_documents("many.txt", 3000000, 1);
    for (int threads = 1; threads <= 4; threads++) {
        millet_cache_options options = millet_cache_options_default();
        millet_cache_info info;
        options.n_threads = threads;
        options.rebuild = true;
        millet_cache *cache =
            build("many.txt", threads == 1 ? "first.tokens" : "other.tokens", bpe, &options, &info);
        assert_true(info.n_documents > 1000);
        millet_cache_close(&cache);
        if (threads > 1) assert_true(files_are_same("first.tokens", "other.tokens"));
    }
}

/* When an old cache is used, and when it is made anew. */
static void test_reuse(void **state)
{
    (void)state;
    millet_cache_info info;
    millet_cache *cache;
    corpus_write("a.txt", "kalo mi\n");
#define BUILD(tokenizer, options, expected)                                                                  \
    do {                                                                                                     \
        cache = build("a.txt", "a.tokens", tokenizer, options, &info);                                       \
        millet_cache_close(&cache);                                                                          \
        assert_int_equal(info.reused, expected);                                                             \
    } while (0)
    BUILD(bpe, NULL, false);
    BUILD(bpe, NULL, true);
    /* Another time, the same content. */
    const struct timespec times[2] = {{1000000000, 0}, {1000000000, 0}};
    assert_int_equal(utimensat(AT_FDCWD, folder_path("a.txt"), times, 0), 0);
    BUILD(bpe, NULL, true);
    corpus_write("a.txt", "kalo mu\n"); /* the same size */
    BUILD(bpe, NULL, false);
    BUILD(unigram, NULL, false);
    BUILD(bpe, NULL, false);
    millet_cache_options options = millet_cache_options_default();
    options.source.separator = "x";
    BUILD(bpe, &options, false);
    BUILD(bpe, &options, true);
    options.n_threads = 3;
    BUILD(bpe, &options, true);
    options.rebuild = true;
    BUILD(bpe, &options, false);
    /* A cache that was damaged is made anew. */
    struct file_bytes bytes = file_read(folder_path("a.tokens"));
    bytes.data[64] ^= 1;
    file_write(folder_path("a.tokens"), &bytes);
    bytes_free(&bytes);
    options.rebuild = false;
    BUILD(bpe, &options, false);
#undef BUILD
}

/* Every byte changed, every length: refused, or with the checksum looked at, refused. */
static void test_damage(void **state)
{
    (void)state;
    millet_cache_info info;
    corpus_write(
        "a.jsonl",
        "{\"prompt\": \"tur \", \"completion\": \"en sa\", \"prefix\": true}\n{\"text\": \"kalo\"}\n");
    millet_cache *cache = build("a.jsonl", "a.tokens", bpe, NULL, &info);
    millet_cache_close(&cache);
    struct file_bytes bytes = file_read(folder_path("a.tokens"));
    for (size_t at = 0; at < bytes.size; at++) {
        bytes.data[at] ^= 0x11;
        file_write(folder_path("damaged.tokens"), &bytes);
        bytes.data[at] ^= 0x11;
        millet_status status = millet_cache_open(folder_path("damaged.tokens"), NULL, true, &cache, NULL);
        assert_true(status == MILLET_BAD_FORMAT || status == MILLET_UNSUPPORTED);
        assert_null(cache);
    }
    size_t whole = bytes.size;
    for (bytes.size = 0; bytes.size < whole; bytes.size++) {
        file_write(folder_path("damaged.tokens"), &bytes);
        assert_int_equal(millet_cache_open(folder_path("damaged.tokens"), NULL, false, &cache, NULL),
                         MILLET_BAD_FORMAT);
    }
    bytes_free(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_long_document),
        cmocka_unit_test(test_records),
        cmocka_unit_test(test_dialogues),
        cmocka_unit_test(test_what_is_left_out),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_reuse),
        cmocka_unit_test(test_damage),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
