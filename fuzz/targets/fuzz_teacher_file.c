/*
 * Teacher outputs made by others: what is opened can be read row by row, and what a row says is a
 * distribution.
 *
 * The first byte says how: bit 0 puts the header's checksum right, so that what is behind it is reached.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "train/teacher_file.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_row(const struct mlt_teacher_file *file, uint64_t row)
{
    enum { MOST = 1 << 12, MORE = 16 };
    static float p[MOST + MORE];
    static int32_t ids[MOST];
    const struct mlt_teacher_header *h = &file->header;
    struct mlt_soft_target soft;
    if (h->top_k > MOST) return;
    int64_t n_vocab = h->n_vocab > MOST ? (int64_t)h->n_vocab : (int64_t)h->n_vocab + MORE;
    if (mlt_teacher_file_read(file, row, n_vocab, p, ids, &soft, NULL) != MILLET_OK) return;
    double sum = (double)soft.rest;
    for (int64_t j = 0; j < soft.k; j++) {
        sum += (double)p[j];
        if (soft.ids && (ids[j] < 0 || (uint64_t)ids[j] >= h->n_vocab || (j && ids[j] <= ids[j - 1])))
            abort();
    }
    if (!(sum > 0.999 && sum < 1.001) || !(soft.negative_entropy < 1e-3)) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) return 0;
    size_t length = size - 1;
    uint8_t *bytes = NULL; /* an exact copy, aligned as a map is */
    static struct mlt_teacher_file file;
    if (posix_memalign((void **)&bytes, 64, length ? length : 1) != 0) return 0;
    if (length) memcpy(bytes, data + 1, length);
    if (data[0] & 1 && length >= sizeof(struct mlt_teacher_header)) {
        struct mlt_teacher_header header;
        memcpy(&header, bytes, sizeof header);
        header.header_checksum = mlt_teacher_header_sum(&header);
        memcpy(bytes, &header, sizeof header);
    }
    file = (struct mlt_teacher_file){.path = "input"};
    if (mlt_teacher_file_parse(&file, bytes, length, NULL) == MILLET_OK) {
        uint64_t rows = 0;
        for (uint64_t token = 0; token < file.header.n_tokens; token++) {
            uint64_t row = mlt_teacher_index_find(&file.index, token);
            if (row == UINT64_MAX) continue;
            if (row != rows++) abort();
            read_row(&file, row);
        }
        if (rows != file.header.n_positions) abort();
    }
    free(bytes);
    return 0;
}
