/* Pruning a vocabulary. SPDX-License-Identifier: Apache-2.0 */
#include "compact/prune_vocabulary.h"

#include "model/vocabulary.h"
#include "tokenizer/vocabulary_subset.h"

#include <string.h>

#define KEY(name) "tokenizer.ggml." name

static bool starts_with(const char *text, const char *head)
{
    return strncmp(text, head, strlen(head)) == 0;
}

static bool ends_with(const char *text, const char *tail)
{
    size_t length = strlen(text), n = strlen(tail);
    return length >= n && strcmp(text + length - n, tail) == 0;
}

bool mlt_vocabulary_has_key(const char *key)
{
    return starts_with(key, KEY("")) || starts_with(key, "millet.tokenizer.") ||
           starts_with(key, "tokenizer.huggingface.");
}

/* What happens to a key. */
enum fate {
    AS_IT_IS,
    ONE_FOR_EACH, /* an array with an element for each token */
    MERGES,
    ID,  /* a token's number */
    IDS, /* an array of them */
    LEFT_OUT
};

static millet_status fate_of(const struct mlt_meta *meta, int32_t n_tokens, enum fate *fate,
                             millet_error *err)
{
    static const char *const each[] = {KEY("tokens"), KEY("scores"), KEY("token_type"),
                                       "millet.tokenizer.strip"};
    const char *key = meta->key.data;
    *fate = AS_IT_IS;
    for (size_t i = 0; i < MLT_COUNT(each); i++)
        if (strcmp(key, each[i]) == 0) *fate = ONE_FOR_EACH;
    if (strcmp(key, KEY("merges")) == 0) *fate = MERGES;
    if (starts_with(key, "tokenizer.huggingface.")) *fate = LEFT_OUT; /* the old vocabulary once more */
    if (ends_with(key, "_token_id") && meta->type != MLT_META_ARRAY) *fate = ID;
    if (ends_with(key, "_token_ids")) *fate = IDS;
    bool known = *fate != AS_IT_IS || strcmp(key, KEY("precompiled_charsmap")) == 0;
    if (*fate == ONE_FOR_EACH && (meta->type != MLT_META_ARRAY || meta->count != (uint64_t)n_tokens))
        *fate = AS_IT_IS; /* opening the tokenizer has let it pass, so nobody reads it */
    if (known || meta->type != MLT_META_ARRAY || meta->count != (uint64_t)n_tokens) return MILLET_OK;
    return mlt_fail_at(
        err, MILLET_UNSUPPORTED, NULL, key, MILLET_NO_OFFSET,
        "the key has an element for each token, and what it says is not known: the vocabulary cannot "
        "be pruned");
}

/* Integer `i` of a value or an array; false where it is none, or below 0. */
static bool number_at(const struct mlt_meta *meta, uint64_t i, uint64_t *out)
{
    const void *array = meta->value.array;
    int64_t value = -1;
    if (meta->type != MLT_META_ARRAY) {
        switch (meta->type) {
        case MLT_META_U8:
        case MLT_META_U16:
        case MLT_META_U32:
        case MLT_META_U64: *out = meta->value.u; return true;
        case MLT_META_I8:
        case MLT_META_I16:
        case MLT_META_I32:
        case MLT_META_I64: value = meta->value.i; break;
        default: return false;
        }
    } else {
        switch (meta->element) {
        case MLT_META_U32: value = ((const uint32_t *)array)[i]; break;
        case MLT_META_I32: value = ((const int32_t *)array)[i]; break;
        case MLT_META_I64: value = ((const int64_t *)array)[i]; break;
        case MLT_META_U64: *out = ((const uint64_t *)array)[i]; return true;
        default: return false;
        }
    }
    *out = (uint64_t)value;
    return value >= 0;
}

/* ---- Choosing ---- */

