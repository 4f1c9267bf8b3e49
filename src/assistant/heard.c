/*
 * Requests by hearing: labels of several sets vote for skills.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "assistant/polite.h"
#include "assistant/read_utterance.h"
#include "assistant/sentence.h"
#include "assistant/typed.h"

#include <string.h>
#include <strings.h>

/* A label of the set clinc150 that says: nothing of the kind. */
static const char outside_set[] = "clinc150", outside_label[] = "oos";

static bool text_is(const json_t *object, const char *field, const char *expected)
{
    const char *text = json_string_value(json_object_get(object, field));
    return text && strcmp(text, expected) == 0;
}

static bool has_word(const char *text, size_t length, const char *word)
{
    size_t n = strlen(word);
    for (size_t at = 0; at + n <= length; at++)
        if (strncasecmp(text + at, word, n) == 0 && mlt_word_edge(text, length, at) &&
            mlt_word_edge(text, length, at + n))
            return true;
    return false;
}

/* "words": one of them must be there; "unless": none of them. */
static bool words_allow(const json_t *means, const char *text, size_t length)
{
    size_t i;
    json_t *word;
    json_array_foreach (json_object_get(means, "unless"), i, word) {
        if (has_word(text, length, json_string_value(word))) return false;
    }
    json_t *words = json_object_get(means, "words");
    if (!words) return true;
    json_array_foreach (words, i, word) {
        if (has_word(text, length, json_string_value(word))) return true;
    }
    return false;
}

struct vote {
    float sum;
    int sets; /* that can name the skill */
    const millet_heard *heard;
    const json_t *means; /* of the label that `heard` is */
};

/* One set's voice for a skill: the probability of all labels that mean it; the best of them is kept. */
static bool count_set(const struct mlt_skill_entry *skill, const char *set, const millet_heard *heard,
                      int32_t n_heard, const char *text, size_t length, struct vote *vote)
{
    bool can = false, spoke = false;
    float sum = 0;
    for (int32_t h = 0; h < n_heard; h++)
        spoke |= strcmp(heard[h].set, set) == 0;
    size_t i;
    json_t *means;
    json_array_foreach (json_object_get(skill->manifest, "means"), i, means) {
        if (!text_is(means, "set", set)) continue;
        bool allowed = words_allow(means, text, length);
        can |= allowed;
        for (int32_t h = 0; h < n_heard && allowed; h++) {
            if (strcmp(heard[h].set, set) != 0 || !text_is(means, "label", heard[h].label)) continue;
            sum += heard[h].probability;
            /* slots tell more than a little probability does */
            bool better = !vote->heard || (heard[h].n_slots > 0 && vote->heard->n_slots == 0) ||
                          ((heard[h].n_slots > 0) == (vote->heard->n_slots > 0) &&
                           heard[h].probability > vote->heard->probability);
            if (heard[h].probability >= 0.2f && better) {
                vote->heard = &heard[h];
                vote->means = means;
            }
        }
    }
    if (!can || !spoke) return false;
    vote->sum += sum;
    vote->sets++;
    return true;
}

/* How many seconds one of the slot's unit has: start_minutes, hours ...; 0: the slot is no part of a time. */
static double slot_unit(const char *slot)
{
    if (strstr(slot, "hours")) return 3600;
    if (strstr(slot, "minutes")) return 60;
    return strstr(slot, "seconds") ? 1 : 0;
}

static const struct mlt_parameter any_number = {"number", MLT_TYPE_NUMBER, false, NULL};

static double number_of(const millet_assistant *assistant, const char *text, size_t length)
{
    static const char *const halves[] = {"half", "a half", "half an", "半"};
    for (size_t i = 0; i < MLT_COUNT(halves); i++)
        if (strlen(halves[i]) == length && strncasecmp(text, halves[i], length) == 0) return 0.5;
    json_t *value = mlt_typed_value(assistant, &any_number, text, length);
    double number = value ? json_number_value(value) : -1;
    json_decref(value);
    return number;
}

static int set_if(json_t *arguments, const char *name, json_t *value)
{
    return value ? json_object_set_new(arguments, name, value) : 0;
}

/* The slots' words as arguments. "half" is half of the unit that its slot stands for: of an hour, 30 minutes.
 */
