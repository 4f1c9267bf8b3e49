/* Importance files, read and written: see imatrix.h. SPDX-License-Identifier: Apache-2.0 */
#include "format/imatrix.h"

#include "format/gguf_write.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char sums_suffix[] = ".in_sum2", counts_suffix[] = ".counts", gram_suffix[] = ".in_gram";
static const char owners_key[] = "millet.gram.owners", tensors_key[] = "millet.gram.tensors";

/* ---- Reading ---- */

static int compare_entries(const void *left, const void *right)
{
    return strcmp(((const struct mlt_importance_entry *)left)->name,
                  ((const struct mlt_importance_entry *)right)->name);
}

const struct mlt_importance_entry *mlt_imatrix_find(const struct mlt_imatrix *imatrix, const char *name)
{
    struct mlt_importance_entry key = {.name = name};
    if (imatrix->n_entries == 0) return NULL;
    return bsearch(&key, imatrix->entries, imatrix->n_entries, sizeof key, compare_entries);
}

static millet_status fail_entry(const char *path, const char *name, const char *why, millet_error *err)
{
    return mlt_fail_at(err, MILLET_BAD_FORMAT, path, name, MILLET_NO_OFFSET, "%s", why);
}

/* The name without the suffix, in the arena, or NULL: it has another one. */
static char *stem(struct mlt_imatrix *m, const struct mlt_string *name, const char *suffix, millet_error *err,
                  bool *failed)
{
    size_t n = strlen(suffix);
    if (name->length <= n || memcmp(name->data + name->length - n, suffix, n) != 0) return NULL;
    char *text = mlt_arena_text(&m->arena, name->data, name->length - n, err);
    *failed = !text;
    return text;
}

static const struct mlt_tensor *tensor_of(const struct mlt_imatrix *m, const char *name, const char *suffix)
{
    char full[256];
    int n = snprintf(full, sizeof full, "%s%s", name, suffix);
    return n < (int)sizeof full ? mlt_checkpoint_tensor(m->checkpoint, full) : NULL;
}

static bool is_floats(const struct mlt_tensor *t)
{
    return t && t->dtype == MLT_F32 && t->data && (uintptr_t)t->data % sizeof(float) == 0;
}

/* Finite and not negative. */
static bool are_valid(const float *x, int64_t n)
{
    bool valid = true;
    for (int64_t i = 0; i < n; i++)
        valid &= x[i] >= 0 && x[i] < INFINITY;
    return valid;
}

static millet_status read_entry(struct mlt_imatrix *m, const struct mlt_tensor *sums,
                                struct mlt_importance_entry *entry, const char *path, millet_error *err)
{
    const struct mlt_tensor *counts = tensor_of(m, entry->name, counts_suffix);
    int64_t columns = sums->ne[0], slices = (int64_t)sums->rows;
    if (!is_floats(sums) || !is_floats(counts))
        return fail_entry(path, entry->name, "the sums or the counts are missing, or are no F32", err);
    if (counts->ne[0] != 1 || (int64_t)counts->rows != slices)
        return fail_entry(path, entry->name, "there is not one count for each row of sums", err);
    const float *values = (const float *)(const void *)sums->data,
                *n = (const float *)(const void *)counts->data;
    if (!are_valid(values, columns * slices) || !are_valid(n, slices))
        return fail_entry(path, entry->name, "a sum or a count is negative or no finite number", err);
    entry->n = columns * slices;
    entry->slices = slices;
    entry->mean = mlt_arena_alloc(&m->arena, (size_t)entry->n, sizeof *entry->mean, err);
    if (!entry->mean) return MILLET_NO_MEMORY;
    for (int64_t s = 0; s < slices; s++)
        for (int64_t i = 0; i < columns; i++)
            entry->mean[s * columns + i] = n[s] > 0 ? values[s * columns + i] / n[s] : 0;
    return MILLET_OK;
}

