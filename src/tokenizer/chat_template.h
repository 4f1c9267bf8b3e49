/*
 * Chat templates by name: how a family of models writes a dialogue as one text.
 *
 * The forms are those that the models' Jinja templates give for plain dialogues, without tools, pictures and
 * dates. A rendered text is to be tokenised with MLT_TOKENIZE_SPECIAL and MLT_TOKENIZE_BOS_EOS: the BOS that
 * a tokenizer adds is not part of it. What a message says is taken as it is, special tokens included: who
 * passes on the words of strangers and must keep them from ending a turn has to look for such tokens in them
 * first.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_CHAT_TEMPLATE_H
#define MLT_CHAT_TEMPLATE_H

#include "base/memory.h"
#include "millet/millet.h"

/*
 * Appends the dialogue to `out`, with `assistant` also the opening of the assistant's turn. Where a form has
 * no place for a system message it is put before the text of a user's turn, as the models' makers do it.
 * Errors: NOT_FOUND (no template of this name; lists them), BAD_ARGUMENT (a role that the form has no turn
 * for), NO_MEMORY.
 */
millet_status mlt_chat_render(const char *name, const millet_message *messages, size_t n_messages,
                              bool assistant, struct mlt_text *out, millet_error *err);

/* The name of the form that a Jinja template writes, by the marks in its source; NULL where none is
 * recognised. */
const char *mlt_chat_detect(const char *source, size_t length);

/* All names, separated by ", ": a static string. */
const char *mlt_chat_names(void);

/* The name at `index`, or NULL past the last one. */
const char *mlt_chat_name(size_t index);

#endif