static millet_status keep_named(const struct mlt_checkpoint *checkpoint, int32_t n_tokens, bool *keep,
                                millet_error *err)
{
    for (size_t i = 0; i < checkpoint->n_metas; i++) {
        const struct mlt_meta *meta = &checkpoint->metas[i];
        enum fate fate;
        uint64_t id;
        if (!mlt_vocabulary_has_key(meta->key.data)) continue;
        MLT_TRY(fate_of(meta, n_tokens, &fate, err));
        for (uint64_t k = 0; (fate == ID || fate == IDS) && k < meta->count; k++)
            if (number_at(meta, k, &id) && id < (uint64_t)n_tokens) keep[id] = true;
    }
    return MILLET_OK;
}

static millet_status open_tokenizer(const struct mlt_checkpoint *checkpoint, struct mlt_tokenizer **out,
                                    millet_error *err)
{
    int32_t bos, eos;
    bool add_bos, add_eos;
    MLT_TRY(
        mlt_vocabulary_open(&checkpoint->allocator, checkpoint, out, &bos, &eos, &add_bos, &add_eos, err));
    if (*out) return MILLET_OK;
    return mlt_fail_at(err, MILLET_UNSUPPORTED, checkpoint->path, NULL, MILLET_NO_OFFSET,
                       "the model has no tokenizer, so its vocabulary cannot be pruned");
}

/*
 * A part that no token has (no BOS, say) goes by convention to the control token of a certain number, and no
 * key can deny that. Where another control token has moved there, one more token before it is kept, and true
 * returned.
 */
static bool keep_apart(const struct mlt_tokenizer *tokenizer, const int32_t *list, int32_t n, bool *keep)
{
    static const int32_t conventions[] = {11, 101, 102, 103}; /* model/vocabulary.c */
    struct mlt_special_ids ids = mlt_tokenizer_special_ids(tokenizer);
    if (ids.bos >= 0 && ids.eos >= 0 && ids.separator >= 0) return false;
    for (size_t i = 0; i < MLT_COUNT(conventions); i++) {
        int32_t place = conventions[i], id = 0;
        if (place >= n || list[place] == place ||
            mlt_tokenizer_type(tokenizer, list[place]) != MLT_TOKEN_CONTROL)
            continue;
        while (keep[id])
            id++;
        keep[id] = true;
        return true;
    }
    return false;
}

static millet_status choose(const struct mlt_checkpoint *checkpoint, const struct mlt_tokenizer *tokenizer,
                            struct mlt_vocabulary_subset *subset, const uint64_t *counts, int32_t n_vocab,
                            uint64_t min_count, struct mlt_arena *arena, int32_t **list, int32_t *n_list,
                            millet_error *err)
{
    int32_t n_tokens = mlt_tokenizer_size(tokenizer);
    if (n_tokens > n_vocab)
        return mlt_fail_at(
            err, MILLET_UNSUPPORTED, checkpoint->path, KEY("tokens"), MILLET_NO_OFFSET,
            "the tokenizer has %d tokens, but the matrices only %d rows: the vocabulary cannot be "
            "pruned",
            n_tokens, n_vocab);
    MLT_TRY(mlt_vocabulary_subset_open(&arena->allocator, tokenizer, subset, err));
    for (int32_t id = 0; id < n_tokens; id++)
        subset->keep[id] = counts[id] >= min_count;
    MLT_TRY(keep_named(checkpoint, n_tokens, subset->keep, err));
    MLT_TRY(mlt_vocabulary_subset_complete(subset, tokenizer, err));
    *list = mlt_arena_alloc(arena, (size_t)n_tokens, sizeof **list, err);
    if (!*list) return MILLET_NO_MEMORY;
    do {
        *n_list = 0;
        for (int32_t id = 0; id < n_tokens; id++)
            if (subset->keep[id]) (*list)[(*n_list)++] = id;
    } while (keep_apart(tokenizer, *list, *n_list, subset->keep));
    return MILLET_OK;
}

