/*
 * Manifests: what a skill is called, takes, and how people ask for it. docs/assistant.md lists the fields.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_ASSISTANT_MANIFEST_H
#define MLT_ASSISTANT_MANIFEST_H

#include "assistant/sentence.h"
#include "base/memory.h"
#include "millet/assistant.h"

#include <jansson.h>

enum mlt_language { MLT_ENGLISH, MLT_CHINESE, MLT_LANGUAGES };
extern const char *const mlt_language_names[MLT_LANGUAGES]; /* "en", "zh" */

/* X(NAME, manifest's name, JSON Schema of its normal form). */
#define MLT_TYPE_LIST(X)                                                                                     \
    X(TEXT, "text", "{\"type\": \"string\"}")                                                                \
    X(NUMBER, "number", "{\"type\": \"number\"}")                                                            \
    X(PERCENT, "percent", "{\"type\": \"number\"}")                                                          \
    X(DURATION, "duration", "{\"type\": \"number\", \"description\": \"seconds\"}")                          \
    X(WHEN, "when",                                                                                          \
      "{\"type\": \"string\", \"description\": \"2026-12-31T18:30 in local time, or 2026-12-31\"}")          \
    X(REPEAT, "repeat",                                                                                      \
      "{\"type\": \"string\", \"description\": \"daily, weekdays, weekends, or days as MO,TU\"}")            \
    X(ITEMS, "items", "{\"type\": \"array\", \"items\": {\"type\": \"string\"}}")                            \
    X(EXPRESSION, "expression", "{\"type\": \"string\", \"description\": \"arithmetic: 12 * (3 + 4)\"}")     \
    X(QUANTITY, "quantity", "{\"type\": \"string\", \"description\": \"number and unit: 5 km\"}")            \
    X(UNIT, "unit", "{\"type\": \"string\", \"description\": \"unit or currency: mile, EUR\"}")              \
    X(PLACE, "place", "{\"type\": \"string\", \"description\": \"city, country or time zone\"}")

enum mlt_type {
#define MLT_TYPE_ENUM(name, text, schema) MLT_TYPE_##name,
    MLT_TYPE_LIST(MLT_TYPE_ENUM)
#undef MLT_TYPE_ENUM
        MLT_TYPES,
};

struct mlt_parameter {
    const char *name;
    enum mlt_type type;
    bool required;
    const json_t *manifest; /* its object */
};

enum { MLT_MAX_PARAMETERS = 16 };

struct mlt_skill_entry {
    const char *name;
    json_t *manifest;
    struct mlt_parameter parameters[MLT_MAX_PARAMETERS];
    int n_parameters;
    struct mlt_sentence *sentences; /* of all languages */
    int n_sentences;
    millet_skill_function run;
    void *context;
};

/* A manifest's text as an entry; strings live in `arena`, the manifest with mlt_skill_release. Errors:
 * BAD_FORMAT with the field in err->item. */
millet_status mlt_skill_read(struct mlt_arena *arena, const char *text, struct mlt_skill_entry *entry,
                             millet_error *err);
void mlt_skill_release(struct mlt_skill_entry *entry);

const struct mlt_parameter *mlt_skill_parameter(const struct mlt_skill_entry *entry, const char *name);
/* manifest[field] in a language: a string, or an object of languages; NULL where there is none. */
const char *mlt_manifest_text(const json_t *object, const char *field, enum mlt_language language);
/* The entry as a tool definition, a new reference; NULL where memory ran out. */
json_t *mlt_skill_tool(const struct mlt_skill_entry *entry, millet_tools_form form);

/* The manifests in skills/, NULL-terminated. */
extern const char *const mlt_manifests[];

#endif
