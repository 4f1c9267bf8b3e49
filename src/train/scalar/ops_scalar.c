/* The operations for any CPU. SPDX-License-Identifier: Apache-2.0 */
#define MLT_LANES 4
#define MLT_MR 4
#define MLT_NV 2
#include "train/ops_loops.h"

const struct mlt_ops mlt_ops_scalar = {.name = "scalar", MLT_OPS_FIELDS};
