/*
 * config.json and, after a NUL byte, a safetensors file: the keys, the mapped tensors, every row of them, and
 * the model that they make.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "import/hf.h"
#include "model/model.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_rows(const struct mlt_checkpoint *checkpoint)
{
    static uint8_t row[1 << 16];
    millet_error err;
    for (size_t i = 0; i < checkpoint->n_tensors; i++) {
        const struct mlt_tensor *tensor = &checkpoint->tensors[i];
        if (tensor->row_bytes > sizeof row) continue;
        for (uint64_t r = 0; r < tensor->rows; r++)
            (void)mlt_tensor_read(tensor, r, 1, row, &err);
    }
}

/* What import_checkpoint.c does with files, here with memory. */
static millet_status import(struct mlt_checkpoint *checkpoint, const json_t *root,
                            const struct mlt_source *source, millet_error *err)
{
    struct mlt_hf_config config;
    struct mlt_safetensors set;
    struct mlt_json json = {root, "config.json", ""};
    MLT_TRY(mlt_hf_config_read(checkpoint, &json, &config, err));
    MLT_TRY(mlt_safetensors_parse(&checkpoint->arena, source, &set, err));
    MLT_TRY(mlt_hf_tensors_map(checkpoint, &config, &set, err));
    return mlt_checkpoint_seal(checkpoint, err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = size ? memchr(data, 0, size) : NULL;
    size_t length = end ? (size_t)(end - data) : size;
    struct mlt_source source = {"input", end ? end + 1 : data, end ? size - length - 1 : 0};
    struct mlt_checkpoint *checkpoint = NULL;
    json_t *root;
    millet_model *model = NULL;
    millet_error err;
    if (mlt_json_parse("config.json", 0, data, length, &root, &err) != MILLET_OK) return 0;
    if (mlt_checkpoint_new(mlt_default_allocator(), "input", "safetensors", &checkpoint, &err) == MILLET_OK &&
        import(checkpoint, root, &source, &err) == MILLET_OK) {
        read_rows(checkpoint);
        /* Takes the checkpoint, also when it fails. */
        (void)mlt_model_from_checkpoint(mlt_default_allocator(), checkpoint, &model, &err);
        checkpoint = NULL;
    }
    millet_model_close(&model);
    mlt_checkpoint_close(&checkpoint);
    json_decref(root);
    return 0;
}