static int take_slots(const millet_assistant *assistant, const struct mlt_skill_entry *skill,
                      const char *text, const struct vote *vote, json_t *arguments)
{
    const json_t *slots = json_object_get(vote->means, "slots");
    int failed = 0;
    double seconds[MLT_MAX_PARAMETERS] = {0};
    for (int32_t i = 0; i < vote->heard->n_slots; i++) {
        const millet_heard_slot *slot = &vote->heard->slots[i];
        const char *target = json_string_value(json_object_get(slots, slot->name));
        if (!target) continue;
        const struct mlt_parameter *parameter = mlt_skill_parameter(skill, target);
        const char *words = text + slot->start;
        size_t n = slot->end - slot->start;
        double unit = slot_unit(slot->name);
        if (parameter->type == MLT_TYPE_DURATION && unit > 0) {
            double number = number_of(assistant, words, n);
            /* the home's tags say half an hour as minutes */
            if (number == 0.5 && unit == 60) number = 30;
            if (number > 0) seconds[parameter - skill->parameters] += number * unit;
        } else if (!json_object_get(arguments, target)) {
            failed |= set_if(arguments, target, mlt_typed_told(assistant, parameter, words, n));
        } else if (parameter->type == MLT_TYPE_WHEN) { /* date and time are two slots of one argument */
            const millet_heard_slot *before = &vote->heard->slots[i - 1];
            size_t from = MLT_MIN(before->start, slot->start), to = MLT_MAX(before->end, slot->end);
            failed |= set_if(arguments, target, mlt_typed_told(assistant, parameter, text + from, to - from));
        }
    }
    for (int i = 0; i < skill->n_parameters; i++)
        if (seconds[i] > 0)
            failed |= json_object_set_new(arguments, skill->parameters[i].name, json_real(seconds[i]));
    return failed;
}

/* What the label itself says, and typed values that stand anywhere in the text. */
static int take_rest(const millet_assistant *assistant, const struct mlt_skill_entry *skill, const char *text,
                     size_t length, const struct vote *vote, json_t *arguments)
{
    const char *name;
    json_t *value;
    int failed = 0;
    json_object_foreach (json_object_get(vote->means, "arguments"), name, value) {
        if (!json_object_get(arguments, name)) failed |= json_object_set(arguments, name, value);
    }
    for (int i = 0; i < skill->n_parameters; i++) {
        const struct mlt_parameter *parameter = &skill->parameters[i];
        bool wanted = parameter->required || json_is_true(json_object_get(parameter->manifest, "find"));
        if (wanted && !json_object_get(arguments, parameter->name))
            failed |= set_if(arguments, parameter->name, mlt_typed_find(assistant, parameter, text, length));
    }
    return failed;
}

static millet_status take_vote(millet_assistant *assistant, const struct mlt_skill_entry *skill,
                               const char *text, size_t length, const struct vote *vote,
                               struct mlt_reading *reading, millet_error *err)
{
    json_t *arguments = json_object();
    if (!arguments || take_slots(assistant, skill, text, vote, arguments) != 0 ||
        take_rest(assistant, skill, text, length, vote, arguments) != 0) {
        json_decref(arguments);
        return mlt_fail(err, MILLET_NO_MEMORY, "out of memory");
    }
    reading->request = (struct mlt_request){skill, arguments, vote->sum};
    for (int i = 0; i < skill->n_parameters; i++)
        reading->has_free_text |= skill->parameters[i].type == MLT_TYPE_TEXT &&
                                  json_object_get(arguments, skill->parameters[i].name) != NULL;
    return MILLET_OK;
}

millet_status mlt_read_heard(millet_assistant *assistant, const char *text, size_t length,
                             struct mlt_reading *reading, millet_error *err)
{
    static const char *const sets[] = {"home", "hwu64", "clinc150"};
    const millet_heard *heard = NULL;
    int32_t n_heard = 0;
    *reading = (struct mlt_reading){0};
    MLT_TRY(assistant->hearing->hear(assistant->hearing->context, text, length, &heard, &n_heard, err));
    float outside = 0;
    for (int32_t h = 0; h < n_heard; h++)
        if (strcmp(heard[h].set, outside_set) == 0 && strcmp(heard[h].label, outside_label) == 0)
            outside = heard[h].probability;
    const struct mlt_skill_entry *best = NULL;
    struct vote best_vote = {0};
    for (size_t s = 0; s < assistant->n_skills; s++) {
        struct vote vote = {0};
        for (size_t i = 0; i < MLT_COUNT(sets); i++)
            count_set(&assistant->skills[s], sets[i], heard, n_heard, text, length, &vote);
        if (!vote.heard) continue;
        vote.sum = vote.sum / (float)vote.sets * (1 - 0.5f * outside);
        if (!best || vote.sum > best_vote.sum) {
            best = &assistant->skills[s];
            best_vote = vote;
        }
    }
    if (!best || best_vote.sum < MLT_WORTH_ASKING) return MILLET_OK;
    return take_vote(assistant, best, text, length, &best_vote, reading, err);
}
