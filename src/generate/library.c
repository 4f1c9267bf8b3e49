/* What the library says of itself. SPDX-License-Identifier: Apache-2.0 */
#include "kernels/kernels.h"
#include "millet/millet.h"

const char *millet_version(void)
{
    return "0.1.0";
}

const char *millet_cpu_tier(void)
{
    return mlt_cpu_tier_name(mlt_kernels_default()->cpu);
}

const char *millet_cpu_tier_names(void)
{
    return mlt_cpu_tier_names();
}
