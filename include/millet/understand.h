/*
 * Understanding commands: a small model that was trained for it reads an utterance once, in both directions,
 * and says which call it is and which words are its arguments. Part of libmillet; the conventions of millet.h
 * hold here too. docs/understand.md has the whole.
 *
 * Such a model says itself what it understands, by control tokens of its vocabulary:
 *     <|SET|>                              begins an utterance: which skills are meant
 *     <|call|>                             ends it; the token that follows is the intent
 *     <|call:SET/INTENT|>                  an intent
 *     <|O|>, <|B:SET/SLOT|>, <|I:SET/SLOT|>  labels of the utterance's tokens: no slot, the first token of a
 *                                          slot's value, a later one (Ramshaw and Marcus, 1995)
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MILLET_UNDERSTAND_H
#define MILLET_UNDERSTAND_H

#include "millet/millet.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct millet_understander millet_understander;

typedef struct millet_understander_options {
    const millet_allocator *allocator; /* NULL: the model's */
    int32_t max_tokens;                /* of an utterance; 0: 128. The rest of a longer one is not read */
    int32_t n_threads;                 /* 0: the CPUs this process may use */
    bool exact_activations;
} millet_understander_options;

/*
 * The model must outlive it. One thread at a time; nothing is allocated later. Errors: UNSUPPORTED (the
 * model's vocabulary has no sets), BAD_ARGUMENT, NO_MEMORY. `options` may be NULL.
 */
MILLET_API millet_status millet_understander_open(const millet_model *model,
                                                  const millet_understander_options *options,
                                                  millet_understander **understander, millet_error *err);
MILLET_API void millet_understander_close(millet_understander **understander);

/* The sets that the model knows, and the intents of each. NULL when an index is out of range. Strings belong
 * to the understander. */
MILLET_API const char *millet_understander_set(const millet_understander *understander, int32_t set);
MILLET_API const char *millet_understander_intent(const millet_understander *understander, int32_t set,
                                                  int32_t intent);

/* A value: text[start .. end) of the utterance. */
typedef struct millet_slot {
    const char *name;
    size_t start, end;
    float probability; /* the least of its tokens' labels */
} millet_slot;

typedef struct millet_intent {
    const char *name;
    float probability; /* among all intents of the set */
} millet_intent;

typedef struct millet_understanding {
    const millet_intent *intents; /* all of the set, the most probable first */
    int32_t n_intents;
    const millet_slot *slots; /* in the order of the text */
    int32_t n_slots;
    bool cut; /* the utterance has more than max_tokens tokens */
} millet_understanding;

/*
 * Understands an utterance as one of the set's. Capital letters, white space and punctuation at the end do
 * not count (docs/understand.md has the rules). What *result points to is valid until the next call. Errors:
 * NOT_FOUND (the set: names those there are), BAD_ARGUMENT (an utterance without a word), NO_MEMORY.
 */
MILLET_API millet_status millet_understand(millet_understander *understander, const char *set,
                                           const char *text, size_t length, millet_understanding *result,
                                           millet_error *err);

#ifdef __cplusplus
}
#endif
#endif
