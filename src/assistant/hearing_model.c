/* Hearing by a small model: one pass for each set. SPDX-License-Identifier: Apache-2.0 */
#include "assistant/polite.h"
#include "millet/assistant.h"
#include "millet/understand.h"

#include <string.h>

enum { SETS = 3, BEST = 4, MAX_SLOTS = 32 };
static const char *const wanted[SETS] = {"home", "hwu64", "clinc150"};

struct model_hearing {
    millet_understander *understander;
    bool has[SETS];
    millet_heard heard[SETS * BEST];
    millet_heard_slot slots[SETS][MAX_SLOTS];
};

/* Keeps the slots: they are valid until the next pass only. All likely labels of a set share them. */
static int32_t keep_slots(const millet_understanding *got, millet_heard_slot *slots)
{
    int32_t n = MLT_MIN(got->n_slots, MAX_SLOTS);
    for (int32_t i = 0; i < n; i++)
        slots[i] = (millet_heard_slot){got->slots[i].name, got->slots[i].start, got->slots[i].end};
    return n;
}

static millet_status hear(void *context, const char *text, size_t length, const millet_heard **heard,
                          int32_t *n_heard, millet_error *err)
{
    struct model_hearing *hearing = context;
    int32_t n = 0;
    for (int s = 0; s < SETS; s++) {
        millet_understanding got;
        if (!hearing->has[s]) continue;
        /* clinc150 has nothing in Chinese, and hwu64 neither: they would guess */
        if (s > 0 && mlt_has_chinese(text, length)) continue;
        MLT_TRY(millet_understand(hearing->understander, wanted[s], text, length, &got, err));
        int32_t n_slots = keep_slots(&got, hearing->slots[s]);
        for (int32_t i = 0; i < MLT_MIN(got.n_intents, BEST); i++)
            if (got.intents[i].probability >= 0.01f)
                hearing->heard[n++] = (millet_heard){wanted[s], got.intents[i].name,
                                                     got.intents[i].probability, hearing->slots[s], n_slots};
    }
    *heard = hearing->heard;
    *n_heard = n;
    return MILLET_OK;
}

static void close_model(void *context)
{
    struct model_hearing *hearing = context;
    millet_understander_close(&hearing->understander);
    mlt_free(mlt_default_allocator(), hearing);
}

millet_status millet_hearing_model(const millet_model *model, int32_t n_threads, millet_hearing *out,
                                   millet_error *err)
{
    struct model_hearing *hearing = mlt_alloc_zero(mlt_default_allocator(), 1, sizeof *hearing, err);
    if (!hearing) return MILLET_NO_MEMORY;
    const millet_understander_options options = {.n_threads = n_threads};
    millet_status status = millet_understander_open(model, &options, &hearing->understander, err);
    bool any = false;
    const char *set;
    for (int32_t i = 0; status == MILLET_OK && (set = millet_understander_set(hearing->understander, i)); i++)
        for (int s = 0; s < SETS; s++)
            if (strcmp(set, wanted[s]) == 0) any = hearing->has[s] = true;
    if (status == MILLET_OK && !any)
        status = mlt_fail(err, MILLET_NOT_FOUND, "the model knows none of the sets home, hwu64, clinc150");
    if (status != MILLET_OK) {
        close_model(hearing);
        return status;
    }
    *out = (millet_hearing){hearing, hear, close_model};
    return MILLET_OK;
}
