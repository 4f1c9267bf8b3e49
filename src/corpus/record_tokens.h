/*
 * A raw record as tokens, with what of them is trained on.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_RECORD_TOKENS_H
#define MLT_RECORD_TOKENS_H

#include "corpus/corpus_tokenizer.h"
#include "corpus/record_reader.h"

/* Most messages of a dialogue, and most bytes its renderings may have together: each reply is found by
 * rendering what comes before. */
enum { MLT_MAX_MESSAGES = 4096 };

struct mlt_encoder {
    const millet_tokenizer *tokenizer;
    const char *chat_template; /* name of the form, or NULL */
    bool special;              /* control tokens written in texts count as such */
};

/* Documents made of records, one after the other. Zero-initialise but for `allocator`. */
struct mlt_encoded {
    const millet_allocator *allocator;
    int32_t *tokens;
    uint8_t *trained; /* 1: this token is to be predicted */
    int32_t *labels;  /* tokens to predict at the position itself, or -1 */
    size_t count, token_capacity, trained_capacity, label_capacity;
};

struct mlt_encoded_record {
    size_t count;     /* tokens that were appended; 0 where the record was skipped */
    size_t bytes;     /* of text in it */
    uint32_t prefix;  /* the first tokens that see each other */
    size_t n_labels;  /* of the tokens */
    millet_skip skip; /* MILLET_SKIP_REASONS: used */
};

/*
 * Appends the tokens of a record. Documents of texts: `first` and `last` say whether this part begins and
 * ends its document (BOS where the tokenizer asks for it, EOS where it has one). What cannot be used is told
 * in *result and is no failure. Errors: BAD_ARGUMENT (a dialogue where there is no chat template), NO_MEMORY.
 */
millet_status mlt_encode_record(const struct mlt_encoder *encoder, const struct mlt_raw_record *record,
                                bool first, bool last, struct mlt_encoded *out,
                                struct mlt_encoded_record *result, millet_error *err);
void mlt_encoded_release(struct mlt_encoded *encoded);

/*
 * The plain texts of a record, for training a tokenizer: calls `text` for each. *skip as above.
 */
typedef millet_status mlt_text_function(void *context, const char *text, size_t length, millet_error *err);
millet_status mlt_record_texts(const struct mlt_raw_record *record, mlt_text_function *text, void *context,
                               millet_skip *skip, millet_error *err);

#endif
