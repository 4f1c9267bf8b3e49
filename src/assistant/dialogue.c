/* Turns of a dialogue. SPDX-License-Identifier: Apache-2.0 */
#include "assistant/dialogue.h"

#include "assistant/polite.h"
#include "assistant/read_utterance.h"
#include "assistant/typed.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { MAX_ASKED = 2, MAX_COMMANDS = 8 };

static millet_status not_understood(millet_assistant *assistant, millet_error *err)
{
    mlt_answer_outcome(assistant, MILLET_NOT_UNDERSTOOD);
    return mlt_answer_say_either(assistant, "Sorry, I didn't understand that.", "抱歉，我没听懂。", err);
}

/* Asks whether the skill is meant: its description stands for it. */
static millet_status ask_meaning(millet_assistant *assistant, struct mlt_request *request, millet_error *err)
{
    struct mlt_dialogue *d = &assistant->dialogue;
    struct mlt_text out = {.allocator = &assistant->allocator};
    const char *what = mlt_manifest_text(request->skill->manifest, "does", d->language);
    if (!what) what = mlt_manifest_text(request->skill->manifest, "description", d->language);
    const char *form = d->language == MLT_CHINESE ? "您是想%s吗？" : "Do you want me to %s?";
    millet_status status = mlt_text_printf(&out, err, form, what ? what : request->skill->name);
    if (status == MILLET_OK) status = mlt_answer_say(assistant, out.data, err);
    mlt_text_release(&out);
    d->asked = d->waiting == MLT_WAITS_FOR_MEANING ? d->asked + 1 : 1;
    d->waiting = MLT_WAITS_FOR_MEANING;
    d->parameter = NULL;
    mlt_request_move(&d->request, request);
    mlt_answer_outcome(assistant, MILLET_ASKED);
    return status;
}

static millet_status act_on(millet_assistant *assistant, struct mlt_reading *reading, millet_error *err)
{
    if (!reading->request.skill) return not_understood(assistant, err);
    if (reading->request.confidence < MLT_SURE_ENOUGH) return ask_meaning(assistant, &reading->request, err);
    return mlt_perform(assistant, &reading->request, false, err);
}

/* ---- Several commands
 * --------------------------------------------------------------------------------------- */

struct commands {
    struct mlt_reading readings[MAX_COMMANDS];
    const char *text[MAX_COMMANDS]; /* where each begins */
    int count;
};

static void clear_commands(struct commands *commands, int from)
{
    for (int i = from; i < commands->count; i++)
        mlt_request_clear(&commands->readings[i].request);
    commands->count = MLT_MIN(commands->count, from);
}

static bool is_sure(const struct mlt_reading *reading)
{
    return reading->request.skill && reading->request.confidence >= MLT_SURE_ENOUGH;
}

/* The text as a row of commands, each surely understood: the first joint where that can be. */
static millet_status split(millet_assistant *assistant, const char *text, size_t length,
                           struct commands *commands, bool *done, millet_error *err)
{
    size_t end, next;
    *done = false;
    if (commands->count == MAX_COMMANDS - 1) return MILLET_OK;
    for (size_t from = 0; !*done && mlt_next_joint(text, length, from, &end, &next); from = next) {
        int mine = commands->count;
        struct mlt_reading *first = &commands->readings[mine];
        struct mlt_reading *second = &commands->readings[mine + 1];
        MLT_TRY(mlt_read_utterance(assistant, text, end, first, err));
        commands->text[mine] = text;
        commands->count = mine + 1;
        if (is_sure(first)) {
            MLT_TRY(split(assistant, text + next, length - next, commands, done, err));
            if (!*done) {
                clear_commands(commands, mine + 1);
                MLT_TRY(mlt_read_utterance(assistant, text + next, length - next, second, err));
                commands->text[mine + 1] = text + next;
                commands->count = mine + 2;
                *done = is_sure(second);
            }
        }
        if (!*done) clear_commands(commands, mine);
    }
    return MILLET_OK;
}

static millet_status keep_rest(millet_assistant *assistant, const char *rest, millet_error *err)
{
    struct mlt_dialogue *d = &assistant->dialogue;
    mlt_free(&assistant->allocator, d->rest);
    d->rest = rest ? mlt_copy_text(&assistant->allocator, rest, strlen(rest), err) : NULL;
    return rest && !d->rest ? MILLET_NO_MEMORY : MILLET_OK;
}

