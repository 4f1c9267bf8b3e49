/* SPDX-License-Identifier: Apache-2.0 */
#include "eval/choice_records.h"

#include "eval/task_records.h"

#include <stdlib.h>
#include <string.h>

struct parser {
    struct mlt_choice_records *records;
    const char *path;
    uint64_t line;
    struct mlt_choice_record record;
    millet_error *err;
};

static millet_status bad(const struct parser *p, const char *what)
{
    return mlt_bad_record(p->path, p->line, MILLET_BAD_FORMAT, what, p->err);
}

/* A copy without white space at its ends. */
static millet_status keep(struct parser *p, const char *text, const char **out)
{
    static const char blanks[] = " \t\r\n";
    text += strspn(text, blanks);
    size_t length = strlen(text);
    while (length && strchr(blanks, text[length - 1]))
        length--;
    *out = mlt_arena_text(&p->records->arena, text, length, p->err);
    return *out ? MILLET_OK : MILLET_NO_MEMORY;
}

/* The first of the names that the record has. */
static const json_t *member(const json_t *record, const char *const *names)
{
    for (; *names; names++) {
        const json_t *value = json_object_get(record, *names);
        if (value && !json_is_null(value)) return value;
    }
    return NULL;
}

/* ---- Choices ---- */

/* Without "(A)", "A." or "A、" of the choice's own letter before it. */
static const char *after_letter(const char *text, int32_t index)
{
    const char letter = (char)('A' + index);
    const char *blank = text + strspn(text, " \t");
    if (blank[0] == '(' && blank[1] == letter && blank[2] == ')') return blank + 3;
    if (blank[0] == letter && blank[1] == '.') return blank + 2;
    if (blank[0] == letter && strncmp(blank + 1, "\xe3\x80\x81", 3) == 0) return blank + 4; /* 、 */
    return text;
}

static millet_status add_choice(struct parser *p, const char *text)
{
    struct mlt_choice_record *r = &p->record;
    if (r->n_choices == MLT_MAX_CHOICES) return bad(p, "has more than 26 choices");
    if (!text) return bad(p, "has a choice that is no text");
    MLT_TRY(keep(p, text, &r->choices[r->n_choices]));
    if (!r->choices[r->n_choices++][0]) return bad(p, "has an empty choice");
    return MILLET_OK;
}

/* Whether every text of a list begins with its letter. */
static bool all_lettered(const json_t *list)
{
    size_t i;
    json_t *item;
    json_array_foreach (list, i, item) {
        const char *text = json_string_value(item);
        if (i >= MLT_MAX_CHOICES || !text || after_letter(text, (int32_t)i) == text) return false;
    }
    return true;
}

static millet_status list_choices(struct parser *p, const json_t *list)
{
    bool lettered = all_lettered(list);
    size_t i;
    json_t *item;
    json_array_foreach (list, i, item) {
        char number[64];
        const char *text = json_string_value(item);
        if (json_is_integer(item)) {
            snprintf(number, sizeof number, "%lld", (long long)json_integer_value(item));
            text = number;
        }
        MLT_TRY(add_choice(p, text && lettered ? after_letter(text, (int32_t)i) : text));
    }
    return MILLET_OK;
}

/* Members A, B, C ... of the record. */
static millet_status member_choices(struct parser *p, const json_t *record)
{
    for (char name[2] = "A"; name[0] <= 'Z'; name[0]++) {
        const json_t *choice = json_object_get(record, name);
        if (!choice || json_is_null(choice)) break;
        char number[64];
        const char *text = json_string_value(choice);
        if (json_is_number(choice)) {
            snprintf(number, sizeof number, "%.12g", json_number_value(choice));
            text = number;
        }
        MLT_TRY(add_choice(p, text));
    }
    return MILLET_OK;
}

static millet_status read_choices(struct parser *p, const json_t *record, const json_t **labels)
{
    static const char *const names[] = {"choices", "options", NULL};
    const json_t *choices = member(record, names);
    *labels = NULL;
    if (json_is_object(choices)) { /* {"text": [...], "label": [...]} */
        *labels = json_object_get(choices, "label");
        choices = json_object_get(choices, "text");
        if (!json_is_array(choices)) return bad(p, "needs a list \"text\" in its choices");
    }
    if (json_is_array(choices))
        MLT_TRY(list_choices(p, choices));
    else if (choices)
        return bad(p, "needs a list of choices");
    else
        MLT_TRY(member_choices(p, record));
    if (p->record.n_choices < 2)
        return bad(p, "needs at least two choices: \"choices\", \"options\", or \"A\", \"B\" ...");
    return MILLET_OK;
}

/* ---- The answer ---- */

static int32_t find_label(const json_t *labels, const char *text)
{
    size_t i;
    json_t *label;
    json_array_foreach (labels, i, label)
        if (json_is_string(label) && strcmp(json_string_value(label), text) == 0) return (int32_t)i;
    return -1;
}

/* Letters are read before texts: a choice that says "B" is not meant by "B". */
static int32_t find_answer(const struct parser *p, const json_t *labels, const char *text)
{
    const struct mlt_choice_record *r = &p->record;
    if (labels) return find_label(labels, text);
    size_t open = text[0] == '(';
    char letter = text[open];
    if (letter >= 'a' && letter <= 'z') letter = (char)(letter - 'a' + 'A');
    if (letter >= 'A' && letter <= 'Z' && strcmp(text + open + 1, open ? ")" : "") == 0) return letter - 'A';
    for (int32_t i = 0; i < r->n_choices; i++)
        if (strcmp(r->choices[i], text) == 0) return i;
    return -1;
}

