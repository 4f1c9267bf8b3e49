/* SPDX-License-Identifier: Apache-2.0 */
#include "base/random.h"

#include <math.h>

void mlt_random_seed(struct mlt_random *random, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        seed += UINT64_C(0x9e3779b97f4a7c15);
        uint64_t z = seed;
        z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
        random->state[i] = z ^ (z >> 31);
    }
}

static uint64_t rotate_left(uint64_t x, int bits)
{
    return (x << bits) | (x >> (64 - bits));
}

uint64_t mlt_random_u64(struct mlt_random *random)
{
    uint64_t *s = random->state;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

float mlt_random_float(struct mlt_random *random)
{
    return (float)(mlt_random_u64(random) >> 40) * 0x1p-24f;
}

double mlt_random_double(struct mlt_random *random)
{
    return (double)(mlt_random_u64(random) >> 11) * 0x1p-53;
}

float mlt_random_normal(struct mlt_random *random)
{
    double u = 1.0 - mlt_random_double(random), v = mlt_random_double(random);
    return (float)(sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v));
}
