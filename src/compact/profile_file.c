/* A device's profile as a JSON file. SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "import/json_read.h"
#include "millet/plan.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { VERSION = 1, COSTS = MILLET_PROFILE_COLUMNS * MILLET_PROFILE_SIZES * MILLET_PROFILE_SETS };

/* The table in its order: sets run fastest, then sizes, then columns. */
static double *cost_at(millet_type_cost *cost, size_t i)
{
    size_t set = i % MILLET_PROFILE_SETS, rest = i / MILLET_PROFILE_SETS;
    return &cost->seconds[rest / MILLET_PROFILE_SIZES][rest % MILLET_PROFILE_SIZES][set];
}

static millet_status read_type(const struct mlt_json *types, const char *name, const json_t *values,
                               millet_type_cost *cost, millet_error *err)
{
    if (json_array_size(values) != COSTS || strlen(name) >= sizeof cost->type)
        return mlt_json_fail(types, name, err, MILLET_BAD_FORMAT, "%d numbers are wanted", COSTS);
    snprintf(cost->type, sizeof cost->type, "%s", name);
    for (size_t i = 0; i < COSTS; i++) {
        double seconds = json_number_value(json_array_get(values, i));
        if (!(seconds > 0) || !isfinite(seconds))
            return mlt_json_fail(types, name, err, MILLET_BAD_FORMAT, "number %zu is no time above 0", i);
        *cost_at(cost, i) = seconds;
    }
    return MILLET_OK;
}

static millet_status read_profile(const struct mlt_json *json, millet_device_profile *p, millet_error *err)
{
    uint32_t version, threads;
    struct mlt_json types;
    MLT_TRY(mlt_json_get_u32(json, "version", NULL, &version, err));
    if (version != VERSION)
        return mlt_json_fail(json, "version", err, MILLET_UNSUPPORTED, "%u; this Millet reads %d", version,
                             VERSION);
    MLT_TRY(mlt_json_get_u32(json, "threads", NULL, &threads, err));
    MLT_TRY(mlt_json_get_f64(json, "seconds_per_layer", NULL, &p->seconds_per_layer, err));
    MLT_TRY(mlt_json_get_f64(json, "seconds_per_channel", NULL, &p->seconds_per_channel, err));
    if (!(p->seconds_per_layer >= 0) || !(p->seconds_per_channel >= 0) || threads < 1 || threads > 1 << 16)
        return mlt_json_fail(json, "threads", err, MILLET_BAD_FORMAT,
                             "threads of 1 or more and times of 0 or more are wanted");
    p->n_threads = (int32_t)threads;
    const char *cpu = mlt_json_string(json->object, "cpu");
    snprintf(p->cpu, sizeof p->cpu, "%s", cpu ? cpu : "");
    MLT_TRY(mlt_json_get_object(json, "types", "types.", &types, err));
    if (!types.object || json_object_size(types.object) > MILLET_PROFILE_TYPES)
        return mlt_json_fail(json, "types", err, MILLET_BAD_FORMAT, "up to %d types are wanted",
                             MILLET_PROFILE_TYPES);
    /* jansson walks through objects that are not constant only. */
    json_t *object = json_object_get(json->object, "types");
    const char *name;
    json_t *values;
    json_object_foreach (object, name, values) {
        MLT_TRY(read_type(&types, name, values, &p->types[p->n_types++], err));
    }
    return MILLET_OK;
}

millet_status millet_device_profile_read(const char *path, millet_device_profile *profile, millet_error *err)
{
    json_t *root = NULL;
    *profile = (millet_device_profile){.n_threads = 1};
    MLT_TRY(mlt_json_read(mlt_default_allocator(), path, 1 << 24, &root, err));
    const struct mlt_json json = {root, path, ""};
    millet_status status = read_profile(&json, profile, err);
    json_decref(root);
    return status;
}

static millet_status put_profile(struct mlt_text *text, const millet_device_profile *p, millet_error *err)
{
    MLT_TRY(mlt_text_printf(
        text, err,
        "{\n \"version\": %d,\n \"cpu\": \"%s\",\n \"threads\": %d,\n \"seconds_per_layer\": %.6g,\n "
        "\"seconds_per_channel\": %.6g,\n \"columns\": [128, 512, 2048],\n \"elements\": [16384, 131072, "
        "1048576],\n \"set_bytes\": [1048576, 8388608, 67108864],\n \"types\": {",
        VERSION, p->cpu, p->n_threads, p->seconds_per_layer, p->seconds_per_channel));
    for (int32_t i = 0; i < p->n_types; i++) {
        millet_type_cost cost = p->types[i];
        MLT_TRY(mlt_text_printf(text, err, "%s\n  \"%s\": [", i ? "," : "", cost.type));
        for (size_t k = 0; k < COSTS; k++)
            MLT_TRY(mlt_text_printf(text, err, "%s%.4g", k ? ", " : "", *cost_at(&cost, k)));
        MLT_TRY(mlt_text_printf(text, err, "]"));
    }
    return mlt_text_printf(text, err, "\n }\n}\n");
}

millet_status millet_device_profile_write(const millet_device_profile *profile, const char *path,
                                          millet_error *err)
{
    struct mlt_text text = {.allocator = mlt_default_allocator()};
    struct mlt_writer *writer = NULL;
    millet_status status = put_profile(&text, profile, err);
    if (status == MILLET_OK) status = mlt_writer_open(text.allocator, path, &writer, err);
    if (status == MILLET_OK) status = mlt_writer_write(writer, text.data, text.length, err);
    if (status == MILLET_OK) status = mlt_writer_commit(&writer, err);
    mlt_writer_abort(&writer);
    mlt_text_release(&text);
    return status;
}
