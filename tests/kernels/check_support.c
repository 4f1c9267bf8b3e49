/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/check_support.h"

#include "kernels/math.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- Guarded buffers ---- */

enum { MAX_BUFFERS = 24, CANARY_BYTES = 64, CANARY = 0xa5 };
enum guard_side { GUARD_BEFORE, GUARD_AFTER };

static struct buffer {
    uint8_t *map;    /* guard page, `capacity` bytes, guard page */
    size_t capacity; /* whole pages */
    uint8_t *data;   /* of the present case: at the start or the end of the middle */
    size_t size;
    bool output;
    enum guard_compare compare;
    uint8_t *copy; /* inputs: the original; outputs: what scalar made of it */
    size_t copy_capacity;
} buffers[MAX_BUFFERS];

static int n_buffers;
static enum guard_side side;

void *test_alloc(size_t size)
{
    void *block = aligned_alloc(64, (size + 63) / 64 * 64 + 64);
    if (!block) {
        fprintf(stderr, "check_kernels: no memory for %zu bytes\n", size);
        exit(1);
    }
    return block;
}

/* Makes the buffer's middle at least `size` bytes and both neighbours inaccessible. */
static void reserve(struct buffer *buffer, size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), capacity = (size / page + 1) * page;
    if (buffer->map && buffer->capacity >= capacity) return;
    if (buffer->map) munmap(buffer->map, buffer->capacity + 2 * page);
    buffer->capacity = capacity;
    buffer->map = mmap(NULL, capacity + 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (buffer->map == MAP_FAILED || mprotect(buffer->map, page, PROT_NONE) != 0 ||
        mprotect(buffer->map + page + capacity, page, PROT_NONE) != 0) {
        perror("check_kernels: mmap");
        exit(1);
    }
}

static struct buffer *place(const void *bytes, size_t size)
{
    if (n_buffers == MAX_BUFFERS) {
        fprintf(stderr, "check_kernels: a case has more than %d buffers\n", MAX_BUFFERS);
        exit(1);
    }
    struct buffer *buffer = &buffers[n_buffers++];
    reserve(buffer, size + CANARY_BYTES);
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uint8_t *middle = buffer->map + page, *end = middle + buffer->capacity;
    buffer->size = size;
    buffer->data = side == GUARD_BEFORE ? middle : end - size;
    memset(side == GUARD_BEFORE ? middle + size : buffer->data - CANARY_BYTES, CANARY, CANARY_BYTES);
    if (bytes)
        memcpy(buffer->data, bytes, size);
    else
        memset(buffer->data, 0x5c, size);
    return buffer;
}

static void keep_copy(struct buffer *buffer)
{
    if (buffer->copy_capacity < buffer->size) {
        free(buffer->copy);
        buffer->copy = test_alloc(buffer->size);
        buffer->copy_capacity = buffer->size;
    }
    memcpy(buffer->copy, buffer->data, buffer->size);
}

const void *guard_input(const void *bytes, size_t size)
{
    struct buffer *buffer = place(bytes, size);
    buffer->output = false;
    keep_copy(buffer);
    return buffer->data;
}

void *guard_output(const void *bytes, size_t size, enum guard_compare compare)
{
    struct buffer *buffer = place(bytes, size);
    buffer->output = true;
    buffer->compare = compare;
    return buffer->data;
}

/* ---- Comparing ---- */

static bool is_nan_bits(uint32_t bits)
{
    return (bits & 0x7fffffff) > 0x7f800000;
}

static bool is_nan_half(uint16_t bits)
{
    return (bits & 0x7fff) > 0x7c00;
}

/* Each returns -1 or the index of the first difference, and describes it. */
static int64_t compare_floats(const void *expected, const void *got, size_t n, char *text, size_t text_size)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t a, b;
        memcpy(&a, (const uint8_t *)expected + 4 * i, 4);
        memcpy(&b, (const uint8_t *)got + 4 * i, 4);
        if (a == b || (is_nan_bits(a) && is_nan_bits(b))) continue;
        snprintf(text, text_size, "float %zu is %a (%08x), scalar has %a (%08x)", i,
                 (double)mlt_bits_to_float(b), (unsigned)b, (double)mlt_bits_to_float(a), (unsigned)a);
        return (int64_t)i;
    }
    return -1;
}

