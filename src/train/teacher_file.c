/* Rows of teachers' probabilities: their form, and reading them. SPDX-License-Identifier: Apache-2.0 */
#include "train/teacher_file.h"

#include "corpus/checksum.h"

#include <math.h>
#include <string.h>
#include <zlib.h>

/* ---- The header ---- */

uint64_t mlt_teacher_header_sum(const struct mlt_teacher_header *h)
{
    return mlt_checksum(MLT_CHECKSUM_START, h, offsetof(struct mlt_teacher_header, header_checksum));
}

bool mlt_teacher_header_lay_out(struct mlt_teacher_header *h)
{
    uint64_t bytes;
    memcpy(h->magic, MLT_TEACHER_MAGIC, sizeof h->magic);
    h->version = MLT_TEACHER_VERSION;
    h->order = MLT_TEACHER_ORDER;
    if (h->n_tokens > UINT64_MAX / 16 || h->n_positions > h->n_tokens || h->top_k > h->n_vocab ||
        h->n_vocab > INT32_MAX)
        return false;
    h->bits_at = sizeof *h;
    h->counts_at = mlt_round_up(h->bits_at + (h->n_tokens + 7) / 8, MLT_TEACHER_ALIGNMENT);
    h->rows_at =
        mlt_round_up(h->counts_at + (h->n_tokens / MLT_TEACHER_STRIDE + 1) * 8, MLT_TEACHER_ALIGNMENT);
    if (!mlt_mul_u64(h->n_positions, mlt_teacher_row_bytes(h), &bytes) ||
        !mlt_add_u64(h->rows_at, bytes, &h->file_bytes))
        return false;
    h->header_checksum = mlt_teacher_header_sum(h);
    return true;
}