static millet_status run_commands(millet_assistant *assistant, struct commands *commands, millet_error *err)
{
    for (int i = 0; i < commands->count; i++) {
        MLT_TRY(mlt_perform(assistant, &commands->readings[i].request, false, err));
        /* the rest waits for the answer */
        if (assistant->dialogue.waiting && i + 1 < commands->count)
            return keep_rest(assistant, commands->text[i + 1], err);
    }
    return MILLET_OK;
}

/* New commands, one or several. */
static millet_status fresh(millet_assistant *assistant, const char *text, size_t length, millet_error *err)
{
    struct mlt_reading whole;
    struct commands commands = {.count = 0};
    bool several = false;
    millet_status status = mlt_read_utterance(assistant, text, length, &whole, err);
    /* a sentence without free text leaves nothing over for a second command; a note keeps its words */
    bool keep = whole.by_sentence && (!whole.has_free_text ||
                                      json_is_true(json_object_get(whole.request.skill->manifest, "whole")));
    if (status == MILLET_OK && !keep) status = split(assistant, text, length, &commands, &several, err);
    if (status == MILLET_OK)
        status = several ? run_commands(assistant, &commands, err) : act_on(assistant, &whole, err);
    mlt_request_clear(&whole.request);
    clear_commands(&commands, 0);
    return status;
}

/* ---- Answers to questions
 * ------------------------------------------------------------------------------------ */

static millet_status drop(millet_assistant *assistant, millet_error *err)
{
    mlt_dialogue_settle(assistant);
    MLT_TRY(keep_rest(assistant, NULL, err));
    return mlt_answer_say_either(assistant, "Okay, never mind.", "好的，算了。", err);
}

/* Does what waited, and then the rest of the utterance it came from. */
static millet_status go_on(millet_assistant *assistant, bool consented, millet_error *err)
{
    struct mlt_dialogue *d = &assistant->dialogue;
    struct mlt_request request = {0};
    mlt_request_move(&request, &d->request);
    MLT_TRY(mlt_perform(assistant, &request, consented, err));
    if (d->waiting || !d->rest) return MILLET_OK;
    char *rest = d->rest;
    d->rest = NULL;
    millet_status status = fresh(assistant, rest, strlen(rest), err);
    mlt_free(&assistant->allocator, rest);
    return status;
}

/* Asks once more, and gives up after that. */
static millet_status ask_again(millet_assistant *assistant, millet_error *err)
{
    struct mlt_dialogue *d = &assistant->dialogue;
    struct mlt_request request = {0};
    if (d->asked >= MAX_ASKED) {
        mlt_answer_outcome(assistant, MILLET_NOT_UNDERSTOOD);
        return drop(assistant, err);
    }
    MLT_TRY(mlt_answer_say_either(assistant, "Sorry?", "没听清。", err));
    mlt_request_move(&request, &d->request);
    if (d->waiting == MLT_WAITS_FOR_MEANING) return ask_meaning(assistant, &request, err);
    if (d->waiting == MLT_WAITS_FOR_ARGUMENT) {
        int asked = d->asked;
        const char *ask = mlt_manifest_text(d->parameter->manifest, "ask", d->language);
        MLT_TRY(mlt_answer_say(assistant, ask ? ask : "", err));
        mlt_request_move(&d->request, &request);
        d->asked = asked + 1;
        mlt_answer_outcome(assistant, MILLET_ASKED);
        return MILLET_OK;
    }
    return mlt_perform(assistant, &request, false, err);
}

/* Whether a parameter's value may be told alone: typed ones, and texts whose manifest allows it, where one of
 * the words stands that mark it. */
static bool may_follow(const struct mlt_parameter *parameter, const char *text)
{
    size_t i;
    json_t *marks = json_object_get(parameter->manifest, "mark"), *mark;
    if (parameter->type != MLT_TYPE_TEXT) return true;
    if (!json_is_true(json_object_get(parameter->manifest, "follow"))) return false;
    json_array_foreach (marks, i, mark) {
        if (strstr(text, json_string_value(mark))) return true;
    }
    return !marks;
}

