/* The GGUF writer: what is written is read back, in the canonical layout, whole or not at all.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/random.h"
#include "format/gguf_write.h"
#include "support/counting_allocator.h"
#include "support/file_bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct counting_allocator counting;

static int set_up(void **state)
{
    (void)state;
    counting_allocator_init(&counting);
    folder_make();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    folder_remove();
    return counting.live == 0 ? 0 : -1;
}

static struct mlt_string text(const char *data)
{
    return (struct mlt_string){data, strlen(data)};
}

static struct mlt_gguf_contents contents_of(const struct mlt_checkpoint *checkpoint)
{
    return (struct mlt_gguf_contents){.metas = checkpoint->metas,
                                      .n_metas = checkpoint->n_metas,
                                      .tensors = checkpoint->tensors,
                                      .n_tensors = checkpoint->n_tensors};
}

/* Writes all tensors of a checkpoint, in tiles of varying size. */
static void write_tensors(struct mlt_gguf_writer *writer, const struct mlt_checkpoint *checkpoint)
{
    uint64_t tile = 1;
    for (size_t i = 0; i < checkpoint->n_tensors; i++) {
        const struct mlt_tensor *tensor = &checkpoint->tensors[i];
        for (uint64_t at = 0; at < tensor->bytes; at += tile) {
            tile = MLT_MIN(tile * 3 % 1009 + 1, tensor->bytes - at);
            assert_int_equal(mlt_gguf_writer_write(writer, i, tensor->data + at, tile, NULL), MILLET_OK);
        }
    }
}

static void write_checkpoint(const struct mlt_checkpoint *checkpoint, const char *path, uint64_t piece_bytes)
{
    struct mlt_gguf_writer *writer;
    struct mlt_gguf_contents contents = contents_of(checkpoint);
    contents.piece_bytes = piece_bytes;
    millet_error err = {0};
    if (mlt_gguf_writer_open(&counting.allocator, path, &contents, &writer, &err) != MILLET_OK)
        fail_msg("%s", err.message);
    write_tensors(writer, checkpoint);
    assert_int_equal(mlt_gguf_writer_commit(&writer, NULL), MILLET_OK);
    assert_null(writer);
}

static struct mlt_checkpoint *open_path(const char *path)
{
    struct mlt_checkpoint *checkpoint;
    millet_error err = {0};
    if (mlt_checkpoint_open(&counting.allocator, path, NULL, &checkpoint, &err) != MILLET_OK)
        fail_msg("%s: %s: %s", err.file, err.item, err.message);
    return checkpoint;
}

static void assert_same_value(const struct mlt_meta *a, const struct mlt_meta *b)
{
    assert_string_equal(a->key.data, b->key.data);
    assert_int_equal(a->type, b->type);
    assert_int_equal(a->element, b->element);
    assert_int_equal(a->count, b->count);
    if (a->type == MLT_META_STRING) {
        assert_int_equal(a->value.string.length, b->value.string.length);
        assert_memory_equal(a->value.string.data, b->value.string.data, a->value.string.length + 1);
    } else if (a->type == MLT_META_ARRAY && a->element == MLT_META_STRING) {
        const struct mlt_string *left = a->value.array, *right = b->value.array;
        for (uint64_t i = 0; i < a->count; i++) {
            assert_int_equal(left[i].length, right[i].length);
            assert_memory_equal(left[i].data, right[i].data, left[i].length + 1);
        }
    } else if (a->type == MLT_META_ARRAY) {
        assert_memory_equal(a->value.array, b->value.array, a->count * mlt_meta_type_size(a->element));
    } else {
        assert_memory_equal(&a->value.u, &b->value.u, sizeof a->value.u); /* bits: NaN equals itself */
    }
}

static void assert_same_tensor(const struct mlt_tensor *a, const struct mlt_tensor *b)
{
    assert_string_equal(a->name.data, b->name.data);
    assert_int_equal(a->dtype, b->dtype);
    assert_int_equal(a->n_dims, b->n_dims);
    assert_memory_equal(a->ne, b->ne, sizeof a->ne);
    assert_int_equal(a->bytes, b->bytes);
    assert_memory_equal(a->data, b->data, a->bytes);
}

static void assert_same(const struct mlt_checkpoint *a, const struct mlt_checkpoint *b)
{
    assert_int_equal(a->n_metas, b->n_metas);
    assert_int_equal(a->n_tensors, b->n_tensors);
    for (size_t i = 0; i < a->n_metas; i++)
        assert_same_value(&a->metas[i], &b->metas[i]);
    for (size_t i = 0; i < a->n_tensors; i++)
        assert_same_tensor(&a->tensors[i], &b->tensors[i]);
}

