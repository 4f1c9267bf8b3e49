/*
 * What compacting did to a model, measured: a table on the terminal, report.json and a page of HTML.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MILLET_COMPACT_REPORT_H
#define MILLET_COMPACT_REPORT_H

#include "cli.h"
#include "millet/plan.h"

/* A size and what is lost at it, the sum over tensors. */
struct compact_point {
    const char *type; /* a type of millet_quantize_type_names; NULL: a plan */
    uint64_t file_bytes;
    double kl;
};

enum { COMPACT_MOST_POINTS = 64 };

struct compact_side { /* the model before or after */
    const char *path;
    uint64_t weight_bytes,
        memory_bytes; /* of the tensors; when it runs with a context of memory_ctx tokens */
    millet_interval perplexity;
    double tokens_per_second; /* NAN: not measured */
};

struct compact_report {
    struct compact_side before, after;
    const char *text; /* the file that it was measured on */
    bool same_text;   /* as that of the calibration */
    int32_t memory_ctx;
    uint64_t file_bytes;
    millet_divergence divergence;
    const millet_plan *plan;
    const millet_sensitivity *sensitivity; /* NULL: not measured */
    struct compact_point points[COMPACT_MOST_POINTS];
    size_t n_points;
};

/* What to report on. */
struct compact_subject {
    const char *input, *output;
    const char *base;               /* what the output is compared with */
    const char *text, *calibration; /* calibration NULL: there was none */
    int64_t max_tokens;
    const millet_quantize_options *options;
    const millet_quantized *result;
    const millet_plan *plan;
    const millet_sensitivity *sensitivity;
};

/*
 * Measures both models and writes to `target`: a name that ends in .html is the page, with the JSON beside it
 * (.json); any other is a folder, made where there is none, for index.html and report.json. Prints the table
 * unless cli_json. Returns CLI_OK or, after a message, CLI_FAILED.
 */
int cli_compact_report(const struct compact_subject *subject, const char *target);

/* The page; nothing in it asks a network. False where writing fails (errno). */
bool cli_compact_page(const struct compact_report *report, FILE *out);

#endif