/* The gram of an entry's input, which stands under the name of its owner. */
static millet_status find_gram(struct mlt_imatrix *m, struct mlt_importance_entry *entry, const char *path,
                               millet_error *err)
{
    const struct mlt_meta *tensors = mlt_checkpoint_meta(m->checkpoint, tensors_key);
    const struct mlt_meta *owners = mlt_checkpoint_meta(m->checkpoint, owners_key);
    const char *owner = NULL;
    if (!tensors || !owners) return MILLET_OK;
    if (tensors->type != MLT_META_ARRAY || owners->type != MLT_META_ARRAY ||
        tensors->element != MLT_META_STRING || owners->element != MLT_META_STRING ||
        tensors->count != owners->count)
        return fail_entry(path, tensors_key, "it and millet.gram.owners are no lists of names of one length",
                          err);
    const struct mlt_string *names = tensors->value.array, *of = owners->value.array;
    for (uint64_t i = 0; i < tensors->count && !owner; i++)
        if (strcmp(names[i].data, entry->name) == 0) owner = of[i].data;
    if (!owner) return MILLET_OK;
    const struct mlt_tensor *gram = tensor_of(m, owner, gram_suffix),
                            *counts = tensor_of(m, owner, counts_suffix);
    if (!is_floats(gram) || !is_floats(counts) || gram->ne[0] != entry->n || (int64_t)gram->rows != entry->n)
        return fail_entry(path, entry->name,
                          "the sum of products of its input is missing or has other dimensions", err);
    entry->gram = (const float *)(const void *)gram->data;
    entry->gram_count = (double)*(const float *)(const void *)counts->data;
    bool valid = entry->gram_count > 0;
    for (int64_t i = 0; i < entry->n && valid; i++)
        valid = entry->gram[i * entry->n + i] >= 0 && entry->gram[i * entry->n + i] < INFINITY;
    return valid ? MILLET_OK : fail_entry(path, entry->name, "its sum of products is no valid one", err);
}

static millet_status read_gguf(struct mlt_imatrix *m, const char *path, millet_error *err)
{
    MLT_TRY(mlt_checkpoint_open(&m->allocator, path, NULL, &m->checkpoint, err));
    const struct mlt_string other = {"", 0};
    const uint32_t zero = 0;
    struct mlt_string type;
    MLT_TRY(mlt_meta_get_string(m->checkpoint, "general.type", &other, &type, err));
    if (strcmp(type.data, "imatrix") != 0)
        return mlt_fail_at(err, MILLET_BAD_FORMAT, path, "general.type", MILLET_NO_OFFSET,
                           "it is \"%.40s\": this is no importance file; `millet calibrate` makes one",
                           type.data);
    MLT_TRY(mlt_meta_get_u32(m->checkpoint, "imatrix.chunk_count", &zero, &m->chunk_count, err));
    MLT_TRY(mlt_meta_get_u32(m->checkpoint, "imatrix.chunk_size", &zero, &m->chunk_size, err));
    size_t n = m->checkpoint->n_tensors;
    m->entries = mlt_arena_alloc(&m->arena, n, sizeof *m->entries, err);
    if (!m->entries) return MILLET_NO_MEMORY;
    for (size_t i = 0; i < n; i++) {
        const struct mlt_tensor *tensor = &m->checkpoint->tensors[i];
        bool failed = false;
        struct mlt_importance_entry entry = {.name = stem(m, &tensor->name, sums_suffix, err, &failed)};
        if (failed) return MILLET_NO_MEMORY;
        if (!entry.name) continue;
        MLT_TRY(read_entry(m, tensor, &entry, path, err));
        MLT_TRY(find_gram(m, &entry, path, err));
        m->entries[m->n_entries++] = entry;
    }
    return MILLET_OK;
}

/* What is left of a legacy file. */
struct cursor {
    const uint8_t *at;
    uint64_t left;
};

static bool take(struct cursor *c, void *out, uint64_t size)
{
    if (c->left < size) return false;
    memcpy(out, c->at, (size_t)size);
    c->at += size;
    c->left -= size;
    return true;
}

static millet_status read_legacy_entry(struct mlt_imatrix *m, struct cursor *c,
                                       struct mlt_importance_entry *entry, const char *path,
                                       millet_error *err)
{
    int32_t length, calls, n;
    if (!take(c, &length, 4) || length < 1 || (uint64_t)length > c->left || length > 4096)
        return fail_entry(path, NULL,
                          "a name is cut off or too long: the file is no importance file, or damaged", err);
    entry->name = mlt_arena_text(&m->arena, (const char *)c->at, (size_t)length, err);
    if (!entry->name) return MILLET_NO_MEMORY;
    c->at += length;
    c->left -= (uint64_t)length;
    if (!take(c, &calls, 4) || !take(c, &n, 4) || calls < 0 || n < 1 || (uint64_t)n > c->left / sizeof(float))
        return fail_entry(path, entry->name, "its values are cut off: the file is damaged", err);
    entry->n = n;
    entry->mean = mlt_arena_alloc(&m->arena, (size_t)n, sizeof *entry->mean, err);
    if (!entry->mean) return MILLET_NO_MEMORY;
    take(c, entry->mean, (uint64_t)n * sizeof(float));
    if (!are_valid(entry->mean, n))
        return fail_entry(path, entry->name, "a value is negative or no finite number", err);
    for (int32_t i = 0; i < n && calls > 0; i++)
        entry->mean[i] /= (float)calls;
    return MILLET_OK;
}

