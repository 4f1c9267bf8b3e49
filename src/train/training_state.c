/* The state of a training as a GGUF file. SPDX-License-Identifier: Apache-2.0 */
#include "train/training_state.h"

#include "train/storage.h"

#include <stdio.h>
#include <string.h>

/* ---- Settings ---- */

/* What is as it was before there was such an option has no line: older states can be gone on with. */
static millet_status newer_settings(const millet_train_options *o, struct mlt_text *out, millet_error *err)
{
    if (o->tag_weight != 1) MLT_TRY(mlt_text_printf(out, err, "tag_weight=%a\n", (double)o->tag_weight));
    if (o->mask > 0)
        MLT_TRY(mlt_text_printf(out, err, "mask=%a\nmask_predict=%d\n", (double)o->mask, o->mask_predict));
    if (o->dropout > 0) MLT_TRY(mlt_text_printf(out, err, "dropout=%a\n", (double)o->dropout));
    return MILLET_OK;
}

millet_status mlt_training_settings(const millet_train_options *o, struct mlt_text *out, millet_error *err)
{
    /* %a: to the bit. */
    MLT_TRY(mlt_text_printf(
        out, err,
        "steps=%llu\nrows=%d\nlength=%d\naccumulate=%d\noptimizer=%s\nschedule=%s\nrate=%a\nfinal_rate=%a\n"
        "warmup=%llu\ndecay_steps=%llu\nbeta1=%a\nbeta2=%a\nepsilon=%a\nweight_decay=%a\nmomentum=%a\nclip=%"
        "a\n"
        "z_loss=%a\nstorage=%s\nseed=%llu\n",
        (unsigned long long)o->steps, o->rows, o->length, o->accumulate,
        o->optimizer == MILLET_MUON ? "muon" : "adamw",
        o->schedule == MILLET_COSINE ? "cosine"
        : o->schedule == MILLET_WSD  ? "wsd"
                                     : "constant",
        (double)o->rate, (double)o->final_rate, (unsigned long long)o->warmup,
        (unsigned long long)o->decay_steps, (double)o->beta1, (double)o->beta2, (double)o->epsilon,
        (double)o->weight_decay, (double)o->momentum, (double)o->clip, (double)o->z_loss,
        mlt_storage_name(o->storage), (unsigned long long)o->seed));
    if (o->lora_rank) /* definite by now */
        MLT_TRY(mlt_text_printf(out, err, "lora_rank=%d\nlora_alpha=%a\nlora_targets=%s\n", o->lora_rank,
                                (double)o->lora_alpha, o->lora_targets ? o->lora_targets : "all"));
    if (o->quantize_after)
        MLT_TRY(mlt_text_printf(out, err, "quantize_after=%llu\n", (unsigned long long)o->quantize_after));
    return newer_settings(o, out, err);
}

/* Names the first line that differs. */
static millet_status refuse(const char *path, const char *saved, const char *now, millet_error *err)
{
    enum { MOST = 100 };
    int n = (int)MLT_MIN(strcspn(saved, "\n"), (size_t)MOST),
        m = (int)MLT_MIN(strcspn(now, "\n"), (size_t)MOST);
    if (!strncmp(saved, "data ", 5) || !strncmp(now, "data ", 5))
        return mlt_fail_at(
            err, MILLET_BAD_ARGUMENT, path, "train.settings", MILLET_NO_OFFSET,
            "the data are not those that the state was made with: it had %.*s, now it is %.*s; go on "
            "with the same data and weights, or allow changes",
            n ? n : 7, n ? saved : "no more", m ? m : 7, m ? now : "no more");
    return mlt_fail_at(
        err, MILLET_BAD_ARGUMENT, path, "train.settings", MILLET_NO_OFFSET,
        "the state was made with %.*s, now it is %.*s: go on with the same settings, or allow changes", n,
        saved, m, now);
}

static millet_status compare_settings(const char *path, const char *saved, const char *now, millet_error *err)
{
    while (*saved || *now) {
        size_t n = strcspn(saved, "\n"), m = strcspn(now, "\n");
        if (n != m || memcmp(saved, now, n) != 0) return refuse(path, saved, now, err);
        saved += n + (saved[n] != 0);
        now += m + (now[m] != 0);
    }
    return MILLET_OK;
}

/* ---- Writing ---- */

static struct mlt_meta number(const char *key, uint64_t value)
{
    return (struct mlt_meta){.key = {key, strlen(key)},
                             .type = MLT_META_U64,
                             .element = MLT_META_U64,
                             .count = 1,
                             .value.u = value};
}

static struct mlt_meta text(const char *key, const char *value)
{
    return (struct mlt_meta){.key = {key, strlen(key)},
                             .type = MLT_META_STRING,
                             .element = MLT_META_STRING,
                             .count = 1,
                             .value.string = {value, strlen(value)}};
}

enum { NAME_BYTES = 128 };

static void name_moment(char out[NAME_BYTES], const char *kind, const struct mlt_tensor *tensor)
{
    snprintf(out, NAME_BYTES, "train.%s.%s", kind, tensor->name.data);
}

