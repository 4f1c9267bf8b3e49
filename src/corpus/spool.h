/*
 * Bytes that are written now and read back once, in a file without a name: it goes when the process does,
 * however it ends.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_SPOOL_H
#define MLT_SPOOL_H

#include "base/memory.h"

struct mlt_spool;

/* The file lies in the folder of `beside`, where there must be room for what is made of it anyway. Errors:
 * IO, NO_MEMORY. */
millet_status mlt_spool_open(const millet_allocator *allocator, const char *beside, struct mlt_spool **out,
                             millet_error *err);
void mlt_spool_close(struct mlt_spool **spool);
millet_status mlt_spool_write(struct mlt_spool *spool, const void *bytes, size_t size, millet_error *err);
/* Gives everything that was written to `sink`, in pieces; nothing may be written afterwards. */
typedef millet_status mlt_spool_sink(void *context, const void *bytes, size_t size, millet_error *err);
millet_status mlt_spool_read(struct mlt_spool *spool, mlt_spool_sink *sink, void *context, millet_error *err);

#endif
