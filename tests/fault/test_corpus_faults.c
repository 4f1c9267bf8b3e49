/*
 * Token caches, tokenizer training and batches when memory or the disk runs out, and when the process is
 * killed: what was there before is there still, or the new file is, whole.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "corpus/batches.h"
#include "support/corpus_files.h"
#include "support/counting_allocator.h"
#include "support/failing_calls.h"
#include "support/file_bytes.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

static struct counting_allocator counting;
static millet_tokenizer *tokenizer;
static char source[1024], packed[1024], words[1024], output[1024];
static struct file_bytes old_bytes, new_bytes;

static void put_old_file(void)
{
    file_write(output, &old_bytes);
}

static bool output_is(const struct file_bytes *expected)
{
    struct file_bytes now = file_read(output);
    bool same = now.size == expected->size && memcmp(now.data, expected->data, now.size) == 0;
    bytes_free(&now);
    return same;
}

/* More documents than a spool holds in memory, so that it writes. */
static int set_up(void **state)
{
    (void)state;
    if (!folder_make()) return -1;
    tokenizer = corpus_tokenizer("bpe.gguf", MILLET_TOKENIZER_BPE, 400);
    struct file_bytes bytes = {0};
    static const char line[] = "{\"prompt\": \"kalo\", \"completion\": \"mi\", \"prefix\": true}\n";
    static const char dialogue[] = "{\"messages\": [{\"role\": \"user\", \"content\": \"kalo\"}, {\"role\": "
                                   "\"assistant\", \"content\": \"mi\"}]}\n";
    static const char tagged[] =
        "{\"prompt\": \"kalo mi<|call|>\", \"completion\": \"mi\", \"prefix\": true, "
        "\"tags\": [{\"start\": 5, \"end\": 7, \"name\": \"place\"}]}\n";
    bytes_put(&bytes, tagged, sizeof tagged - 1);
    for (int i = 0; i < 9000; i++)
        bytes_put(&bytes, line, sizeof line - 1);
    bytes_put(&bytes, dialogue, sizeof dialogue - 1);
    snprintf(source, sizeof source, "%s", folder_path("a.jsonl"));
    file_write(source, &bytes);
    bytes_free(&bytes);
    snprintf(packed, sizeof packed, "%s", folder_path("p.txt.gz"));
    gzFile file = gzopen(packed, "wb");
    assert_non_null(file);
    assert_true(gzputs(file, "kalo mi\n<|endoftext|>\ntur en\n") > 0);
    assert_int_equal(gzclose(file), Z_OK);
    snprintf(
        words, sizeof words, "%s",
        corpus_write("words.txt", "kalo mi turen sa kalo mi turen vorigpel nast oo kalo turen sa sa mi"));
    snprintf(output, sizeof output, "%s", folder_path("out"));
    bytes_put(&old_bytes, "what was there before", 21);
    counting_allocator_init(&counting);
    faults_reset();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    millet_tokenizer_close(&tokenizer);
    bytes_free(&old_bytes);
    bytes_free(&new_bytes);
    folder_remove();
    return 0;
}

/* ---- What is done ---- */

static millet_status build_from(const char *from, millet_error *err)
{
    millet_cache_options options = millet_cache_options_default();
    options.allocator = &counting.allocator;
    options.n_threads = 1;
    options.source.chat_template = "chatml";
    options.source.special = true; /* of the tagged record */
    return millet_cache_build(from, output, tokenizer, &options, NULL, err);
}

static millet_status build_records(millet_error *err)
{
    return build_from(source, err);
}

static millet_status build_packed(millet_error *err)
{
    return build_from(packed, err);
}

static millet_status train(millet_tokenizer_kind kind, bool nfkc, bool json, millet_error *err)
{
    millet_tokenizer_train_options options = millet_tokenizer_train_options_default();
    const char *from = words;
    options.allocator = &counting.allocator;
    options.n_threads = 1;
    options.kind = kind;
    options.vocabulary = kind == MILLET_TOKENIZER_BPE ? 270 : 330;
    options.nfkc = nfkc;
    return millet_tokenizer_train(&from, 1, json ? NULL : output, json ? output : NULL, &options, NULL, err);
}

