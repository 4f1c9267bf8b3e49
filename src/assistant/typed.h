/*
 * Words to values: what stands for an argument in an utterance, in the normal form that skills get
 * (MLT_TYPE_LIST in manifest.h), and normal forms back to what is said.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_ASSISTANT_TYPED_H
#define MLT_ASSISTANT_TYPED_H

#include "assistant/assistant_state.h"

/* The whole text as a value of the parameter, a new reference; NULL where it is none (or memory ran out). */
json_t *mlt_typed_value(const millet_assistant *assistant, const struct mlt_parameter *parameter,
                        const char *text, size_t length);
/* The same of words that are known to stand for it: "six" is a time then. */
json_t *mlt_typed_told(const millet_assistant *assistant, const struct mlt_parameter *parameter,
                       const char *text, size_t length);
/* The first and longest part of the text that is one. TEXT is never found. */
json_t *mlt_typed_find(const millet_assistant *assistant, const struct mlt_parameter *parameter,
                       const char *text, size_t length);
/* Checks a value that comes as JSON, from a large model: of the type and the parameter's choices. */
bool mlt_typed_check(const struct mlt_parameter *parameter, const json_t *value);

#endif
