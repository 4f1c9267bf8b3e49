/*
 * Training: a model is made, or made better, from token caches of texts and dialogues (millet/corpus.h). Part
 * of libmillet-lab; the conventions of millet.h hold here too. docs/train.md has the whole.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MILLET_TRAIN_H
#define MILLET_TRAIN_H

#include "millet/corpus.h"
#include "millet/distil.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum millet_optimizer {
    MILLET_ADAMW, /* Loshchilov and Hutter, 2019 */
    MILLET_MUON,  /* Jordan et al., 2024, for the matrices of blocks, scaled as in Liu et al., 2025; AdamW for
                     the  rest */
} millet_optimizer;

typedef enum millet_schedule {
    MILLET_COSINE, /* after the warm-up down to `final_rate` along half a cosine */
    MILLET_WSD,    /* warm-up, stable, decay (Hu et al., 2024): down along a line in the last steps only */
    MILLET_CONSTANT,
} millet_schedule;

/* The type of matrices in the file that training ends with. The passes read weights as that file will have
 * them; what the optimiser changes stays F32. */
typedef enum millet_train_storage {
    MILLET_STORE_F32,
    MILLET_STORE_BF16,
    /* Quantisation-aware: a file as of millet_quantize, but trained to be one (docs/train.md says which
     * matrices are of another type). */
    MILLET_STORE_Q8_0,
    MILLET_STORE_Q4_0,
    MILLET_STORE_TQ2_0,
} millet_train_storage;

/* What training reports after every step. */
typedef struct millet_train_report {
    uint64_t step;  /* steps done */
    uint64_t steps; /* of all */
    double epochs;  /* how often the rows of the data have been seen */
    /* Mean of -ln p over the step's targets, in nats; NAN where it had none (nothing was learnt). Labels
     * count `tag_weight` in the mean. */
    double loss;
    double tag_loss;   /* the mean over the step's labels alone; NAN where it had none */
    double divergence; /* mean of the teacher's softened distribution from the student's; NAN without one */
    double attention;  /* mean divergence of the matched attention from the teacher's; NAN without any */
    double hidden; /* mean error of the matched hidden states, in parts of the teacher's; NAN without any */
    double z;      /* mean squared logarithm of the softmax's denominator, weighted as the loss */
    double gradient_norm; /* before clipping */
    double rate;          /* learning rate of the step */
    uint64_t tokens;      /* positions of rows seen so far, padding and earlier runs included */
    double tokens_per_second, seconds, seconds_left;
    double evaluation_loss; /* mean on what was kept for it; NAN where it was not measured after this step */
    double evaluation_tag_loss, evaluation_token_loss; /* of its labels, and of its next tokens, apart; NAN
                                                          where it has none or was not measured */
    double evaluation_hidden;                          /* the same of the hidden states' error */
    double evaluation_attention;                       /* and of the attention's divergence */
    double evaluation_divergence; /* the same of the divergence; NAN also where the files have none */
    bool saved;                   /* the state was written after this step */
} millet_train_report;

/* ---- Several processes ---- */

/*
 * The processes of an MPI job that train one model together, each on its share of every batch's rows, as one
 * of them (a rank, 0 to size - 1) sees them. For libraries built with MILLET_MPI; docs/train.md has the
 * whole. A handle belongs to one thread at a time.
 */
typedef struct millet_ranks millet_ranks;

/* What mpirun's environment says: whether it started this process as one of several. Rank and size (may be
 * NULL) are 0 and 1 where it did not. */
MILLET_API bool millet_ranks_launched(int32_t *rank, int32_t *size);
/*
 * Joins the other processes that mpirun started with this one. All of them must call this, once in the life
 * of a process; it returns when all have. *ranks is NULL where this process runs alone. `allocator` NULL: the
 * C library's. Errors: UNSUPPORTED (a library without MPI under mpirun, or an MPI without threads), IO (the
 * exchange failed), NO_MEMORY.
 */
MILLET_API millet_status millet_ranks_open(const millet_allocator *allocator, millet_ranks **ranks,
                                           millet_error *err);
/* Waits for the others and leaves them, unless one was lost. NULL is allowed, here and below. */
MILLET_API void millet_ranks_close(millet_ranks **ranks);
MILLET_API int32_t millet_ranks_rank(const millet_ranks *ranks); /* 0 for NULL */
MILLET_API int32_t millet_ranks_size(const millet_ranks *ranks); /* 1 for NULL */
/* Whether this is the one to tell errors: the first of those that are alive. */
MILLET_API bool millet_ranks_speaks(const millet_ranks *ranks);
/*
 * Every rank calls this with a status of its own and, where that is no MILLET_OK, its error. When all have,
 * all return the same: MILLET_OK, or the status and the error (which names the rank) of the first that
 * failed.
 */
MILLET_API millet_status millet_ranks_agree(millet_ranks *ranks, millet_status status, millet_error *err);

/* ---- Training ---- */

/* Return false to stop after this step: the state is saved and the call ends CANCELLED. Each rank calls its
 * own after every step, with the same report; any of them may stop all. */
typedef bool millet_train_callback(void *context, const millet_train_report *report);

/* A token cache to learn from. */
typedef struct millet_train_data {
    const char *cache; /* a file that millet_cache_build made with the model's tokenizer */
    double weight;     /* share of the tokens, in parts of the sum; all 0: in proportion to their tokens */
    float loss_weight; /* what its targets count in the mean loss that is learnt from; 0: 1 */
} millet_train_data;