static millet_status train_bpe(millet_error *err)
{
    return train(MILLET_TOKENIZER_BPE, false, false, err);
}

static millet_status train_unigram(millet_error *err)
{
    return train(MILLET_TOKENIZER_UNIGRAM, false, false, err);
}

static millet_status train_nfkc(millet_error *err)
{
    return train(MILLET_TOKENIZER_UNIGRAM, true, false, err);
}

static millet_status train_json(millet_error *err)
{
    return train(MILLET_TOKENIZER_BPE, false, true, err);
}

/* The last differs from unigram by a map that takes half a second to make: its allocations alone are of
 * interest. */
static deed *const deeds[] = {build_packed, build_records, train_bpe, train_unigram, train_json, train_nfkc};
static const char *const names[] = {"build of texts", "build of records", "BPE",
                                    "unigram",        "tokenizer.json",   "unigram with NFKC"};
enum { N_ALLOCATING = sizeof deeds / sizeof *deeds, N_DEEDS = N_ALLOCATING - 1 };

/* Does it with faults on: nothing stays allocated or open, no temporary file stays, and the output is the old
 * or the new one. */
static millet_status run(deed *operation, const char *what)
{
    millet_error err = {.status = MILLET_OK};
    put_old_file();
    int files = folder_count();
    faults_begin();
    millet_status status = operation(&err);
    faults_end();
    if (counting.live != 0) fail_msg("%s: %lld blocks were kept", what, (long long)counting.live);
    if (faults.descriptors != 0) fail_msg("%s: %ld files stay open", what, faults.descriptors);
    if (status != MILLET_OK && err.message[0] == 0) fail_msg("%s: no message", what);
    if (status != MILLET_OK && !output_is(&old_bytes)) fail_msg("%s: the old file is gone", what);
    if (status == MILLET_OK && output_is(&old_bytes)) fail_msg("%s: nothing was written", what);
    if (folder_count() != files) fail_msg("%s: a temporary file stays", what);
    return status;
}

static void test_allocations(void **state)
{
    (void)state;
    for (int d = 0; d < N_ALLOCATING; d++) {
        counting.fail_at = -1;
        counting.calls = 0;
        assert_int_equal(run(deeds[d], names[d]), MILLET_OK);
        long long calls = counting.calls, step = 1, refused = 0, tried = 0;
        bytes_free(&new_bytes);
        new_bytes = file_read(output);
        assert_true(calls > 20);
        /* Where there are very many they are alike: all at the beginning and the end, and a part of those
         * between. What comes after the map is that of unigram: a few of them. */
        bool mapped = deeds[d] == train_nfkc;
        long long head = mapped ? 53 : 60, tail = mapped ? 1 : 24, between = mapped ? 5 : 16;
        for (long long n = 0; n < calls; n += step) {
            char what[64];
            snprintf(what, sizeof what, "%s, allocation %lld of %lld", names[d], n, calls);
            counting.calls = 0;
            counting.fail_at = n;
            millet_status status = run(deeds[d], what);
            counting.fail_at = -1;
            /* Some memory is for speed only (a stack for compiled patterns), and an old cache that cannot be
             * looked at is made anew. */
            bool good = status == MILLET_NO_MEMORY || (status == MILLET_OK && output_is(&new_bytes));
            if (!good) fail_msg("%s: status %d", what, status);
            refused += status == MILLET_NO_MEMORY;
            tried++;
            step = n > head && n < calls - tail ? 1 + calls / between : 1;
        }
        assert_true(refused > tried / 2);
    }
}

