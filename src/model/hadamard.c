/* SPDX-License-Identifier: Apache-2.0 */
#include "model/hadamard.h"

#include <math.h>

/* Vectors are transformed as rows of LANES, so that compilers can use vectors of the machine for both halves.
 */
enum { LANES = 8, LONGEST = 512 };

/* Sums and differences of rows `apart` rows apart; x is [rows][width]. */
static void butterflies(float *x, int32_t rows, int32_t width, int32_t apart)
{
    for (int32_t begin = 0; begin < rows; begin += 2 * apart) {
        for (int32_t r = begin; r < begin + apart; r++) {
            float *a = x + r * width, *b = a + apart * width;
            for (int32_t i = 0; i < width; i++) {
                float sum = a[i] + b[i], difference = a[i] - b[i];
                a[i] = sum;
                b[i] = difference;
            }
        }
    }
}

/* n is a power of two from LANES to LONGEST. */
static void transform(float *x, int32_t n)
{
    float turned[LONGEST];
    const int32_t rows = n / LANES;
    for (int32_t apart = rows / 2; apart >= 1; apart /= 2)
        butterflies(x, rows, LANES, apart);
    for (int32_t r = 0; r < rows; r++)
        for (int32_t i = 0; i < LANES; i++)
            turned[i * rows + r] = x[r * LANES + i];
    for (int32_t apart = LANES / 2; apart >= 1; apart /= 2)
        butterflies(turned, LANES, rows, apart);
    const float scale = 1.0f / sqrtf((float)n);
    for (int32_t r = 0; r < rows; r++)
        for (int32_t i = 0; i < LANES; i++)
            x[r * LANES + i] = turned[i * rows + r] * scale;
}

void mlt_hadamard(float *x, int32_t vectors, int32_t size)
{
    int32_t n = LANES;
    while (n < LONGEST && size % (2 * n) == 0)
        n *= 2;
    for (int64_t at = 0; at < (int64_t)vectors * size; at += n)
        transform(x + at, n);
}