static int64_t compare_halves(const void *expected, const void *got, size_t n, char *text, size_t text_size)
{
    for (size_t i = 0; i < n; i++) {
        uint16_t a, b;
        memcpy(&a, (const uint8_t *)expected + 2 * i, 2);
        memcpy(&b, (const uint8_t *)got + 2 * i, 2);
        if (a == b || (is_nan_half(a) && is_nan_half(b))) continue;
        snprintf(text, text_size, "half %zu is %04x, scalar has %04x", i, b, a);
        return (int64_t)i;
    }
    return -1;
}

static int64_t compare_bytes(const void *expected, const void *got, size_t n, char *text, size_t text_size)
{
    const uint8_t *a = expected, *b = got;
    for (size_t i = 0; i < n; i++) {
        if (a[i] == b[i]) continue;
        snprintf(text, text_size, "byte %zu is %02x, scalar has %02x", i, b[i], a[i]);
        return (int64_t)i;
    }
    return -1;
}

static int64_t compare_panels(const void *expected, const void *got, size_t n, char *text, size_t text_size)
{
    const struct mlt_panel *a = expected, *b = got;
    for (size_t i = 0; i < n; i++, a++, b++) {
        char what[128];
        const char *field = NULL;
        if (compare_bytes(a->q, b->q, sizeof a->q, what, sizeof what) >= 0) field = "q";
        if (compare_floats(a->d, b->d, sizeof a->d / 4, what, sizeof what) >= 0) field = "d";
        if (compare_floats(a->m, b->m, sizeof a->m / 4, what, sizeof what) >= 0) field = "m";
        if (compare_bytes(a->scale, b->scale, sizeof a->scale, what, sizeof what) >= 0) field = "scale";
        if (compare_bytes(a->min, b->min, sizeof a->min, what, sizeof what) >= 0) field = "min";
        if (a->columns != b->columns || a->kind != b->kind || a->has_min != b->has_min ||
            a->q_low != b->q_low || a->q_high != b->q_high) {
            snprintf(what, sizeof what, "columns %d kind %d has_min %d q %d to %d", b->columns, (int)b->kind,
                     b->has_min, b->q_low, b->q_high);
            field = "header";
        }
        if (!field) continue;
        snprintf(text, text_size, "panel %zu, %s: %s", i, field, what);
        return (int64_t)i;
    }
    return -1;
}

static bool buffer_differs(const struct buffer *buffer, char *text, size_t text_size)
{
    size_t size = buffer->size;
    if (!buffer->output) {
        if (memcmp(buffer->copy, buffer->data, size) == 0) return false;
        snprintf(text, text_size, "an input was changed");
        return true;
    }
    switch (buffer->compare) {
    case COMPARE_FLOATS: return compare_floats(buffer->copy, buffer->data, size / 4, text, text_size) >= 0;
    case COMPARE_HALVES: return compare_halves(buffer->copy, buffer->data, size / 2, text, text_size) >= 0;
    case COMPARE_PANELS:
        return compare_panels(buffer->copy, buffer->data, size / sizeof(struct mlt_panel), text, text_size) >=
               0;
    default: return compare_bytes(buffer->copy, buffer->data, size, text, text_size) >= 0;
    }
}

static bool canary_broken(const struct buffer *buffer)
{
    const uint8_t *canary = side == GUARD_BEFORE ? buffer->data + buffer->size : buffer->data - CANARY_BYTES;
    for (int i = 0; i < CANARY_BYTES; i++)
        if (canary[i] != CANARY) return true;
    return false;
}

/* ---- Running ---- */

static sigjmp_buf fault_jump;
static volatile sig_atomic_t catching;