typedef struct millet_train_options {
    const millet_allocator *allocator; /* NULL: the C library's */

    /* The model: a checkpoint to go on from, or a description of a new one (docs/train.md) with the
     * vocabulary of `tokenizer_path`. Exactly one of `model` and `shape`. */
    const char *model;
    const char *shape;          /* JSON text */
    const char *tokenizer_path; /* of `shape`: any checkpoint with a tokenizer; of `model`: as in
                                   millet_model_options */

    /* Documents are packed into rows of `length` positions; attention does not cross from one to another. */
    const millet_train_data *data;
    size_t n_data; /* 1 to 4096 */
    millet_packing packing;
    bool skip_long; /* documents longer than a row are left out instead of cut (best fit only) */

    /* The loss is measured on every holdout-th document, which is then not learnt from (0: on none), or on
     * caches of their own. */
    int32_t holdout; /* 0, or at least 2 */
    const char *const *evaluation_data;
    size_t n_evaluation_data;
    uint64_t evaluate_every; /* steps; 0: at the end only */
    uint64_t evaluate_rows;  /* at most, evenly chosen and always the same; 0: all there are */

    const char *output; /* the GGUF file that training ends with */
    /* Where the state is kept meanwhile: a GGUF file too, which the engine can run. NULL: `output` +
     * ".state". */
    const char *state;
    uint64_t save_every; /* steps; 0: when stopping and at the end only */
    bool resume;         /* go on from the state, which must have been made with the same settings */
    bool allow_changes;  /* go on with other settings than the state was made with */
    bool restart;        /* a state that is there already may be overwritten */

    uint64_t steps; /* of the optimiser; 0: as many as `epochs` take */
    float epochs;   /* passes through the rows of the data, 0 to 1e6; not with `steps` */
    int32_t rows, length,
        accumulate; /* sequences of a batch (8), positions of one (256; at least 2), batches of a step (1) */

    millet_optimizer optimizer;
    millet_schedule schedule;
    float rate;                                /* the highest learning rate; 3e-4 */
    float final_rate;                          /* in parts of `rate`; 0.1 */
    uint64_t warmup;                           /* steps; 0: none */
    uint64_t decay_steps;                      /* of MILLET_WSD; 0: a tenth of all */
    float beta1, beta2, epsilon, weight_decay; /* 0.9, 0.95, 1e-8, 0.1 */
    float momentum;                            /* of Muon; 0.95 */
    float clip;                                /* largest norm of the gradient; 1; 0: none */
    float z_loss;                              /* 0: none */
    float tag_weight; /* what a label (docs/corpus.md) counts in the loss, where a next token counts 1; 1 */
    /* While learning only: the probability with which each token of a prefix that is no control token becomes
     * the control token <|mask|>, which the tokenizer must have; 0: none. */
    float mask;
    bool mask_predict; /* what was there is then to be predicted, where the position has no label; counts as
                          a label does */
    /* While learning only: the part of the embeddings and of what each branch adds to the residual stream
     * that is left out (Srivastava et al., 2014), in steps of 2^-16; 0 to 0.99. */
    float dropout;

    millet_distillation distil; /* from teachers, beside the labels; without outputs: not */

    millet_train_storage storage;
    uint64_t quantize_after; /* steps in which the passes read F32 weights still; 0: none */
    /* A low-rank adapter of the model is trained instead of the model itself (docs/adapters.md); the output,
     * and the state, are adapter files. Storage is F32 or BF16. */
    int32_t lora_rank;        /* 0: no adapter; else 1 to 4096 */
    float lora_alpha;         /* the product of A and B counts alpha / rank times; 0: twice the rank */
    const char *lora_targets; /* of "q,k,v,o,gate,up,down"; NULL: all of them */
    bool recompute;           /* keep only the layers' inputs: less memory, a third more time */
    uint64_t seed;            /* of new weights and of the order of the rows */
    int32_t n_threads;        /* 0: one for each CPU. Results are the same for every number. */

    /* The processes that share the work; NULL: this one alone. All give the same options and see the same
     * files. `rows` are those of all together, at least one for each. Rank 0 writes the files. Losses are the
     * same to the bit for the same number of ranks; numbers differ in rounding. It is no setting: a state can
     * be gone on with by any number. */
    millet_ranks *ranks;
    int32_t n_ranks; /* millet_train_estimate: so many share the work; 0: those of `ranks` */

    millet_train_callback *report; /* NULL: none */
    void *context;
} millet_train_options;

MILLET_API millet_train_options millet_train_options_default(void);

/* Memory that training takes, by what for, in bytes; with ranks, of the one that takes most. A model that an
 * adapter is trained for is mapped, and not counted. */
typedef struct millet_train_memory {
    uint64_t weights, gradients, optimizer, activations, distillation, total;
    uint64_t exchange;  /* buffers between ranks */
    uint64_t n_weights; /* that are trained */
} millet_train_memory;

/* Errors as of millet_train. Reads the model's description only, not its weights. */
MILLET_API millet_status millet_train_estimate(const millet_train_options *options,
                                               millet_train_memory *memory, millet_error *err);

/*
 * Trains and writes `output`. All that was saved stays as it was until something newer is complete on disk. A
 * run that is stopped or killed at any moment goes on with `resume` and sees the same losses, to the bit, as
 * one that was not (on the same CPU tier). The last report is *last (may be NULL).
 *
 * Errors: BAD_ARGUMENT (an option; a cache of another tokenizer; data too short for a batch, or with nothing
 * to learn; a state made with other settings or data, naming the first), BAD_FORMAT (the loss or the gradient
 * is not a finite number: nothing is saved after it), CANCELLED (says how to go on), those of opening the
 * model and of writing, NO_MEMORY. With ranks all of them return the same error: the first rank's that
 * failed; IO where one was lost (says which), after which its ranks can only be closed.
 */
MILLET_API millet_status millet_train(const millet_train_options *options, millet_train_report *last,
                                      millet_error *err);

#ifdef __cplusplus
}
#endif
#endif
