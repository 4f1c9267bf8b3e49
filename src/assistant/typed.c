/* Words to values, by type. SPDX-License-Identifier: Apache-2.0 */
#include "assistant/typed.h"

#include "assistant/expression.h"
#include "assistant/places.h"
#include "assistant/polite.h"
#include "assistant/sentence.h"
#include "assistant/units.h"
#include "assistant/when.h"
#include "assistant/words.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static bool same(const char *text, size_t length, const char *word)
{
    return word && strlen(word) == length && strncasecmp(text, word, length) == 0;
}

/* One of the manifest's choices, by its name or one of its words: the name. */
static json_t *choice(const struct mlt_parameter *parameter, const json_t *choices, const char *text,
                      size_t length)
{
    size_t i, w;
    json_t *name, *word;
    json_array_foreach (choices, i, name) {
        if (same(text, length, json_string_value(name))) return json_incref(name);
        json_array_foreach (
            json_object_get(json_object_get(parameter->manifest, "words"), json_string_value(name)), w,
            word) {
            if (same(text, length, json_string_value(word))) return json_incref(name);
        }
    }
    return NULL;
}

/* A free text; a manifest may say what it never is ("not"), as "timer" is no name of one. */
static json_t *free_text(const struct mlt_parameter *parameter, const char *text, size_t length)
{
    size_t i;
    json_t *word;
    json_array_foreach (json_object_get(parameter->manifest, "not"), i, word) {
        if (same(text, length, json_string_value(word))) return NULL;
    }
    return length ? json_stringn(text, length) : NULL;
}

static json_t *when_value(const millet_assistant *assistant, const struct mlt_parameter *parameter,
                          const char *text, size_t length)
{
    bool morning = json_is_true(json_object_get(parameter->manifest, "morning"));
    struct mlt_when when;
    char normal[32];
    if (!mlt_words_when(text, length, mlt_local_now(assistant), morning, &when)) return NULL;
    mlt_when_text(&when, normal, sizeof normal);
    return json_string(normal);
}

/* "milk, eggs and bread", 牛奶、鸡蛋和面包: an array. */
static json_t *items_value(const char *text, size_t length)
{
    static const char *const joints[] = {", and ", " and ", ", ", ",", "、", "和", "还有", "跟"};
    json_t *items = json_array();
    size_t begin = 0, at = 0;
    /* "add to my" was not finished: "to my" is no thing */
    bool cut = length > 3 && (strncasecmp(text, "to ", 3) == 0 || strncasecmp(text, "on ", 3) == 0);
    while (!cut && items && at <= length) {
        size_t joint = 0;
        for (size_t i = 0; i < MLT_COUNT(joints) && !joint && at < length && at > begin; i++) {
            size_t n = strlen(joints[i]);
            if (n < length - at && strncasecmp(text + at, joints[i], n) == 0) joint = n;
        }
        if (joint || at == length) {
            static const char *const idle[] = {"some ", "a ", "an ", "the ", "一些", "点"};
            const char *item = text + begin;
            size_t n = at - begin;
            for (size_t i = 0; i < MLT_COUNT(idle); i++)
                if (n > strlen(idle[i]) && strncasecmp(item, idle[i], strlen(idle[i])) == 0) {
                    item += strlen(idle[i]);
                    n -= strlen(idle[i]);
                }
            while (n && item[n - 1] == ' ')
                n--;
            if (n && json_array_append_new(items, json_stringn(item, n)) != 0) {
                json_decref(items);
                return NULL;
            }
            begin = at + joint;
            at = begin;
            if (!joint) break;
        } else {
            at++;
        }
    }
    if (json_array_size(items)) return items;
    json_decref(items);
    return NULL;
}

static json_t *percent_value(const char *text, size_t length)
{
    static const char *const ends[] = {" percent", "%", " per cent"}, *const begin = "百分之";
    double number;
    for (size_t i = 0; i < MLT_COUNT(ends); i++) {
        size_t n = strlen(ends[i]);
        if (length > n && strncasecmp(text + length - n, ends[i], n) == 0) {
            length -= n;
            break;
        }
    }
    if (length > strlen(begin) && memcmp(text, begin, strlen(begin)) == 0) {
        text += strlen(begin);
        length -= strlen(begin);
    }
    return mlt_words_number(text, length, &number) ? json_real(number) : NULL;
}

/* "5 km": the number as it is written shortest, and the unit's code. */
static json_t *quantity_value(const char *text, size_t length)
{
    double number;
    const struct mlt_unit *unit;
    if (!mlt_quantity_read(text, length, &number, &unit)) return NULL;
    return json_sprintf("%.12g %s", number, unit->code);
}

