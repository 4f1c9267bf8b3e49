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

/* ---- Tags ---- */

struct tag {
    size_t start, end;
    const char *name;
};

static void write_tagged(struct file_bytes *out, const char *prompt, const struct tag *tags, size_t n_tags)
{
    char line[2000];
    int n = snprintf(line, sizeof line,
                     "{\"prompt\": \"%s\", \"completion\": \"<|im_end|>\", \"prefix\": true, \"tags\": [",
                     prompt);
    for (size_t i = 0; i < n_tags; i++)
        n += snprintf(line + n, sizeof line - (size_t)n, "%s{\"start\": %zu, \"end\": %zu, \"name\": \"%s\"}",
                      i ? ", " : "", tags[i].start, tags[i].end, tags[i].name);
    n += snprintf(line + n, sizeof line - (size_t)n, "]}\n");
    bytes_put(out, line, (size_t)n);
}

/* What a reader of labels makes of a document: the text of each run of B and I, as "name=text;". Every token
 * of the prompt has a label but control tokens, no other has. */
static void slots_of(const millet_cache *cache, const millet_tokenizer *tokenizer, uint64_t index, char *out)
{
    millet_document document;
    millet_tokenizer_info info;
    size_t length = 0;
    int32_t ids[200], n = 0;
    char open[64] = "";
    millet_tokenizer_get_info(tokenizer, &info);
    assert_int_equal(millet_cache_document(cache, index, &document, NULL), MILLET_OK);
    for (uint64_t i = 0; i <= document.count; i++) {
        bool trained = false;
        int32_t label = i < document.count ? millet_cache_label(cache, document.first + i) : -1;
        size_t size = 0, text_size;
        const char *name = label >= 0 ? millet_tokenizer_token(tokenizer, label, &size) : "";
        if (i < document.count) {
            int32_t id = millet_cache_token(cache, document.first + i, &trained);
            const char *text = millet_tokenizer_token(tokenizer, id, &text_size);
            bool control = id == info.bos || id == info.eos || (text_size > 3 && memcmp(text, "<|", 2) == 0);
            assert_int_equal(label >= 0, !control && !trained && i < document.prefix);
        }
        bool goes_on = open[0] && size > 4 && memcmp(name, "<|I:", 4) == 0;
        if (goes_on) assert_true(strncmp(name + 4, open, strlen(open)) == 0);
        if (open[0] && !goes_on) {
            char text[400];
            size_t bytes;
            assert_int_equal(
                millet_tokenizer_decode(tokenizer, ids, (size_t)n, false, text, sizeof text, &bytes, NULL),
                MILLET_OK);
            const char *from = text;
            while (bytes && *from == ' ')
                from++, bytes--;
            length += (size_t)sprintf(out + length, "%s=%.*s;", open, (int)bytes, from);
            open[0] = 0;
        }
        if (size > 4 && memcmp(name, "<|B:", 4) == 0) {
            snprintf(open, sizeof open, "%.*s", (int)size - 6, name + 4);
            n = 0;
        }
        if (open[0]) ids[n++] = millet_cache_token(cache, document.first + i, NULL);
    }
    out[length] = 0;
}

/* The slots come back from the labels, whatever tokens the words are. */
static void test_tags(void **state)
{
    (void)state;
    static const struct {
        const char *prompt, *slots;
        size_t n_tags;
        struct tag tags[4];
    } cases[] = {
        {"kalomi turen sa<|call|>", "", 0, {{0}}},
        {"kalomi turen sa<|call|>", "place=kalomi;", 1, {{0, 6, "place"}}},
        {"kalomi turen sa<|call|>", "place=sa;", 1, {{13, 15, "place"}}},
        {"kalomi turen sa<|call|>", "place=turen sa;", 1, {{7, 15, "place"}}},
        /* White space belongs to nobody where it stands before a span. */
        {"kalomi turen sa<|call|>", "place=turen;", 1, {{6, 12, "place"}}},
        {"<|im_start|> kalomi turen <|call|>", "a/time=turen;", 1, {{20, 25, "a/time"}}},
        /* Not in the order of the text, and without anything between. */
        {"kalomi turen sa<|call|>",
         "a/time=kalomi;place=turen;place=sa;",
         3,
         {{13, 15, "place"}, {0, 6, "a/time"}, {7, 12, "place"}}},
        /* Characters of several tokens. */
        {"ka \xC3\xA9\xE4\xB8\xAD lo 7 \xF0\x9F\x98\x80 mi<|call|>",
         "place=\xC3\xA9\xE4\xB8\xAD;a/time=7;place=\xF0\x9F\x98\x80;",
         3,
         {{3, 8, "place"}, {12, 13, "a/time"}, {14, 18, "place"}}},
        {"  kalomi   turen  sa <|call|>",
         "place=turen;a/time=sa;",
         2,
         {{11, 16, "place"}, {18, 20, "a/time"}}},
        {"<|im_start|>kalomi<|im_start|>turen<|call|>",
         "place=kalomi;a/time=turen;",
         2,
         {{12, 18, "place"}, {30, 35, "a/time"}}},
    };
    millet_tokenizer *const tokenizers[] = {bpe, unigram};
    struct file_bytes bytes = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        write_tagged(&bytes, cases[i].prompt, cases[i].tags, cases[i].n_tags);
    file_write(folder_path("tags.jsonl"), &bytes);
    bytes_free(&bytes);
    millet_cache_options options = millet_cache_options_default();
    options.source.special = true;
    for (int k = 0; k < 2; k++) {
        millet_cache_info info;
        millet_cache *cache = build("tags.jsonl", "tags.tokens", tokenizers[k], &options, &info);
        uint64_t n_labels = 0;
        assert_int_equal(info.n_documents, sizeof cases / sizeof *cases);
        for (uint64_t i = 0; i < info.n_documents; i++) {
            char slots[2000];
            slots_of(cache, tokenizers[k], i, slots);
            assert_string_equal(slots, cases[i].slots);
        }
        for (uint64_t i = 0; i < info.n_tokens; i++)
            n_labels += millet_cache_label(cache, i) >= 0;
        assert_true(n_labels > 0 && n_labels == info.n_labels);
        assert_int_equal(millet_cache_label(cache, info.n_tokens), -1);
        millet_cache_close(&cache);
    }
}

