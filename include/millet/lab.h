/*
 * Millet's lab: what a model maker does with models before they go to a device. Not part of libmillet; link
 * libmillet-lab as well. The conventions of millet.h hold here too.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MILLET_LAB_H
#define MILLET_LAB_H

#include "millet/millet.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Called now and then during long work with the part done, 0 to 1; return false to stop: the call ends
 * CANCELLED. */
typedef bool millet_progress_callback(void *context, double fraction);

/* ---- Speed ---- */

/* What a machine can do at most, measured. */
typedef struct millet_machine {
    const char *cpu; /* the CPU tier in use */
    int32_t n_threads;
    double read_bytes_per_second;      /* memory that no cache holds, all threads together */
    double int8_operations_per_second; /* multiply-adds on registers count as two operations */
    double f32_operations_per_second;
} millet_machine;

/* Takes about a second and 256 MB. n_threads 0: one for each CPU. Errors: BAD_ARGUMENT, NO_MEMORY. */
MILLET_API
millet_status millet_machine_measure(int32_t n_threads, millet_machine *machine, millet_error *err);

typedef struct millet_speed_options {
    millet_session_options session; /* n_ctx 0: what the measurement needs */
    int32_t prompt_tokens;          /* 0: 512; -1: leave this part out */
    int32_t generate_tokens;        /* 0: 128; -1: leave this part out */
    int32_t depth;                  /* tokens in the context before generation is timed */
    int32_t rounds;                 /* 0: 5 */
} millet_speed_options;

MILLET_API
millet_speed_options millet_speed_options_default(void);

typedef struct millet_rate { /* tokens a second over all rounds */
    double median, min, max;
} millet_rate;

typedef struct millet_speed {
    int32_t prompt_tokens, generate_tokens, depth, rounds;
    millet_rate prompt, generate;
    double bytes_per_token;             /* weights and cache read for each generated token */
    double operations_per_prompt_token; /* of the matrix products */
    double prompt_limit,
        generate_limit; /* tokens a second that the machine's limits allow; 0 without a machine */
} millet_speed;

/*
 * Times a prompt computed together and generation token after token, on random tokens, after one round that
 * is not counted. `machine` (may be NULL) gives the limits. Errors: BAD_ARGUMENT, NO_MEMORY, CANCELLED.
 */
MILLET_API
millet_status millet_speed_measure(const millet_model *model, const millet_speed_options *options,
                                   const millet_machine *machine, millet_progress_callback *progress,
                                   void *context, millet_speed *speed, millet_error *err);

#ifdef __cplusplus
}
#endif
#endif
