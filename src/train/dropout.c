/* Dropout without a stored mask: what is left out follows from a key. SPDX-License-Identifier: Apache-2.0 */
#include "corpus/permutation.h"
#include "train/pass_state.h"

#include <math.h>

/* A number of 64 bits decides over four values; probabilities are in steps of 2^-16. */
enum { VALUES = 4, BITS = 16, SHARE_VALUES = 1 << 14 };

struct dropping {
    float *y;
    const float *x; /* NULL: y is scaled in place */
    uint64_t key;
    uint32_t threshold; /* values whose number is below are left out */
    float scale;        /* of the others */
    int64_t before;     /* values of the whole batch before these */
};

static uint32_t threshold_of(float probability)
{
    return (uint32_t)lrintf(probability * (1 << BITS));
}

static void drop_part(const void *argument, int64_t begin, int64_t end)
{
    const struct dropping *d = argument;
    for (int64_t i = begin; i < end;) {
        int64_t number = d->before + i, lane = number % VALUES, last = MLT_MIN(i + VALUES - lane, end);
        uint64_t bits = mlt_mix64(d->key + (uint64_t)(number / VALUES)) >> (BITS * lane);
        for (; i < last; i++, bits >>= BITS) {
            float scale = (bits & ((1 << BITS) - 1)) < d->threshold ? 0 : d->scale;
            d->y[i] = d->x ? d->y[i] + scale * d->x[i] : scale * d->y[i];
        }
    }
}

static void run(struct mlt_pass *pass, float *y, const float *x, float scale, int32_t layer,
                enum mlt_branch branch)
{
    uint32_t threshold = threshold_of(pass->dropout);
    const struct dropping d = {
        .y = y,
        .x = x,
        .key = mlt_mix64(pass->dropout_key ^ mlt_mix64((uint64_t)layer << 2 | (uint64_t)branch)),
        .threshold = threshold,
        .scale = scale * ((float)(1 << BITS) / (float)((1u << BITS) - threshold)),
        .before = pass->first_token * pass->model->config.n_embd};
    mlt_for_range(&pass->workers, pass->tokens * pass->model->config.n_embd, SHARE_VALUES, drop_part, &d);
}

bool mlt_pass_drops(const struct mlt_pass *pass)
{
    return threshold_of(pass->dropout) > 0;
}

void mlt_pass_add_dropped(struct mlt_pass *pass, float *y, const float *x, float scale, int32_t layer,
                          enum mlt_branch branch)
{
    run(pass, y, x, scale, layer, branch);
}

void mlt_pass_drop_embedding(struct mlt_pass *pass, float *x)
{
    if (mlt_pass_drops(pass)) run(pass, x, NULL, 1, 0, MLT_BRANCH_EMBEDDING);
}