static void on_fault(int signal_number)
{
    if (catching) siglongjmp(fault_jump, signal_number);
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

/* 0, or the signal that the kernel raised. */
static int run_caught(check_run *run, const struct mlt_kernels *table, const void *context)
{
    static bool installed;
    if (!installed) {
        struct sigaction action = {.sa_handler = on_fault};
        sigemptyset(&action.sa_mask);
        sigaction(SIGSEGV, &action, NULL);
        sigaction(SIGBUS, &action, NULL);
        sigaction(SIGILL, &action, NULL);
        installed = true;
    }
    int caught = sigsetjmp(fault_jump, 1);
    if (caught == 0) {
        catching = 1;
        n_buffers = 0;
        run(table, context);
    }
    catching = 0;
    return caught;
}

/* Runs the case with the buffers at `side` of their guard pages; true where the variant equals scalar. */
static bool case_passes(const struct check *check, check_run *run, const void *context, char *text,
                        size_t text_size)
{
    int caught = run_caught(run, check->scalar, context);
    if (caught) {
        snprintf(text, text_size, "scalar raised signal %d", caught);
        return false;
    }
    for (int i = 0; i < n_buffers; i++) {
        if (canary_broken(&buffers[i])) {
            snprintf(text, text_size, "scalar wrote past buffer %d", i);
            return false;
        }
        if (buffers[i].output) keep_copy(&buffers[i]);
    }
    caught = run_caught(run, check->variant, context);
    if (caught) {
        snprintf(text, text_size, "signal %d: memory outside a buffer, or an unknown instruction", caught);
        return false;
    }
    for (int i = 0; i < n_buffers; i++) {
        char what[256];
        if (canary_broken(&buffers[i])) {
            snprintf(text, text_size, "wrote past buffer %d", i);
            return false;
        }
        if (buffer_differs(&buffers[i], what, sizeof what)) {
            snprintf(text, text_size, "buffer %d: %s", i, what);
            return false;
        }
    }
    return true;
}

void check_case(struct check *check, check_run *run, const void *context, const char *format, ...)
{
    enum { MAX_MESSAGES = 5 };
    for (int s = GUARD_BEFORE; s <= GUARD_AFTER; s++) {
        char text[320];
        side = (enum guard_side)s;
        check->cases++;
        if (case_passes(check, run, context, text, sizeof text)) continue;
        check->failures++;
        if (check->quiet || check->failures > MAX_MESSAGES) continue;
        char name[256];
        va_list args;
        va_start(args, format);
        vsnprintf(name, sizeof name, format, args);
        va_end(args);
        printf("FAIL %s %s: %s, guard page %s: %s\n", check->tier, check->entry, name,
               side == GUARD_BEFORE ? "before" : "after", text);
    }
}

bool check_begin(struct check *check, const char *entry, const char *filter)
{
    if (filter && !strstr(entry, filter)) return false;
    check->entry = entry;
    return true;
}

/* ---- Random inputs ---- */

int random_below(struct mlt_random *random, int n)
{
    return (int)(mlt_random_u64(random) % (uint64_t)n);
}

void random_bytes(struct mlt_random *random, void *bytes, size_t size)
{
    uint8_t *out = bytes;
    for (size_t i = 0; i < size; i += 8) {
        uint64_t bits = mlt_random_u64(random);
        memcpy(out + i, &bits, size - i < 8 ? size - i : 8);
    }
}

static float special_float(struct mlt_random *random)
{
    static const float specials[] = {0.0f,      -0.0f,      INFINITY,     -INFINITY,   NAN,
                                     0x1p-149f, -0x1p-149f, 0x1p-126f,    -0x1p-127f,  0x1.fffffep127f,
                                     -0x1p127f, 0x1p-100f,  0x1.8p-101f,  65504.0f,    65520.0f,
                                     -88.0f,    89.0f,      -87.3365402f, 88.7228317f, 0.625f};
    return specials[random_below(random, (int)MLT_COUNT(specials))];
}

static float random_value(struct mlt_random *random, enum value_mode mode)
{
    uint32_t bits = (uint32_t)mlt_random_u64(random);
    switch (mode) {
    case VALUES_WIDE: /* clear one exponent bit where all are set: finite */
        return mlt_bits_to_float((bits & 0x7f800000) == 0x7f800000 ? bits & ~UINT32_C(0x00800000) : bits);
    case VALUES_TINY: return mlt_bits_to_float((bits & 7) == 0 ? bits & 0x80000000 : bits & 0x9fffffff);
    case VALUES_SPECIAL: return (bits & 7) == 0 ? special_float(random) : mlt_random_normal(random);
    case VALUES_BITS: return mlt_bits_to_float(bits);
    default: return mlt_random_normal(random);
    }
}

void random_floats(struct mlt_random *random, enum value_mode mode, float *values, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        values[i] = random_value(random, mode);
}

void random_halves(struct mlt_random *random, enum value_mode mode, bool bfloat, uint16_t *values, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        if (mode == VALUES_BITS || mode == VALUES_WIDE || mode == VALUES_TINY) {
            uint16_t exponent = bfloat ? 0x7f80 : 0x7c00, bits = (uint16_t)mlt_random_u64(random);
            if (mode == VALUES_WIDE && (bits & exponent) == exponent) bits = (uint16_t)(bits & 0xbfff);
            if (mode == VALUES_TINY) bits = (uint16_t)(bits & (bfloat ? 0x9fff : 0x83ff));
            values[i] = bits;
        } else {
            float value = random_value(random, mode);
            values[i] = bfloat ? mlt_float_to_bfloat(value) : mlt_float_to_half(value);
        }
    }
}