/* The words as the value that was asked for, with and without what leads to it. */
static json_t *answer_value(const millet_assistant *assistant, const struct mlt_parameter *parameter,
                            const char *text, size_t length)
{
    const char *at = text;
    size_t n = length;
    json_t *value = NULL;
    while (mlt_strip_lead(&at, &n))
        if (parameter->type != MLT_TYPE_TEXT && (value = mlt_typed_told(assistant, parameter, at, n)))
            return value;
    if (parameter->type != MLT_TYPE_TEXT) {
        value = mlt_typed_told(assistant, parameter, text, length);
        return value ? value : mlt_typed_find(assistant, parameter, text, length);
    }
    at = text;
    n = length;
    while (mlt_strip_polite(&at, &n))
        continue;
    /* a name that tells things apart: "the egg one" */
    while (may_follow(parameter, text) && mlt_strip_lead(&at, &n))
        continue;
    return mlt_typed_value(assistant, parameter, at, n);
}

/* An utterance that is surely a command of its own: what waited is dropped for it. */
static millet_status other_command(millet_assistant *assistant, const char *text, size_t length, bool *is,
                                   millet_error *err)
{
    struct mlt_reading reading;
    MLT_TRY(mlt_read_utterance(assistant, text, length, &reading, err));
    *is = is_sure(&reading);
    mlt_request_clear(&reading.request);
    return MILLET_OK;
}

static millet_status answer_argument(millet_assistant *assistant, const char *text, size_t length, bool *fits,
                                     millet_error *err)
{
    struct mlt_dialogue *d = &assistant->dialogue;
    json_t *value = NULL;
    bool other = false;
    if (mlt_is_no(text, length)) return drop(assistant, err);
    /* a free text may look like a command and is none: "call mom" */
    if (d->parameter->type != MLT_TYPE_TEXT) MLT_TRY(other_command(assistant, text, length, &other, err));
    if (!other) value = answer_value(assistant, d->parameter, text, length);
    if (value) {
        if (json_object_set_new(d->request.arguments, d->parameter->name, value) != 0)
            return mlt_fail(err, MILLET_NO_MEMORY, "out of memory");
        return go_on(assistant, false, err);
    }
    if (!other) return ask_again(assistant, err);
    *fits = false;
    return MILLET_OK;
}

/* A request with one argument replaced by the words; empty where they are no argument of it. */
static millet_status vary(millet_assistant *assistant, const struct mlt_request *last, const char *text,
                          size_t length, bool given_only, struct mlt_request *request, millet_error *err)
{
    for (int i = 0; last->skill && i < last->skill->n_parameters; i++) {
        const struct mlt_parameter *parameter = &last->skill->parameters[i];
        if (!may_follow(parameter, text)) continue;
        if (given_only && !json_object_get(last->arguments, parameter->name)) continue;
        const char *at = text;
        size_t n = length;
        json_t *value = NULL;
        if (parameter->type == MLT_TYPE_TEXT) { /* "the hardware list" */
            while (mlt_strip_lead(&at, &n))
                continue;
        }
        value = mlt_typed_told(assistant, parameter, at, n);
        while (!value && mlt_strip_lead(&at, &n))
            value = mlt_typed_told(assistant, parameter, at, n);
        if (!value) continue;
        json_t *arguments = json_deep_copy(last->arguments);
        if (!arguments || json_object_set_new(arguments, parameter->name, value) != 0) {
            json_decref(arguments);
            return mlt_fail(err, MILLET_NO_MEMORY, "out of memory");
        }
        *request = (struct mlt_request){last->skill, arguments, 1.0f};
        return MILLET_OK;
    }
    return MILLET_OK;
}

/* "no, see you at seven" where consent is waited for: what waits is changed and asked again. */
static millet_status correct_waiting(millet_assistant *assistant, const char *text, size_t length, bool *is,
                                     millet_error *err)
{
    struct mlt_dialogue *d = &assistant->dialogue;
    struct mlt_request request = {0};
    *is = false;
    if (!mlt_strip_correction(&text, &length)) return MILLET_OK;
    MLT_TRY(vary(assistant, &d->request, text, length, true, &request, err));
    if (!request.skill) return MILLET_OK;
    *is = true;
    mlt_dialogue_settle(assistant);
    return mlt_perform(assistant, &request, false, err);
}

