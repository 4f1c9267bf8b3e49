/* Making a call: what it lacks, consent, the transaction, the answer. SPDX-License-Identifier: Apache-2.0 */
#include "assistant/dialogue.h"
#include "assistant/typed.h"

#include <stdlib.h>
#include <string.h>

static millet_status no_memory(millet_error *err)
{
    return mlt_fail(err, MILLET_NO_MEMORY, "out of memory");
}

void mlt_answer_begin(millet_assistant *assistant)
{
    assistant->text.length = 0;
    assistant->outcome = MILLET_DONE;
    json_decref(assistant->calls);
    assistant->calls = json_array();
}

millet_status mlt_answer_say(millet_assistant *assistant, const char *text, millet_error *err)
{
    struct mlt_text *all = &assistant->text;
    if (all->length && *text && assistant->dialogue.language == MLT_ENGLISH)
        MLT_TRY(mlt_text_append(all, " ", 1, err));
    return mlt_text_append(all, text, strlen(text), err);
}

millet_status mlt_answer_say_either(millet_assistant *assistant, const char *english, const char *chinese,
                                    millet_error *err)
{
    return mlt_answer_say(assistant, assistant->dialogue.language == MLT_CHINESE ? chinese : english, err);
}

void mlt_answer_outcome(millet_assistant *assistant, millet_outcome outcome)
{
    if (outcome > assistant->outcome) assistant->outcome = outcome;
}

millet_status mlt_answer_end(millet_assistant *assistant, millet_answer *answer, millet_error *err)
{
    free(assistant->calls_text);
    assistant->calls_text = assistant->calls ? json_dumps(assistant->calls, 0) : NULL;
    if (!assistant->calls_text) return no_memory(err);
    if (!assistant->text.data) MLT_TRY(mlt_text_append(&assistant->text, "", 0, err));
    assistant->text.data[assistant->text.length] = 0;
    *answer = (millet_answer){assistant->outcome, assistant->text.data,
                              mlt_language_names[assistant->dialogue.language], assistant->calls_text};
    return MILLET_OK;
}

void mlt_dialogue_settle(millet_assistant *assistant)
{
    struct mlt_dialogue *d = &assistant->dialogue;
    d->waiting = MLT_WAITS_FOR_NOTHING;
    d->parameter = NULL;
    d->asked = 0;
    mlt_request_clear(&d->request);
}

static void wait_for(millet_assistant *assistant, enum mlt_waiting waiting, struct mlt_request *request,
                     const struct mlt_parameter *parameter)
{
    struct mlt_dialogue *d = &assistant->dialogue;
    bool again = d->waiting == waiting && d->parameter == parameter;
    d->asked = again ? d->asked + 1 : 1;
    d->waiting = waiting;
    d->parameter = parameter;
    mlt_request_move(&d->request, request);
    mlt_answer_outcome(assistant, MILLET_ASKED);
}

/* A value as it is put into a question: a text as it is, others as JSON. */
static millet_status append_value(struct mlt_text *out, const json_t *value, millet_error *err)
{
    if (json_is_string(value))
        return mlt_text_append(out, json_string_value(value), json_string_length(value), err);
    if (json_is_number(value)) return mlt_text_printf(out, err, "%g", json_number_value(value));
    size_t i;
    json_t *item;
    json_array_foreach (value, i, item) {
        if (i) MLT_TRY(mlt_text_append(out, ", ", 2, err));
        MLT_TRY(append_value(out, item, err));
    }
    return MILLET_OK;
}

/* Says a text of the manifest with {argument} replaced. */
static millet_status say_template(millet_assistant *assistant, const char *text, const json_t *arguments,
                                  millet_error *err)
{
    struct mlt_text out = {.allocator = &assistant->allocator};
    millet_status status = MILLET_OK;
    while (*text && status == MILLET_OK) {
        size_t plain = strcspn(text, "{"), name = text[plain] ? strcspn(text + plain, "}") : 0;
        char key[64];
        status = mlt_text_append(&out, text, plain, err);
        text += plain;
        if (!name || name >= sizeof key) break;
        memcpy(key, text + 1, name - 1);
        key[name - 1] = 0;
        if (status == MILLET_OK) status = append_value(&out, json_object_get(arguments, key), err);
        text += name + 1;
    }
    if (status == MILLET_OK) status = mlt_answer_say(assistant, out.data ? out.data : "", err);
    mlt_text_release(&out);
    return status;
}

/* Asks for an argument. */
static millet_status ask_argument(millet_assistant *assistant, struct mlt_request *request,
                                  const struct mlt_parameter *parameter, millet_error *err)
{
    const char *ask = mlt_manifest_text(parameter->manifest, "ask", assistant->dialogue.language);
    millet_status status = ask ? say_template(assistant, ask, request->arguments, err)
                               : mlt_answer_say_either(assistant, "What exactly?", "具体是什么？", err);
    wait_for(assistant, MLT_WAITS_FOR_ARGUMENT, request, parameter);
    return status;
}

