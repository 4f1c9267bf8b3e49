/* The operations for AVX2. SPDX-License-Identifier: Apache-2.0 */
#define MLT_LANES 8
#define MLT_MR 4
#define MLT_NV 2
#include "train/ops_loops.h"

const struct mlt_ops mlt_ops_avx2 = {.name = "avx2", MLT_OPS_FIELDS};