static void assert_same_files(const char *a, const char *b)
{
    struct file_bytes left = file_read(a), right = file_read(b);
    assert_int_equal(left.size, right.size);
    assert_memory_equal(left.data, right.data, left.size);
    bytes_free(&left);
    bytes_free(&right);
}

static uint64_t below(struct mlt_random *random, uint64_t limit)
{
    return mlt_random_u64(random) % limit;
}

static void random_bytes(struct mlt_random *random, void *to, size_t size)
{
    for (size_t i = 0; i < size; i++)
        ((uint8_t *)to)[i] = (uint8_t)below(random, 256);
}

/* One value of `type` into a meta's union, or an element's bytes; bools stay bools, F32 stay what a float
 * holds. */
static void random_meta(struct mlt_random *random, struct mlt_checkpoint *checkpoint, int n)
{
    char key[32], letters[64], more[3][64];
    snprintf(key, sizeof key, "key %d", n);
    enum mlt_meta_type type = (enum mlt_meta_type)below(random, 13);
    struct mlt_meta meta = {.key = text(key), .type = type, .element = type, .count = 1};
    float real = mlt_random_normal(random);
    uint64_t bits = mlt_random_u64(random);
    random_bytes(random, letters, sizeof letters);
    struct mlt_string strings[3];
    uint8_t elements[8 * 50];
    switch (type) {
    case MLT_META_U8: meta.value.u = (uint8_t)bits; break;
    case MLT_META_U16: meta.value.u = (uint16_t)bits; break;
    case MLT_META_U32: meta.value.u = (uint32_t)bits; break;
    case MLT_META_U64: meta.value.u = bits; break;
    case MLT_META_I8: meta.value.i = (int8_t)bits; break;
    case MLT_META_I16: meta.value.i = (int16_t)bits; break;
    case MLT_META_I32: meta.value.i = (int32_t)bits; break;
    case MLT_META_I64: meta.value.i = (int64_t)bits; break;
    case MLT_META_F32: meta.value.f = (double)real; break;
    case MLT_META_F64: meta.value.f = (double)real * 1e-200; break;
    case MLT_META_BOOL: meta.value.u = bits % 2; break;
    case MLT_META_STRING: meta.value.string = (struct mlt_string){letters, bits % sizeof letters}; break;
    case MLT_META_ARRAY:
        meta.element = (enum mlt_meta_type)below(random, 13);
        if (meta.element == MLT_META_ARRAY) meta.element = MLT_META_STRING;
        meta.count = bits % (meta.element == MLT_META_STRING ? 4 : 50);
        random_bytes(random, elements, sizeof elements);
        for (size_t i = 0; meta.element == MLT_META_BOOL && i < sizeof elements; i++)
            elements[i] %= 2;
        for (int i = 0; i < 3; i++) {
            random_bytes(random, more[i], sizeof more[i]);
            strings[i] = (struct mlt_string){more[i], below(random, sizeof more[i])};
        }
        meta.value.array = meta.element == MLT_META_STRING ? (const void *)strings : elements;
        break;
    }
    assert_int_equal(mlt_checkpoint_add_meta(checkpoint, &meta, NULL), MILLET_OK);
}

static void random_tensor(struct mlt_random *random, struct mlt_checkpoint *checkpoint, int n)
{
    static const uint8_t dtypes[] = {
#define NUMBER(name, number, text, length, bytes) number,
        MLT_DTYPE_LIST(NUMBER)
#undef NUMBER
    };
    char name[32];
    snprintf(name, sizeof name, "tensor %d", n);
    struct mlt_tensor tensor = {.name = text(name), .dtype = (mlt_dtype)dtypes[below(random, sizeof dtypes)]};
    const struct mlt_dtype_info *info = mlt_dtype_info(tensor.dtype);
    tensor.n_dims = 1 + (int)below(random, 4);
    for (int i = 0; i < 4; i++)
        tensor.ne[i] = (int64_t)(1 + below(random, 3));
    tensor.ne[0] *= info->block_length;
    uint64_t bytes = (uint64_t)tensor.ne[0] / (uint64_t)info->block_length * (uint64_t)info->block_bytes;
    for (int i = 1; i < tensor.n_dims; i++)
        bytes *= (uint64_t)tensor.ne[i];
    uint8_t *data = mlt_arena_alloc(&checkpoint->arena, (size_t)bytes, 1, NULL);
    assert_non_null(data);
    random_bytes(random, data, (size_t)bytes);
    tensor.data = data;
    assert_int_equal(mlt_checkpoint_add_tensor(checkpoint, &tensor, NULL), MILLET_OK);
}