static millet_status answer_yes_or_no(millet_assistant *assistant, const char *text, size_t length,
                                      bool *fits, millet_error *err)
{
    bool other = false;
    if (mlt_is_yes(text, length))
        return go_on(assistant, assistant->dialogue.waiting == MLT_WAITS_FOR_CONSENT, err);
    if (mlt_is_no(text, length)) return drop(assistant, err);
    MLT_TRY(other_command(assistant, text, length, &other, err));
    if (!other) {
        bool corrected;
        MLT_TRY(correct_waiting(assistant, text, length, &corrected, err));
        return corrected ? MILLET_OK : ask_again(assistant, err);
    }
    *fits = false;
    return MILLET_OK;
}

static millet_status answer_question(millet_assistant *assistant, const char *text, size_t length, bool *fits,
                                     millet_error *err)
{
    struct mlt_dialogue *d = &assistant->dialogue;
    *fits = true;
    MLT_TRY(d->waiting == MLT_WAITS_FOR_ARGUMENT ? answer_argument(assistant, text, length, fits, err)
                                                 : answer_yes_or_no(assistant, text, length, fits, err));
    if (*fits) return MILLET_OK;
    mlt_dialogue_settle(assistant);
    return keep_rest(assistant, NULL, err);
}

/* ---- Corrections and follow-ups
 * ------------------------------------------------------------------------------ */

/* Takes the last call back without a word. */
static millet_status undo_silently(millet_assistant *assistant, millet_error *err)
{
    struct mlt_dialogue *d = &assistant->dialogue;
    struct mlt_request undo = {0};
    if (!d->undo.skill) return MILLET_OK;
    size_t said = assistant->text.length;
    mlt_request_move(&undo, &d->undo);
    MLT_TRY(mlt_perform(assistant, &undo, true, err));
    assistant->text.length = said;
    return MILLET_OK;
}

/* "no, set it for ten minutes": a whole command after what begins a correction. */
static millet_status corrected_command(millet_assistant *assistant, const char *text, size_t length,
                                       struct mlt_request *request, millet_error *err)
{
    struct mlt_reading reading;
    MLT_TRY(mlt_read_sentences(assistant, text, length, &reading, err));
    mlt_request_move(request, &reading.request);
    return MILLET_OK;
}

/* "no, ten minutes", "and tomorrow?": a part of the last request in its place. */
static millet_status variation(millet_assistant *assistant, const char *text, size_t length, bool *is,
                               millet_error *err)
{
    struct mlt_request request = {0};
    const struct mlt_request *last = &assistant->dialogue.last;
    const char *at = text;
    size_t n = length;
    bool correction = mlt_strip_correction(&at, &n);
    if (!correction) {
        if (!mlt_strip_follow_up(&at, &n)) return MILLET_OK;
    }
    if (correction) MLT_TRY(corrected_command(assistant, at, n, &request, err));
    if (!request.skill) MLT_TRY(vary(assistant, last, at, n, true, &request, err));
    if (!request.skill) MLT_TRY(vary(assistant, last, at, n, false, &request, err));
    if (!request.skill) return MILLET_OK;
    *is = true;
    bool again = request.skill == assistant->dialogue.last.skill;
    millet_status status = correction && again ? undo_silently(assistant, err) : MILLET_OK;
    if (status == MILLET_OK) status = mlt_perform(assistant, &request, false, err);
    mlt_request_clear(&request);
    return status;
}

/* ---- Turns
 * --------------------------------------------------------------------------------------------------- */

/* Once: what became of a damaged store. */
static millet_status tell_of_store(millet_assistant *assistant, millet_error *err)
{
    const struct mlt_store_state *state = &assistant->store_state;
    if (assistant->store_told || state->health == MLT_STORE_WHOLE) return MILLET_OK;
    assistant->store_told = true;
    if (state->health == MLT_STORE_LOST)
        return mlt_answer_say_either(
            assistant, "My memory was damaged and I had to start anew: timers, lists and notes are lost.",
            "我的存储损坏了，只能重新开始：计时器、清单和笔记都丢失了。", err);
    struct tm when;
    char text[160], day[32] = "";
    time_t seconds = (time_t)state->backup_time;
    if (localtime_r(&seconds, &when)) strftime(day, sizeof day, "%Y-%m-%d %H:%M", &when);
    bool chinese = assistant->dialogue.language == MLT_CHINESE;
    snprintf(text, sizeof text,
             chinese ? "我的存储损坏了，已恢复到%s的备份。"
                     : "My memory was damaged; I went back to my copy of %s. What came later is lost.",
             day);
    return mlt_answer_say(assistant, text, err);
}

