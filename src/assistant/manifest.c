/* Reading manifests, and tool definitions made of them. SPDX-License-Identifier: Apache-2.0 */
#include "assistant/manifest.h"

#include <string.h>

const char *const mlt_language_names[MLT_LANGUAGES] = {"en", "zh"};

static const struct {
    const char *name, *schema;
} types[MLT_TYPES] = {
#define MLT_TYPE_ROW(name, text, schema) {text, schema},
    MLT_TYPE_LIST(MLT_TYPE_ROW)
#undef MLT_TYPE_ROW
};

const char *mlt_manifest_text(const json_t *object, const char *field, enum mlt_language language)
{
    const json_t *value = json_object_get(object, field);
    if (json_is_object(value)) value = json_object_get(value, mlt_language_names[language]);
    return json_string_value(value);
}

const struct mlt_parameter *mlt_skill_parameter(const struct mlt_skill_entry *entry, const char *name)
{
    for (int i = 0; i < entry->n_parameters; i++)
        if (strcmp(entry->parameters[i].name, name) == 0) return &entry->parameters[i];
    return NULL;
}

static millet_status bad(const struct mlt_skill_entry *entry, const char *field, const char *what,
                         millet_error *err)
{
    return mlt_fail_at(err, MILLET_BAD_FORMAT, NULL, field, MILLET_NO_OFFSET, "the manifest of \"%s\": %s",
                       entry->name ? entry->name : "?", what);
}

static millet_status read_parameters(struct mlt_skill_entry *entry, millet_error *err)
{
    json_t *all = json_object_get(entry->manifest, "parameters"), *value;
    const char *name;
    if (all && !json_is_object(all)) return bad(entry, "parameters", "must be an object", err);
    json_object_foreach (all, name, value) {
        const char *type = json_string_value(json_object_get(value, "type"));
        int t = 0;
        while (type && t < MLT_TYPES && strcmp(types[t].name, type) != 0)
            t++;
        if (!type || t == MLT_TYPES) return bad(entry, name, "there is no such type", err);
        if (entry->n_parameters == MLT_MAX_PARAMETERS) return bad(entry, name, "too many parameters", err);
        entry->parameters[entry->n_parameters++] = (struct mlt_parameter){
            name, (enum mlt_type)t, json_is_true(json_object_get(value, "required")), value};
    }
    return MILLET_OK;
}

struct name_check {
    const struct mlt_skill_entry *entry;
    const char *unknown;
};

static void check_name(void *context, const char *name)
{
    struct name_check *check = context;
    if (!mlt_skill_parameter(check->entry, name)) check->unknown = name;
}

static bool is_typed(void *context, const char *name)
{
    const struct mlt_parameter *parameter = mlt_skill_parameter(context, name);
    bool any_words = parameter && (parameter->type == MLT_TYPE_TEXT || parameter->type == MLT_TYPE_ITEMS);
    return parameter && (!any_words || json_object_get(parameter->manifest, "choices"));
}

static millet_status read_sentences(struct mlt_arena *arena, struct mlt_skill_entry *entry, millet_error *err)
{
    const json_t *all = json_object_get(entry->manifest, "sentences");
    size_t count = 0;
    for (int l = 0; l < MLT_LANGUAGES; l++)
        count += json_array_size(json_object_get(all, mlt_language_names[l]));
    entry->sentences = mlt_arena_alloc(arena, count + 1, sizeof *entry->sentences, err);
    if (!entry->sentences) return MILLET_NO_MEMORY;
    for (int l = 0; l < MLT_LANGUAGES; l++) {
        size_t i;
        json_t *text;
        json_array_foreach (json_object_get(all, mlt_language_names[l]), i, text) {
            struct mlt_sentence *sentence = &entry->sentences[entry->n_sentences];
            struct name_check check = {entry, NULL};
            /* a string, or {"say": a string, "arguments": what it implies} */
            const json_t *say = json_is_object(text) ? json_object_get(text, "say") : text;
            if (!json_is_string(say)) return bad(entry, "sentences", "must be strings", err);
            MLT_TRY(mlt_sentence_compile(arena, json_string_value(say), is_typed, entry, sentence, err));
            sentence->implied = json_object_get(text, "arguments");
            mlt_sentence_names(sentence, check_name, &check);
            if (check.unknown) return bad(entry, check.unknown, "a sentence names no parameter", err);
            sentence->language = l;
            entry->n_sentences++;
        }
    }
    return MILLET_OK;
}

