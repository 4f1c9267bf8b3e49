/*
 * What built-in skills keep between calls, and whom they may ask.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_ASSISTANT_PARTS_H
#define MLT_ASSISTANT_PARTS_H

#include "assistant/assistant_state.h"
#include "assistant/units.h"

struct mlt_parts {
    struct mlt_rates rates;
    const millet_http *http;
    const millet_messenger *messenger;
    const char *weather, *place;
};

struct mlt_parts *mlt_parts(const millet_assistant *assistant);

#endif