static float temperature_of(const struct mlt_teacher_header *h)
{
    uint32_t bits = (uint32_t)h->temperature;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

millet_status mlt_teacher_header_check(const struct mlt_teacher_header *h, uint64_t size, const char *path,
                                       millet_error *err)
{
    if (memcmp(h->magic, MLT_TEACHER_MAGIC, sizeof h->magic) != 0)
        return mlt_fail_at(err, MILLET_BAD_FORMAT, path, NULL, 0, "this is no file of teacher outputs");
    if (h->order != MLT_TEACHER_ORDER)
        return mlt_fail_at(err, MILLET_UNSUPPORTED, path, NULL, 12,
                           "it was made on a machine of another byte order");
    if (h->version != MLT_TEACHER_VERSION)
        return mlt_fail_at(err, MILLET_UNSUPPORTED, path, NULL, 8,
                           "version %u of teacher outputs is not known; %d is", h->version,
                           (int)MLT_TEACHER_VERSION);
    if (h->header_checksum != mlt_teacher_header_sum(h))
        return mlt_fail_at(err, MILLET_BAD_FORMAT, path, NULL, 0, "the checksum of the header is wrong");
    struct mlt_teacher_header again = *h;
    memset(again.zeros, 0, sizeof again.zeros);
    bool good = mlt_teacher_header_lay_out(&again) && memcmp(&again, h, sizeof again) == 0;
    good = good && h->file_bytes == size && h->top_k > 0 && h->n_done <= h->n_batch_rows &&
           temperature_of(h) > 0 && temperature_of(h) < INFINITY && h->length <= INT32_MAX &&
           h->n_teachers > 0 && h->n_teachers <= INT32_MAX;
    if (!good)
        return mlt_fail_at(err, MILLET_BAD_FORMAT, path, NULL, 0,
                           "the header contradicts itself or the size of the file");
    return MILLET_OK;
}

void mlt_teacher_describe(const struct mlt_teacher_header *h, millet_teacher_info *info)
{
    *info = (millet_teacher_info){.n_positions = h->n_positions,
                                  .file_bytes = h->file_bytes,
                                  .checksum = h->body_checksum ? h->header_checksum : 0,
                                  .cache_checksum = h->cache_checksum,
                                  .top_k = (int32_t)h->top_k,
                                  .n_vocab = (int32_t)h->n_vocab,
                                  .length = (int32_t)h->length,
                                  .n_teachers = (int32_t)h->n_teachers,
                                  .temperature = temperature_of(h)};
}

/* ---- The index ---- */

static uint64_t ones(uint8_t byte)
{
    return (uint64_t)__builtin_popcount(byte);
}

uint64_t mlt_teacher_index_find(const struct mlt_teacher_index *index, uint64_t token)
{
    if (!(index->bits[token / 8] >> token % 8 & 1)) return UINT64_MAX;
    uint64_t row = index->counts[token / MLT_TEACHER_STRIDE];
    for (uint64_t i = token / MLT_TEACHER_STRIDE * (MLT_TEACHER_STRIDE / 8); i < token / 8; i++)
        row += ones(index->bits[i]);
    return row + ones((uint8_t)(index->bits[token / 8] & ((1u << token % 8) - 1)));
}

static millet_status check_index(const struct mlt_teacher_file *file, millet_error *err)
{
    const struct mlt_teacher_header *h = &file->header;
    uint64_t rows = 0, n_bytes = (h->n_tokens + 7) / 8;
    for (uint64_t i = 0; i < n_bytes; i++) {
        if (i % (MLT_TEACHER_STRIDE / 8) == 0 && file->index.counts[i / (MLT_TEACHER_STRIDE / 8)] != rows)
            return mlt_fail_at(err, MILLET_BAD_FORMAT, file->path, NULL,
                               h->counts_at + i / (MLT_TEACHER_STRIDE / 8) * 8, "the index is damaged");
        rows += ones(file->index.bits[i]);
    }
    if (rows != h->n_positions || (h->n_tokens % 8 && file->index.bits[n_bytes - 1] >> h->n_tokens % 8))
        return mlt_fail_at(err, MILLET_BAD_FORMAT, file->path, NULL, h->bits_at,
                           "the index has other rows than the header says");
    return MILLET_OK;
}

/* ---- Opening ---- */

static millet_status verify_body(const struct mlt_teacher_file *file, millet_error *err)
{
    uLong sum = 0;
    for (uint64_t done = sizeof file->header; done < file->map.size;) {
        uint64_t part = MLT_MIN(file->map.size - done, (uint64_t)1 << 30);
        sum = crc32(sum, file->map.data + done, (uInt)part);
        done += part;
    }
    if (sum == file->header.body_checksum) return MILLET_OK;
    return mlt_fail_at(err, MILLET_BAD_FORMAT, file->path, NULL, MILLET_NO_OFFSET,
                       "the checksum is wrong: the teacher outputs are damaged");
}

millet_status mlt_teacher_file_parse(struct mlt_teacher_file *file, const uint8_t *bytes, uint64_t size,
                                     millet_error *err)
{
    struct mlt_teacher_header *h = &file->header;
    for (int i = 0; i < (int)MLT_COUNT(file->whole); i++)
        file->whole[i] = exp(-(double)i);
    for (int i = 0; i < (int)MLT_COUNT(file->part); i++)
        file->part[i] = exp(-(double)i / MLT_LEVELS_OF_NAT);
    if (size < sizeof *h)
        return mlt_fail_at(err, MILLET_BAD_FORMAT, file->path, NULL, 0, "this is no file of teacher outputs");
    memcpy(h, bytes, sizeof *h);
    MLT_TRY(mlt_teacher_header_check(h, size, file->path, err));
    if (h->n_done != h->n_batch_rows)
        return mlt_fail_at(err, MILLET_BAD_FORMAT, file->path, NULL, MILLET_NO_OFFSET,
                           "the file is not finished");
    file->index.bits = bytes + h->bits_at;
    file->index.counts = (const uint64_t *)(const void *)(bytes + h->counts_at);
    file->rows = bytes + h->rows_at;
    return check_index(file, err);
}

millet_status mlt_teacher_file_open(const char *path, bool verify, struct mlt_teacher_file *file,
                                    millet_error *err)
{
    *file = (struct mlt_teacher_file){.path = path};
    MLT_TRY(mlt_file_map_open(path, &file->map, err));
    millet_status status = mlt_teacher_file_parse(file, file->map.data, file->map.size, err);
    if (status == MILLET_OK && verify) status = verify_body(file, err);
    if (status != MILLET_OK) mlt_teacher_file_close(file);
    return status;
}

void mlt_teacher_file_close(struct mlt_teacher_file *file)
{
    mlt_file_map_close(&file->map);
    file->map = (struct mlt_file_map){0};
}

millet_status millet_teacher_inspect(const char *path, bool verify, millet_teacher_info *info,
                                     millet_error *err)
{
    struct mlt_teacher_file file;
    *info = (millet_teacher_info){0};
    MLT_TRY(mlt_teacher_file_open(path, verify, &file, err));
    mlt_teacher_describe(&file.header, info);
    mlt_teacher_file_close(&file);
    return MILLET_OK;
}

/* ---- A row ---- */

static uint16_t level_of(double p)
{
    if (!(p > 0)) return MLT_LEVEL_NEVER;
    double level = nearbyint(-log(p) * MLT_LEVELS_OF_NAT);
    return level <= 0 ? 0 : level >= MLT_LEVEL_MOST ? (uint16_t)MLT_LEVEL_MOST : (uint16_t)level;
}

/* Whether token a comes before b among the most probable; of equal ones the lower id. */
static bool precedes(const float *p, int32_t a, int32_t b)
{
    return p[a] > p[b] || (p[a] == p[b] && a < b);
}

/* The heap's root is the last of those chosen so far. */
static void sift(const float *p, int32_t *heap, int64_t n, int64_t at)
{
    int32_t moved = heap[at];
    for (;;) {
        int64_t child = 2 * at + 1;
        if (child >= n) break;
        if (child + 1 < n && precedes(p, heap[child], heap[child + 1])) child++;
        if (!precedes(p, moved, heap[child])) break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = moved;
}

/* The k most probable of the first n_vocab tokens, in no order; the root is the least. */
static void choose_most(const float *p, int64_t n_vocab, int64_t k, int32_t *heap)
{
    for (int64_t i = 0; i < k; i++)
        heap[i] = (int32_t)i;
    for (int64_t i = k / 2; i-- > 0;)
        sift(p, heap, k, i);
    for (int32_t i = (int32_t)k; i < n_vocab; i++) {
        if (p[i] <= p[heap[0]]) continue;
        heap[0] = i;
        sift(p, heap, k, 0);
    }
}

void mlt_teacher_encode(const struct mlt_teacher_header *h, const float *p, int64_t wide, int32_t *chosen,
                        uint8_t *out)
{
    int64_t n_vocab = (int64_t)h->n_vocab, k = (int64_t)h->top_k, n = 0;
    uint64_t id_bytes = mlt_teacher_id_bytes(h);
    double rest = 0;
    if (k < n_vocab) {
        choose_most(p, n_vocab, k, chosen);
        int32_t last = chosen[0];
        for (int32_t i = 0; i < n_vocab; i++) { /* in the order of the ids */
            if (i == last || precedes(p, i, last))
                chosen[n++] = i;
            else
                rest += (double)p[i];
        }
    }
    for (int64_t i = n_vocab; i < wide; i++)
        rest += (double)p[i];
    for (int64_t j = 0; j < k && id_bytes; j++, out += id_bytes) {
        uint16_t narrow = (uint16_t)chosen[j];
        memcpy(out, id_bytes == 2 ? (const void *)&narrow : (const void *)&chosen[j], id_bytes);
    }
    for (int64_t j = 0; j <= k; j++, out += 2) {
        uint16_t level = level_of(j == k ? rest : (double)p[id_bytes ? chosen[j] : j]);
        memcpy(out, &level, sizeof level);
    }
}

static millet_status no_distribution(const struct mlt_teacher_file *file, uint64_t row, millet_error *err)
{
    return mlt_fail_at(err, MILLET_BAD_FORMAT, file->path, NULL,
                       file->header.rows_at + row * mlt_teacher_row_bytes(&file->header),
                       "row %llu is no distribution over the vocabulary: the teacher outputs are damaged",
                       (unsigned long long)row);
}

/* p of levels, before it is made to sum to 1; *sum and *along (p times ln p) are added to. */
static float take_level(const struct mlt_teacher_file *file, const uint8_t *at, double *sum, double *along)
{
    uint16_t level;
    memcpy(&level, at, sizeof level);
    if (level == MLT_LEVEL_NEVER) return 0;
    double p = file->whole[level / MLT_LEVELS_OF_NAT] * file->part[level % MLT_LEVELS_OF_NAT];
    *sum += p;
    *along -= p * level / MLT_LEVELS_OF_NAT;
    return (float)p;
}

millet_status mlt_teacher_file_read(const struct mlt_teacher_file *file, uint64_t row, int64_t n_vocab,
                                    float *p, int32_t *ids, struct mlt_soft_target *out, millet_error *err)
{
    const struct mlt_teacher_header *h = &file->header;
    const uint8_t *at = file->rows + row * mlt_teacher_row_bytes(h);
    int64_t k = (int64_t)h->top_k;
    uint64_t id_bytes = mlt_teacher_id_bytes(h);
    int64_t before = -1;
    for (int64_t j = 0; j < k && id_bytes; j++, at += id_bytes) {
        uint32_t id = 0;
        uint16_t narrow;
        memcpy(id_bytes == 2 ? (void *)&narrow : (void *)&id, at, id_bytes);
        if (id_bytes == 2) id = narrow;
        if (id >= h->n_vocab || (int64_t)id <= before) return no_distribution(file, row, err);
        ids[j] = (int32_t)id;
        before = id;
    }
    double sum = 0, along = 0;
    for (int64_t j = 0; j < k; j++, at += 2)
        p[j] = take_level(file, at, &sum, &along);
    /* Where all of the vocabulary is there, what a teacher gives to numbers beyond it has no place. */
    double rest = id_bytes ? (double)take_level(file, at, &sum, &along) : 0;
    if (!(sum > 0.01 && sum < 2)) return no_distribution(file, row, err);
    for (int64_t j = 0; j < k; j++)
        p[j] = (float)((double)p[j] / sum);
    for (int64_t j = k; j < n_vocab && !id_bytes; j++)
        p[j] = 0;
    *out = (struct mlt_soft_target){.p = p,
                                    .ids = id_bytes ? ids : NULL,
                                    .k = k,
                                    .rest = (float)(rest / sum),
                                    .negative_entropy = along / sum - log(sum)};
    return MILLET_OK;
}