/* Labels that mean the skill name parameters that exist. */
static millet_status check_means(const struct mlt_skill_entry *entry, millet_error *err)
{
    size_t i;
    json_t *means, *target;
    const char *slot;
    json_array_foreach (json_object_get(entry->manifest, "means"), i, means) {
        if (!json_is_string(json_object_get(means, "set")) ||
            !json_is_string(json_object_get(means, "label")))
            return bad(entry, "means", "set and label must be strings", err);
        json_object_foreach (json_object_get(means, "slots"), slot, target) {
            if (!json_is_string(target) || !mlt_skill_parameter(entry, json_string_value(target)))
                return bad(entry, slot, "a slot leads to no parameter", err);
        }
        json_object_foreach (json_object_get(means, "arguments"), slot, target) {
            if (!mlt_skill_parameter(entry, slot))
                return bad(entry, slot, "an argument is no parameter", err);
        }
    }
    return MILLET_OK;
}

millet_status mlt_skill_read(struct mlt_arena *arena, const char *text, struct mlt_skill_entry *entry,
                             millet_error *err)
{
    json_error_t at;
    *entry = (struct mlt_skill_entry){0};
    entry->manifest = json_loads(text, JSON_REJECT_DUPLICATES, &at);
    if (!entry->manifest && json_error_code(&at) == json_error_out_of_memory)
        return mlt_fail(err, MILLET_NO_MEMORY, "out of memory");
    if (!entry->manifest)
        return mlt_fail(err, MILLET_BAD_FORMAT, "a manifest, line %d: %s", at.line, at.text);
    entry->name = json_string_value(json_object_get(entry->manifest, "name"));
    millet_status status = MILLET_OK;
    if (!entry->name || strspn(entry->name, "abcdefghijklmnopqrstuvwxyz0123456789_") != strlen(entry->name))
        status = bad(entry, "name", "it must be of a-z, 0-9 and _", err);
    else if (!mlt_manifest_text(entry->manifest, "description", MLT_ENGLISH))
        status = bad(entry, "description", "is missing", err);
    if (status == MILLET_OK) status = read_parameters(entry, err);
    if (status == MILLET_OK) status = read_sentences(arena, entry, err);
    if (status == MILLET_OK) status = check_means(entry, err);
    if (status != MILLET_OK) mlt_skill_release(entry);
    return status;
}

void mlt_skill_release(struct mlt_skill_entry *entry)
{
    json_decref(entry->manifest);
    entry->manifest = NULL;
}

/* The schema of one parameter: that of its type, with the manifest's description and choices. */
static json_t *parameter_schema(const struct mlt_parameter *parameter)
{
    json_t *schema = json_loads(types[parameter->type].schema, 0, NULL);
    const char *description = mlt_manifest_text(parameter->manifest, "description", MLT_ENGLISH);
    const char *form = json_string_value(json_object_get(schema, "description"));
    json_t *choices = json_object_get(parameter->manifest, "choices");
    if (!schema) return NULL;
    int failed = 0;
    if (description && form)
        failed = json_object_set_new(schema, "description", json_sprintf("%s; %s", description, form));
    else if (description)
        failed = json_object_set_new(schema, "description", json_string(description));
    if (choices) failed |= json_object_set(schema, "enum", choices);
    if (!failed) return schema;
    json_decref(schema);
    return NULL;
}

static json_t *parameters_schema(const struct mlt_skill_entry *entry)
{
    json_t *properties = json_object(), *required = json_array();
    int failed = !properties || !required;
    for (int i = 0; i < entry->n_parameters && !failed; i++) {
        failed = json_object_set_new(properties, entry->parameters[i].name,
                                     parameter_schema(&entry->parameters[i]));
        if (entry->parameters[i].required)
            failed |= json_array_append_new(required, json_string(entry->parameters[i].name));
    }
    if (failed) {
        json_decref(properties);
        json_decref(required);
        return NULL;
    }
    return json_pack("{s:s,s:o,s:o,s:b}", "type", "object", "properties", properties, "required", required,
                     "additionalProperties", 0);
}

json_t *mlt_skill_tool(const struct mlt_skill_entry *entry, millet_tools_form form)
{
    json_t *parameters = parameters_schema(entry);
    const char *description = mlt_manifest_text(entry->manifest, "description", MLT_ENGLISH);
    if (!parameters) return NULL;
    if (form == MILLET_TOOLS_OPENAI)
        return json_pack("{s:s,s:{s:s,s:s,s:o}}", "type", "function", "function", "name", entry->name,
                         "description", description, "parameters", parameters);
    bool destructive = json_object_get(entry->manifest, "confirm") != NULL;
    const char *permission = json_string_value(json_object_get(entry->manifest, "permission"));
    bool reads = permission && strcmp(permission, "read") == 0;
    return json_pack("{s:s,s:s,s:o,s:{s:b,s:b}}", "name", entry->name, "description", description,
                     "inputSchema", parameters, "annotations", "readOnlyHint", reads, "destructiveHint",
                     destructive);
}