static struct mlt_checkpoint *random_checkpoint(uint64_t seed)
{
    struct mlt_random random;
    struct mlt_checkpoint *checkpoint;
    mlt_random_seed(&random, seed);
    assert_int_equal(mlt_checkpoint_new(&counting.allocator, "random", "", &checkpoint, NULL), MILLET_OK);
    int n_metas = (int)below(&random, 20), n_tensors = (int)below(&random, 12);
    for (int i = 0; i < n_metas; i++)
        random_meta(&random, checkpoint, i);
    if (seed % 3 == 0)
        assert_int_equal(
            mlt_checkpoint_set_u32(checkpoint, "general.alignment", 1u << below(&random, 8), NULL),
            MILLET_OK);
    for (int i = 0; i < n_tensors; i++)
        random_tensor(&random, checkpoint, i);
    assert_int_equal(mlt_checkpoint_seal(checkpoint, NULL), MILLET_OK);
    return checkpoint;
}

static void test_round_trip(void **state)
{
    (void)state;
    const char *first = folder_path("first.gguf"), *second = folder_path("second.gguf");
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct mlt_checkpoint *made = random_checkpoint(seed);
        write_checkpoint(made, first, 0);
        struct mlt_checkpoint *read = open_path(first);
        assert_same(made, read);
        write_checkpoint(read, second, 0);
        assert_same_files(first, second);
        mlt_checkpoint_close(&made);
        mlt_checkpoint_close(&read);
    }
    assert_int_equal(folder_count(), 2);
}

/* The same bytes as a file that was put together by hand. */
static void test_canonical_layout(void **state)
{
    (void)state;
    struct file_bytes bytes;
    bytes_sample_gguf(&bytes, 3, NULL);
    file_write(folder_path("sample.gguf"), &bytes);
    bytes_free(&bytes);
    struct mlt_checkpoint *checkpoint = open_path(folder_path("sample.gguf"));
    write_checkpoint(checkpoint, folder_path("again.gguf"), 0);
    assert_same_files(folder_path("sample.gguf"), folder_path("again.gguf"));
    mlt_checkpoint_close(&checkpoint);

    bytes_sample_gguf(&bytes, 2,
                      NULL); /* a version 2 file comes out as version 3 and is the same otherwise */
    file_write(folder_path("v2.gguf"), &bytes);
    bytes_free(&bytes);
    checkpoint = open_path(folder_path("v2.gguf"));
    write_checkpoint(checkpoint, folder_path("v3.gguf"), 0);
    assert_same_files(folder_path("sample.gguf"), folder_path("v3.gguf"));
    mlt_checkpoint_close(&checkpoint);
}

static void test_nothing_in_it(void **state)
{
    (void)state;
    struct mlt_gguf_contents contents = {0};
    struct mlt_gguf_writer *writer;
    const char *path = folder_path("empty.gguf");
    assert_int_equal(mlt_gguf_writer_open(&counting.allocator, path, &contents, &writer, NULL), MILLET_OK);
    assert_int_equal(mlt_gguf_writer_total(writer), 32);
    assert_int_equal(mlt_gguf_writer_commit(&writer, NULL), MILLET_OK);
    struct mlt_checkpoint *checkpoint = open_path(path);
    assert_int_equal(checkpoint->n_metas + checkpoint->n_tensors, 0);
    mlt_checkpoint_close(&checkpoint);
}

/* Tensors t0 .. t<count-1> of 100 bytes each, all metadata in a checkpoint. */
static struct mlt_checkpoint *simple_checkpoint(int count)
{
    static uint8_t data[100];
    struct mlt_checkpoint *checkpoint;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)i;
    assert_int_equal(mlt_checkpoint_new(&counting.allocator, "simple", "", &checkpoint, NULL), MILLET_OK);
    assert_int_equal(mlt_checkpoint_set_u32(checkpoint, "a", 1, NULL), MILLET_OK);
    assert_int_equal(mlt_checkpoint_set_u32(checkpoint, "split.count", 7, NULL), MILLET_OK);
    assert_int_equal(mlt_checkpoint_set_u32(checkpoint, "general.alignment", 64, NULL), MILLET_OK);
    for (int i = 0; i < count; i++) {
        char name[16];
        snprintf(name, sizeof name, "t%d", i);
        struct mlt_tensor tensor = {
            .name = text(name), .dtype = MLT_I8, .n_dims = 1, .ne = {100}, .data = data};
        assert_int_equal(mlt_checkpoint_add_tensor(checkpoint, &tensor, NULL), MILLET_OK);
    }
    assert_int_equal(mlt_checkpoint_seal(checkpoint, NULL), MILLET_OK);
    return checkpoint;
}

