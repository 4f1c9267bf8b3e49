/* Requests by the manifests' sentences. SPDX-License-Identifier: Apache-2.0 */
#include "assistant/read_utterance.h"

#include "assistant/polite.h"
#include "assistant/typed.h"

#include <string.h>

struct judging {
    const millet_assistant *assistant;
    const struct mlt_skill_entry *skill;
};

/* Whether the words may stand for the argument. */
static bool judge(void *context, const char *name, const char *text, size_t length)
{
    const struct judging *judging = context;
    const struct mlt_parameter *parameter = mlt_skill_parameter(judging->skill, name);
    json_t *value = mlt_typed_value(judging->assistant, parameter, text, length);
    json_decref(value);
    return value != NULL;
}

/* An argument that any words could be. */
static bool is_free(const struct mlt_parameter *parameter)
{
    bool free_type = parameter->type == MLT_TYPE_TEXT || parameter->type == MLT_TYPE_ITEMS;
    return free_type && !json_object_get(parameter->manifest, "choices");
}

static size_t taken_bytes(const struct mlt_skill_entry *skill, const struct mlt_match *match)
{
    size_t taken = 0;
    for (int i = 0; i < match->n_captures; i++)
        if (is_free(mlt_skill_parameter(skill, match->captures[i].name)))
            taken += match->captures[i].end - match->captures[i].start;
    return taken;
}

static millet_status take_match(const millet_assistant *assistant, const struct mlt_skill_entry *skill,
                                const struct mlt_sentence *sentence, const char *text,
                                const struct mlt_match *match, size_t taken, struct mlt_reading *reading,
                                millet_error *err)
{
    json_t *arguments = sentence->implied ? json_deep_copy(sentence->implied) : json_object();
    int failed = !arguments;
    for (int i = 0; i < match->n_captures && !failed; i++) {
        const struct mlt_capture *got = &match->captures[i];
        const struct mlt_parameter *parameter = mlt_skill_parameter(skill, got->name);
        failed = json_object_set_new(
            arguments, got->name,
            mlt_typed_value(assistant, parameter, text + got->start, got->end - got->start));
    }
    if (failed) {
        json_decref(arguments);
        return mlt_fail(err, MILLET_NO_MEMORY, "out of memory");
    }
    mlt_request_clear(&reading->request);
    reading->request = (struct mlt_request){skill, arguments, 1.0f};
    reading->by_sentence = true;
    reading->has_free_text = taken > 0;
    reading->literal = match->literal;
    reading->taken = taken;
    return MILLET_OK;
}

/* The sentence that explains most: the fewest bytes taken as they stand, then the most of its own. */
static millet_status match_all(millet_assistant *assistant, const char *text, size_t length,
                               struct mlt_reading *reading, millet_error *err)
{
    for (size_t s = 0; s < assistant->n_skills; s++) {
        const struct mlt_skill_entry *skill = &assistant->skills[s];
        struct judging judging = {assistant, skill};
        for (int i = 0; i < skill->n_sentences; i++) {
            struct mlt_match match;
            if (!mlt_sentence_match(&skill->sentences[i], text, length, judge, &judging, &match)) continue;
            size_t taken = taken_bytes(skill, &match);
            bool better = !reading->request.skill || taken < reading->taken ||
                          (taken == reading->taken && match.literal > reading->literal);
            if (better)
                MLT_TRY(
                    take_match(assistant, skill, &skill->sentences[i], text, &match, taken, reading, err));
        }
    }
    return MILLET_OK;
}

millet_status mlt_read_sentences(millet_assistant *assistant, const char *text, size_t length,
                                 struct mlt_reading *reading, millet_error *err)
{
    *reading = (struct mlt_reading){0};
    do
        MLT_TRY(match_all(assistant, text, length, reading, err));
    while ((!reading->request.skill || reading->taken) && mlt_strip_polite(&text, &length));
    return MILLET_OK;
}

millet_status mlt_read_utterance(millet_assistant *assistant, const char *text, size_t length,
                                 struct mlt_reading *reading, millet_error *err)
{
    MLT_TRY(mlt_read_sentences(assistant, text, length, reading, err));
    if (reading->request.skill || !assistant->hearing) return MILLET_OK;
    return mlt_read_heard(assistant, text, length, reading, err);
}
