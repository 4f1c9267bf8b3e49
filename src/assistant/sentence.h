/*
 * Sentences of manifests, "[please] set (a|the) timer for {duration}": alternatives in (), what may be
 * missing in [], arguments in {}. A text is matched as a whole.
 *
 * Between words of scripts without spaces none is needed; commas count as spaces. A to Z match a to z.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_ASSISTANT_SENTENCE_H
#define MLT_ASSISTANT_SENTENCE_H

#include "base/memory.h"

struct mlt_sentence_node;

struct mlt_sentence {
    const char *source;
    const struct mlt_sentence_node *first;
    int language;
    const void
        *implied; /* arguments that the sentence itself says: a json_t object of the manifest, or NULL */
};

enum { MLT_MAX_CAPTURES = 8 };

/* text[start .. end) stands where {name} does. */
struct mlt_capture {
    const char *name;
    size_t start, end;
};

struct mlt_match {
    struct mlt_capture captures[MLT_MAX_CAPTURES];
    int n_captures;
    int literal; /* bytes that the sentence itself has: how telling it is */
};

/* Whether a part of the text may stand where {name} does. */
typedef bool mlt_capture_judge(void *context, const char *name, const char *text, size_t length);

/* Whether {name} has a type that tells by itself what it may be. */
typedef bool mlt_capture_typed(void *context, const char *name);

/* Errors: BAD_FORMAT (brackets, nested too deep), NO_MEMORY. The nodes live in `arena`. */
millet_status mlt_sentence_compile(struct mlt_arena *arena, const char *source, mlt_capture_typed *typed,
                                   void *context, struct mlt_sentence *sentence, millet_error *err);

/* Typed arguments are as long as they can be, others as short, from the left. */
bool mlt_sentence_match(const struct mlt_sentence *sentence, const char *text, size_t length,
                        mlt_capture_judge *judge, void *context, struct mlt_match *match);

/* Calls back for each {name} of a sentence. */
void mlt_sentence_names(const struct mlt_sentence *sentence, void (*each)(void *, const char *),
                        void *context);

/* Whether byte `at` is where a word begins or ends: at spaces, commas, ends, and beside scripts without
 * spaces. */
bool mlt_word_edge(const char *text, size_t length, size_t at);

#endif
