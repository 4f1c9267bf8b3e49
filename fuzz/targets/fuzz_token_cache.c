/*
 * Token caches made by others: what is opened can be read through, document by document and row by row.
 *
 * The first byte says how: bit 0 puts the trailer's checksum right, so that what is behind it is reached; the
 * others choose the packing.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "corpus/batches.h"
#include "corpus/checksum.h"
#include "corpus/token_cache.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_rows(const millet_cache *cache, unsigned how)
{
    enum { LENGTH = 16 };
    const millet_mixture_part part = {.cache = cache};
    millet_batch_options options = millet_batch_options_default();
    millet_batches *batches;
    options.length = LENGTH;
    options.packing = how & 2 ? MILLET_PACK_SEQUENTIAL : MILLET_PACK_BEST_FIT;
    options.in_order = how & 4;
    options.holdout = how & 8 ? 2 : 0;
    if (millet_batches_open(&part, 1, &options, &batches, NULL) != MILLET_OK) return;
    int32_t rows[4][2 * LENGTH];
    uint8_t marks[2 * LENGTH];
    for (uint64_t step = 0; step < 64; step++)
        if (millet_batches_fill(batches, step, 2, rows[0], rows[1], rows[2], rows[3], marks, NULL) ==
            MILLET_OK)
            for (int i = 0; i < 2 * LENGTH; i++) {
                bool good = rows[0][i] >= 0 && rows[0][i] < (int32_t)cache->trailer.n_vocab &&
                            rows[1][i] >= -1 && rows[1][i] < (int32_t)cache->trailer.n_vocab &&
                            rows[2][i] >= 0 && rows[2][i] <= i % LENGTH && rows[3][i] >= i % LENGTH &&
                            rows[3][i] < LENGTH && marks[i] <= 3 &&
                            (!(marks[i] & MILLET_MARK_LABEL) || rows[1][i] >= 0);
                if (!good) abort();
            }
    millet_batches_close(&batches);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) return 0;
    unsigned how = data[0];
    size_t length = size - 1;
    uint8_t *bytes = NULL; /* an exact copy, aligned as a map is */
    if (posix_memalign((void **)&bytes, 64, length ? length : 1) != 0) return 0;
    if (length) memcpy(bytes, data + 1, length);
    if (how & 1 && length >= sizeof(struct mlt_cache_trailer)) {
        struct mlt_cache_trailer trailer;
        uint8_t *at = bytes + length - sizeof trailer;
        memcpy(&trailer, at, sizeof trailer);
        trailer.trailer_checksum =
            mlt_checksum(MLT_CHECKSUM_START, &trailer, offsetof(struct mlt_cache_trailer, trailer_checksum));
        memcpy(at, &trailer, sizeof trailer);
    }
    char path[] = "input";
    millet_cache cache = {.path = path};
    if (mlt_cache_parse(&cache, bytes, length, NULL) == MILLET_OK) {
        cache.map.data = bytes;
        cache.map.size = length;
        (void)mlt_cache_verify(&cache, NULL);
        for (uint64_t d = 0; d < cache.trailer.n_documents; d++) {
            millet_document document;
            if (millet_cache_document(&cache, d, &document, NULL) != MILLET_OK) abort();
            for (uint64_t i = 0; i < document.count; i++) {
                bool trained;
                (void)millet_cache_token(&cache, document.first + i, &trained);
                if (millet_cache_label(&cache, document.first + i) >= (int32_t)cache.trailer.n_vocab) abort();
            }
        }
        read_rows(&cache, how);
    }
    free(bytes);
    return 0;
}