millet_status mlt_vocabulary_choose(const struct mlt_checkpoint *checkpoint, const uint64_t *counts,
                                    int32_t n_vocab, uint64_t min_count, struct mlt_arena *arena,
                                    int32_t **list, int32_t *n_list, millet_error *err)
{
    struct mlt_tokenizer *tokenizer = NULL;
    struct mlt_vocabulary_subset subset = {0};
    millet_status status = open_tokenizer(checkpoint, &tokenizer, err);
    if (status == MILLET_OK)
        status = choose(checkpoint, tokenizer, &subset, counts, n_vocab, min_count, arena, list, n_list, err);
    mlt_vocabulary_subset_close(&subset);
    mlt_tokenizer_close(&tokenizer);
    return status;
}

/* ---- Metadata ---- */

struct writing {
    const struct mlt_checkpoint *from;
    const struct mlt_tokenizer *tokenizer;
    struct mlt_vocabulary_subset subset;
    const int32_t *list;
    int32_t n_list;
    int32_t *place; /* [n_tokens] the new number, or -1 */
    struct mlt_checkpoint *out;
    struct mlt_arena scratch;
    millet_error *err;
};

static millet_status write_each(struct writing *w, const struct mlt_meta *meta)
{
    size_t size = mlt_meta_type_size(meta->element);
    uint8_t *array = mlt_arena_alloc(&w->scratch, (size_t)w->n_list, size, w->err);
    if (!array) return MILLET_NO_MEMORY;
    for (int32_t i = 0; i < w->n_list; i++)
        memcpy(array + (size_t)i * size, (const uint8_t *)meta->value.array + (size_t)w->list[i] * size,
               size);
    struct mlt_meta kept = *meta;
    kept.count = (uint64_t)w->n_list;
    kept.value.array = array;
    return mlt_checkpoint_add_meta(w->out, &kept, w->err);
}

static millet_status write_merges(struct writing *w, const struct mlt_meta *meta)
{
    if (meta->type != MLT_META_ARRAY || meta->element != MLT_META_STRING)
        return mlt_checkpoint_add_meta(w->out, meta, w->err);
    const struct mlt_string *merges = meta->value.array;
    struct mlt_string *array = mlt_arena_alloc(&w->scratch, (size_t)meta->count, sizeof *array, w->err);
    if (!array) return MILLET_NO_MEMORY;
    struct mlt_meta kept = *meta;
    kept.count = 0;
    kept.value.array = array;
    for (uint64_t i = 0; i < meta->count; i++)
        if (mlt_vocabulary_subset_has_merge(&w->subset, w->tokenizer, merges[i].data, merges[i].length))
            array[kept.count++] = merges[i];
    return mlt_checkpoint_add_meta(w->out, &kept, w->err);
}

/* The new number of an id; ids that are none ("-1") and those beyond the tokens stay what they are. */
static uint64_t renumber(const struct writing *w, uint64_t id)
{
    return id < (uint64_t)mlt_tokenizer_size(w->tokenizer) ? (uint64_t)w->place[id] : id;
}

static millet_status write_id(struct writing *w, const struct mlt_meta *meta)
{
    struct mlt_meta kept = *meta;
    uint64_t id;
    if (number_at(meta, 0, &id)) {
        id = renumber(w, id);
        bool is_signed = meta->type == MLT_META_I8 || meta->type == MLT_META_I16 ||
                         meta->type == MLT_META_I32 || meta->type == MLT_META_I64;
        if (is_signed)
            kept.value.i = (int64_t)id;
        else
            kept.value.u = id;
    }
    return mlt_checkpoint_add_meta(w->out, &kept, w->err);
}

