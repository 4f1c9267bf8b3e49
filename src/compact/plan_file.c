/* Plans as JSON files. SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "compact/plan_build.h"
#include "import/json_read.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { VERSION = 1 };
static const uint64_t FILE_LIMIT = 256u << 20;

/* ---- Reading ---- */

static double real_of(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static uint64_t count_of(const json_t *object, const char *key)
{
    json_int_t value = json_integer_value(json_object_get(object, key));
    return value > 0 ? (uint64_t)value : 0;
}

static millet_status read_shape(const struct mlt_json *at, millet_plan_tensor *out, millet_error *err)
{
    const json_t *shape = json_object_get(at->object, "shape");
    if (!shape || json_is_null(shape)) return MILLET_OK;
    size_t n = json_array_size(shape);
    bool right = json_is_array(shape) && n >= 1 && n <= MILLET_PLAN_DIMS;
    for (size_t k = 0; right && k < n; k++) {
        out->shape[k] = json_integer_value(json_array_get(shape, k));
        right = out->shape[k] > 0;
    }
    return right
               ? MILLET_OK
               : mlt_json_fail(at, "shape", err, MILLET_BAD_FORMAT, "one to four numbers above 0 are wanted");
}

static millet_status read_tensor(struct mlt_plan *plan, const char *path, size_t index, const json_t *object,
                                 millet_error *err)
{
    millet_plan_tensor *out = &plan->tensors[index];
    const char *name = mlt_json_string(object, "name"), *type = mlt_json_string(object, "type");
    if (!name || !type)
        return mlt_fail_at(err, MILLET_BAD_FORMAT, path, name ? name : "tensors", MILLET_NO_OFFSET,
                           "tensor %zu of the plan has no %s; a name and a type are needed, as text", index,
                           name ? "type" : "name");
    out->name = mlt_arena_text(&plan->arena, name, strlen(name), err);
    out->type = mlt_arena_text(&plan->arena, type, strlen(type), err);
    if (!out->name || !out->type) return MILLET_NO_MEMORY;
    out->bytes = count_of(object, "bytes");
    out->kl = real_of(object, "kl");
    out->seconds = real_of(object, "seconds");
    const struct mlt_json at = {object, path, name};
    return read_shape(&at, out, err);
}

static int by_name(const void *a, const void *b)
{
    const char *const *x = a, *const *y = b;
    return strcmp(*x, *y);
}

static millet_status check_names(const struct mlt_plan *plan, const millet_allocator *allocator,
                                 const char *path, millet_error *err)
{
    size_t n = (size_t)plan->public.n_tensors;
    const char **names = mlt_alloc(allocator, n, sizeof *names, err);
    if (!names) return MILLET_NO_MEMORY;
    for (size_t i = 0; i < n; i++)
        names[i] = plan->tensors[i].name;
    qsort(names, n, sizeof *names, by_name);
    millet_status status = MILLET_OK;
    for (size_t i = 1; status == MILLET_OK && i < n; i++)
        if (strcmp(names[i - 1], names[i]) == 0)
            status = mlt_fail_at(err, MILLET_BAD_FORMAT, path, names[i], MILLET_NO_OFFSET,
                                 "the plan names the tensor twice");
    mlt_free(allocator, names);
    return status;
}

static millet_status read_json(const millet_allocator *allocator, const char *path, const json_t *root,
                               struct mlt_plan **out, millet_error *err)
{
    const struct mlt_json json = {root, path, ""};
    uint32_t version;
    MLT_TRY(mlt_json_get_u32(&json, "version", NULL, &version, err));
    if (version != VERSION)
        return mlt_json_fail(&json, "version", err, MILLET_UNSUPPORTED, "%u; this Millet reads plans of %d",
                             version, VERSION);
    const json_t *tensors = mlt_json_array(root, "tensors");
    if (!tensors)
        return mlt_json_fail(&json, "tensors", err, MILLET_BAD_FORMAT, "a plan needs a list of tensors");
    const char *model = mlt_json_string(root, "model");
    MLT_TRY(mlt_plan_new(allocator, model ? model : "", json_array_size(tensors), out, err));
    millet_plan *public = &(*out)->public;
    public->file_bytes = count_of(root, "file_bytes");
    public->memory_bytes = count_of(root, "memory_bytes");
    public->memory_ctx = (int32_t)MLT_MIN(count_of(root, "memory_ctx"), (uint64_t)INT32_MAX);
    public->kl = real_of(root, "kl");
    public->tokens_per_second = real_of(root, "tokens_per_second");
    for (size_t i = 0; i < public->n_tensors; i++)
        MLT_TRY(read_tensor(*out, path, i, json_array_get(tensors, i), err));
    return check_names(*out, allocator, path, err);
}

millet_status millet_plan_read(const millet_allocator *allocator, const char *path, millet_plan **plan,
                               millet_error *err)
{
    if (!allocator) allocator = mlt_default_allocator();
    json_t *root = NULL;
    struct mlt_plan *made = NULL;
    *plan = NULL;
    MLT_TRY(mlt_json_read(allocator, path, FILE_LIMIT, &root, err));
    millet_status status = read_json(allocator, path, root, &made, err);
    json_decref(root);
    if (made) *plan = &made->public;
    if (status != MILLET_OK) millet_plan_free(plan);
    return status;
}

/* ---- Writing ---- */

static millet_status put_string(struct mlt_text *text, const char *key, const char *value, millet_error *err)
{
    json_t *string = json_string(value);
    char *quoted = string ? json_dumps(string, JSON_ENCODE_ANY) : NULL;
    json_decref(string);
    if (!quoted)
        return mlt_fail_at(err, MILLET_NO_MEMORY, NULL, key, MILLET_NO_OFFSET,
                           "\"%s\" cannot be written as JSON", value);
    millet_status status = mlt_text_printf(text, err, "\"%s\": %s", key, quoted);
    free(quoted);
    return status;
}

static millet_status put_real(struct mlt_text *text, const char *key, double value, millet_error *err)
{
    return isfinite(value) ? mlt_text_printf(text, err, ", \"%s\": %.6g", key, value) : MILLET_OK;
}

static millet_status put_tensor(struct mlt_text *text, const millet_plan_tensor *tensor, millet_error *err)
{
    MLT_TRY(mlt_text_printf(text, err, "  {"));
    MLT_TRY(put_string(text, "name", tensor->name, err));
    MLT_TRY(mlt_text_printf(text, err, ", "));
    MLT_TRY(put_string(text, "type", tensor->type, err));
    if (tensor->shape[0]) {
        MLT_TRY(mlt_text_printf(text, err, ", \"shape\": [%" PRId64, tensor->shape[0]));
        for (int k = 1; k < MILLET_PLAN_DIMS && tensor->shape[k]; k++)
            MLT_TRY(mlt_text_printf(text, err, ", %" PRId64, tensor->shape[k]));
        MLT_TRY(mlt_text_printf(text, err, "]"));
    }
    if (tensor->bytes) MLT_TRY(mlt_text_printf(text, err, ", \"bytes\": %" PRIu64, tensor->bytes));
    MLT_TRY(put_real(text, "kl", tensor->kl, err));
    MLT_TRY(put_real(text, "seconds", tensor->seconds, err));
    return mlt_text_printf(text, err, "}");
}

static millet_status put_plan(struct mlt_text *text, const millet_plan *plan, millet_error *err)
{
    MLT_TRY(mlt_text_printf(text, err, "{\n \"version\": %d,\n ", VERSION));
    MLT_TRY(put_string(text, "model", plan->model, err));
    if (plan->file_bytes)
        MLT_TRY(mlt_text_printf(text, err, ",\n \"file_bytes\": %" PRIu64, plan->file_bytes));
    if (plan->memory_bytes)
        MLT_TRY(mlt_text_printf(text, err, ",\n \"memory_bytes\": %" PRIu64 ",\n \"memory_ctx\": %d",
                                plan->memory_bytes, plan->memory_ctx));
    if (isfinite(plan->kl)) MLT_TRY(mlt_text_printf(text, err, ",\n \"kl\": %.6g", plan->kl));
    if (isfinite(plan->tokens_per_second))
        MLT_TRY(mlt_text_printf(text, err, ",\n \"tokens_per_second\": %.6g", plan->tokens_per_second));
    MLT_TRY(mlt_text_printf(text, err, ",\n \"tensors\": ["));
    for (uint64_t i = 0; i < plan->n_tensors; i++) {
        MLT_TRY(mlt_text_printf(text, err, i ? ",\n" : "\n"));
        MLT_TRY(put_tensor(text, &plan->tensors[i], err));
    }
    return mlt_text_printf(text, err, "\n ]\n}\n");
}

static millet_status write_text(const char *path, const struct mlt_text *text, millet_error *err)
{
    struct mlt_writer *writer = NULL;
    MLT_TRY(mlt_writer_open(text->allocator, path, &writer, err));
    millet_status status = mlt_writer_write(writer, text->data, text->length, err);
    if (status == MILLET_OK) return mlt_writer_commit(&writer, err);
    mlt_writer_abort(&writer);
    return status;
}

millet_status millet_plan_write(const millet_plan *plan, const char *path, millet_error *err)
{
    struct mlt_text text = {.allocator = mlt_default_allocator()};
    millet_status status = put_plan(&text, plan, err);
    if (status == MILLET_OK) status = write_text(path, &text, err);
    mlt_text_release(&text);
    return status;
}
