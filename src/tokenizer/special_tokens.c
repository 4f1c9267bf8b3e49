/*
 * Special tokens: which are cut out of a text before it is tokenised, and which end a generation.
 *
 * GGUF files often do not say which tokens end a turn, and mark some as ordinary text; the texts below are
 * those that models of the known families use, as llama.cpp recognises them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tokenizer/tokenizer_internal.h"

#include <string.h>

static const char *const end_texts[] = {
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    /* DeepSeek's, with U+FF5C and U+2581. */
    "<\357\275\234end\342\226\201of\342\226\201sentence\357\275\234>",
    /* Of code models: padding, the next repository, the next file. */
    "<|fim_pad|>",
    "<fim-pad>",
    "<fim_pad>",
    "<PAD>",
    "[PAD]",
    "<|fim_repo|>",
    "<|repo_name|>",
    "<fim-repo>",
    "<REPO>",
    "<reponame>",
    "<|file_sep|>",
};

/* Marks of gpt-oss's channels: part of what it says, not of the frame around it. */
static const char *const channel_texts[] = {"<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"};

static int32_t find(const struct mlt_tokenizer *tokenizer, const char *text)
{
    int32_t id = mlt_string_table_find(&tokenizer->strings, text, strlen(text));
    return id < tokenizer->n_tokens ? id : -1;
}

static void mark_end(struct mlt_tokenizer *tokenizer, int32_t id)
{
    if (id >= 0) tokenizer->flags[id] |= MLT_FLAG_END;
}

static bool is_end_text(const struct mlt_tokenizer *tokenizer, const char *text)
{
    int32_t id = find(tokenizer, text);
    return id >= 0 && (tokenizer->flags[id] & MLT_FLAG_END);
}

/* A token that looks like an end but is none in this vocabulary. */
static void unmark_end(struct mlt_tokenizer *tokenizer, const char *text, enum mlt_token_type type)
{
    int32_t id = find(tokenizer, text);
    if (id < 0) return;
    tokenizer->flags[id] &= (uint8_t)~MLT_FLAG_END;
    tokenizer->types[id] = (uint8_t)type;
}

static void mark_ends(struct mlt_tokenizer *tokenizer)
{
    for (size_t i = 0; i < MLT_COUNT(end_texts); i++) {
        int32_t id = find(tokenizer, end_texts[i]);
        mark_end(tokenizer, id);
        if (id >= 0) tokenizer->types[id] = MLT_TOKEN_CONTROL;
    }
    for (size_t i = 0; i < MLT_COUNT(channel_texts); i++) {
        int32_t id = find(tokenizer, channel_texts[i]);
        if (id >= 0) tokenizer->types[id] = MLT_TOKEN_USER_DEFINED;
    }
    mark_end(tokenizer, tokenizer->eos);
    mark_end(tokenizer, tokenizer->eot);
    /* gpt-oss and solar-open close a channel, not the turn, with <|end|>. */
    bool calls = is_end_text(tokenizer, "<|call|>") || is_end_text(tokenizer, "<|calls|>");
    if (calls && (is_end_text(tokenizer, "<|return|>") || is_end_text(tokenizer, "<|flush|>")))
        unmark_end(tokenizer, "<|end|>", MLT_TOKEN_USER_DEFINED);
    /* gemma4 has an HTML tag of this name. */
    if (is_end_text(tokenizer, "<|tool_response>")) unmark_end(tokenizer, "</s>", MLT_TOKEN_NORMAL);
}

/* The trie of all tokens whose type is among `types` (bits). */
static millet_status open_trie(const struct mlt_tokenizer *tokenizer, struct mlt_trie *trie, unsigned types,
                               struct mlt_trie_entry *entries, millet_error *err)
{
    size_t count = 0;
    for (int32_t id = 0; id < tokenizer->n_tokens; id++) {
        if (!(types >> tokenizer->types[id] & 1)) continue;
        size_t length;
        const char *text = mlt_string_table_get(&tokenizer->strings, id, &length);
        if (length && length <= MLT_MAX_MATCH)
            entries[count++] = (struct mlt_trie_entry){text, (uint32_t)length, id};
    }
    return mlt_trie_open(trie, &tokenizer->allocator, entries, count, err);
}

millet_status mlt_special_tokens_open(struct mlt_tokenizer *tokenizer, const struct mlt_tokenizer_spec *spec,
                                      millet_error *err)
{
    mark_ends(tokenizer);
    size_t special = 0;
    for (int32_t id = 0; id < tokenizer->n_tokens; id++) {
        uint8_t type = tokenizer->types[id];
        special += type == MLT_TOKEN_CONTROL || type == MLT_TOKEN_UNKNOWN || type == MLT_TOKEN_USER_DEFINED;
        if (!spec->strip) continue;
        if (spec->strip[id] & MLT_STRIP_LEFT) tokenizer->flags[id] |= MLT_FLAG_STRIP_LEFT;
        if (spec->strip[id] & MLT_STRIP_RIGHT) tokenizer->flags[id] |= MLT_FLAG_STRIP_RIGHT;
    }
    struct mlt_trie_entry *entries = mlt_alloc(&tokenizer->allocator, special, sizeof *entries, err);
    if (!entries) return MILLET_NO_MEMORY;
    unsigned user_defined = 1u << MLT_TOKEN_USER_DEFINED;
    unsigned all = user_defined | 1u << MLT_TOKEN_CONTROL | 1u << MLT_TOKEN_UNKNOWN;
    millet_status status = open_trie(tokenizer, &tokenizer->special, all, entries, err);
    if (!status) status = open_trie(tokenizer, &tokenizer->user_defined, user_defined, entries, err);
    mlt_free(&tokenizer->allocator, entries);
    return status;
}
