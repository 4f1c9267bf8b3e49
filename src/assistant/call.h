/*
 * What the built-in skills are written with.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_ASSISTANT_CALL_H
#define MLT_ASSISTANT_CALL_H

#include "assistant/assistant_state.h"

#define MLT_PRINTF_BOTH __attribute__((format(printf, 2, 4), format(printf, 3, 4)))

struct millet_call {
    millet_assistant *assistant;
    const struct mlt_skill_entry *skill;
    json_t *arguments;
    enum mlt_language language;
    struct mlt_text reply;
    bool refused, no_memory;
    const struct mlt_parameter *asks; /* not done: this argument must be told first */
    struct mlt_request undo;          /* takes the call back */
};

/* Adds to the reply, in the call's language. Both formats take the same arguments; n$ gives another order. */
void mlt_call_say(millet_call *call, const char *english, const char *chinese, ...) MLT_PRINTF_BOTH;
/* The same, and says that nothing came of it. */
void mlt_call_refuse(millet_call *call, const char *english, const char *chinese, ...) MLT_PRINTF_BOTH;
/* The same, and the dialogue waits for the argument `name`. */
void mlt_call_ask(millet_call *call, const char *english, const char *chinese, const char *name, ...)
    __attribute__((format(printf, 2, 5), format(printf, 3, 5)));
/* Says how to take the call back: a skill's name and arguments, as json_pack takes them; steals them. */
void mlt_call_undo(millet_call *call, const char *skill, json_t *arguments);

/* Milliseconds since 1970. */
int64_t mlt_call_now(const millet_call *call);
struct mlt_store *mlt_call_store(const millet_call *call);
/* An argument as it is, or NULL; borrowed. */
json_t *mlt_call_argument(const millet_call *call, const char *name);
/* A number's argument, or `fallback`. */
double mlt_call_number_or(const millet_call *call, const char *name, double fallback);
/* MLT_ENGLISH's or MLT_CHINESE's of two. */
const char *mlt_call_word(const millet_call *call, const char *english, const char *chinese);

#endif
