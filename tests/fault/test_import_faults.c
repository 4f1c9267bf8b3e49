/*
 * Importing a model while every allocation, ours and jansson's, and every system call fails in turn. Whatever
 * fails, memory and file descriptors come back, and the status says so.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "import/import.h"
#include "import/json_read.h"
#include "millet/lab.h"
#include "support/counting_allocator.h"
#include "support/failing_calls.h"
#include "support/hf_files.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

/* jansson's memory. */
static struct {
    long calls, fail_at, live;
} jansson;

static void *jansson_malloc(size_t size)
{
    if (faults.on && jansson.calls++ == jansson.fail_at) {
        errno = ENOMEM;
        return NULL;
    }
    void *block = malloc(size);
    if (block && faults.on) jansson.live++;
    return block;
}

static void jansson_free(void *block)
{
    if (block && faults.on) jansson.live--;
    free(block);
}

static struct counting_allocator counting;

static const char *folder(void)
{
    static char path[512];
    snprintf(path, sizeof path, "%s", folder_path(""));
    path[strlen(path) - 1] = 0;
    return path;
}

/* Opens the model and reads all of it. */
static millet_status import(millet_error *err)
{
    struct mlt_checkpoint *checkpoint;
    millet_status status = mlt_import_checkpoint(&counting.allocator, folder(), &checkpoint, err);
    if (status != MILLET_OK) {
        assert_null(checkpoint);
        return status;
    }
    static uint8_t row[4096];
    for (size_t i = 0; i < checkpoint->n_tensors; i++) {
        const struct mlt_tensor *tensor = &checkpoint->tensors[i];
        assert_true(tensor->row_bytes <= sizeof row);
        for (uint64_t r = 0; r < tensor->rows; r++)
            assert_int_equal(mlt_tensor_read(tensor, r, 1, row, err), MILLET_OK);
    }
    mlt_checkpoint_close(&checkpoint);
    return MILLET_OK;
}

static millet_status open_model(millet_error *err)
{
    millet_model_options options = {.allocator = &counting.allocator};
    millet_model *model;
    millet_status status = millet_lab_model_open(folder(), &options, &model, err);
    if (status != MILLET_OK) assert_null(model);
    millet_model_close(&model);
    return status;
}

static char last_message[512];

static millet_status run(deed *operation, const char *what)
{
    millet_error err = {0};
    jansson.live = jansson.calls = 0;
    faults_begin();
    millet_status status = operation(&err);
    faults_end();
    snprintf(last_message, sizeof last_message, "%s", err.message);
    if (counting.live != 0) fail_msg("%s: %lld blocks are left", what, (long long)counting.live);
    if (jansson.live != 0) fail_msg("%s: %ld blocks of jansson are left", what, jansson.live);
    if (faults.descriptors != 0) fail_msg("%s: %ld descriptors are left", what, faults.descriptors);
    if (status != MILLET_OK) {
        assert_int_equal(err.status, status);
        assert_string_not_equal(err.message, "");
    }
    return status;
}

/* A model of one layer in two shards, with a tokenizer and everything beside it. */
static void write_files(void)
{
    static const char *const names[] = {
        "model.embed_tokens.weight",
        "model.norm.weight",
        "model.layers.0.input_layernorm.weight",
        "model.layers.0.post_attention_layernorm.weight",
        "model.layers.0.self_attn.q_proj.weight",
        "model.layers.0.self_attn.k_proj.weight",
        "model.layers.0.self_attn.v_proj.weight",
        "model.layers.0.self_attn.o_proj.weight",
        "model.layers.0.mlp.gate_proj.weight",
        "model.layers.0.mlp.up_proj.weight",
        "model.layers.0.mlp.down_proj.weight",
    };
    static const uint16_t zeros[8 * 8];
    struct hf_file shards[2] = {{0}};
    json_t *map = json_object();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        int64_t shape[2] = {8, 8};
        bool vector = strstr(names[i], "norm") != NULL;
        hf_tensor(&shards[i % 2], names[i], "BF16", vector ? 1 : 2, shape, zeros, vector ? 16 : 128);
        json_object_set_new(map, names[i], json_string(i % 2 ? "b.safetensors" : "a.safetensors"));
    }
    hf_write_file("a.safetensors", &shards[0]);
    hf_write_file("b.safetensors", &shards[1]);
    hf_write_json("model.safetensors.index.json", json_pack("{s:o}", "weight_map", map));
    hf_write_text(
        "config.json",
        "{\"architectures\":[\"LlamaForCausalLM\"],\"num_hidden_layers\":1,\"hidden_size\":8,"
        "\"intermediate_size\":8,\"num_attention_heads\":2,\"vocab_size\":8,\"max_position_embeddings\":"
        "8,\"rope_scaling\":{\"rope_type\":\"llama3\"}}");
    hf_write_text("generation_config.json", "{\"eos_token_id\":[7,6]}");
    hf_write_text("special_tokens_map.json", "{\"bos_token\":\"<s>\"}");
    hf_write_text("tokenizer_config.json", "{\"eos_token\":\"</s>\"}");
    hf_write_text("chat_template.jinja", "{{ messages }}");
    hf_write_text(
        "tokenizer.json",
        "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,\"c\":3},\"merges\":[\"a b\"]},"
        "\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":"
        "{\"Regex\":\"a+\"},\"behavior\":\"Isolated\"},{\"type\":\"ByteLevel\",\"use_regex\":false}]},"
        "\"added_tokens\":[{\"id\":6,\"content\":\"<s>\",\"special\":true},{\"id\":7,\"content\":\"</s>\","
        "\"special\":true}]}");
}

