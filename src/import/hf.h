/*
 * Checkpoints in the layout of Hugging Face's transformers: what config.json says, how its tensor names map
 * to GGUF's, and how the tensors that GGUF stores otherwise are assembled. Internal to this room.
 *
 * The mapping follows the published configuration classes and modelling code of transformers, and GGUF's
 * naming as its reference converter writes it; docs/import.md tells what is done for which family.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_HF_H
#define MLT_HF_H

#include "import/json_read.h"
#include "import/safetensors.h"

/* Families of models: one bit each, so that a row of the tensor table can name several. */
enum mlt_hf_family {
    MLT_HF_LLAMA = 1 << 0, /* also Mistral */
    MLT_HF_MIXTRAL = 1 << 1,
    MLT_HF_QWEN2 = 1 << 2,
    MLT_HF_QWEN3 = 1 << 3,
    MLT_HF_GEMMA2 = 1 << 4,
    MLT_HF_GEMMA3 = 1 << 5,
    MLT_HF_PHI3 = 1 << 6,
    MLT_HF_STABLELM = 1 << 7,
    MLT_HF_GPT2 = 1 << 8,
    MLT_HF_SMOLLM3 = 1 << 9,
    MLT_HF_MINICPM = 1 << 10,
};

/* What the later steps need of config.json. All counts are >= 1 unless said otherwise. */
struct mlt_hf_config {
    enum mlt_hf_family family;
    const char *architecture; /* GGUF's: "llama" */
    uint32_t n_layers, n_embd, n_heads, n_kv_heads, n_vocab, n_ctx;
    uint32_t head_size; /* 1 .. 65536 */
    uint32_t rope_size; /* rotated elements of a head, even; 0 for gpt2 */
    uint32_t n_experts; /* 0: none */
    /* Whether the output matrix is the embedding: what the file says (`known`), else the tensors tell. */
    bool tie_known, tie;
};

/*
 * Reads config.json and adds general.architecture and the architecture's keys to the checkpoint, rope factor
 * tensors too. Errors: BAD_FORMAT and UNSUPPORTED name the key, and what this version can read.
 */
millet_status mlt_hf_config_read(struct mlt_checkpoint *checkpoint, const struct mlt_json *config,
                                 struct mlt_hf_config *out, millet_error *err);

/* The part of it about rotary positions; hf_rope.c. `out` holds the counts already; sets rope_size. */
millet_status mlt_hf_rope_read(struct mlt_checkpoint *checkpoint, const struct mlt_json *config,
                               struct mlt_hf_config *out, millet_error *err);

/* Adds a key "ARCHITECTURE.name". */
millet_status mlt_hf_put_u32(struct mlt_checkpoint *checkpoint, const struct mlt_hf_config *config,
                             const char *name, uint32_t value, millet_error *err);
millet_status mlt_hf_put_f32(struct mlt_checkpoint *checkpoint, const struct mlt_hf_config *config,
                             const char *name, double value, millet_error *err);
millet_status mlt_hf_put_text(struct mlt_checkpoint *checkpoint, const struct mlt_hf_config *config,
                              const char *name, const char *value, millet_error *err);

/*
 * Adds every tensor of the set under its GGUF name, in the order of the layers; what GGUF stores otherwise is
 * assembled when it is read. Errors: UNSUPPORTED names a tensor that the family does not have or a dtype that
 * is no weight; BAD_FORMAT shapes that cannot be.
 */
millet_status mlt_hf_tensors_map(struct mlt_checkpoint *checkpoint, const struct mlt_hf_config *config,
                                 const struct mlt_safetensors *set, millet_error *err);

/*
 * How a tensor is made of stored ones; the order of the steps is that of the members. hf_assemble.c.
 *   transpose   the stored matrix is [in][out] (GPT-2's Conv1D)
 *   heads       > 0: rows of each head are stored in half-split order and wanted interleaved: row 2j + p of a
 *               head of D rows is stored row p D/2 + j (p = 0, 1). GGUF keeps llama's own order of rotated
 *               pairs, transformers keeps the halves of a head apart. For a vector, rows means elements.
 *   as_float    the tensor becomes F32, whatever is stored
 *   add         is added to every element; as_float only
 *   parts       several stored tensors of one shape, one after the other along a new outermost dimension
 */
struct mlt_hf_recipe {
    bool transpose;
    uint32_t heads;
    bool as_float;
    float add;
    const struct mlt_safetensor *const *parts;
    size_t n_parts; /* >= 1; the new dimension exists where `stack` */
    bool stack;
};

/* Adds a tensor made by a recipe, which the checkpoint copies; plain ones are used in place. */
millet_status mlt_hf_add_tensor(struct mlt_checkpoint *checkpoint, const char *name,
                                const struct mlt_hf_recipe *recipe, millet_error *err);

/*
 * The tokenizer, from tokenizer.json and the files beside it (any of which may be NULL but `tokenizer`); adds
 * tokenizer.* keys. `n_vocab` is the number of rows of the embedding: the list of tokens gets that length.
 * Errors: BAD_FORMAT, UNSUPPORTED (names what the tokenizer does that cannot be said in GGUF's terms).
 */
struct mlt_hf_tokenizer_files {
    struct mlt_json tokenizer;  /* tokenizer.json */
    struct mlt_json config;     /* tokenizer_config.json */
    struct mlt_json special;    /* special_tokens_map.json */
    struct mlt_json model;      /* config.json */
    struct mlt_json generation; /* generation_config.json */
    const char *template_text;  /* chat_template.jinja, or NULL */
    size_t template_length;
    uint32_t n_vocab;
};

millet_status mlt_hf_tokenizer_read(struct mlt_checkpoint *checkpoint,
                                    const struct mlt_hf_tokenizer_files *files, millet_error *err);

#endif
