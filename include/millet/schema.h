/*
 * JSON Schema as a grammar (grammar.h): what is generated is JSON that the schema allows. Part of
 * libmillet-assistant; the conventions of millet.h hold. docs/grammar.md has the whole.
 *
 * Understood, of the drafts from 2019-09 on: type (one or several), enum, const, properties, required,
 * additionalProperties, items, prefixItems, minItems, maxItems, minLength, maxLength, format (date, time,
 * date-time, uuid), minimum, maximum, exclusiveMinimum and exclusiveMaximum of integers, anyOf, oneOf (taken
 * as anyOf), $ref into the same document, true and {}. Annotations (title, description, default, examples,
 * $comment ...) mean nothing. What would restrict and is not understood is refused, never left out.
 *
 * Stricter than the schema where a choice helps small models: properties come in the order of `properties`,
 * others are only allowed where additionalProperties says so or there are no properties; one blank or one
 * line end may follow a comma, a colon or a bracket.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MILLET_SCHEMA_H
#define MILLET_SCHEMA_H

#include "millet/millet.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Writes the grammar's text, at most `capacity` bytes (`text` may be NULL when that is 0), and its full
 * length to *length; a length above capacity means that text is incomplete: call again. Errors: BAD_FORMAT
 * (no JSON, with line and column; a keyword's value that is none; a reference that leads nowhere),
 * UNSUPPORTED (a keyword; where it stands is err->item, as "#/properties/name/pattern"), NO_MEMORY.
 */
MILLET_API millet_status millet_schema_to_grammar(const char *schema, size_t schema_length, char *text,
                                                  size_t capacity, size_t *length, millet_error *err);

#ifdef __cplusplus
}
#endif
#endif