static millet_status read_legacy(struct mlt_imatrix *m, const struct mlt_file_map *map, const char *path,
                                 millet_error *err)
{
    struct cursor c = {map->data, map->size};
    int32_t n, chunks;
    if (!take(&c, &n, 4) || n < 1 || (uint64_t)n > c.left / 13)
        return fail_entry(path, NULL, "it is neither GGUF nor an importance file of the old form", err);
    m->entries = mlt_arena_alloc(&m->arena, (size_t)n, sizeof *m->entries, err);
    if (!m->entries) return MILLET_NO_MEMORY;
    for (int32_t i = 0; i < n; i++) {
        m->entries[i] = (struct mlt_importance_entry){0};
        MLT_TRY(read_legacy_entry(m, &c, &m->entries[i], path, err));
        m->n_entries++;
    }
    if (take(&c, &chunks, 4) && chunks > 0) m->chunk_count = (uint32_t)chunks;
    return MILLET_OK;
}

static millet_status read_any(struct mlt_imatrix *m, const char *path, millet_error *err)
{
    struct mlt_file_map map;
    MLT_TRY(mlt_file_map_open(path, &map, err));
    bool gguf = map.size >= 4 && memcmp(map.data, "GGUF", 4) == 0;
    millet_status status = gguf ? MILLET_OK : read_legacy(m, &map, path, err);
    mlt_file_map_close(&map);
    MLT_TRY(status);
    if (gguf) MLT_TRY(read_gguf(m, path, err));
    if (m->n_entries == 0) return fail_entry(path, NULL, "it says nothing of any matrix", err);
    qsort(m->entries, m->n_entries, sizeof *m->entries, compare_entries);
    for (size_t i = 1; i < m->n_entries; i++)
        if (strcmp(m->entries[i - 1].name, m->entries[i].name) == 0)
            return fail_entry(path, m->entries[i].name, "it stands there twice", err);
    return MILLET_OK;
}

millet_status mlt_imatrix_open(const millet_allocator *allocator, const char *path, struct mlt_imatrix **out,
                               millet_error *err)
{
    *out = NULL;
    struct mlt_imatrix *m = mlt_alloc_zero(allocator, 1, sizeof *m, err);
    if (!m) return MILLET_NO_MEMORY;
    m->allocator = *allocator;
    mlt_arena_init(&m->arena, allocator);
    millet_status status = read_any(m, path, err);
    if (status != MILLET_OK) {
        mlt_imatrix_close(&m);
        return status;
    }
    *out = m;
    return MILLET_OK;
}

void mlt_imatrix_close(struct mlt_imatrix **imatrix)
{
    struct mlt_imatrix *m = *imatrix;
    *imatrix = NULL;
    if (!m) return;
    millet_allocator allocator = m->allocator;
    mlt_checkpoint_close(&m->checkpoint);
    mlt_arena_release(&m->arena);
    mlt_free(&allocator, m);
}

/* ---- Writing ---- */

static millet_status write_legacy(struct mlt_writer *w, const struct mlt_imatrix_contents *c,
                                  millet_error *err)
{
    int32_t n = (int32_t)c->n_entries, one = 1, chunks = (int32_t)c->chunk_count;
    MLT_TRY(mlt_writer_write(w, &n, 4, err));
    for (size_t i = 0; i < c->n_entries; i++) {
        const struct mlt_importance_sums *e = &c->entries[i];
        int32_t length = (int32_t)strlen(e->name), values = (int32_t)(e->columns * e->slices);
        MLT_TRY(mlt_writer_write(w, &length, 4, err));
        MLT_TRY(mlt_writer_write(w, e->name, (uint64_t)length, err));
        MLT_TRY(mlt_writer_write(w, &one, 4, err));
        MLT_TRY(mlt_writer_write(w, &values, 4, err));
        for (int64_t k = 0; k < values; k++) {
            float count = e->counts[k / e->columns], mean = count > 0 ? e->sums[k] / count : 0;
            MLT_TRY(mlt_writer_write(w, &mean, 4, err));
        }
    }
    int32_t length = (int32_t)strlen(c->dataset);
    MLT_TRY(mlt_writer_write(w, &chunks, 4, err));
    MLT_TRY(mlt_writer_write(w, &length, 4, err));
    return mlt_writer_write(w, c->dataset, (uint64_t)length, err);
}

/* The lists that a GGUF file is written from; in an arena. */
struct lists {
    struct mlt_arena arena;
    struct mlt_meta metas[6];
    struct mlt_tensor *tensors;
    const float **data;
    size_t n_tensors;
    struct mlt_string *names, *owners;
    size_t n_grams;
};