static void test_calls(void **state)
{
    (void)state;
    for (int d = 0; d < N_DEEDS; d++) {
        assert_true(refuse_calls(run, deeds[d], WRITE, ENOSPC, true) >= 1);
        assert_int_equal(refuse_calls(run, deeds[d], RENAME, EACCES, true), 1);
        /* The source's size and bytes; the writer reads nothing. */
        assert_true(refuse_calls(run, deeds[d], READ, EIO, true) >= 1);
    }
    assert_true(refuse_calls(run, build_records, WRITE, ENOSPC, true) >= 3); /* a spool among them */
}

/* Reads and writes that are interrupted or short. */
static void test_trickle(void **state)
{
    (void)state;
    for (int d = 0; d < N_DEEDS; d++) {
        if (deeds[d] == build_records) continue; /* too many calls of seven bytes */
        assert_int_equal(run(deeds[d], names[d]), MILLET_OK);
        bytes_free(&new_bytes);
        new_bytes = file_read(output);
        faults.trickle = true;
        assert_int_equal(run(deeds[d], names[d]), MILLET_OK);
        faults.trickle = false;
        assert_true(output_is(&new_bytes));
    }
}

static void test_killed(void **state)
{
    (void)state;
    for (int d = 0; d < N_DEEDS; d++) {
        assert_int_equal(run(deeds[d], names[d]), MILLET_OK);
        bytes_free(&new_bytes);
        new_bytes = file_read(output);
        long calls = faults.total;
        int n_old = 0, n_new = 0;
        for (long n = 0; n <= calls; n += calls > 30 && n > 4 && n < calls - 8 ? 1 + calls / 12 : 1) {
            put_old_file();
            pid_t child = fork();
            assert_true(child >= 0);
            if (child == 0) {
                faults_begin();
                faults.kill_at = n;
                _exit(deeds[d](NULL) == MILLET_OK ? 0 : 1);
            }
            int status;
            assert_int_equal(waitpid(child, &status, 0), child);
            assert_true(n == calls ? WIFEXITED(status) && WEXITSTATUS(status) == 0 : WIFSIGNALED(status));
            if (output_is(&old_bytes))
                n_old++;
            else if (output_is(&new_bytes))
                n_new++;
            else
                fail_msg("%s, killed before call %ld: neither the old nor the new file", names[d], n);
        }
        assert_true(n_old >= 3 && n_new >= 1);
    }
}

static void test_batches(void **state)
{
    (void)state;
    millet_cache *cache = NULL;
    assert_int_equal(run(build_records, "build"), MILLET_OK);
    assert_int_equal(millet_cache_open(output, NULL, true, &cache, NULL), MILLET_OK);
    millet_cache_info info;
    millet_cache_get_info(cache, &info);
    assert_true(info.n_labels > 0);
    const millet_mixture_part parts[] = {{.cache = cache, .weight = 1}, {.cache = cache, .weight = 2}};
    for (int packing = 0; packing < 2; packing++) {
        millet_batch_options options = millet_batch_options_default();
        options.allocator = &counting.allocator;
        options.packing = packing ? MILLET_PACK_SEQUENTIAL : MILLET_PACK_BEST_FIT;
        for (long long n = 0;; n++) {
            millet_batches *batches;
            counting.calls = 0;
            counting.fail_at = n;
            millet_status status = millet_batches_open(parts, 2, &options, &batches, NULL);
            counting.fail_at = -1;
            millet_batches_close(&batches);
            assert_int_equal(counting.live, 0);
            if (status == MILLET_OK) {
                assert_true(n > 3);
                break;
            }
            assert_int_equal(status, MILLET_NO_MEMORY);
        }
    }
    for (long long n = 0;; n++) {
        millet_cache *again;
        counting.calls = 0;
        counting.fail_at = n;
        millet_status status = millet_cache_open(output, &counting.allocator, true, &again, NULL);
        counting.fail_at = -1;
        millet_cache_close(&again);
        assert_int_equal(counting.live, 0);
        if (status == MILLET_OK) break;
        assert_int_equal(status, MILLET_NO_MEMORY);
    }
    millet_cache_close(&cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_allocations, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_calls, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_trickle, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_killed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_batches, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
