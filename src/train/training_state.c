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

/* One tensor of moments: the means or the squares of a parameter. */
struct moment {
    size_t parameter;
    bool square;
};

struct moments {
    const struct mlt_optimizer *o;
    struct moment *list;
    size_t n;
    struct mlt_extra_tensor *tensors; /* of the file, beside the model's: those, and added matrices */
    size_t n_tensors;
    /* Where there are several ranks: */
    struct mlt_share *parts; /* [size] */
    float *whole;            /* of the first: one tensor */
    size_t next;             /* to be collected */
};

static float *values_of(const struct mlt_optimizer *o, const struct moment *m)
{
    return m->square ? o->square + o->square_at[m->parameter] : o->mean + o->mean_at[m->parameter];
}

static void add_moment(struct moments *s, size_t parameter, bool square, char name[NAME_BYTES])
{
    const struct mlt_tensor *tensor = s->o->model->parameters[parameter].tensor;
    struct mlt_extra_tensor *out = &s->tensors[s->n_tensors++];
    s->list[s->n] = (struct moment){parameter, square};
    name_moment(name, square ? "square" : "mean", tensor);
    *out = (struct mlt_extra_tensor){.tensor = *tensor};
    out->tensor.name = (struct mlt_string){name, strlen(name)};
    if (millet_ranks_size(s->o->options->ranks) == 1) out->values = values_of(s->o, &s->list[s->n]);
    s->n++;
}

static millet_status list_moments(struct moments *s, struct mlt_arena *arena, millet_error *err)
{
    const struct mlt_trainable *t = s->o->model;
    int32_t size = millet_ranks_size(s->o->options->ranks);
    size_t most = 3 * t->n_parameters, largest = 0;
    s->list = mlt_arena_alloc(arena, most, sizeof *s->list, err);
    s->tensors = mlt_arena_alloc(arena, most, sizeof *s->tensors, err);
    char(*names)[NAME_BYTES] = mlt_arena_alloc(arena, most, sizeof *names, err);
    s->parts = mlt_arena_alloc(arena, (size_t)size, sizeof *s->parts, err);
    if (!s->list || !s->tensors || !names || !s->parts) return MILLET_NO_MEMORY;
    for (size_t i = 0; i < t->n_parameters; i++) {
        const struct mlt_parameter *p = &t->parameters[i];
        if (mlt_parameter_is_added(p)) /* the model's own are there in any case */
            s->tensors[s->n_tensors++] =
                (struct mlt_extra_tensor){.tensor = *p->tensor, .values = t->master + p->offset};
        add_moment(s, i, false, names[s->n]);
        if (s->o->square_at[i] >= 0) add_moment(s, i, true, names[s->n]);
        largest = MLT_MAX(largest, (size_t)(p->rows * p->columns));
    }
    if (size == 1 || millet_ranks_rank(s->o->options->ranks)) return MILLET_OK;
    s->whole = mlt_alloc(&s->o->allocator, largest, sizeof *s->whole, err);
    return s->whole ? MILLET_OK : MILLET_NO_MEMORY;
}

/* The next tensor of moments from all ranks to the first. */
static millet_status collect_next(struct moments *s, millet_error *err)
{
    const struct moment *m = &s->list[s->next++];
    size_t n = mlt_sharding_parts(&s->o->sharding, &s->o->model->parameters[m->parameter], s->parts);
    return mlt_ranks_collect(s->o->options->ranks, values_of(s->o, m), s->whole, s->parts, n, err);
}

static millet_status read_next(void *context, size_t index, const float **values, millet_error *err)
{
    struct moments *s = context;
    (void)index; /* in order */
    *values = s->whole;
    return collect_next(s, err);
}

static millet_status write_file(struct moments *s, const struct mlt_training_state *state,
                                const char *settings, const char *path, millet_error *err)
{
    struct mlt_meta metas[] = {number("train.step", state->step), number("train.tokens", state->tokens),
                               text("train.settings", settings)};
    struct mlt_extras extras = {.metas = metas,
                                .n_metas = MLT_COUNT(metas),
                                .tensors = s->tensors,
                                .n_tensors = s->n_tensors,
                                .read = read_next,
                                .context = s};
    return mlt_trainable_write(s->o->model, path, MLT_F32, &extras, err);
}

millet_status mlt_training_state_write(const struct mlt_optimizer *o, const struct mlt_training_state *state,
                                       const char *settings, const char *path, millet_error *err)
{
    millet_ranks *ranks = o->options->ranks;
    struct moments s = {.o = o};
    struct mlt_arena arena;
    mlt_arena_init(&arena, &o->allocator);
    millet_status status = millet_ranks_agree(ranks, list_moments(&s, &arena, err), err);
    if (status == MILLET_OK) {
        if (millet_ranks_rank(ranks) == 0) status = write_file(&s, state, settings, path, err);
        /* The others, and the first after a failure to write: what has not been sent yet is on its way. */
        millet_status rest = MILLET_OK;
        while (millet_ranks_size(ranks) > 1 && rest == MILLET_OK && s.next < s.n)
            rest = collect_next(&s, status == MILLET_OK ? err : NULL);
        if (status == MILLET_OK) status = rest;
        status = millet_ranks_agree(ranks, status, err);
    }
    mlt_free(&o->allocator, s.whole);
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

/* `own` of it is kept in `out`; `whole` has room for the tensor where that is not all. */
static millet_status read_moment(const struct mlt_trainable *t, const char *kind,
                                 const struct mlt_parameter *p, struct mlt_share own, float *whole,
                                 float *out, millet_error *err)
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
    if (own.count == 0) return MILLET_OK;
    if (own.count == p->rows * p->columns) whole = out;
    MLT_TRY(mlt_tensor_read(tensor, 0, tensor->rows, whole, err));
    int64_t bad = mlt_encode_check(whole, p->rows * p->columns);
    if (bad < 0) {
        if (whole != out) memcpy(out, whole + own.begin, (size_t)own.count * sizeof *out);
        return MILLET_OK;
    }
    return mlt_fail_at(err, MILLET_BAD_FORMAT, saved->path, name, tensor->offset,
                       "value %lld is not a finite number", (long long)bad);
}

static millet_status read_moments(struct mlt_optimizer *o, float *whole, millet_error *err)
{
    const struct mlt_trainable *t = o->model;
    for (size_t i = 0; i < t->n_parameters; i++) {
        const struct mlt_parameter *p = &t->parameters[i];
        MLT_TRY(read_moment(t, "mean", p, o->own[i], whole, o->mean + o->mean_at[i], err));
        if (o->square_at[i] >= 0)
            MLT_TRY(read_moment(t, "square", p, o->own[i], whole, o->square + o->square_at[i], err));
    }
    return MILLET_OK;
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
    size_t largest = 0; /* of the tensors of which this rank keeps a part */
    for (size_t i = 0; i < t->n_parameters; i++) {
        int64_t all = t->parameters[i].rows * t->parameters[i].columns;
        if (o->own[i].count && o->own[i].count < all) largest = MLT_MAX(largest, (size_t)all);
    }
    float *whole = mlt_alloc(&o->allocator, largest, sizeof *whole, err);
    millet_status status = whole ? read_moments(o, whole, err) : MILLET_NO_MEMORY;
    mlt_free(&o->allocator, whole);
    return status;
}
