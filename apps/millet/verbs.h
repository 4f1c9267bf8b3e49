/* The list of verbs. SPDX-License-Identifier: Apache-2.0 */
#ifndef MILLET_CLI_VERBS_H
#define MILLET_CLI_VERBS_H

#include "cli.h"

#define CLI_VERB_LIST(X)                                                                                     \
    X(inspect)                                                                                               \
    X(run)                                                                                                   \
    X(chat)                                                                                                  \
    X(assist)                                                                                                \
    X(understand)                                                                                            \
    X(calibrate)                                                                                             \
    X(compact)                                                                                               \
    X(prune) X(train) X(distil) X(eval) X(bench) X(tokenize) X(tokenizer) X(corpus) X(logits) X(completion)

#define CLI_VERB_DECLARE(name) extern const struct cli_verb cli_verb_##name;
CLI_VERB_LIST(CLI_VERB_DECLARE)
#undef CLI_VERB_DECLARE

#endif
