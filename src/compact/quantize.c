/*
 * millet_quantize: a checkpoint in, a GGUF file out, tensor by tensor.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "compact/encode_tensor.h"
#include "compact/merge_adapter.h"
#include "compact/plan_types.h"
#include "compact/quantize_types.h"
#include "compact/rounding.h"
#include "format/gguf_write.h"
#include "import/open_any.h"
#include "millet/lab.h"

#include <fnmatch.h>
#include <math.h>
#include <string.h>

/* Of the block layouts: the number that general.quantization_version has had since 2023. */
enum { QUANTIZATION_VERSION = 2 };

millet_quantize_options millet_quantize_options_default(void)
{
    return (millet_quantize_options){.type = "Q8_0"};
}

/* A result and the memory behind it; the public struct is its first member. */
struct quantized {
    millet_quantized public;
    struct mlt_arena arena;
};

/* A run of millet_quantize. */
struct run {
    millet_allocator allocator;
    const char *input, *output;
    const millet_quantize_options *options;
    const struct mlt_quantize_type *type;
    mlt_dtype output_dtype, embedding_dtype; /* what the options ask for; MLT_DTYPE_LIMIT: nothing */
    struct mlt_checkpoint *checkpoint;
    struct mlt_checkpoint **adapters; /* [n_adapters]: open ones */
    size_t n_adapters;
    struct mlt_arena arena; /* of what follows */
    struct mlt_meta *metas; /* of the output */
    size_t n_metas;
    struct mlt_tensor *tensors; /* of the output: name, dtype, dimensions */
    bool *fallback;
    struct mlt_encoder encoder;
    struct mlt_calibrated calibrated;
    struct mlt_gguf_writer *writer;
    size_t at;            /* the tensor at hand */
    uint64_t done, total; /* elements */
    struct quantized *result;
    millet_quantized_tensor *reports; /* the result's */
};

/* ---- The plan -------------------------------------------------------------------------------------------
 */

static millet_status find_dtype(const char *option, const char *name, mlt_dtype *dtype, millet_error *err)
{
    *dtype = MLT_DTYPE_LIMIT;
    if (!name || (mlt_dtype_by_name(name, dtype) && mlt_dtype_info(*dtype)->is_float)) return MILLET_OK;
    return mlt_fail_at(
        err, MILLET_BAD_ARGUMENT, NULL, option, MILLET_NO_OFFSET,
        "\"%s\" is no type of weights; it must be F32, F16, BF16, Q8_0, Q6_K, Q5_K, Q4_K, Q4_0 "
        "or another of that kind",
        name);
}

static millet_status check_options(struct run *r, millet_error *err)
{
    const millet_quantize_options *options = r->options;
    const char *name = options->type ? options->type : "Q8_0";
    r->type = mlt_quantize_type_find(name);
    if (!r->type)
        return mlt_fail_at(err, MILLET_BAD_ARGUMENT, NULL, "type", MILLET_NO_OFFSET,
                           "\"%s\" is not one of the types that can be made: %s", name,
                           millet_quantize_type_names());
    MLT_TRY(find_dtype("output_type", options->output_type, &r->output_dtype, err));
    MLT_TRY(find_dtype("embedding_type", options->embedding_type, &r->embedding_dtype, err));
    for (size_t i = 0; i < options->n_keep; i++)
        if (!options->keep || !options->keep[i])
            return mlt_fail_at(err, MILLET_BAD_ARGUMENT, NULL, "keep", MILLET_NO_OFFSET, "name %zu is NULL",
                               i);
    if (options->n_threads < 0 || options->n_threads > MLT_MAX_THREADS)
        return mlt_fail_at(err, MILLET_BAD_ARGUMENT, NULL, "n_threads", MILLET_NO_OFFSET,
                           "%d threads; 0 (all CPUs of the process) to %d are possible", options->n_threads,
                           MLT_MAX_THREADS);
    return MILLET_OK;
}

static bool is_kept(const struct run *r, const struct mlt_tensor *tensor)
{
    for (size_t i = 0; i < r->options->n_keep; i++)
        if (fnmatch(r->options->keep[i], tensor->name.data, 0) == 0) return true;
    return false;
}

