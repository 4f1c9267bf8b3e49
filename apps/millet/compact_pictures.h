/*
 * The pictures of a report on compacting, as SVG.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MILLET_COMPACT_PICTURES_H
#define MILLET_COMPACT_PICTURES_H

#include "compact_report.h"

/* Text of files and options with what HTML means otherwise. */
void compact_put_text(FILE *out, const char *text);

/* Divergence against size: the best plans, the types that have a name, and the file that was made. */
void compact_draw_front(const struct compact_report *report, FILE *out);
/* Bits of every matrix, by layer and kind. */
void compact_draw_bits(const struct compact_report *report, FILE *out);
/* What rounding each matrix to some 4.5 bits does, by layer and kind, and summed over each layer. */
void compact_draw_sensitivity(const struct compact_report *report, FILE *out);

#endif
