/* Predicting speed. SPDX-License-Identifier: Apache-2.0 */
#include "compact/plan_speed.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* A number under "architecture.suffix"; 0 where there is none. */
static millet_status number_of(const struct mlt_checkpoint *checkpoint, const char *suffix, uint32_t *out,
                               millet_error *err)
{
    struct mlt_string architecture;
    char key[192];
    const uint32_t zero = 0;
    MLT_TRY(mlt_meta_get_string(checkpoint, "general.architecture", NULL, &architecture, err));
    snprintf(key, sizeof key, "%s.%s", architecture.data, suffix);
    return mlt_meta_get_u32(checkpoint, key, &zero, out, err);
}

millet_status mlt_plan_speed_open(struct mlt_plan_speed *speed, const millet_device_profile *profile,
                                  const struct mlt_checkpoint *checkpoint, millet_error *err)
{
    uint32_t layers, width, experts, used;
    MLT_TRY(number_of(checkpoint, "block_count", &layers, err));
    MLT_TRY(number_of(checkpoint, "embedding_length", &width, err));
    MLT_TRY(number_of(checkpoint, "expert_count", &experts, err));
    MLT_TRY(number_of(checkpoint, "expert_used_count", &used, err));
    *speed = (struct mlt_plan_speed){
        .profile = profile,
        .overhead =
            (double)layers * (profile->seconds_per_layer + (double)width * profile->seconds_per_channel),
        .experts = experts ? (double)used / (double)experts : 1,
        .tied = mlt_checkpoint_tensor(checkpoint, "output.weight") == NULL,
    };
    return MILLET_OK;
}

millet_status mlt_plan_speed_seconds(const struct mlt_plan_speed *speed,
                                     const millet_sensitivity_tensor *tensor, const char *type,
                                     uint64_t set_bytes, double *seconds, millet_error *err)
{
    *seconds = 0;
    if (strcmp(tensor->name, "token_embd.weight") == 0 && !speed->tied) return MILLET_OK; /* one row */
    int64_t rows = 1, matrices = 1;
    if (tensor->shape[1]) rows = tensor->shape[1];
    if (tensor->shape[2]) matrices = tensor->shape[2];
    double one = millet_device_seconds(speed->profile, type, tensor->shape[0], rows, set_bytes);
    if (!isfinite(one))
        return mlt_fail_at(err, MILLET_BAD_ARGUMENT, NULL, type, MILLET_NO_OFFSET,
                           "the device's profile does not have this type; make it again, with this Millet");
    *seconds = one * (double)matrices * (matrices > 1 ? speed->experts : 1);
    return MILLET_OK;
}
