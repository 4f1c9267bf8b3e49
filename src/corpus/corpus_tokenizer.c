/* Opening a tokenizer of any layout, and its public face. SPDX-License-Identifier: Apache-2.0 */
#include "corpus/corpus_tokenizer.h"

#include "corpus/checksum.h"
#include "import/import.h"
#include "model/vocabulary.h"
#include "tokenizer/chat_template.h"

#include <string.h>

static bool ends_with(const char *path, const char *tail)
{
    size_t length = strlen(path), n = strlen(tail);
    return length >= n && strcmp(path + length - n, tail) == 0;
}

static millet_status open_checkpoint(const millet_allocator *allocator, const char *path,
                                     const char *tokenizer_path, struct mlt_checkpoint **out,
                                     millet_error *err)
{
    if (ends_with(path, ".json")) return mlt_import_tokenizer(allocator, path, out, err);
    if (mlt_import_recognise(path)) {
        /* As the model has it, whose embeddings may have more rows than the tokenizer has tokens; alone where
         * there is no model, or one that is not known. */
        millet_status status = mlt_import_checkpoint(allocator, path, out, err);
        if (status == MILLET_OK || status == MILLET_NO_MEMORY) return status;
        return mlt_import_tokenizer(allocator, path, out, err);
    }
    return mlt_checkpoint_open(allocator, path, tokenizer_path, out, err);
}

uint64_t mlt_tokenizer_checksum(const struct mlt_checkpoint *checkpoint)
{
    uint64_t total = 0;
    for (size_t i = 0; i < checkpoint->n_metas; i++) {
        const struct mlt_meta *meta = &checkpoint->metas[i];
        const char *key = meta->key.data;
        if (strncmp(key, "millet.tokenizer.", 17) != 0 && strncmp(key, "tokenizer.ggml.", 15) != 0) continue;
        uint64_t sum = mlt_checksum_text(MLT_CHECKSUM_START, key, meta->key.length);
        if (meta->type != MLT_META_ARRAY && meta->type != MLT_META_STRING) {
            sum = mlt_checksum(sum, &meta->value, sizeof(uint64_t));
        } else if (meta->type == MLT_META_STRING) {
            sum = mlt_checksum_text(sum, meta->value.string.data, meta->value.string.length);
        } else if (meta->element == MLT_META_STRING) {
            const struct mlt_string *strings = meta->value.array;
            for (uint64_t k = 0; k < meta->count; k++)
                sum = mlt_checksum_text(sum, strings[k].data, strings[k].length);
        } else {
            sum =
                mlt_checksum(sum, meta->value.array, (size_t)meta->count * mlt_meta_type_size(meta->element));
        }
        total += sum; /* the order of keys means nothing */
    }
    return total;
}

static millet_status find_control_tokens(struct millet_tokenizer *tokenizer, millet_error *err)
{
    int32_t n_tokens = mlt_tokenizer_size(tokenizer->tokenizer);
    size_t count = 0;
    struct mlt_trie_entry *entries = mlt_alloc(&tokenizer->allocator, (size_t)n_tokens, sizeof *entries, err);
    if (!entries) return MILLET_NO_MEMORY;
    for (int32_t id = 0; id < n_tokens; id++) {
        struct mlt_token_text text = mlt_tokenizer_token(tokenizer->tokenizer, id);
        if (mlt_tokenizer_type(tokenizer->tokenizer, id) == MLT_TOKEN_CONTROL && text.length &&
            text.length < UINT32_MAX)
            entries[count++] = (struct mlt_trie_entry){text.data, (uint32_t)text.length, id};
    }
    millet_status status = mlt_trie_open(&tokenizer->control, &tokenizer->allocator, entries, count, err);
    mlt_free(&tokenizer->allocator, entries);
    return status;
}

static millet_status fill(struct millet_tokenizer *tokenizer, const char *path, const char *tokenizer_path,
                          millet_error *err)
{
    MLT_TRY(open_checkpoint(&tokenizer->allocator, path, tokenizer_path, &tokenizer->checkpoint, err));
    const struct mlt_checkpoint *checkpoint = tokenizer->checkpoint;
    MLT_TRY(mlt_vocabulary_open(&tokenizer->allocator, checkpoint, &tokenizer->tokenizer, &tokenizer->bos,
                                &tokenizer->eos, &tokenizer->add_bos, &tokenizer->add_eos, err));
    if (!tokenizer->tokenizer)
        return mlt_fail_at(err, MILLET_UNSUPPORTED, path, NULL, MILLET_NO_OFFSET,
                           "the file has no tokenizer");
    static const struct {
        const char *name;
        enum mlt_tokenizer_kind kind;
    } kinds[] = {
        {"llama", MLT_TOKENIZER_SPM}, {"t5", MLT_TOKENIZER_UNIGRAM}, {"bert", MLT_TOKENIZER_WORDPIECE}};
    const struct mlt_string none = {"", 0};
    struct mlt_string name, source;
    MLT_TRY(mlt_meta_get_string(checkpoint, "tokenizer.ggml.model", &none, &name, err));
    tokenizer->kind = MLT_TOKENIZER_BPE;
    for (size_t i = 0; i < MLT_COUNT(kinds); i++)
        if (strcmp(kinds[i].name, name.data) == 0) tokenizer->kind = kinds[i].kind;
    MLT_TRY(mlt_meta_get_string(checkpoint, "tokenizer.chat_template", &none, &source, err));
    tokenizer->chat_template = mlt_chat_detect(source.data, source.length);
    tokenizer->checksum = mlt_tokenizer_checksum(checkpoint);
    return find_control_tokens(tokenizer, err);
}