static millet_status read_answer(struct parser *p, const json_t *record, const json_t *labels)
{
    static const char *const names[] = {"answer", "Answer", "label", "answerKey", "answer_key", NULL};
    const json_t *answer = member(record, names);
    struct mlt_choice_record *r = &p->record;
    if (json_is_array(answer) && json_array_size(answer) == 1) answer = json_array_get(answer, 0);
    if (!answer) return bad(p, "has no \"answer\"");
    json_int_t index = -1;
    if (json_is_integer(answer)) {
        index = json_integer_value(answer);
    } else if (json_is_string(answer)) {
        const char *text;
        MLT_TRY(keep(p, json_string_value(answer), &text));
        index = find_answer(p, labels, text);
    }
    if (index < 0 || index >= r->n_choices)
        return bad(p,
                   "its answer is none of its choices (a letter, an index from 0, or what the choice says)");
    r->answer = (int32_t)index;
    return MILLET_OK;
}

/* ---- Records ---- */

static millet_status text_member(struct parser *p, const json_t *record, const char *const *names,
                                 const char **out)
{
    const json_t *value = member(record, names);
    *out = "";
    if (!value) return MILLET_OK;
    if (!json_is_string(value)) {
        char message[64];
        snprintf(message, sizeof message, "its \"%s\" is no text", names[0]);
        return bad(p, message);
    }
    return keep(p, json_string_value(value), out);
}

/* The file's name without folder and extensions. */
static millet_status name_of_file(struct parser *p, const char **out)
{
    const char *slash = strrchr(p->path, '/'), *name = slash ? slash + 1 : p->path;
    size_t length = strcspn(name, ".");
    *out = mlt_arena_text(&p->records->arena, name, length, p->err);
    return *out ? MILLET_OK : MILLET_NO_MEMORY;
}

static millet_status parse(struct parser *p, const json_t *record)
{
    static const char *const questions[] = {"question", "Question", NULL},
                             *const passages[] = {"passage", NULL},
                             *const subjects[] = {"subject", "category", NULL};
    struct mlt_choice_record *r = &p->record;
    *r = (struct mlt_choice_record){.path = p->path, .line = p->line, .place = p->records->count};
    MLT_TRY(text_member(p, record, questions, &r->question));
    MLT_TRY(text_member(p, record, passages, &r->passage));
    MLT_TRY(text_member(p, record, subjects, &r->subject));
    if (!r->question[0]) return bad(p, "has no \"question\"");
    if (!r->subject[0]) MLT_TRY(name_of_file(p, &r->subject));
    const json_t *labels;
    MLT_TRY(read_choices(p, record, &labels));
    MLT_TRY(read_answer(p, record, labels));
    struct mlt_choice_records *records = p->records;
    void *items = records->items;
    millet_status status = mlt_grow(&records->allocator, &items, &records->capacity, records->count,
                                    sizeof *records->items, p->err);
    records->items = items;
    if (!status) records->items[records->count++] = *r;
    return status;
}

static millet_status parse_record(void *context, const json_t *record, uint64_t line, millet_error *err)
{
    struct parser *p = context;
    p->line = line;
    p->err = err;
    return parse(p, record);
}

static int by_subject(const void *left, const void *right)
{
    const struct mlt_choice_record *a = left, *b = right;
    int order = strcmp(a->subject, b->subject);
    return order ? order : (a->place > b->place) - (a->place < b->place);
}

millet_status mlt_choice_records_read(struct mlt_choice_records *records, const millet_allocator *allocator,
                                      const char *const *paths, size_t n_paths, millet_error *err)
{
    *records = (struct mlt_choice_records){.allocator = *allocator};
    mlt_arena_init(&records->arena, allocator);
    struct parser parser = {.records = records, .err = err};
    for (size_t i = 0; i < n_paths; i++) {
        parser.path = paths[i];
        MLT_TRY(mlt_each_record(allocator, paths[i], parse_record, &parser, err));
    }
    if (records->count) qsort(records->items, records->count, sizeof *records->items, by_subject);
    return MILLET_OK;
}

void mlt_choice_records_release(struct mlt_choice_records *records)
{
    mlt_free(&records->allocator, records->items);
    mlt_arena_release(&records->arena);
    records->items = NULL;
    records->count = 0;
}

/* The first record whose subject is not before `subject` (or, with `after`, is behind it). */
static size_t bound(const struct mlt_choice_records *records, const char *subject, bool after)
{
    size_t low = 0, high = records->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(records->items[middle].subject, subject);
        if (order < 0 || (after && order == 0))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void mlt_choice_records_of(const struct mlt_choice_records *records, const char *subject, size_t *begin,
                           size_t *end)
{
    *begin = bound(records, subject, false);
    *end = bound(records, subject, true);
}

/* U+4E00 to U+9FFF: three bytes from E4 B8 80 to E9 BF BF. */
static bool has_chinese(const char *text)
{
    for (const unsigned char *c = (const unsigned char *)text; *c; c++)
        if (*c >= 0xe5 && *c <= 0xe9)
            return true;
        else if (*c == 0xe4 && c[1] >= 0xb8)
            return true;
    return false;
}

bool mlt_choice_records_chinese(const struct mlt_choice_records *records)
{
    size_t chinese = 0;
    for (size_t i = 0; i < records->count; i++)
        chinese += has_chinese(records->items[i].question);
    return 2 * chinese >= records->count && chinese > 0;
}
