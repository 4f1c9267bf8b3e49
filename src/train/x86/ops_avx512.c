/* The operations for AVX-512. SPDX-License-Identifier: Apache-2.0 */
#define MLT_LANES 16
#define MLT_MR 8
#define MLT_NV 2
#include "train/ops_loops.h"

const struct mlt_ops mlt_ops_avx512 = {.name = "avx512", MLT_OPS_FIELDS};
