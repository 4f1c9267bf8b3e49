/*
 * A grammar as an automaton over bytes, made while it is used.
 *
 * A state is the set of all stacks that can have read the text so far; a stack is what is still to be read of
 * the rules that are open. Stacks share their lower parts, equal ones are one, and so equal states are one: a
 * step that was taken before is a look into a table. Where rules nest without end there are more states than
 * room; then all but one are forgotten, and made again when they are needed.
 *
 * All memory is taken when it is opened. One thread at a time.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_AUTOMATON_H
#define MLT_AUTOMATON_H

#include "generate/grammar_rules.h"

struct mlt_automaton;

enum {
    MLT_STATE_DEAD = 0,  /* nothing can make a sentence of the text any more */
    MLT_STATE_FULL = -1, /* no room for another state: mlt_automaton_keep makes it */
    MLT_AUTOMATON_STATES = 4096,
};

/* The rules must outlive it. `max_states` >= 2. Errors: NO_MEMORY. */
millet_status mlt_automaton_open(const struct mlt_grammar_rules *rules, int32_t max_states,
                                 struct mlt_automaton **automaton, millet_error *err);
void mlt_automaton_close(struct mlt_automaton **automaton);

/* Forgets all states; returns the one in which nothing has been read, or MLT_STATE_FULL. */
int32_t mlt_automaton_start(struct mlt_automaton *automaton);
/* The state after one more byte. */
int32_t mlt_automaton_step(struct mlt_automaton *automaton, int32_t state, uint8_t byte);
/* Forgets all states but this one, which gets the number that is returned. */
int32_t mlt_automaton_keep(struct mlt_automaton *automaton, int32_t state);

/* Whether the text is a sentence, and whether a longer one begins with it. */
bool mlt_automaton_accepts(const struct mlt_automaton *automaton, int32_t state);
bool mlt_automaton_goes_on(const struct mlt_automaton *automaton, int32_t state);
/* States have numbers below this. */
int32_t mlt_automaton_max_states(const struct mlt_automaton *automaton);

#endif
