/* Time for benchmarks and progress. SPDX-License-Identifier: Apache-2.0 */
#ifndef MLT_CLOCK_H
#define MLT_CLOCK_H

/* Seconds on a clock that never goes back; the zero point is arbitrary. */
double mlt_clock_seconds(void);

#endif