static const struct mlt_parameter *missing(const struct mlt_request *request)
{
    for (int i = 0; i < request->skill->n_parameters; i++) {
        const struct mlt_parameter *parameter = &request->skill->parameters[i];
        if (parameter->required && !json_object_get(request->arguments, parameter->name)) return parameter;
    }
    return NULL;
}

static millet_status note_call(millet_assistant *assistant, const struct mlt_request *request,
                               const char *outcome, millet_error *err)
{
    json_t *copy = json_deep_copy(request->arguments);
    json_t *call =
        json_pack("{s:s,s:o,s:s}", "name", request->skill->name, "arguments", copy, "outcome", outcome);
    return json_array_append_new(assistant->calls, call) == 0 ? MILLET_OK : no_memory(err);
}

/* What went wrong, said; the rest of the utterance goes on. */
static millet_status say_failure(millet_assistant *assistant, const struct mlt_request *request,
                                 const millet_error *why, millet_error *err)
{
    struct mlt_text out = {.allocator = &assistant->allocator};
    bool chinese = assistant->dialogue.language == MLT_CHINESE;
    mlt_answer_outcome(assistant, MILLET_FAILED);
    MLT_TRY(note_call(assistant, request, "failed", err));
    millet_status status =
        mlt_text_printf(&out, err, chinese ? "没能做到：%s。" : "That did not work: %s.", why->message);
    if (status == MILLET_OK) status = mlt_answer_say(assistant, out.data, err);
    mlt_text_release(&out);
    return status;
}

/* The call itself, within one transaction. */
static millet_status run_call(millet_call *call, millet_error *why)
{
    millet_assistant *assistant = call->assistant;
    const char *permission = json_string_value(json_object_get(call->skill->manifest, "permission"));
    /* what waits for the network holds no transaction open */
    bool network = permission && strcmp(permission, "network") == 0;
    bool owner = !network && !mlt_store_in_transaction(assistant->store);
    if (owner) MLT_TRY(mlt_store_begin(assistant->store, why));
    millet_status status = call->skill->run(call, call->skill->context, why);
    if (status == MILLET_OK && call->no_memory) status = no_memory(why);
    if (!owner) return status;
    if (status == MILLET_OK && !call->asks) return mlt_store_commit(assistant->store, why);
    mlt_store_rollback(assistant->store);
    return status;
}

static millet_status finish_call(millet_call *call, struct mlt_request *request, millet_error *err)
{
    millet_assistant *assistant = call->assistant;
    struct mlt_dialogue *d = &assistant->dialogue;
    MLT_TRY(mlt_answer_say(assistant, call->reply.data ? call->reply.data : "", err));
    if (call->asks) {
        wait_for(assistant, MLT_WAITS_FOR_ARGUMENT, request, call->asks);
        return MILLET_OK;
    }
    MLT_TRY(note_call(assistant, request, call->refused ? "refused" : "done", err));
    mlt_answer_outcome(assistant, call->refused ? MILLET_REFUSED : MILLET_DONE);
    mlt_dialogue_settle(assistant);
    if (json_is_true(json_object_get(call->skill->manifest, "dialogue"))) return MILLET_OK;
    mlt_request_move(&d->last, request);
    /* what only reads leaves what could be taken back before */
    const char *permission = json_string_value(json_object_get(call->skill->manifest, "permission"));
    bool reads = permission && (strcmp(permission, "read") == 0 || strcmp(permission, "network") == 0);
    if (!reads) mlt_request_move(&d->undo, &call->undo);
    return MILLET_OK;
}

millet_status mlt_perform(millet_assistant *assistant, struct mlt_request *request, bool consented,
                          millet_error *err)
{
    const struct mlt_parameter *lacks = missing(request);
    const char *confirm =
        mlt_manifest_text(request->skill->manifest, "confirm", assistant->dialogue.language);
    millet_status status;
    if (lacks) {
        status = ask_argument(assistant, request, lacks, err);
    } else if (confirm && !consented) {
        status = say_template(assistant, confirm, request->arguments, err);
        wait_for(assistant, MLT_WAITS_FOR_CONSENT, request, NULL);
    } else {
        millet_call call = {.assistant = assistant,
                            .skill = request->skill,
                            .arguments = request->arguments,
                            .language = assistant->dialogue.language,
                            .reply = {.allocator = &assistant->allocator}};
        millet_error why;
        status = run_call(&call, &why);
        if (status == MILLET_OK)
            status = finish_call(&call, request, err);
        else if (status == MILLET_NO_MEMORY)
            status = no_memory(err);
        else {
            mlt_dialogue_settle(assistant);
            status = say_failure(assistant, request, &why, err);
        }
        mlt_text_release(&call.reply);
        mlt_request_clear(&call.undo);
    }
    mlt_request_clear(request);
    return status;
}