static void test_split(void **state)
{
    (void)state;
    struct mlt_checkpoint *made = simple_checkpoint(10);
    struct mlt_gguf_contents contents = contents_of(made);
    struct mlt_gguf_writer *writer;
    contents.piece_bytes = 800; /* headers of about 256 to 384 and tensors of 128 bytes in the file */
    millet_error err;
    assert_int_equal(
        mlt_gguf_writer_open(&counting.allocator, folder_path("m.gguf"), &contents, &writer, &err),
        MILLET_OK);
    size_t pieces = mlt_gguf_writer_pieces(writer);
    uint64_t total = mlt_gguf_writer_total(writer);
    assert_true(pieces >= 3 && pieces <= 6);
    char first[1024], name[64];
    snprintf(first, sizeof first, "%s", mlt_gguf_writer_path(writer, 0));
    snprintf(name, sizeof name, "m-00001-of-%05zu.gguf", pieces);
    assert_string_equal(first, folder_path(name));
    write_tensors(writer, made);
    assert_int_equal(mlt_gguf_writer_commit(&writer, &err), MILLET_OK);
    assert_int_equal(folder_count(), pieces);
    for (size_t i = 0; i < pieces; i++) {
        snprintf(name, sizeof name, "m-%05zu-of-%05zu.gguf", i + 1, pieces);
        struct file_bytes bytes = file_read(folder_path(name));
        assert_true(bytes.size <= 800);
        assert_int_equal(bytes.size % 64, 0);
        total -= bytes.size;
        bytes_free(&bytes);
    }
    assert_int_equal(total, 0);

    struct mlt_checkpoint *read = open_path(first);
    assert_int_equal(read->n_maps, pieces);
    assert_int_equal(read->n_tensors, 10);
    for (size_t i = 0; i < 10; i++)
        assert_same_tensor(&made->tensors[i], &read->tensors[i]);
    uint32_t count;
    assert_int_equal(mlt_meta_get_u32(read, "split.count", NULL, &count, NULL), MILLET_OK);
    assert_int_equal(count, pieces); /* not the one that came with the contents */

    /* Written again as one file, nothing of the split is left. */
    write_checkpoint(read, folder_path("one.gguf"), 0);
    struct mlt_checkpoint *one = open_path(folder_path("one.gguf"));
    assert_null(mlt_checkpoint_meta(one, "split.count"));
    assert_null(mlt_checkpoint_meta(one, "split.no"));
    assert_int_equal(one->n_metas, 2);
    assert_int_equal(one->n_tensors, 10);
    mlt_checkpoint_close(&one);
    mlt_checkpoint_close(&read);
    mlt_checkpoint_close(&made);
}

static void test_split_sizes(void **state)
{
    (void)state;
    struct mlt_checkpoint *made = simple_checkpoint(4);
    struct mlt_gguf_contents contents = contents_of(made);
    struct mlt_gguf_writer *writer;
    const char *path = folder_path("m.gguf");
    static const struct {
        uint64_t piece_bytes;
        size_t pieces;
    } cases[] = {{0, 1}, {1 << 20, 1}, {1, 5}}; /* 1: metadata alone, then a piece for each tensor */
    for (size_t i = 0; i < MLT_COUNT(cases); i++) {
        contents.piece_bytes = cases[i].piece_bytes;
        assert_int_equal(mlt_gguf_writer_open(&counting.allocator, path, &contents, &writer, NULL),
                         MILLET_OK);
        assert_int_equal(mlt_gguf_writer_pieces(writer), cases[i].pieces);
        if (cases[i].pieces == 1) assert_string_equal(mlt_gguf_writer_path(writer, 0), path);
        write_tensors(writer, made);
        assert_int_equal(mlt_gguf_writer_commit(&writer, NULL), MILLET_OK);
        struct mlt_checkpoint *read =
            open_path(cases[i].pieces == 1 ? path : folder_path("m-00001-of-00005.gguf"));
        assert_int_equal(read->n_tensors, 4);
        mlt_checkpoint_close(&read);
    }
    mlt_checkpoint_close(&made);
}