/* More documents than a chunk or a spool holds, of which the last few have labels. */
static void test_late_labels(void **state)
{
    (void)state;
    struct file_bytes bytes = {0};
    static const char plain[] = "{\"prompt\": \"kalo<|call|>\", \"completion\": \"mi\", \"prefix\": true}\n";
    enum { PLAIN = 20000 };
    const struct tag tag = {0, 4, "place"};
    for (int i = 0; i < PLAIN; i++)
        bytes_put(&bytes, plain, sizeof plain - 1);
    write_tagged(&bytes, "kalo<|call|>", &tag, 1);
    bytes_put(&bytes, plain, sizeof plain - 1);
    write_tagged(&bytes, "kalo<|call|>", &tag, 0);
    bytes_put(&bytes, plain, sizeof plain - 1);
    file_write(folder_path("late.jsonl"), &bytes);
    bytes_free(&bytes);
    millet_cache_options options = millet_cache_options_default();
    options.source.special = true;
    millet_cache_info info;
    millet_cache *cache = build("late.jsonl", "late.tokens", bpe, &options, &info);
    assert_int_equal(info.n_documents, PLAIN + 4);
    for (uint64_t d = 0; d < info.n_documents; d++) {
        millet_document document;
        uint64_t n_labels = 0;
        assert_int_equal(millet_cache_document(cache, d, &document, NULL), MILLET_OK);
        for (uint64_t i = 0; i < document.count; i++)
            n_labels += millet_cache_label(cache, document.first + i) >= 0;
        assert_int_equal(n_labels > 0, d == PLAIN || d == PLAIN + 2);
    }
    char slots[100];
    slots_of(cache, bpe, PLAIN, slots);
    assert_string_equal(slots, "place=kalo;");
    millet_cache_close(&cache);
}