static mlt_dtype choose(const struct run *r, const struct mlt_quantize_facts *facts,
                        const struct mlt_tensor *tensor)
{
    bool embedding = strcmp(tensor->name.data, "token_embd.weight") == 0;
    if (embedding && r->embedding_dtype != MLT_DTYPE_LIMIT) return r->embedding_dtype;
    if (r->output_dtype != MLT_DTYPE_LIMIT && mlt_quantize_is_output(tensor, facts)) return r->output_dtype;
    if (r->options->uniform) return r->type->dtype;
    return mlt_quantize_choose(r->type, facts, tensor);
}

static millet_status plan_tensors(struct run *r, millet_error *err)
{
    const struct mlt_checkpoint *checkpoint = r->checkpoint;
    size_t n = checkpoint->n_tensors;
    struct mlt_quantize_facts facts;
    mlt_quantize_facts_read(&facts, checkpoint);
    r->tensors = mlt_arena_alloc(&r->arena, n, sizeof *r->tensors, err);
    r->fallback = mlt_arena_alloc(&r->arena, n, sizeof *r->fallback, err);
    mlt_dtype *planned = mlt_arena_alloc(&r->arena, n, sizeof *planned, err);
    if (!r->tensors || !r->fallback || !planned) return MILLET_NO_MEMORY;
    if (r->options->plan) {
        MLT_TRY(mlt_plan_types(r->options->plan, checkpoint, &r->allocator, planned, err));
        r->type = mlt_plan_main_type(checkpoint, planned);
    }
    for (size_t i = 0; i < n; i++) {
        const struct mlt_tensor *from = &checkpoint->tensors[i];
        mlt_dtype wanted = from->dtype, to = from->dtype;
        if (r->options->plan) {
            wanted = to = planned[i];
        } else if (mlt_quantize_applies(from) && !is_kept(r, from)) {
            wanted = choose(r, &facts, from);
            to = mlt_quantize_fit(wanted, from->ne[0]);
        }
        /* To F32 nothing more is lost. */
        if (to != from->dtype && to != MLT_F32 && mlt_dtype_info(from->dtype)->quantised &&
            !r->options->allow_requantize)
            return mlt_fail_at(err, MILLET_BAD_ARGUMENT, from->file, from->name.data, from->offset,
                               "it is quantised already, as %s: start from the float checkpoint, or allow "
                               "quantising it again as %s, with the loss of both",
                               mlt_dtype_info(from->dtype)->name, mlt_dtype_info(to)->name);
        r->tensors[i] = *from;
        r->tensors[i].dtype = to;
        r->tensors[i].row_bytes = mlt_dtype_row_bytes(to, from->ne[0]);
        r->tensors[i].bytes = r->tensors[i].row_bytes * from->rows;
        r->fallback[i] = to != wanted;
        r->total += from->rows * (uint64_t)from->ne[0];
    }
    return MILLET_OK;
}

/* Sets a number in the output's metadata, in the place where the input has it or else at the end. */
static void set_number(struct run *r, const char *key, uint32_t value)
{
    size_t i = 0;
    while (i < r->n_metas && strcmp(r->metas[i].key.data, key) != 0)
        i++;
    if (i == r->n_metas) r->n_metas++;
    r->metas[i] = (struct mlt_meta){.key = {key, strlen(key)},
                                    .type = MLT_META_U32,
                                    .element = MLT_META_U32,
                                    .count = 1,
                                    .value = {.u = value}};
}

static millet_status plan_metadata(struct run *r, millet_error *err)
{
    enum { ADDED = 2 };
    r->n_metas = r->checkpoint->n_metas;
    r->metas = mlt_arena_alloc(&r->arena, r->n_metas + ADDED, sizeof *r->metas, err);
    if (!r->metas) return MILLET_NO_MEMORY;
    if (r->n_metas) memcpy(r->metas, r->checkpoint->metas, r->n_metas * sizeof *r->metas);
    set_number(r, "general.file_type", r->type->file_type);
    set_number(r, "general.quantization_version", QUANTIZATION_VERSION);
    return MILLET_OK;
}

