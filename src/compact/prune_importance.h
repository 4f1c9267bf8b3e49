/*
 * How much each part of a decoder does, measured on batches of calibration data.
 *
 *   layers         block influence: the mean of 1 - cos(input, output) over the positions (ShortGPT: Men et
 *                  al., 2024)
 *   heads, groups  the mean norm of what a head, or all heads of a key head together, add to the attention's
 *                  output
 *   feed-forward   the root mean square of a channel behind the activation, times the norm of its column of
 * w_down: the size of what it adds to the stream width          the mean magnitude of a channel of the
 * residual stream behind each norm (Minitron: Muralidharan et al., 2024)
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_PRUNE_IMPORTANCE_H
#define MLT_PRUNE_IMPORTANCE_H

#include "train/loss.h"

/* The norms over the stream's channels in a layer; the last norm of all has number MLT_PRUNE_NORMS *
 * n_layers. */
enum {
    MLT_NORM_OF_ATTENTION,
    MLT_NORM_OF_FEED_FORWARD,
    MLT_NORM_AFTER_ATTENTION,
    MLT_NORM_AFTER_FEED_FORWARD,
    MLT_PRUNE_NORMS
};

/* Means over the positions; all arrays are one block. */
struct mlt_importance {
    millet_allocator allocator;
    int32_t n_layers, n_heads, n_kv_heads, n_ff, n_embd;
    uint64_t n_positions;
    double *layers;       /* [n_layers] */
    double *heads;        /* [n_layers][n_heads] */
    double *groups;       /* [n_layers][n_kv_heads] */
    double *feed_forward; /* [n_layers][n_ff] */
    /* Of each norm [MLT_PRUNE_NORMS * n_layers + 1][n_embd]: the magnitude of its output's channels (0 for
     * the norms after a branch), and each channel's part of its input's mean square. */
    double *magnitude, *energy;
};

millet_status mlt_importance_open(const millet_allocator *allocator, const struct mlt_config *config,
                                  struct mlt_importance *out, millet_error *err);
void mlt_importance_close(struct mlt_importance *importance);

/* Watches a pass: every batch that goes forward is added, until the watch is closed. Padding does not count.
 */
struct mlt_importance_watch;
millet_status mlt_importance_watch_open(struct mlt_importance *importance, struct mlt_pass *pass,
                                        struct mlt_importance_watch **out, millet_error *err);
/* To be called before and after mlt_pass_forward of a batch. */
void mlt_importance_watch_begin(struct mlt_importance_watch *watch, const struct mlt_batch *batch);
void mlt_importance_watch_end(struct mlt_importance_watch *watch);
void mlt_importance_watch_close(struct mlt_importance_watch **watch);

/* Bytes that a watch takes over batches of so many positions. */
uint64_t mlt_importance_watch_bytes(const struct mlt_config *config, int64_t tokens);

/* Sums to means, once all batches were seen. BAD_ARGUMENT where there were no positions, BAD_FORMAT where a
 * measure is not finite. */
millet_status mlt_importance_finish(struct mlt_importance *importance, const struct mlt_trainable *model,
                                    millet_error *err);

#endif