static void test_bad_tags(void **state)
{
    (void)state;
    static const struct {
        millet_skip reason;
        const char *members;
    } cases[] = {
#define PROMPT "\"prompt\": \"kalomi turen<|call|>\", "
#define TAGS(tags) PROMPT "\"prefix\": true, \"tags\": [" tags "]"
        {MILLET_SKIP_REASONS, TAGS("{\"start\": 0, \"end\": 6, \"name\": \"place\"}")},
        {MILLET_SKIP_TAGS, PROMPT "\"tags\": []"},
        {MILLET_SKIP_TAGS, PROMPT "\"prefix\": false, \"tags\": []"},
        {MILLET_SKIP_TAGS, TAGS("{\"start\": 0, \"end\": 21, \"name\": \"place\"}")},
        {MILLET_SKIP_TAGS, TAGS("{\"start\": -1, \"end\": 6, \"name\": \"place\"}")},
        {MILLET_SKIP_TAGS, TAGS("{\"start\": 1e300, \"end\": 1e308, \"name\": \"place\"}")},
        {MILLET_SKIP_TAGS, TAGS("{\"start\": 0.5, \"end\": 6, \"name\": \"place\"}")},
        {MILLET_SKIP_TAGS, TAGS("{\"start\": 6, \"end\": 0, \"name\": \"place\"}")},
        {MILLET_SKIP_TAGS, TAGS("{\"start\": 7, \"end\": 7, \"name\": \"place\"}")},
        {MILLET_SKIP_TAGS, TAGS("{\"start\": 12, \"end\": 20, \"name\": \"place\"}")}, /* the control token */
        {MILLET_SKIP_TAGS, TAGS("{\"start\": 0, \"end\": 8, \"name\": \"place\"}, {\"start\": 7, \"end\": "
                                "12, \"name\": \"place\"}")},
        {MILLET_SKIP_TAGS, TAGS("{\"start\": 0, \"end\": 6, \"name\": \"place\"}, {\"start\": 0, \"end\": 6, "
                                "\"name\": \"place\"}")},
        {MILLET_SKIP_TAG_TOKENS, TAGS("{\"start\": 0, \"end\": 6, \"name\": \"none\"}")},
        {MILLET_SKIP_TAG_TOKENS, TAGS("{\"start\": 0, \"end\": 6, \"name\": \"half\"}")},
        {MILLET_SKIP_TAG_TOKENS, TAGS("{\"start\": 0, \"end\": 6, \"name\": \"place\\u0000\"}")},
        {MILLET_SKIP_TAG_PROMPT, "\"prompt\": \"kalomi\", \"prefix\": true, \"tags\": []"},
        {MILLET_SKIP_TAG_PROMPT, "\"prompt\": \"\", \"prefix\": true, \"tags\": []"},
        {MILLET_SKIP_FIELDS, PROMPT "\"prefix\": true, \"tags\": {}"},
        {MILLET_SKIP_FIELDS, TAGS("1")},
        {MILLET_SKIP_FIELDS, TAGS("{\"start\": 0, \"end\": 6}")},
        {MILLET_SKIP_FIELDS, TAGS("{\"start\": 0, \"end\": 6, \"name\": 1}")},
        {MILLET_SKIP_FIELDS, TAGS("{\"start\": \"0\", \"end\": 6, \"name\": \"place\"}")},
#undef PROMPT
#undef TAGS
    };
    millet_cache_options options = millet_cache_options_default();
    options.source.special = true;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        millet_cache_info info;
        char lines[1000];
        snprintf(lines, sizeof lines, "{%s, \"completion\": \"mi\"}\n{\"text\": \"kalo\"}\n",
                 cases[i].members);
        corpus_write("bad.jsonl", lines);
        millet_cache *cache = build("bad.jsonl", "bad.tokens", bpe, &options, &info);
        bool used = cases[i].reason == MILLET_SKIP_REASONS;
        assert_int_equal(info.n_documents, 1 + used);
        assert_int_equal(info.n_labels > 0, used);
        for (int r = 0; r < MILLET_SKIP_REASONS; r++)
            if (info.n_skipped[r] != (r == (int)cases[i].reason))
                fail_msg("case %zu: %llu records are left out: %s", i, (unsigned long long)info.n_skipped[r],
                         millet_skip_text((millet_skip)r));
        millet_cache_close(&cache);
    }
    /* Without control tokens in texts there is none that the prompt could end with. */
    millet_cache_info info;
    corpus_write("bad.jsonl", "{\"prompt\": \"kalo<|call|>\", \"completion\": \"mi\", \"prefix\": true, "
                              "\"tags\": []}\n{\"text\": \"kalo\"}\n");
    millet_cache *cache = build("bad.jsonl", "bad.tokens", bpe, NULL, &info);
    assert_int_equal(info.n_skipped[MILLET_SKIP_TAG_PROMPT], 1);
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
    /* One of an earlier version is made anew; opened, it is refused. */
    bytes = file_read(folder_path("a.tokens"));
    bytes.data[8] = 1;
    file_write(folder_path("a.tokens"), &bytes);
    bytes_free(&bytes);
    millet_error err;
    assert_int_equal(millet_cache_open(folder_path("a.tokens"), NULL, false, &cache, &err),
                     MILLET_UNSUPPORTED);
    assert_non_null(strstr(err.message, "version 1"));
    BUILD(bpe, &options, false);
    BUILD(bpe, &options, true);
#undef BUILD
}

/* Every byte changed, every length: refused, or with the checksum looked at, refused. */
static void test_damage(void **state)
{
    (void)state;
    millet_cache_info info;
    corpus_write("a.jsonl", "{\"prompt\": \"tur<|call|>\", \"completion\": \"en sa\", \"prefix\": true, "
                            "\"tags\": []}\n{\"text\": \"kalo\"}\n");
    millet_cache_options options = millet_cache_options_default();
    options.source.special = true;
    millet_cache *cache = build("a.jsonl", "a.tokens", bpe, &options, &info);
    assert_true(info.n_labels > 0 && info.prefixes && info.masked);
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
        cmocka_unit_test(test_texts),       cmocka_unit_test(test_long_document),
        cmocka_unit_test(test_records),     cmocka_unit_test(test_tags),
        cmocka_unit_test(test_late_labels), cmocka_unit_test(test_bad_tags),
        cmocka_unit_test(test_dialogues),   cmocka_unit_test(test_what_is_left_out),
        cmocka_unit_test(test_failures),    cmocka_unit_test(test_threads),
        cmocka_unit_test(test_reuse),       cmocka_unit_test(test_damage),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
