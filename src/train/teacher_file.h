/*
 * What teachers say about a token cache: for each token that has a target as an input, the probabilities of
 * the next.
 *
 *     header   struct mlt_teacher_header
 *     index    a bit for each token of the cache, lowest first, that says whether it has a row; and u64 for
 *              each MLT_TEACHER_STRIDE tokens, the rows of all tokens before them
 *     rows     in the order of the tokens, each of the same size:
 *                  ids     u16 or u32 [k], rising (left out where k is the vocabulary: 0, 1, ...)
 *                  levels  u16 [k]: -ln p in units of 1 / 2048; 65535: p is 0
 *                  rest    u16, the level of all other tokens' probability together
 *
 * Probabilities are those at the header's temperature. 16 bits are enough: a level's error is 0.025% of its
 * probability, wherever that lies between 1 and 1e-13; where rows are read they are made to sum to 1 again.
 * Numbers are in the machine's byte order; a file of another order is refused.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_TEACHER_FILE_H
#define MLT_TEACHER_FILE_H

#include "base/file.h"
#include "millet/distil.h"
#include "train/ops.h"

#define MLT_TEACHER_MAGIC "MLTTEACH"
#define MLT_TEACHER_ORDER UINT32_C(0x01020304)

enum { MLT_TEACHER_VERSION = 1, MLT_TEACHER_STRIDE = 512, MLT_TEACHER_ALIGNMENT = 64 };
enum { MLT_LEVELS_OF_NAT = 2048, MLT_LEVEL_MOST = 65534, MLT_LEVEL_NEVER = 65535 };

/* All numbers u64 behind the first line, so that there is no padding. */
struct mlt_teacher_header {
    char magic[8];
    uint32_t version, order;
    uint64_t cache_checksum, teachers_checksum, n_teachers;
    uint64_t n_tokens, n_vocab, n_positions, top_k, length;
    uint64_t temperature; /* the bits of a float */
    uint64_t bits_at, counts_at, rows_at, file_bytes;
    uint64_t n_batch_rows; /* that the cache was packed to; in their order the rows were made */
    /* From here on the progress of making it; what lies before says what is made. */
    uint64_t n_done;        /* of the batch rows; all in a finished file */
    uint64_t body_checksum; /* CRC-32 of everything behind the header; 0 while it is made */
    uint64_t header_checksum;
    uint64_t zeros[13];
};

/* Bytes of an id and of a row. */
static inline uint64_t mlt_teacher_id_bytes(const struct mlt_teacher_header *h)
{
    return h->top_k == h->n_vocab ? 0 : h->n_vocab <= 65536 ? 2 : 4;
}
static inline uint64_t mlt_teacher_row_bytes(const struct mlt_teacher_header *h)
{
    return h->top_k * (mlt_teacher_id_bytes(h) + 2) + 2;
}

/* Fills places, sizes, magic and the header's checksum from the numbers. False where they do not fit 64 bits.
 */
bool mlt_teacher_header_lay_out(struct mlt_teacher_header *header);
uint64_t mlt_teacher_header_sum(const struct mlt_teacher_header *header);
/* BAD_FORMAT and UNSUPPORTED where the header contradicts itself or the file's size. */
millet_status mlt_teacher_header_check(const struct mlt_teacher_header *header, uint64_t size,
                                       const char *path, millet_error *err);
void mlt_teacher_describe(const struct mlt_teacher_header *header, millet_teacher_info *info);

/* The index while it is made and where it is mapped. */
struct mlt_teacher_index {
    const uint8_t *bits;
    const uint64_t *counts;
};

/* The number of a token's row; UINT64_MAX: it has none. */
uint64_t mlt_teacher_index_find(const struct mlt_teacher_index *index, uint64_t token);

struct mlt_teacher_file {
    struct mlt_file_map map;
    const char *path; /* borrowed */
    struct mlt_teacher_header header;
    struct mlt_teacher_index index;
    const uint8_t *rows;
    double whole[32], part[MLT_LEVELS_OF_NAT]; /* e^-nats, and e^-parts of one: a level's p is a product */
};

/* Finds the parts in bytes[0 .. size) (aligned to 8) and checks header and index; does not look at the
 * checksum of what is behind the header, nor at rows. */
millet_status mlt_teacher_file_parse(struct mlt_teacher_file *file, const uint8_t *bytes, uint64_t size,
                                     millet_error *err);

/* A finished file only. `verify`: BAD_FORMAT where the checksum is wrong. `path` must outlive it. On failure
 * nothing is held. */
millet_status mlt_teacher_file_open(const char *path, bool verify, struct mlt_teacher_file *out,
                                    millet_error *err);
void mlt_teacher_file_close(struct mlt_teacher_file *file);

/*
 * Reads row `row` into p [k] and ids [k] (unless all of the vocabulary is there: then p [n_vocab] with zeros
 * behind, where the student has more tokens than the cache), and fills *out, but for the scratch. BAD_FORMAT
 * where it is no distribution.
 */
millet_status mlt_teacher_file_read(const struct mlt_teacher_file *file, uint64_t row, int64_t n_vocab,
                                    float *p, int32_t *ids, struct mlt_soft_target *out, millet_error *err);

/* A row as the file has it, from the probabilities p [wide], of which the first n_vocab are the cache's
 * tokens; chosen [k] is scratch. */
void mlt_teacher_encode(const struct mlt_teacher_header *header, const float *p, int64_t wide,
                        int32_t *chosen, uint8_t *out);

#endif
