/* Measured sensitivities as a JSON file. SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "compact/sensitivity.h"
#include "import/json_read.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { VERSION = 1 };
static const uint64_t FILE_LIMIT = 256u << 20;

static double number_of(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    double number = json_is_number(value) ? json_number_value(value) : NAN;
    return number >= 0 ? number : (double)NAN;
}

static void take(struct mlt_sensitivity *table, const json_t *tensors)
{
    for (size_t i = 0; i < table->public.n_tensors; i++) {
        const json_t *tensor = json_object_get(tensors, table->tensors[i].name);
        for (size_t k = 0; tensor && k + 1 < table->tensors[i].n_types; k++) {
            millet_sensitivity_type *type = &table->types[i][k];
            const json_t *known = json_object_get(tensor, type->type);
            type->error = number_of(known, "error");
            type->kl = number_of(known, "kl");
            type->measured = isfinite(type->kl);
        }
    }
}

millet_status mlt_sensitivity_read(struct mlt_sensitivity *table, const millet_allocator *allocator,
                                   const char *path, millet_error *err)
{
    json_t *root = NULL;
    MLT_TRY(mlt_json_read_optional(allocator, path, FILE_LIMIT, &root, err));
    if (!root) return MILLET_OK;
    const struct mlt_json json = {root, path, ""};
    uint32_t version = 0;
    millet_status status = mlt_json_get_u32(&json, "version", NULL, &version, err);
    json_int_t fingerprint = json_integer_value(json_object_get(root, "fingerprint"));
    if (status == MILLET_OK && version != VERSION)
        status = mlt_json_fail(&json, "version", err, MILLET_UNSUPPORTED, "%u; this Millet reads %d", version,
                               VERSION);
    if (status == MILLET_OK && fingerprint != (json_int_t)table->public.fingerprint)
        status = mlt_json_fail(&json, "fingerprint", err, MILLET_BAD_ARGUMENT,
                               "these sensitivities are of another model, text or number of tokens; give "
                               "another file, or remove this one");
    if (status == MILLET_OK) take(table, json_object_get(root, "tensors"));
    json_decref(root);
    return status;
}

static millet_status put_quoted(struct mlt_text *text, const char *value, millet_error *err)
{
    json_t *string = json_string(value);
    char *quoted = string ? json_dumps(string, JSON_ENCODE_ANY) : NULL;
    json_decref(string);
    if (!quoted) return mlt_fail(err, MILLET_NO_MEMORY, "\"%s\" cannot be written as JSON", value);
    millet_status status = mlt_text_append(text, quoted, strlen(quoted), err);
    free(quoted);
    return status;
}

static millet_status put_tensor(struct mlt_text *text, const millet_sensitivity_tensor *tensor,
                                millet_error *err)
{
    MLT_TRY(mlt_text_printf(text, err, "  "));
    MLT_TRY(put_quoted(text, tensor->name, err));
    MLT_TRY(mlt_text_printf(text, err, ": {"));
    const char *between = "";
    for (size_t k = 0; k + 1 < tensor->n_types; k++) {
        const millet_sensitivity_type *type = &tensor->types[k];
        if (!isfinite(type->error)) continue;
        MLT_TRY(mlt_text_printf(text, err, "%s\"%s\": {\"error\": %.17g", between, type->type, type->error));
        if (type->measured) MLT_TRY(mlt_text_printf(text, err, ", \"kl\": %.17g", type->kl));
        MLT_TRY(mlt_text_printf(text, err, "}"));
        between = ", ";
    }
    return mlt_text_printf(text, err, "}");
}

static millet_status put_table(struct mlt_text *text, const millet_sensitivity *s, millet_error *err)
{
    MLT_TRY(mlt_text_printf(text, err, "{\n \"version\": %d,\n \"model\": ", VERSION));
    MLT_TRY(put_quoted(text, s->model, err));
    MLT_TRY(mlt_text_printf(text, err,
                            ",\n \"fingerprint\": %" PRIu64 ",\n \"tokens\": %" PRId64 ",\n \"tensors\": {",
                            s->fingerprint, s->n_tokens));
    for (size_t i = 0; i < s->n_tensors; i++) {
        MLT_TRY(mlt_text_printf(text, err, i ? ",\n" : "\n"));
        MLT_TRY(put_tensor(text, &s->tensors[i], err));
    }
    return mlt_text_printf(text, err, "\n }\n}\n");
}

millet_status mlt_sensitivity_write(const struct mlt_sensitivity *table, const millet_allocator *allocator,
                                    const char *path, millet_error *err)
{
    struct mlt_text text = {.allocator = allocator};
    struct mlt_writer *writer = NULL;
    millet_status status = put_table(&text, &table->public, err);
    if (status == MILLET_OK) status = mlt_writer_open(allocator, path, &writer, err);
    if (status == MILLET_OK) status = mlt_writer_write(writer, text.data, text.length, err);
    if (status == MILLET_OK) status = mlt_writer_commit(&writer, err);
    mlt_writer_abort(&writer);
    mlt_text_release(&text);
    return status;
}