/* ---- The result -----------------------------------------------------------------------------------------
 */

/* Its strings must outlive the checkpoint. */
static millet_status start_result(struct run *r, millet_error *err)
{
    r->result = mlt_alloc_zero(&r->allocator, 1, sizeof *r->result, err);
    if (!r->result) return MILLET_NO_MEMORY;
    struct mlt_arena *arena = &r->result->arena;
    mlt_arena_init(arena, &r->allocator);
    size_t n = r->checkpoint->n_tensors;
    r->reports = mlt_arena_alloc(arena, n, sizeof *r->reports, err);
    if (!r->reports) return MILLET_NO_MEMORY;
    r->result->public = (millet_quantized){.type = r->type->name, .n_tensors = n, .tensors = r->reports};
    for (size_t i = 0; i < n; i++) {
        const struct mlt_tensor *from = &r->checkpoint->tensors[i], *to = &r->tensors[i];
        r->reports[i] = (millet_quantized_tensor){
            .name = mlt_arena_text(arena, from->name.data, from->name.length, err),
            .from = mlt_dtype_info(from->dtype)->name,
            .to = mlt_dtype_info(to->dtype)->name,
            .fallback = r->fallback[i],
            .elements = from->rows * (uint64_t)from->ne[0],
            .bytes_before = from->bytes,
            .bytes_after = to->bytes,
            .matrix = mlt_quantize_applies(from),
        };
        for (int k = 0; k < from->n_dims; k++)
            r->reports[i].shape[k] = from->ne[k];
        if (!r->reports[i].name) return MILLET_NO_MEMORY;
        r->result->public.n_fallbacks += r->fallback[i];
        r->result->public.bytes_before += from->bytes;
        r->result->public.bytes_after += to->bytes;
    }
    return MILLET_OK;
}

void millet_quantized_free(millet_quantized **handle)
{
    if (!*handle) return;
    struct quantized *result = (struct quantized *)(void *)*handle;
    millet_allocator allocator = result->arena.allocator;
    mlt_arena_release(&result->arena);
    mlt_free(&allocator, result);
    *handle = NULL;
}

/* ---- Adapters -------------------------------------------------------------------------------------------
 */

static millet_status merge_adapters(struct run *r, millet_error *err)
{
    size_t n = r->options->n_merge;
    if (n == 0) return MILLET_OK;
    r->adapters = mlt_arena_alloc(&r->arena, n, sizeof *r->adapters, err);
    if (!r->adapters) return MILLET_NO_MEMORY;
    for (size_t i = 0; i < n; i++) {
        const millet_merge *merge = &r->options->merge[i];
        struct mlt_adapter_file file;
        MLT_TRY(mlt_checkpoint_open(&r->allocator, merge->adapter, NULL, &r->adapters[i], err));
        r->n_adapters++;
        MLT_TRY(mlt_adapter_file_read(r->adapters[i], r->checkpoint, &r->arena, &file, err));
        MLT_TRY(mlt_merge_adapter(r->checkpoint, &file, merge->scale, err));
    }
    return MILLET_OK;
}

/* ---- Carrying it out ------------------------------------------------------------------------------------
 */

static millet_status write_part(void *context, const void *bytes, uint64_t size, uint64_t elements,
                                millet_error *err)
{
    struct run *r = context;
    MLT_TRY(mlt_gguf_writer_write(r->writer, r->at, bytes, size, err));
    r->done += elements;
    if (r->options->progress &&
        !r->options->progress(r->options->context, (double)r->done / (double)r->total))
        return mlt_fail_at(err, MILLET_CANCELLED, r->output, NULL, MILLET_NO_OFFSET,
                           "cancelled; nothing was written");
    return MILLET_OK;
}

/* Lets go of the pages of a tensor that has been read: the system keeps what it has room for. */
static void forget_pages(const struct run *r, const struct mlt_tensor *tensor)
{
    if (!tensor->data) return;
    for (size_t i = 0; i < r->checkpoint->n_maps; i++) {
        const struct mlt_file_map *map = &r->checkpoint->maps[i];
        uintptr_t begin = (uintptr_t)map->data, at = (uintptr_t)tensor->data;
        if (map->data && at >= begin && at - begin < map->size)
            mlt_file_map_advise(map, at - begin, tensor->bytes, MLT_FILE_DONT_NEED);
    }
}