/* Byte offsets of the binary16 scales of a block, -1 where there are fewer. */
static void half_offsets(mlt_dtype dtype, int offsets[2])
{
    int bytes = mlt_dtype_info(dtype)->block_bytes;
    offsets[0] = 0;
    offsets[1] = -1;
    switch (dtype) {
    case MLT_Q4_1:
    case MLT_Q5_1:
    case MLT_Q4_K:
    case MLT_Q5_K: offsets[1] = 2; break;
    case MLT_Q2_K:
        offsets[0] = bytes - 4;
        offsets[1] = bytes - 2;
        break;
    case MLT_Q3_K:
    case MLT_Q6_K:
    case MLT_TQ1_0:
    case MLT_TQ2_0: offsets[0] = bytes - 2; break;
    case MLT_MXFP4: offsets[0] = -1; break; /* an exponent byte */
    default: break;
    }
}

static uint16_t random_scale(struct mlt_random *random, enum block_mode mode)
{
    static const uint16_t edges[] = {0x7bff, 0xfbff, 0x0001, 0x8001, 0x03ff, 0x0000, 0x8000, 0x3c00, 0x0400};
    if (mode == BLOCKS_EDGE) return edges[random_below(random, (int)MLT_COUNT(edges))];
    return mlt_float_to_half(0.01f * mlt_random_normal(random));
}

void random_blocks(struct mlt_random *random, mlt_dtype dtype, enum block_mode mode, uint8_t *blocks,
                   int64_t elements)
{
    static const uint8_t edges[] = {0x00, 0x7f, 0x80, 0xff, 0x88, 0x08};
    const struct mlt_dtype_info *info = mlt_dtype_info(dtype);
    size_t block_bytes = (size_t)info->block_bytes;
    int offsets[2];
    half_offsets(dtype, offsets);
    for (int64_t b = 0; b < elements / info->block_length; b++, blocks += block_bytes) {
        random_bytes(random, blocks, block_bytes);
        if (mode == BLOCKS_FULL) memset(blocks, 0xff, block_bytes);
        if (mode == BLOCKS_ZERO) memset(blocks, 0x00, block_bytes);
        if (mode == BLOCKS_EDGE)
            for (size_t i = 0; i < block_bytes; i++)
                blocks[i] = edges[random_below(random, (int)MLT_COUNT(edges))];
        if (mode == BLOCKS_SANE && dtype == MLT_MXFP4) blocks[0] = (uint8_t)(118 + random_below(random, 16));
        if (mode == BLOCKS_BITS) continue;
        for (int i = 0; i < 2; i++) {
            uint16_t scale = random_scale(random, mode);
            if (offsets[i] >= 0) memcpy(blocks + offsets[i], &scale, sizeof scale);
        }
    }
}