json_t *mlt_typed_value(const millet_assistant *assistant, const struct mlt_parameter *parameter,
                        const char *text, size_t length)
{
    double number;
    char repeat[40];
    const struct mlt_place *place;
    const struct mlt_unit *unit;
    json_t *choices = json_object_get(parameter->manifest, "choices");
    switch (parameter->type) {
    case MLT_TYPE_TEXT:
        return choices ? choice(parameter, choices, text, length) : free_text(parameter, text, length);
    case MLT_TYPE_NUMBER: return mlt_words_number(text, length, &number) ? json_real(number) : NULL;
    case MLT_TYPE_PERCENT: return percent_value(text, length);
    case MLT_TYPE_DURATION:
        return mlt_words_duration(text, length, &number) && number > 0 ? json_real(number) : NULL;
    case MLT_TYPE_WHEN: return when_value(assistant, parameter, text, length);
    case MLT_TYPE_REPEAT:
        return mlt_words_repeat(text, length, repeat, sizeof repeat) ? json_string(repeat) : NULL;
    case MLT_TYPE_ITEMS: return items_value(text, length);
    case MLT_TYPE_PLACE:
        place = mlt_place_find(text, length);
        return place ? json_string(place->english) : NULL;
    case MLT_TYPE_EXPRESSION:
        return mlt_expression_evaluate(text, length, &number) == MLT_EXPRESSION_NONE
                   ? NULL
                   : json_stringn(text, length);
    case MLT_TYPE_QUANTITY: return quantity_value(text, length);
    case MLT_TYPE_UNIT: unit = mlt_unit_find(text, length); return unit ? json_string(unit->code) : NULL;
    case MLT_TYPES: break;
    }
    return NULL;
}

json_t *mlt_typed_told(const millet_assistant *assistant, const struct mlt_parameter *parameter,
                       const char *text, size_t length)
{
    json_t *value = mlt_typed_value(assistant, parameter, text, length);
    char at[64];
    if (value || parameter->type != MLT_TYPE_WHEN || length > 40) return value;
    int n = snprintf(at, sizeof at, "at %.*s", (int)length, text);
    return mlt_typed_value(assistant, parameter, at, (size_t)n);
}

json_t *mlt_typed_find(const millet_assistant *assistant, const struct mlt_parameter *parameter,
                       const char *text, size_t length)
{
    if (parameter->type == MLT_TYPE_ITEMS) return NULL;
    if (parameter->type == MLT_TYPE_TEXT && !json_object_get(parameter->manifest, "choices")) return NULL;
    for (size_t begin = 0; begin < length; begin++) {
        if (!mlt_word_edge(text, length, begin) || text[begin] == ' ' || text[begin] == ',') continue;
        for (size_t end = length; end > begin; end--) {
            if (!mlt_word_edge(text, length, end) || text[end - 1] == ' ' || text[end - 1] == ',') continue;
            json_t *value = mlt_typed_value(assistant, parameter, text + begin, end - begin);
            if (value) return value;
        }
    }
    return NULL;
}

static bool is_choice(const struct mlt_parameter *parameter, const json_t *value)
{
    size_t i;
    json_t *choices = json_object_get(parameter->manifest, "choices"), *name;
    if (!choices) return true;
    json_array_foreach (choices, i, name) {
        if (json_equal(name, value)) return true;
    }
    return false;
}

bool mlt_typed_check(const struct mlt_parameter *parameter, const json_t *value)
{
    struct mlt_when when;
    double number;
    const struct mlt_unit *unit;
    const char *text = json_string_value(value);
    size_t i;
    json_t *item;
    switch (parameter->type) {
    case MLT_TYPE_NUMBER:
    case MLT_TYPE_PERCENT: return json_is_number(value);
    case MLT_TYPE_DURATION: return json_is_number(value) && json_number_value(value) > 0;
    case MLT_TYPE_WHEN: return text && mlt_when_read(text, &when);
    case MLT_TYPE_ITEMS:
        json_array_foreach (value, i, item) {
            if (!json_is_string(item)) return false;
        }
        return json_array_size(value) > 0;
    case MLT_TYPE_PLACE: return text && mlt_place_find(text, strlen(text));
    case MLT_TYPE_REPEAT:
        return text && (strcmp(text, "daily") == 0 || strcmp(text, "weekdays") == 0 ||
                        strcmp(text, "weekends") == 0 || strspn(text, "MOTUWEHFRSA,") == strlen(text));
    case MLT_TYPE_TEXT: return text && is_choice(parameter, value);
    case MLT_TYPE_EXPRESSION:
        return text && mlt_expression_evaluate(text, strlen(text), &number) != MLT_EXPRESSION_NONE;
    case MLT_TYPE_QUANTITY: return text && mlt_quantity_read(text, strlen(text), &number, &unit);
    case MLT_TYPE_UNIT: return text && mlt_unit_find(text, strlen(text));
    case MLT_TYPES: break;
    }
    return false;
}