millet_status millet_tokenizer_open(const char *path, const char *tokenizer_path,
                                    const millet_allocator *allocator, millet_tokenizer **out,
                                    millet_error *err)
{
    *out = NULL;
    if (!allocator) allocator = mlt_default_allocator();
    millet_tokenizer *tokenizer = mlt_alloc_zero(allocator, 1, sizeof *tokenizer, err);
    if (!tokenizer) return MILLET_NO_MEMORY;
    tokenizer->allocator = *allocator;
    millet_status status = fill(tokenizer, path, tokenizer_path, err);
    if (status) {
        mlt_error_in_file(err, path);
        millet_tokenizer_close(&tokenizer);
    }
    *out = tokenizer;
    return status;
}

void millet_tokenizer_close(millet_tokenizer **handle)
{
    millet_tokenizer *tokenizer = *handle;
    if (!tokenizer) return;
    millet_allocator allocator = tokenizer->allocator;
    if (tokenizer->control.nodes) mlt_trie_close(&tokenizer->control);
    mlt_tokenizer_close(&tokenizer->tokenizer);
    mlt_checkpoint_close(&tokenizer->checkpoint);
    mlt_free(&allocator, tokenizer);
    *handle = NULL;
}

void millet_tokenizer_get_info(const millet_tokenizer *tokenizer, millet_tokenizer_info *info)
{
    static const char *const names[] = {[MLT_TOKENIZER_SPM] = "SPM",
                                        [MLT_TOKENIZER_UNIGRAM] = "unigram",
                                        [MLT_TOKENIZER_BPE] = "BPE",
                                        [MLT_TOKENIZER_WORDPIECE] = "WordPiece"};
    *info = (millet_tokenizer_info){
        .kind = names[tokenizer->kind],
        .n_tokens = mlt_tokenizer_size(tokenizer->tokenizer),
        .bos = tokenizer->bos,
        .eos = tokenizer->eos,
        .add_bos = tokenizer->add_bos,
        .add_eos = tokenizer->add_eos,
        .chat_template = tokenizer->chat_template,
        .checksum = tokenizer->checksum,
    };
}

millet_status millet_tokenizer_encode(const millet_tokenizer *tokenizer, const char *text, size_t length,
                                      unsigned flags, int32_t *ids, size_t capacity, size_t *count,
                                      millet_error *err)
{
    unsigned inner = 0;
    int32_t *all = NULL;
    *count = 0;
    if (flags & MILLET_TOKENIZE_SPECIAL) inner |= MLT_TOKENIZE_SPECIAL;
    if (flags & MILLET_TOKENIZE_BOS) inner |= MLT_TOKENIZE_BOS_EOS;
    MLT_TRY(mlt_tokenize(tokenizer->tokenizer, &tokenizer->allocator, text, length, inner, &all, count, err));
    size_t given = MLT_MIN(*count, capacity);
    if (given) memcpy(ids, all, given * sizeof *ids);
    mlt_free(&tokenizer->allocator, all);
    return MILLET_OK;
}

millet_status millet_tokenizer_decode(const millet_tokenizer *tokenizer, const int32_t *ids, size_t count,
                                      bool special, char *text, size_t capacity, size_t *length,
                                      millet_error *err)
{
    return mlt_detokenize(tokenizer->tokenizer, &tokenizer->allocator, ids, count, special, text, capacity,
                          length, err);
}

const char *millet_tokenizer_token(const millet_tokenizer *tokenizer, int32_t id, size_t *length)
{
    *length = 0;
    if (id < 0 || id >= mlt_tokenizer_size(tokenizer->tokenizer)) return NULL;
    struct mlt_token_text token = mlt_tokenizer_token(tokenizer->tokenizer, id);
    *length = token.length;
    return token.data;
}

bool mlt_has_control_token(const struct millet_tokenizer *tokenizer, const char *text, size_t length)
{
    int32_t id;
    if (!tokenizer->control.n_nodes) return false;
    for (size_t i = 0; i < length; i++)
        if (tokenizer->control.root_children[(uint8_t)text[i]] &&
            mlt_trie_longest(&tokenizer->control, text + i, length - i, &id))
            return true;
    return false;
}
