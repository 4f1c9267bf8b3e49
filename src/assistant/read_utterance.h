/*
 * From an utterance to a request: by the sentences of the manifests, else by hearing. docs/assistant.md says
 * how labels of several sets are weighed.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_ASSISTANT_READING_H
#define MLT_ASSISTANT_READING_H

#include "assistant/assistant_state.h"

/* Above: done at once. Below ASK: not understood. Between: asked back. */
#define MLT_SURE_ENOUGH 0.75f
#define MLT_WORTH_ASKING 0.40f

struct mlt_reading {
    struct mlt_request request; /* of the best skill; empty where nothing is meant */
    bool by_sentence;           /* a manifest's sentence matched the whole */
    bool has_free_text;         /* an argument is taken as it stands */
    int literal;                /* bytes that the sentence itself has */
    size_t taken;               /* bytes that are taken as they stand */
};

/* Reads text, which mlt_clean_utterance has made. Release with mlt_request_clear(&reading->request). */
millet_status mlt_read_utterance(millet_assistant *assistant, const char *text, size_t length,
                                 struct mlt_reading *reading, millet_error *err);
/* The same by sentences alone. */
millet_status mlt_read_sentences(millet_assistant *assistant, const char *text, size_t length,
                                 struct mlt_reading *reading, millet_error *err);
/* The same by hearing alone. */
millet_status mlt_read_heard(millet_assistant *assistant, const char *text, size_t length,
                             struct mlt_reading *reading, millet_error *err);

#endif