static millet_status add_tensor(struct lists *l, const char *name, const char *suffix, int64_t ne0,
                                int64_t ne1, const float *data, millet_error *err)
{
    size_t length = strlen(name) + strlen(suffix);
    char *full = mlt_arena_alloc(&l->arena, length + 1, 1, err);
    if (!full) return MILLET_NO_MEMORY;
    snprintf(full, length + 1, "%s%s", name, suffix);
    l->data[l->n_tensors] = data;
    l->tensors[l->n_tensors++] =
        (struct mlt_tensor){.name = {full, length}, .dtype = MLT_F32, .n_dims = 2, .ne = {ne0, ne1, 1, 1}};
    return MILLET_OK;
}

static struct mlt_string string_of(const char *text)
{
    return (struct mlt_string){text, strlen(text)};
}

static struct mlt_meta list_meta(const char *key, const struct mlt_string *strings, size_t n)
{
    return (struct mlt_meta){string_of(key), MLT_META_ARRAY, MLT_META_STRING, n, {.array = strings}};
}

static struct mlt_meta number_meta(const char *key, uint32_t value)
{
    return (struct mlt_meta){string_of(key), MLT_META_U32, MLT_META_U32, 1, {.u = value}};
}

static millet_status make_lists(struct lists *l, const struct mlt_imatrix_contents *c, millet_error *err)
{
    size_t n = c->n_entries;
    l->tensors = mlt_arena_alloc(&l->arena, 3 * n, sizeof *l->tensors, err);
    l->data = mlt_arena_alloc(&l->arena, 3 * n, sizeof *l->data, err);
    l->names = mlt_arena_alloc(&l->arena, n, sizeof *l->names, err);
    l->owners = mlt_arena_alloc(&l->arena, n, sizeof *l->owners, err);
    if (!l->tensors || !l->data || !l->names || !l->owners) return MILLET_NO_MEMORY;
    for (size_t i = 0; i < n; i++) {
        const struct mlt_importance_sums *e = &c->entries[i];
        MLT_TRY(add_tensor(l, e->name, sums_suffix, e->columns, e->slices, e->sums, err));
        MLT_TRY(add_tensor(l, e->name, counts_suffix, 1, e->slices, e->counts, err));
        if (e->gram) MLT_TRY(add_tensor(l, e->name, gram_suffix, e->columns, e->columns, e->gram, err));
        const char *owner = e->gram ? e->name : e->gram_of;
        if (!owner) continue;
        l->names[l->n_grams] = string_of(e->name);
        l->owners[l->n_grams++] = string_of(owner);
    }
    return MILLET_OK;
}

static millet_status write_gguf(struct lists *l, const millet_allocator *allocator, const char *path,
                                const struct mlt_imatrix_contents *c, millet_error *err)
{
    MLT_TRY(make_lists(l, c, err));
    struct mlt_string dataset = string_of(c->dataset);
    l->metas[0] = (struct mlt_meta){
        string_of("general.type"), MLT_META_STRING, MLT_META_STRING, 1, {.string = string_of("imatrix")}};
    l->metas[1] = list_meta("imatrix.datasets", &dataset, 1);
    l->metas[2] = number_meta("imatrix.chunk_count", c->chunk_count);
    l->metas[3] = number_meta("imatrix.chunk_size", c->chunk_size);
    l->metas[4] = list_meta(tensors_key, l->names, l->n_grams);
    l->metas[5] = list_meta(owners_key, l->owners, l->n_grams);
    struct mlt_gguf_contents contents = {
        .metas = l->metas, .n_metas = l->n_grams ? 6 : 4, .tensors = l->tensors, .n_tensors = l->n_tensors};
    struct mlt_gguf_writer *writer = NULL;
    MLT_TRY(mlt_gguf_writer_open(allocator, path, &contents, &writer, err));
    millet_status status = MILLET_OK;
    for (size_t i = 0; i < l->n_tensors && status == MILLET_OK; i++)
        status =
            mlt_gguf_writer_write(writer, i, l->data[i],
                                  (uint64_t)(l->tensors[i].ne[0] * l->tensors[i].ne[1]) * sizeof(float), err);
    if (status == MILLET_OK) return mlt_gguf_writer_commit(&writer, err);
    mlt_gguf_writer_abort(&writer);
    return status;
}

millet_status mlt_imatrix_write(const millet_allocator *allocator, const char *path,
                                const struct mlt_imatrix_contents *contents, bool legacy, millet_error *err)
{
    if (legacy) {
        struct mlt_writer *writer = NULL;
        MLT_TRY(mlt_writer_open(allocator, path, &writer, err));
        millet_status status = write_legacy(writer, contents, err);
        if (status == MILLET_OK) return mlt_writer_commit(&writer, err);
        mlt_writer_abort(&writer);
        return status;
    }
    struct lists lists = {0};
    mlt_arena_init(&lists.arena, allocator);
    millet_status status = write_gguf(&lists, allocator, path, contents, err);
    mlt_arena_release(&lists.arena);
    return status;
}
