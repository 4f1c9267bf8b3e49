/*
 * Grammars: what a model may generate. A grammar says byte by byte what can follow; at each step every token
 * that no sentence of the grammar begins with is left out of the draw, so that what is generated is a
 * sentence of it, or the beginning of one where the length ran out. Part of libmillet; the conventions of
 * millet.h hold. docs/grammar.md has the whole.
 *
 * The form is GBNF, which other runtimes read too:
 *
 *     root   ::= "[" item ("," " "? item)* "]"      # every text begins with the rule root
 *     item   ::= number | [a-z]+ | "\"" [^"\n]{0,20} "\""
 *     number ::= "-"? [0-9]{1,9}
 *
 *   "text"            these characters; \n \r \t \" \\ \xHH \uHHHH \UHHHHHHHH; a code point is its UTF-8
 *   [a-z_] [^"\n] .   one character of a set, of all others, of all
 *   x* x+ x? x{2} x{2,} x{2,5} x{,5}   repetitions (to 4096), of what stands directly before
 *   ( ... ) | #       groups, which may reach over lines; alternatives; comments
 *
 * A rule may call itself, but not before it has read something (no left recursion).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MILLET_GRAMMAR_H
#define MILLET_GRAMMAR_H

#include "millet/millet.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct millet_grammar_options {
    const millet_allocator *allocator; /* NULL: the model's */
    int32_t max_states; /* places of the grammar that are kept, 16 to 1048576; 0: 4096. Memory is some 300
                           bytes and 4 for each kind of byte that the grammar tells apart, times this */
} millet_grammar_options;

/*
 * Reads a grammar for the tokens of `model`, which must outlive it. It keeps track of one text at a time and
 * belongs to one thread at a time. Nothing is allocated later. Errors: BAD_FORMAT (line and column of what is
 * wrong), UNSUPPORTED (a grammar of more than 262144 symbols; a model without a tokenizer), BAD_ARGUMENT,
 * NO_MEMORY. `options` may be NULL.
 */
MILLET_API millet_status millet_grammar_open(const millet_model *model, const char *text, size_t length,
                                             const millet_grammar_options *options, millet_grammar **grammar,
                                             millet_error *err);
MILLET_API void millet_grammar_close(millet_grammar **grammar);

/*
 * For a token loop of one's own; millet_generate does all of it where its options name a grammar.
 *
 * allowed: the tokens that may come next, bit `id % 32` of word `id / 32` for each of n_vocab; owned by the
 * grammar, valid until its next call. Tokens that end a generation are among them where the text is a
 * sentence; other control tokens never are. The first time at a place of the grammar takes a walk over the
 * vocabulary (milliseconds for 150000 tokens), later ones a look-up. Errors: NO_MEMORY (more places than
 * max_states in one step).
 *
 * accept: takes a token into the text. Errors: BAD_ARGUMENT (it is not allowed), NO_MEMORY. On failure the
 * text is as before.
 *
 * complete: whether the text is a sentence; `*ends` (may be NULL) whether nothing but its end can follow.
 */
MILLET_API void millet_grammar_reset(millet_grammar *grammar);
MILLET_API millet_status millet_grammar_allowed(millet_grammar *grammar, const uint32_t **allowed,
                                                millet_error *err);
MILLET_API millet_status millet_grammar_accept(millet_grammar *grammar, int32_t token, millet_error *err);
MILLET_API bool millet_grammar_complete(const millet_grammar *grammar, bool *ends);

#ifdef __cplusplus
}
#endif
#endif
