/* What built-in skills keep between calls. SPDX-License-Identifier: Apache-2.0 */
#include "assistant/parts.h"

#include "assistant/skills.h"
#include "base/file.h"

#include <string.h>

enum { MAX_RATES_FILE = 1 << 16 };

struct mlt_parts *mlt_parts(const millet_assistant *assistant)
{
    return assistant->parts;
}

static millet_status read_rates(const millet_assistant *assistant, const char *path, struct mlt_rates *rates,
                                millet_error *err)
{
    char *data;
    uint64_t size;
    if (!path) return mlt_rates_read(mlt_rates_built_in, strlen(mlt_rates_built_in), rates, err);
    MLT_TRY(mlt_file_read(&assistant->allocator, path, MAX_RATES_FILE, &data, &size, err));
    millet_status status = mlt_rates_read(data, (size_t)size, rates, err);
    if (status != MILLET_OK) mlt_error_in_file(err, path);
    mlt_free(&assistant->allocator, data);
    return status;
}

millet_status mlt_parts_open(millet_assistant *assistant, const millet_assistant_options *options,
                             millet_error *err)
{
    struct mlt_parts *parts = mlt_alloc_zero(&assistant->allocator, 1, sizeof *parts, err);
    if (!parts) return MILLET_NO_MEMORY;
    assistant->parts = parts;
    parts->http = options->http;
    parts->messenger = options->messenger;
    parts->weather = options->weather;
    parts->place = options->place;
    return read_rates(assistant, options->rates, &parts->rates, err);
}

void mlt_parts_close(millet_assistant *assistant)
{
    mlt_free(&assistant->allocator, assistant->parts);
    assistant->parts = NULL;
}
