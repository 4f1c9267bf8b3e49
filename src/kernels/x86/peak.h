/* The levels' arithmetic peaks, for their init functions. SPDX-License-Identifier: Apache-2.0 */
#ifndef MLT_KERNELS_X86_PEAK_H
#define MLT_KERNELS_X86_PEAK_H

#include "kernels/kernels.h"

void mlt_kernels_avx2_peak(struct mlt_kernels *table);
void mlt_kernels_avx512_peak(struct mlt_kernels *table);
void mlt_kernels_avx512_vnni_peak(struct mlt_kernels *table);

#endif