static millet_status encode_all(struct run *r, millet_error *err)
{
    double squares = 0, difference = 0;
    for (r->at = 0; r->at < r->checkpoint->n_tensors; r->at++) {
        const struct mlt_tensor *from = &r->checkpoint->tensors[r->at];
        struct mlt_encode_error error;
        struct mlt_rounding rounding = {0};
        mlt_dtype to = r->tensors[r->at].dtype;
        if (to != from->dtype)
            MLT_TRY(mlt_calibrated_rounding(&r->calibrated, from, r->encoder.pool, &rounding, err));
        MLT_TRY(mlt_encode_tensor(&r->encoder, from, to, &rounding, write_part, r, &error, err));
        r->reports[r->at].rounding = rounding.feedback     ? MILLET_ROUNDING_FEEDBACK
                                     : rounding.importance ? MILLET_ROUNDING_IMPORTANCE
                                                           : MILLET_ROUNDING_PLAIN;
        forget_pages(r, from);
        if (from->dtype == r->tensors[r->at].dtype) continue;
        squares += error.squares;
        difference += error.difference;
        r->reports[r->at].error = error.squares > 0 ? sqrt(error.difference / error.squares) : 0;
    }
    r->result->public.error = squares > 0 ? sqrt(difference / squares) : 0;
    return MILLET_OK;
}

static millet_status run(struct run *r, millet_error *err)
{
    MLT_TRY(check_options(r, err));
    MLT_TRY(mlt_open_any(&r->allocator, r->input, r->options->tokenizer_path, &r->checkpoint, err));
    MLT_TRY(merge_adapters(r, err));
    MLT_TRY(mlt_calibrated_open(&r->calibrated, &r->allocator, r->options->importance,
                                !r->options->no_feedback, r->checkpoint, err));
    MLT_TRY(plan_tensors(r, err));
    MLT_TRY(plan_metadata(r, err));
    MLT_TRY(start_result(r, err));
    struct mlt_gguf_contents contents = {
        .metas = r->metas,
        .n_metas = r->n_metas,
        .tensors = r->tensors,
        .n_tensors = r->checkpoint->n_tensors,
        .piece_bytes = r->options->split_bytes,
    };
    MLT_TRY(mlt_gguf_measure(&r->allocator, &contents, &r->result->public.file_bytes,
                             &r->result->public.n_files, err));
    if (r->options->dry_run) return MILLET_OK;
    MLT_TRY(mlt_encoder_open(&r->encoder, &r->allocator, r->options->n_threads, err));
    MLT_TRY(mlt_gguf_writer_open(&r->allocator, r->output, &contents, &r->writer, err));
    MLT_TRY(encode_all(r, err));
    return mlt_gguf_writer_commit(&r->writer, err);
}

millet_status millet_quantize(const char *input, const char *output, const millet_quantize_options *options,
                              millet_quantized **result, millet_error *err)
{
    millet_quantize_options defaults = millet_quantize_options_default();
    if (!options) options = &defaults;
    struct run r = {.input = input, .output = output, .options = options};
    r.allocator = options->allocator ? *options->allocator : *mlt_default_allocator();
    mlt_arena_init(&r.arena, &r.allocator);
    if (result) *result = NULL;
    millet_status status = run(&r, err);
    mlt_gguf_writer_abort(&r.writer);
    mlt_encoder_close(&r.encoder);
    mlt_calibrated_close(&r.calibrated);
    for (size_t i = 0; i < r.n_adapters; i++)
        mlt_checkpoint_close(&r.adapters[i]);
    mlt_arena_release(&r.arena);
    mlt_checkpoint_close(&r.checkpoint);
    millet_quantized *all = r.result ? &r.result->public : NULL;
    if (status == MILLET_OK && result)
        *result = all;
    else
        millet_quantized_free(&all);
    return status;
}
