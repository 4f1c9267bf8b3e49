/* Opening, closing, and what an assistant says of itself. SPDX-License-Identifier: Apache-2.0 */
#include "assistant/assistant_state.h"
#include "assistant/dialogue.h"
#include "assistant/skills.h"
#include "assistant/system_clock.h"

#include <stdlib.h>
#include <string.h>

const struct mlt_skill_entry *mlt_find_skill(const millet_assistant *assistant, const char *name)
{
    for (size_t i = 0; i < assistant->n_skills; i++)
        if (strcmp(assistant->skills[i].name, name) == 0) return &assistant->skills[i];
    return NULL;
}

void mlt_request_clear(struct mlt_request *request)
{
    json_decref(request->arguments);
    *request = (struct mlt_request){0};
}

void mlt_request_move(struct mlt_request *to, struct mlt_request *from)
{
    mlt_request_clear(to);
    *to = *from;
    *from = (struct mlt_request){0};
}

static millet_status add_skill(millet_assistant *assistant, const char *manifest, millet_skill_function run,
                               void *context, millet_error *err)
{
    struct mlt_skill_entry *entry = &assistant->skills[assistant->n_skills];
    MLT_TRY(mlt_skill_read(&assistant->arena, manifest, entry, err));
    if (mlt_find_skill(assistant, entry->name)) {
        mlt_fail_at(err, MILLET_BAD_FORMAT, NULL, entry->name, MILLET_NO_OFFSET, "there are two such skills");
        mlt_skill_release(entry);
        return MILLET_BAD_FORMAT;
    }
    entry->run = run ? run : mlt_skill_function(entry->name);
    entry->context = context;
    assistant->n_skills++;
    if (!entry->run)
        return mlt_fail_at(err, MILLET_INTERNAL, NULL, entry->name, MILLET_NO_OFFSET,
                           "the skill has no function");
    return MILLET_OK;
}

static millet_status add_skills(millet_assistant *assistant, const millet_assistant_options *options,
                                millet_error *err)
{
    size_t n = options->n_skills;
    for (size_t i = 0; mlt_manifests[i]; i++)
        n++;
    assistant->skills = mlt_alloc_zero(&assistant->allocator, n, sizeof *assistant->skills, err);
    if (!assistant->skills) return MILLET_NO_MEMORY;
    for (size_t i = 0; mlt_manifests[i]; i++)
        MLT_TRY(add_skill(assistant, mlt_manifests[i], NULL, NULL, err));
    for (size_t i = 0; i < options->n_skills; i++) {
        const millet_skill *skill = &options->skills[i];
        if (!skill->manifest || !skill->run)
            return mlt_fail(err, MILLET_BAD_ARGUMENT, "a skill needs a manifest and a function");
        MLT_TRY(add_skill(assistant, skill->manifest, skill->run, skill->context, err));
    }
    return MILLET_OK;
}

static millet_status set_up(millet_assistant *assistant, const millet_assistant_options *options,
                            millet_error *err)
{
    assistant->language = -1;
    for (int l = 0; l < MLT_LANGUAGES; l++)
        if (options->language && strcmp(options->language, mlt_language_names[l]) == 0)
            assistant->language = l;
    if (options->language && assistant->language < 0)
        return mlt_fail(err, MILLET_BAD_ARGUMENT, "the language is en or zh, not \"%s\"", options->language);
    if (options->clock)
        assistant->clock = *options->clock;
    else
        mlt_system_clock(&assistant->clock, assistant->boot, sizeof assistant->boot);
    uint64_t seed = options->seed;
    if (!seed) seed = (uint64_t)assistant->clock.wall(assistant->clock.context);
    mlt_random_seed(&assistant->random, seed);
    assistant->hearing = options->hearing;
    MLT_TRY(mlt_zone_open(&assistant->allocator, options->zone, &assistant->zone, err));
    MLT_TRY(add_skills(assistant, options, err));
    MLT_TRY(mlt_store_open(&assistant->allocator, options->store, &assistant->store, &assistant->store_state,
                           err));
    return mlt_parts_open(assistant, options, err);
}

millet_status millet_assistant_open(const millet_assistant_options *options, millet_assistant **out,
                                    millet_error *err)
{
    static const millet_assistant_options none = {0};
    if (!options) options = &none;
    const millet_allocator *allocator = options->allocator ? options->allocator : mlt_default_allocator();
    millet_assistant *assistant = mlt_alloc_zero(allocator, 1, sizeof *assistant, err);
    if (!assistant) return MILLET_NO_MEMORY;
    assistant->allocator = *allocator;
    mlt_arena_init(&assistant->arena, allocator);
    assistant->text.allocator = assistant->tools.allocator = &assistant->allocator;
    millet_status status = set_up(assistant, options, err);
    if (status != MILLET_OK) {
        millet_assistant_close(&assistant);
        return status;
    }
    *out = assistant;
    return MILLET_OK;
}

void millet_assistant_close(millet_assistant **handle)
{
    millet_assistant *assistant = *handle;
    if (!assistant) return;
    mlt_parts_close(assistant);
    mlt_store_close(&assistant->store);
    mlt_zone_close(&assistant->zone);
    struct mlt_dialogue *d = &assistant->dialogue;
    mlt_request_clear(&d->request);
    mlt_request_clear(&d->last);
    mlt_request_clear(&d->undo);
    mlt_free(&assistant->allocator, d->rest);
    mlt_free(&assistant->allocator, d->last_text);
    for (size_t i = 0; i < assistant->n_skills; i++)
        mlt_skill_release(&assistant->skills[i]);
    mlt_free(&assistant->allocator, assistant->skills);
    json_decref(assistant->calls);
    free(assistant->calls_text);
    free(assistant->state_text);
    mlt_text_release(&assistant->text);
    mlt_text_release(&assistant->tools);
    mlt_arena_release(&assistant->arena);
    millet_allocator allocator = assistant->allocator;
    mlt_free(&allocator, assistant);
    *handle = NULL;
}

millet_status millet_assistant_tools(millet_assistant *assistant, millet_tools_form form, const char **json,
                                     millet_error *err)
{
    json_t *all = json_array();
    int failed = !all;
    for (size_t i = 0; i < assistant->n_skills && !failed; i++) {
        if (json_is_true(json_object_get(assistant->skills[i].manifest, "dialogue"))) continue;
        failed = json_array_append_new(all, mlt_skill_tool(&assistant->skills[i], form));
    }
    char *text = failed ? NULL : json_dumps(all, JSON_INDENT(2));
    json_decref(all);
    assistant->tools.length = 0;
    millet_status status = text ? mlt_text_append(&assistant->tools, text, strlen(text), err)
                                : mlt_fail(err, MILLET_NO_MEMORY, "out of memory");
    free(text);
    *json = assistant->tools.data;
    return status;
}

const char *millet_assistant_state(millet_assistant *assistant)
{
    static const char *const waits[] = {NULL, "argument", "consent", "meaning"};
    const struct mlt_dialogue *d = &assistant->dialogue;
    free(assistant->state_text);
    assistant->state_text = NULL;
    if (d->waiting == MLT_WAITS_FOR_NOTHING) return "null";
    json_t *state =
        json_pack("{s:s,s:O,s:s}", "skill", d->request.skill->name, "arguments", d->request.arguments,
                  "waits_for", d->parameter ? d->parameter->name : waits[d->waiting]);
    assistant->state_text = state ? json_dumps(state, 0) : NULL;
    json_decref(state);
    return assistant->state_text ? assistant->state_text : "null";
}