/* Old output stays until the new one is complete. */
static void test_abort_and_incomplete(void **state)
{
    (void)state;
    struct mlt_checkpoint *made = simple_checkpoint(3);
    struct mlt_gguf_contents contents = contents_of(made);
    struct mlt_gguf_writer *writer;
    struct file_bytes old = {0};
    millet_error err;
    const char *path = folder_path("m.gguf");
    bytes_put(&old, "old", 3);
    file_write(path, &old);

    assert_int_equal(mlt_gguf_writer_open(&counting.allocator, path, &contents, &writer, NULL), MILLET_OK);
    assert_int_equal(mlt_gguf_writer_write(writer, 0, made->tensors[0].data, 100, NULL), MILLET_OK);
    mlt_gguf_writer_abort(&writer);
    assert_null(writer);
    assert_int_equal(folder_count(), 1);

    assert_int_equal(mlt_gguf_writer_open(&counting.allocator, path, &contents, &writer, NULL), MILLET_OK);
    assert_int_equal(mlt_gguf_writer_write(writer, 0, made->tensors[0].data, 100, NULL), MILLET_OK);
    assert_int_equal(mlt_gguf_writer_write(writer, 1, made->tensors[0].data, 99, NULL), MILLET_OK);
    assert_int_equal(mlt_gguf_writer_commit(&writer, &err), MILLET_BAD_ARGUMENT);
    assert_string_equal(err.item, "t1");
    assert_non_null(strstr(err.message, "99 of its 100"));
    assert_null(writer);
    assert_int_equal(folder_count(), 1);

    contents.piece_bytes = 1;
    assert_int_equal(mlt_gguf_writer_open(&counting.allocator, path, &contents, &writer, NULL), MILLET_OK);
    assert_int_equal(mlt_gguf_writer_commit(&writer, NULL), MILLET_BAD_ARGUMENT);
    assert_int_equal(folder_count(), 1);
    struct file_bytes left = file_read(path);
    assert_int_equal(left.size, 3);
    assert_memory_equal(left.data, "old", 3);
    bytes_free(&left);
    bytes_free(&old);
    mlt_gguf_writer_abort(&writer); /* NULL */
    mlt_checkpoint_close(&made);
}

static void test_wrong_calls(void **state)
{
    (void)state;
    struct mlt_checkpoint *made = simple_checkpoint(3);
    struct mlt_gguf_contents contents = contents_of(made);
    struct mlt_gguf_writer *writer;
    millet_error err;
    const uint8_t *data = made->tensors[0].data;
    assert_int_equal(
        mlt_gguf_writer_open(&counting.allocator, folder_path("m.gguf"), &contents, &writer, NULL),
        MILLET_OK);
    assert_int_equal(mlt_gguf_writer_write(writer, 1, data, 1, &err), MILLET_BAD_ARGUMENT); /* out of order */
    assert_string_equal(err.item, "t1");
    assert_int_equal(mlt_gguf_writer_write(writer, 3, data, 1, &err),
                     MILLET_BAD_ARGUMENT); /* no such tensor */
    assert_int_equal(mlt_gguf_writer_write(writer, 0, data, 101, &err), MILLET_BAD_ARGUMENT);
    assert_string_equal(err.item, "t0");
    assert_int_equal(mlt_gguf_writer_write(writer, 0, data, 0, &err), MILLET_OK);
    assert_int_equal(mlt_gguf_writer_write(writer, 0, data, 60, &err), MILLET_OK);
    assert_int_equal(mlt_gguf_writer_write(writer, 0, data, 41, &err), MILLET_BAD_ARGUMENT);
    assert_int_equal(mlt_gguf_writer_write(writer, 0, data, UINT64_MAX, &err), MILLET_BAD_ARGUMENT);
    assert_int_equal(mlt_gguf_writer_write(writer, 0, data + 60, 40, &err), MILLET_OK);
    assert_int_equal(mlt_gguf_writer_write(writer, 0, data, 1, &err), MILLET_BAD_ARGUMENT); /* complete */
    /* What was refused has left no trace: the file can still be finished. */
    assert_int_equal(mlt_gguf_writer_write(writer, 1, data, 100, &err), MILLET_OK);
    assert_int_equal(mlt_gguf_writer_write(writer, 2, data, 100, &err), MILLET_OK);
    assert_int_equal(mlt_gguf_writer_write(writer, 2, data, 1, &err), MILLET_BAD_ARGUMENT);
    assert_int_equal(mlt_gguf_writer_commit(&writer, &err), MILLET_OK);
    struct mlt_checkpoint *read = open_path(folder_path("m.gguf"));
    for (size_t i = 0; i < 3; i++)
        assert_same_tensor(&made->tensors[i], &read->tensors[i]);
    mlt_checkpoint_close(&read);
    mlt_checkpoint_close(&made);
}

