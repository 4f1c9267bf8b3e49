/* millet inspect: what is in a model and what it needs. SPDX-License-Identifier: Apache-2.0 */
#include "verbs.h"

#include <string.h>

static struct {
    bool tensors, metadata;
} arguments;

static const struct cli_option rows[] = {
    {.name = "tensors", .kind = CLI_FLAG, .target = &arguments.tensors, .help = "list every tensor"},
    {.name = "metadata",
     .kind = CLI_FLAG,
     .target = &arguments.metadata,
     .help = "list every key of the metadata; long values are cut"},
    {0},
};

enum { VALUE_SIZE = 200 };

/* Elements and bytes by dtype, in order of first appearance. */
struct dtype_sum {
    const char *dtype;
    uint64_t tensors, bytes;
};

static int sum_dtypes(const millet_model *model, struct dtype_sum *sums, int limit)
{
    int count = 0;
    for (uint64_t i = 0; i < millet_model_tensor_count(model); i++) {
        millet_tensor_info info;
        millet_model_tensor(model, i, &info);
        int j = 0;
        while (j < count && strcmp(sums[j].dtype, info.dtype) != 0)
            j++;
        if (j == limit) continue;
        if (j == count) sums[count++] = (struct dtype_sum){info.dtype, 0, 0};
        sums[j].tensors++;
        sums[j].bytes += info.bytes;
    }
    return count;
}

static json_t *dims_json(const millet_tensor_info *info)
{
    json_t *dims = json_array();
    for (int d = 0; d < info->n_dims; d++)
        json_array_append_new(dims, json_integer(info->dims[d]));
    return dims;
}

static json_t *model_json(const millet_model *model, const millet_model_info *info,
                          const millet_memory *memory)
{
    struct dtype_sum sums[32];
    int n = sum_dtypes(model, sums, 32);
    json_t *dtypes = json_object(), *tensors = json_array(), *metadata = json_array();
    for (int i = 0; i < n; i++)
        json_object_set_new(dtypes, sums[i].dtype,
                            json_pack("{s:I,s:I}", "tensors", (json_int_t)sums[i].tensors, "bytes",
                                      (json_int_t)sums[i].bytes));
    for (uint64_t i = 0; i < millet_model_tensor_count(model); i++) {
        millet_tensor_info tensor;
        millet_model_tensor(model, i, &tensor);
        json_array_append_new(tensors,
                              json_pack("{s:s,s:s,s:o,s:I,s:I}", "name", tensor.name, "dtype", tensor.dtype,
                                        "dims", dims_json(&tensor), "bytes", (json_int_t)tensor.bytes,
                                        "offset", (json_int_t)tensor.offset));
    }
    for (uint64_t i = 0; i < millet_model_metadata_count(model); i++) {
        millet_metadata entry;
        char value[VALUE_SIZE];
        uint64_t length = millet_model_metadata(model, i, &entry, value, sizeof value);
        json_t *text = json_string(value);
        json_array_append_new(metadata,
                              json_pack("{s:s,s:s,s:o,s:b}", "key", entry.key, "type", entry.type, "value",
                                        text ? text : json_null(), "cut", length >= sizeof value));
    }
    return json_pack(
        "{s:s,s:s,s:s,s:s,s:s,s:I,s:I,s:I,s:{s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i},s:{s:i,s:i,s:i,s:I,s:I,"
        "s:I},s:o,s:o,"
        "s:o}",
        "path", info->path, "format", info->format, "architecture", info->architecture, "name", info->name,
        "tokenizer", info->tokenizer, "parameters", (json_int_t)info->parameters, "weight_bytes",
        (json_int_t)info->weight_bytes, "file_bytes", (json_int_t)info->file_bytes, "shape", "layers",
        info->n_layers, "embedding", info->n_embd, "heads", info->n_heads, "kv_heads", info->n_kv_heads,
        "head_size", info->head_size, "feed_forward", info->n_ff, "vocabulary", info->n_vocab, "experts",
        info->n_experts, "experts_used", info->n_experts_used, "context", info->n_ctx_train, "memory",
        "context", memory->n_ctx, "batch", memory->n_batch, "threads", memory->n_threads, "cache",
        (json_int_t)memory->cache, "workspace", (json_int_t)memory->workspace, "total",
        (json_int_t)memory->total, "dtypes", dtypes, "tensors", tensors, "metadata", metadata);
}

