/* The parts of mlt_kernels_init_scalar, one a file. SPDX-License-Identifier: Apache-2.0 */
#ifndef MLT_KERNELS_SCALAR_H
#define MLT_KERNELS_SCALAR_H

#include "kernels/kernels.h"

void mlt_kernels_scalar_quantized(struct mlt_kernels *table);
void mlt_kernels_scalar_float(struct mlt_kernels *table);
void mlt_kernels_scalar_attention(struct mlt_kernels *table);
void mlt_kernels_scalar_elementwise(struct mlt_kernels *table);
void mlt_kernels_scalar_peak(struct mlt_kernels *table);

#endif