static void expect_refused(const struct mlt_gguf_contents *contents, millet_status status, const char *item)
{
    struct mlt_gguf_writer *writer;
    millet_error err;
    assert_int_equal(
        mlt_gguf_writer_open(&counting.allocator, folder_path("m.gguf"), contents, &writer, &err), status);
    assert_null(writer);
    assert_string_equal(err.item, item);
    assert_non_null(strstr(err.file, "m.gguf"));
    assert_int_equal(folder_count(), 0);
    assert_int_equal(counting.live, 0);
}

static void test_bad_contents(void **state)
{
    (void)state;
    struct mlt_meta metas[2] = {{.key = text("a"), .type = MLT_META_U8, .element = MLT_META_U8, .count = 1},
                                {.key = text("a"), .type = MLT_META_U8, .element = MLT_META_U8, .count = 1}};
    struct mlt_tensor tensors[2] = {{.name = text("t"), .dtype = MLT_F32, .n_dims = 1, .ne = {4}},
                                    {.name = text("t"), .dtype = MLT_F32, .n_dims = 1, .ne = {4}}};
    struct mlt_gguf_contents contents = {.metas = metas, .n_metas = 2, .tensors = tensors, .n_tensors = 1};
    expect_refused(&contents, MILLET_BAD_FORMAT, "a");
    contents.n_metas = 1;
    contents.n_tensors = 2;
    expect_refused(&contents, MILLET_BAD_FORMAT, "t");
    contents.n_tensors = 1;
    tensors[0].ne[0] = 0;
    expect_refused(&contents, MILLET_BAD_FORMAT, "t");
    tensors[0].dtype = MLT_Q4_K;
    tensors[0].ne[0] = 128;
    expect_refused(&contents, MILLET_BAD_FORMAT, "t");
    tensors[0].ne[0] = 256;
    metas[0].key = text("");
    expect_refused(&contents, MILLET_BAD_FORMAT, "");
    metas[0].key = text("a");
    metas[0].type = metas[0].element = (enum mlt_meta_type)13;
    expect_refused(&contents, MILLET_BAD_ARGUMENT, "a");
    metas[0].type = metas[0].element = MLT_META_ARRAY;
    expect_refused(&contents, MILLET_BAD_ARGUMENT, "a");
    metas[0] = (struct mlt_meta){
        .key = text("general.alignment"), .type = MLT_META_U32, .element = MLT_META_U32, .count = 1};
    static const uint64_t alignments[] = {0, 24, 1ull << 32};
    for (size_t i = 0; i < MLT_COUNT(alignments); i++) {
        metas[0].value.u = alignments[i];
        expect_refused(&contents, MILLET_BAD_ARGUMENT, "general.alignment");
    }
    metas[0].value.u = 32;
    /* Each tensor is possible, but not all of them in one file. */
    tensors[0] = (struct mlt_tensor){.name = text("t"), .dtype = MLT_I8, .n_dims = 1, .ne = {1ll << 62}};
    tensors[1] = (struct mlt_tensor){.name = text("u"), .dtype = MLT_I8, .n_dims = 1, .ne = {1ll << 62}};
    contents.n_tensors = 2;
    expect_refused(&contents, MILLET_BAD_ARGUMENT, "");

    struct mlt_gguf_writer *writer;
    millet_error err;
    contents.n_tensors = 0;
    assert_int_equal(mlt_gguf_writer_open(&counting.allocator, folder_path("no/such/folder.gguf"), &contents,
                                          &writer, &err),
                     MILLET_NOT_FOUND);
    assert_null(writer);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_round_trip),  TEST(test_canonical_layout), TEST(test_nothing_in_it),
        TEST(test_split),       TEST(test_split_sizes),      TEST(test_abort_and_incomplete),
        TEST(test_wrong_calls), TEST(test_bad_contents),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