static millet_status write_ids(struct writing *w, const struct mlt_meta *meta)
{
    size_t size = mlt_meta_type_size(meta->element);
    if (meta->type != MLT_META_ARRAY || (meta->element != MLT_META_U32 && meta->element != MLT_META_I32))
        return mlt_fail_at(w->err, MILLET_UNSUPPORTED, w->from->path, meta->key.data, MILLET_NO_OFFSET,
                           "is no array of u32 or i32: its ids cannot be renumbered");
    uint32_t *array = mlt_arena_alloc(&w->scratch, (size_t)meta->count, size, w->err);
    if (!array) return MILLET_NO_MEMORY;
    for (uint64_t i = 0; i < meta->count; i++) {
        uint64_t id;
        memcpy(&array[i], (const uint8_t *)meta->value.array + i * size, size);
        if (number_at(meta, i, &id)) array[i] = (uint32_t)renumber(w, id);
    }
    struct mlt_meta kept = *meta;
    kept.value.array = array;
    return mlt_checkpoint_add_meta(w->out, &kept, w->err);
}

/* The ids that stand in no key may have moved. */
static millet_status write_conventions(struct writing *w)
{
    struct mlt_special_ids ids = mlt_tokenizer_special_ids(w->tokenizer);
    const struct {
        const char *key;
        int32_t id;
    } all[] = {{KEY("bos_token_id"), ids.bos},
               {KEY("eos_token_id"), ids.eos},
               {KEY("unknown_token_id"), ids.unknown},
               {KEY("seperator_token_id"), ids.separator},
               {KEY("cls_token_id"), ids.cls}};
    for (size_t i = 0; i < MLT_COUNT(all); i++) {
        if (all[i].id < 0 || mlt_checkpoint_meta(w->from, all[i].key)) continue;
        MLT_TRY(mlt_checkpoint_set_u32(w->out, all[i].key, (uint32_t)w->place[all[i].id], w->err));
    }
    return MILLET_OK;
}

static millet_status write_all(struct writing *w)
{
    int32_t n_tokens = mlt_tokenizer_size(w->tokenizer);
    w->place = mlt_arena_alloc(&w->scratch, (size_t)n_tokens, sizeof *w->place, w->err);
    if (!w->place) return MILLET_NO_MEMORY;
    MLT_TRY(mlt_vocabulary_subset_open(&w->scratch.allocator, w->tokenizer, &w->subset, w->err));
    for (int32_t id = 0; id < n_tokens; id++)
        w->place[id] = -1;
    for (int32_t i = 0; i < w->n_list; i++) {
        w->place[w->list[i]] = i;
        w->subset.keep[w->list[i]] = true;
    }
    for (size_t i = 0; i < w->from->n_metas; i++) {
        const struct mlt_meta *meta = &w->from->metas[i];
        enum fate fate;
        if (!mlt_vocabulary_has_key(meta->key.data)) continue;
        MLT_TRY(fate_of(meta, n_tokens, &fate, w->err));
        switch (fate) {
        case AS_IT_IS: MLT_TRY(mlt_checkpoint_add_meta(w->out, meta, w->err)); break;
        case ONE_FOR_EACH: MLT_TRY(write_each(w, meta)); break;
        case MERGES: MLT_TRY(write_merges(w, meta)); break;
        case ID: MLT_TRY(write_id(w, meta)); break;
        case IDS: MLT_TRY(write_ids(w, meta)); break;
        case LEFT_OUT: break;
        }
    }
    return write_conventions(w);
}

millet_status mlt_vocabulary_write(const struct mlt_checkpoint *checkpoint, const int32_t *list,
                                   int32_t n_list, struct mlt_checkpoint *out, millet_error *err)
{
    struct mlt_tokenizer *tokenizer = NULL;
    MLT_TRY(open_tokenizer(checkpoint, &tokenizer, err));
    struct writing w = {
        .from = checkpoint, .tokenizer = tokenizer, .list = list, .n_list = n_list, .out = out, .err = err};
    mlt_arena_init(&w.scratch, &checkpoint->allocator);
    millet_status status = write_all(&w);
    mlt_vocabulary_subset_close(&w.subset);
    mlt_arena_release(&w.scratch);
    mlt_tokenizer_close(&tokenizer);
    return status;
}