static millet_status take_turn(millet_assistant *assistant, const char *text, size_t length,
                               millet_error *err)
{
    struct mlt_dialogue *d = &assistant->dialogue;
    bool done = false;
    MLT_TRY(tell_of_store(assistant, err));
    if (d->waiting) {
        MLT_TRY(answer_question(assistant, text, length, &done, err));
        if (done) return MILLET_OK;
    }
    if (d->last.skill) {
        struct mlt_reading reading;
        MLT_TRY(mlt_read_sentences(assistant, text, length, &reading, err));
        bool sentence = reading.request.skill != NULL;
        mlt_request_clear(&reading.request);
        if (!sentence) MLT_TRY(variation(assistant, text, length, &done, err));
        if (done) return MILLET_OK;
    }
    return fresh(assistant, text, length, err);
}

static millet_status keep_last_text(millet_assistant *assistant, millet_error *err)
{
    struct mlt_dialogue *d = &assistant->dialogue;
    if (!assistant->text.length) return MILLET_OK;
    char *copy = mlt_copy_text(&assistant->allocator, assistant->text.data, assistant->text.length, err);
    if (!copy) return MILLET_NO_MEMORY;
    mlt_free(&assistant->allocator, d->last_text);
    d->last_text = copy;
    return MILLET_OK;
}

millet_status millet_assistant_say(millet_assistant *assistant, const char *text, size_t length,
                                   millet_answer *answer, millet_error *err)
{
    struct mlt_arena turn;
    char *clean;
    mlt_answer_begin(assistant);
    mlt_arena_init(&turn, &assistant->allocator);
    millet_status status = mlt_clean_utterance(&turn, text, length, &clean, &length, err);
    if (status == MILLET_OK && length) {
        struct mlt_dialogue *d = &assistant->dialogue;
        bool chinese = mlt_has_chinese(clean, length);
        /* a bare number says nothing of the language */
        bool says = chinese || strpbrk(clean, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");
        if (assistant->language >= 0)
            d->language = (enum mlt_language)assistant->language;
        else if (says)
            d->language = chinese ? MLT_CHINESE : MLT_ENGLISH;
        status = take_turn(assistant, clean, length, err);
    }
    if (status == MILLET_OK) status = keep_last_text(assistant, err);
    if (status != MILLET_OK) mlt_dialogue_settle(assistant); /* half a turn is none to go on from */
    if (status == MILLET_OK) status = mlt_answer_end(assistant, answer, err);
    mlt_arena_release(&turn);
    return status;
}

millet_status millet_assistant_call(millet_assistant *assistant, const char *name, const char *arguments,
                                    millet_answer *answer, millet_error *err)
{
    const struct mlt_skill_entry *skill = mlt_find_skill(assistant, name);
    if (!skill) return mlt_fail(err, MILLET_NOT_FOUND, "there is no skill \"%s\"", name);
    json_error_t at;
    json_t *given = json_loads(arguments && *arguments ? arguments : "{}", 0, &at), *value;
    const char *key;
    millet_status status = MILLET_OK;
    if (!json_is_object(given))
        status = mlt_fail(err, MILLET_BAD_ARGUMENT, "arguments must be a JSON object");
    json_object_foreach (given, key, value) {
        const struct mlt_parameter *parameter = mlt_skill_parameter(skill, key);
        if (status == MILLET_OK && (!parameter || !mlt_typed_check(parameter, value)))
            status = mlt_fail(err, MILLET_BAD_ARGUMENT, "%s(%s): %s", name, key,
                              parameter ? "the value is not of its type" : "there is no such parameter");
    }
    if (status != MILLET_OK) {
        json_decref(given);
        return status;
    }
    struct mlt_request request = {skill, given, 1.0f};
    mlt_answer_begin(assistant);
    mlt_dialogue_settle(assistant);
    status = mlt_perform(assistant, &request, false, err);
    return status == MILLET_OK ? mlt_answer_end(assistant, answer, err) : status;
}
