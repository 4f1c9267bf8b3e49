/* Which matrices have an adapter, and where it begins. SPDX-License-Identifier: Apache-2.0 */
#include "train/low_rank.h"

#include "base/random.h"
#include "corpus/checksum.h"

#include <math.h>
#include <string.h>

static const struct {
    const char *name;
    const char *suffixes[3];
} matrices[] = {
    {"q", {"attn_q.weight", "attn_qkv.weight"}},
    {"k", {"attn_k.weight", "attn_qkv.weight"}},
    {"v", {"attn_v.weight", "attn_qkv.weight"}},
    {"o", {"attn_output.weight"}},
    {"gate", {"ffn_gate.weight"}},
    {"up", {"ffn_up.weight"}},
    {"down", {"ffn_down.weight"}},
};

millet_status mlt_low_rank_targets(const char *text, unsigned *targets, millet_error *err)
{
    *targets = text ? 0 : (1u << MLT_COUNT(matrices)) - 1;
    while (text) {
        size_t length = strcspn(text, ","), i = 0;
        while (i < MLT_COUNT(matrices) &&
               (strlen(matrices[i].name) != length || memcmp(matrices[i].name, text, length) != 0))
            i++;
        if (i == MLT_COUNT(matrices))
            return mlt_fail_at(err, MILLET_BAD_ARGUMENT, NULL, "lora_targets", MILLET_NO_OFFSET,
                               "\"%.*s\" is none of the matrices q, k, v, o, gate, up and down, which are "
                               "separated by commas",
                               (int)MLT_MIN(length, (size_t)40), text);
        *targets |= 1u << i;
        text = text[length] ? text + length + 1 : NULL;
    }
    return MILLET_OK;
}

bool mlt_low_rank_includes(unsigned targets, const char *suffix)
{
    for (size_t i = 0; i < MLT_COUNT(matrices); i++)
        for (int j = 0; (targets >> i & 1) && matrices[i].suffixes[j]; j++)
            if (strcmp(matrices[i].suffixes[j], suffix) == 0) return true;
    return false;
}

void mlt_low_rank_start(uint64_t seed, const char *name, int64_t rank, int64_t columns, float *a)
{
    struct mlt_random random;
    mlt_random_seed(&random, seed ^ mlt_checksum_text(MLT_CHECKSUM_START, name, strlen(name)));
    float bound = 1 / sqrtf((float)columns);
    for (int64_t i = 0; i < rank * columns; i++)
        a[i] = bound * (2 * mlt_random_float(&random) - 1);
}