static void print_metadata(const millet_model *model)
{
    puts("\nmetadata");
    for (uint64_t i = 0; i < millet_model_metadata_count(model); i++) {
        millet_metadata entry;
        char value[VALUE_SIZE];
        uint64_t length = millet_model_metadata(model, i, &entry, value, sizeof value);
        for (char *c = value; *c; c++)
            if ((unsigned char)*c < ' ') *c = ' ';
        printf("  %-44s %-12s %s%s\n", entry.key, entry.type, value, length >= sizeof value ? " ..." : "");
    }
}

static void print_tensors(const millet_model *model)
{
    puts("\ntensors");
    for (uint64_t i = 0; i < millet_model_tensor_count(model); i++) {
        millet_tensor_info tensor;
        char dims[96] = "";
        millet_model_tensor(model, i, &tensor);
        for (int d = 0, at = 0; d < tensor.n_dims && at < (int)sizeof dims; d++)
            at += snprintf(dims + at, sizeof dims - (size_t)at, "%s%lld", d ? " x " : "",
                           (long long)tensor.dims[d]);
        printf("  %-40s %-7s %-24s %10s\n", tensor.name, tensor.dtype, dims, cli_bytes(tensor.bytes));
    }
}

static void print_model(const millet_model *model, const millet_model_info *info, const millet_memory *memory)
{
    struct dtype_sum sums[32];
    int n = sum_dtypes(model, sums, 32);
    printf("%s\n", info->path);
    if (info->name[0]) printf("  %-13s %s\n", "name", info->name);
    printf("  %-13s %s, %s\n", "format", info->format, cli_bytes(info->file_bytes));
    printf("  %-13s %s, %.4g million parameters\n", "model", info->architecture,
           (double)info->parameters * 1e-6);
    printf("  %-13s %d layers, %d wide, %d heads of %d (%d for keys and values), feed-forward %d\n", "shape",
           info->n_layers, info->n_embd, info->n_heads, info->head_size, info->n_kv_heads, info->n_ff);
    if (info->n_experts)
        printf("  %-13s %d, of which %d are used\n", "experts", info->n_experts, info->n_experts_used);
    printf("  %-13s %d tokens%s%s\n", "vocabulary", info->n_vocab,
           info->tokenizer[0] ? ", " : ", no tokenizer", info->tokenizer);
    printf("  %-13s %d positions\n", "trained for", info->n_ctx_train);
    const char *template = millet_chat_template_detect(model);
    if (template || info->chat_template[0])
        printf("  %-13s %s\n", "chat template", template ? template : "in the file, not recognised");
    printf("  %-13s %s:", "weights", cli_bytes(info->weight_bytes));
    for (int i = 0; i < n; i++)
        printf("%s %s in %llu x %s", i ? "," : "", cli_bytes(sums[i].bytes),
               (unsigned long long)sums[i].tensors, sums[i].dtype);
    printf("\n  %-13s %s beyond the file for %d positions (cache %s, workspace %s, %d threads)\n", "memory",
           cli_bytes(memory->total), memory->n_ctx, cli_bytes(memory->cache), cli_bytes(memory->workspace),
           memory->n_threads);
}

static int run(int n_operands, char **operands)
{
    (void)n_operands;
    millet_model *model = cli_open_model(operands[0]);
    if (!model) return CLI_FAILED;
    millet_model_info info;
    millet_model_get_info(model, &info);
    millet_session_options options = cli_session_options();
    millet_memory memory;
    millet_error err;
    int status = CLI_OK;
    if (millet_estimate(model, &options, &memory, &err) != MILLET_OK) {
        status = cli_fail(&err);
    } else if (cli_json) {
        status = cli_print_json(model_json(model, &info, &memory));
    } else {
        print_model(model, &info, &memory);
        if (arguments.metadata) print_metadata(model);
        if (arguments.tensors) print_tensors(model);
    }
    millet_model_close(&model);
    return status;
}

static const struct cli_option *const groups[] = {rows,           cli_session_rows, cli_threads_rows,
                                                  cli_model_rows, cli_json_rows,    NULL};

const struct cli_verb cli_verb_inspect = {
    .name = "inspect",
    .summary = "show what is in a model and the memory it needs",
    .operands = "MODEL",
    .min_operands = 1,
    .max_operands = 1,
    .description =
        "Shows format, architecture, shape, tokenizer and types of a model, and the memory that a session "
        "with "
        "the given context takes beyond the file, which is mapped. MODEL is a GGUF file, a llama2.c "
        "checkpoint, or a folder with safetensors.",
    .examples = "millet inspect model.gguf --ctx 8192\tmemory for 8192 positions\n"
                "millet inspect model.gguf --tensors --metadata\teverything",
    .options = groups,
    .run = run,
};
