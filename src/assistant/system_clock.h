/* The system's clocks. SPDX-License-Identifier: Apache-2.0 */
#ifndef MLT_ASSISTANT_SYSTEM_CLOCK_H
#define MLT_ASSISTANT_SYSTEM_CLOCK_H

#include "millet/assistant.h"

/* `boot` takes the name of this run of the machine; clock->boot points there. */
void mlt_system_clock(millet_assistant_clock *clock, char *boot, size_t size);

#endif
