/* What speculation gains on texts. SPDX-License-Identifier: Apache-2.0 */
#ifndef MILLET_BENCH_TEXT_H
#define MILLET_BENCH_TEXT_H

#include "cli.h"

struct bench_text {
    const char *const *files; /* each is a prompt */
    size_t n_files;
    int32_t tokens, rounds; /* to generate after each; how often */
    float temperature;
};

/*
 * Generates after each text with the speculation that the command line asks for and without it, in
 * alternation, and prints both speeds and how many guesses were right. That both say the same is checked. An
 * exit code.
 */
int bench_text_run(const millet_model *model, const char *path, const struct bench_text *bench);

#endif
