/*
 * Hostile grammars and texts for them. The input is a grammar, a NUL, a text.
 *
 * What must hold: what is read without an error can be run; the automaton with little room and the one with
 * much agree on every byte of the text; where the text is a sentence or leads on, so does it after all other
 * states were forgotten.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "generate/automaton.h"
#include "generate/gbnf.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds) abort();
}

/* One step, with room made for it; MLT_STATE_FULL where that does not help. */
static int32_t step(struct mlt_automaton *automaton, int32_t *state, uint8_t byte)
{
    int32_t next = mlt_automaton_step(automaton, *state, byte);
    if (next != MLT_STATE_FULL) return next;
    *state = mlt_automaton_keep(automaton, *state);
    return mlt_automaton_step(automaton, *state, byte);
}

static void run(struct mlt_automaton *little, struct mlt_automaton *much, const uint8_t *text, size_t length)
{
    int32_t a = mlt_automaton_start(little), b = mlt_automaton_start(much);
    for (size_t i = 0; i < length && a > MLT_STATE_DEAD && b > MLT_STATE_DEAD; i++) {
        a = step(little, &a, text[i]);
        b = step(much, &b, text[i]);
        if (a == MLT_STATE_FULL || b == MLT_STATE_FULL) return;
        check((a == MLT_STATE_DEAD) == (b == MLT_STATE_DEAD));
        check(mlt_automaton_accepts(little, a) == mlt_automaton_accepts(much, b));
        check(mlt_automaton_goes_on(little, a) == mlt_automaton_goes_on(much, b));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = size ? memchr(data, 0, size) : NULL;
    size_t length = end ? (size_t)(end - data) : size;
    if (length > 4096) return 0;
    struct mlt_grammar_rules rules;
    if (mlt_gbnf_read(mlt_default_allocator(), (const char *)data, length, &rules, NULL) == MILLET_OK) {
        struct mlt_automaton *little = NULL, *much = NULL;
        check(mlt_automaton_open(&rules, 4, &little, NULL) == MILLET_OK);
        check(mlt_automaton_open(&rules, 1024, &much, NULL) == MILLET_OK);
        if (end) run(little, much, end + 1, MLT_MIN(size - length - 1, 2000));
        mlt_automaton_close(&little);
        mlt_automaton_close(&much);
    }
    mlt_grammar_rules_release(&rules);
    return 0;
}
