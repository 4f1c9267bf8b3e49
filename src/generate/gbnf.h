/*
 * Grammars as text (the form of GBNF) made into rules over bytes.
 *
 *     root   ::= "[" item ("," " "? item)* "]"      # a comment
 *     item   ::= number | [a-z]+ | "\"" [^"\n]{0,20} "\""
 *     number ::= "-"? [0-9]{1,9}
 *
 * A character is a code point and becomes the bytes of its UTF-8; sets of characters become rules of their
 * own where they hold more than ASCII. Repetitions become rules that call themselves at their end.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_GBNF_H
#define MLT_GBNF_H

#include "generate/grammar_rules.h"

/*
 * Errors: BAD_FORMAT with line and column in the message: syntax, a rule that is missing or
 * stands twice, no rule `root`, a rule that calls itself before it has read anything (left recursion), a root
 * that no text can end; UNSUPPORTED (more than a million symbols; tokens by name); NO_MEMORY. What is written
 * to *rules is released by mlt_grammar_rules_release, on failure too.
 */
millet_status mlt_gbnf_read(const millet_allocator *allocator, const char *text, size_t length,
                            struct mlt_grammar_rules *rules, millet_error *err);
#endif
