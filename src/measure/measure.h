/* What this room implements is public: see lab.h. SPDX-License-Identifier: Apache-2.0 */
#ifndef MLT_MEASURE_H
#define MLT_MEASURE_H

#include "base/base.h"
#include "millet/lab.h"

#endif
