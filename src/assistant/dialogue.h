/*
 * Turns: what an utterance means beside what was said before.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_ASSISTANT_DIALOGUE_H
#define MLT_ASSISTANT_DIALOGUE_H

#include "assistant/call.h"

/*
 * Makes the call, or asks for what it lacks: an argument, consent. Takes the request over in any case. The
 * reply and the call are added to the answer in the making. Errors: NO_MEMORY.
 */
millet_status mlt_perform(millet_assistant *assistant, struct mlt_request *request, bool consented,
                          millet_error *err);

/* Adds to what is said; in English a space parts sentences. */
millet_status mlt_answer_say(millet_assistant *assistant, const char *text, millet_error *err);
/* The same in the dialogue's language. */
millet_status mlt_answer_say_either(millet_assistant *assistant, const char *english, const char *chinese,
                                    millet_error *err);
void mlt_answer_outcome(millet_assistant *assistant, millet_outcome outcome);

/* Begins an answer; ends it and hands it out. */
void mlt_answer_begin(millet_assistant *assistant);
millet_status mlt_answer_end(millet_assistant *assistant, millet_answer *answer, millet_error *err);

/* Waits for nothing any more. */
void mlt_dialogue_settle(millet_assistant *assistant);

#endif
