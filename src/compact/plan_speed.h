/*
 * What a generated token takes on a device, by its profile.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_PLAN_SPEED_H
#define MLT_PLAN_SPEED_H

#include "format/checkpoint.h"
#include "millet/plan.h"

struct mlt_plan_speed {
    const millet_device_profile *profile;
    double overhead; /* seconds that are not in products with matrices that a type is chosen for */
    double experts;  /* the part of the experts that a token passes through */
    bool tied;       /* token_embd.weight is the output matrix, too */
};

/* Errors: those of reading metadata; BAD_ARGUMENT (a type that the profile does not have). */
millet_status mlt_plan_speed_open(struct mlt_plan_speed *speed, const millet_device_profile *profile,
                                  const struct mlt_checkpoint *checkpoint, millet_error *err);

/* Seconds a token of a matrix in that type, where so many bytes of weights are read for each. */
millet_status mlt_plan_speed_seconds(const struct mlt_plan_speed *speed,
                                     const millet_sensitivity_tensor *tensor, const char *type,
                                     uint64_t set_bytes, double *seconds, millet_error *err);

#endif
