/*
 * What an assistant holds, for the files of the room.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_ASSISTANT_STATE_H
#define MLT_ASSISTANT_STATE_H

#include "assistant/manifest.h"
#include "assistant/store.h"
#include "assistant/zone.h"
#include "base/random.h"

struct mlt_parts;

/* A skill with the arguments it is to be called with: a new call, one that waits, or one that was made. */
struct mlt_request {
    const struct mlt_skill_entry *skill; /* NULL: none */
    json_t *arguments;                   /* owned */
    float confidence;
};

enum mlt_waiting {
    MLT_WAITS_FOR_NOTHING,
    MLT_WAITS_FOR_ARGUMENT, /* request lacks `parameter` */
    MLT_WAITS_FOR_CONSENT,  /* request asks to be confirmed */
    MLT_WAITS_FOR_MEANING,  /* request was understood, but not surely */
};

struct mlt_dialogue {
    enum mlt_waiting waiting;
    struct mlt_request request;
    const struct mlt_parameter *parameter;
    int asked;               /* how often in a row */
    char *rest;              /* the utterance's further commands, still to be done; owned */
    struct mlt_request last; /* the last call that was made */
    struct mlt_request undo; /* the call that takes it back */
    char *last_text;         /* what was said last; owned */
    enum mlt_language language;
};

struct millet_assistant {
    millet_allocator allocator;
    struct mlt_arena arena; /* what lives as long as the assistant */
    struct mlt_store *store;
    struct mlt_store_state store_state;
    bool store_told; /* that it had been damaged */
    millet_assistant_clock clock;
    char boot[40];
    struct mlt_zone *zone;
    int language; /* forced; -1: that of the utterance */
    struct mlt_skill_entry *skills;
    size_t n_skills;
    const millet_hearing *hearing;
    struct mlt_random random;
    struct mlt_dialogue dialogue;
    /* The answer in the making. */
    struct mlt_text text, tools;
    json_t *calls;
    char *calls_text;
    char *state_text;
    millet_outcome outcome;
    struct mlt_parts *parts; /* what the built-in skills keep: parts.h */
};

const struct mlt_skill_entry *mlt_find_skill(const millet_assistant *assistant, const char *name);
void mlt_request_clear(struct mlt_request *request);
/* Takes over `from`, which is then empty. */
void mlt_request_move(struct mlt_request *to, struct mlt_request *from);

#endif