static int set_up(void **state)
{
    (void)state;
    faults_reset();
    jansson.fail_at = -1;
    counting_allocator_init(&counting);
    folder_make();
    write_files();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    folder_remove();
    return 0;
}

static deed *const deeds[] = {import, open_model};

static void test_allocations(void **state)
{
    (void)state;
    for (size_t i = 0; i < MLT_COUNT(deeds); i++) {
        for (long long n = 0;; n++) {
            char what[64];
            snprintf(what, sizeof what, "allocation %lld", n);
            counting.calls = 0;
            counting.fail_at = n;
            millet_status status = run(deeds[i], what);
            bool reached = counting.calls > n;
            counting.fail_at = -1;
            if (!reached) {
                assert_int_equal(status, MILLET_OK);
                assert_true(n > 10);
                break;
            }
            /* The tokenizer's expressions are quicker with machine code of their own, and work without. */
            bool may_do_without = deeds[i] == open_model && status == MILLET_OK;
            if (status != MILLET_NO_MEMORY && !may_do_without)
                fail_msg("%s: %s", what, millet_status_name(status));
        }
    }
}

/* The text that the parser gets when its allocations fail. */
static millet_status parse(millet_error *err)
{
    static const char text[] =
        "{\"a\":{\"b\":[1,2.5,\"xyz\",null],\"c\":{}},\"d\":[[],true],\"e\":7,\"f\":8,\"g\":9,"
        "\"h\":\"i\",\"j\":0,\"k\":1,\"l\":2,\"m\":3,\"n\":4,\"o\":5}";
    json_t *root;
    millet_status status = mlt_json_parse("text", 0, text, sizeof text - 1, &root, err);
    if (status != MILLET_OK) assert_null(root);
    json_decref(root);
    return status;
}

/*
 * Strings are short here: of all its allocations, jansson (2.14) does not check the one that makes room for a
 * longer string.
 */
static void test_parser_allocations(void **state)
{
    (void)state;
    for (long n = 0;; n++) {
        char what[64];
        snprintf(what, sizeof what, "jansson's allocation %ld", n);
        jansson.fail_at = n;
        millet_status status = run(parse, what);
        jansson.fail_at = -1;
        if (jansson.calls <= n) {
            assert_int_equal(status, MILLET_OK);
            assert_true(n > 40);
            return;
        }
        if (status != MILLET_NO_MEMORY) fail_msg("%s: %s", what, last_message);
    }
}

static void test_files(void **state)
{
    (void)state;
    enum { N_SHARDS = 2, N_TEXTS = 7 };
    assert_true(refuse_calls(run, import, OPEN, EACCES, true) >= N_SHARDS + N_TEXTS);
    assert_int_equal(refuse_calls(run, import, FSTAT, EIO, true), N_SHARDS + N_TEXTS);
    assert_int_equal(refuse_calls(run, import, READ, EIO, true), N_TEXTS);
    assert_int_equal(refuse_calls(run, import, MMAP, EAGAIN, true), N_SHARDS);
    assert_int_equal(refuse_calls(run, import, MMAP, ENOMEM, true), N_SHARDS);
    assert_int_equal(refuse_calls(run, import, CLOSE, EIO, false),
                     N_SHARDS + N_TEXTS); /* nothing was written */
    faults.no_mmap = true;
    assert_int_equal(refuse_calls(run, import, READ, EIO, true), N_SHARDS + N_TEXTS);
    faults.no_mmap = false;
}

/* Each file cut at every length: a status and a message, never a crash; config.json is the only one needed.
 */
static void test_truncated_files(void **state)
{
    (void)state;
    static const char *const names[] = {
        "config.json",           "generation_config.json", "special_tokens_map.json",
        "tokenizer_config.json", "tokenizer.json",         "model.safetensors.index.json",
        "a.safetensors"};
    for (size_t i = 0; i < MLT_COUNT(names); i++) {
        struct file_bytes whole = file_read(folder_path(names[i]));
        size_t size = whole.size;
        for (whole.size = 0; whole.size < size; whole.size++) {
            file_write(folder_path(names[i]), &whole);
            assert_int_equal(run(import, names[i]), MILLET_BAD_FORMAT);
        }
        file_write(folder_path(names[i]), &whole);
        assert_int_equal(run(import, names[i]), MILLET_OK);
        bytes_free(&whole);
    }
}

int main(void)
{
    json_set_alloc_funcs(jansson_malloc, jansson_free);
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_allocations),
        TEST(test_parser_allocations),
        TEST(test_files),
        TEST(test_truncated_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