static void add_moment(struct mlt_extra_tensor *out, char name[NAME_BYTES], const char *kind,
                       const struct mlt_tensor *tensor, const float *values)
{
    name_moment(name, kind, tensor);
    *out = (struct mlt_extra_tensor){.tensor = *tensor, .values = values};
    out->tensor.name = (struct mlt_string){name, strlen(name)};
}

millet_status mlt_training_state_write(const struct mlt_optimizer *o, const struct mlt_training_state *state,
                                       const char *settings, const char *path, millet_error *err)
{
    const struct mlt_trainable *t = o->model;
    struct mlt_meta metas[] = {number("train.step", state->step), number("train.tokens", state->tokens),
                               text("train.settings", settings)};
    struct mlt_extras extras = {.metas = metas, .n_metas = MLT_COUNT(metas)};
    struct mlt_arena arena;
    mlt_arena_init(&arena, &o->allocator);
    struct mlt_extra_tensor *tensors = mlt_arena_alloc(&arena, 3 * t->n_parameters, sizeof *tensors, err);
    char(*names)[NAME_BYTES] = mlt_arena_alloc(&arena, 3 * t->n_parameters, sizeof *names, err);
    millet_status status = tensors && names ? MILLET_OK : MILLET_NO_MEMORY;
    for (size_t i = 0; status == MILLET_OK && i < t->n_parameters; i++) {
        const struct mlt_parameter *p = &t->parameters[i];
        size_t at = extras.n_tensors;
        if (mlt_parameter_is_added(p)) /* the model's own are there in any case */
            tensors[at++] = (struct mlt_extra_tensor){.tensor = *p->tensor, .values = t->master + p->offset};
        add_moment(&tensors[at], names[at], "mean", p->tensor, o->mean + p->offset);
        extras.n_tensors = ++at;
        if (o->square_at[i] < 0) continue;
        add_moment(&tensors[at], names[at], "square", p->tensor, o->square + o->square_at[i]);
        extras.n_tensors = ++at;
    }
    extras.tensors = tensors;
    if (status == MILLET_OK) status = mlt_trainable_write(t, path, MLT_F32, &extras, err);
    mlt_arena_release(&arena);
    return status;
}

/* ---- Reading ---- */

static millet_status read_u64(const struct mlt_checkpoint *checkpoint, const char *key, uint64_t *out,
                              millet_error *err)
{
    const struct mlt_meta *meta = mlt_checkpoint_meta(checkpoint, key);
    if (!meta || meta->type != MLT_META_U64)
        return mlt_fail_at(err, meta ? MILLET_BAD_FORMAT : MILLET_NOT_FOUND, checkpoint->path, key,
                           MILLET_NO_OFFSET, "a number of 64 bits is needed: this is no state of a training");
    *out = meta->value.u;
    return MILLET_OK;
}

static millet_status read_moment(const struct mlt_trainable *t, const char *kind,
                                 const struct mlt_parameter *p, float *out, millet_error *err)
{
    char name[NAME_BYTES];
    name_moment(name, kind, p->tensor);
    const struct mlt_checkpoint *saved = mlt_trainable_saved(t);
    const struct mlt_tensor *tensor = mlt_checkpoint_tensor(saved, name);
    if (!tensor)
        return mlt_fail_at(err, MILLET_NOT_FOUND, saved->path, name, MILLET_NO_OFFSET,
                           "the state has no such tensor; was it made with another optimiser?");
    if (tensor->dtype != MLT_F32 || tensor->ne[0] != p->columns || tensor->rows != (uint64_t)p->rows)
        return mlt_fail_at(err, MILLET_BAD_FORMAT, saved->path, name, tensor->offset,
                           "F32 of %lld x %lld is needed", (long long)p->columns, (long long)p->rows);
    MLT_TRY(mlt_tensor_read(tensor, 0, tensor->rows, out, err));
    int64_t bad = mlt_encode_check(out, p->rows * p->columns);
    if (bad < 0) return MILLET_OK;
    return mlt_fail_at(err, MILLET_BAD_FORMAT, saved->path, name, tensor->offset,
                       "value %lld is not a finite number", (long long)bad);
}

millet_status mlt_training_state_read(struct mlt_optimizer *o, const char *settings,
                                      struct mlt_training_state *state, millet_error *err)
{
    const struct mlt_trainable *t = o->model;
    const struct mlt_checkpoint *from = mlt_trainable_saved(t);
    struct mlt_string saved;
    MLT_TRY(read_u64(from, "train.step", &state->step, err));
    MLT_TRY(read_u64(from, "train.tokens", &state->tokens, err));
    MLT_TRY(mlt_meta_get_string(from, "train.settings", NULL, &saved, err));
    if (settings) MLT_TRY(compare_settings(from->path, saved.data, settings, err));
    for (size_t i = 0; i < t->n_parameters; i++) {
        const struct mlt_parameter *p = &t->parameters[i];
        MLT_TRY(read_moment(t, "mean", p, o->mean + p->offset, err));
        if (o->square_at[i] >= 0) MLT_TRY(read_moment(t, "square", p, o->square + o->square_at[i], err));
    }
    return MILLET_OK;
}
