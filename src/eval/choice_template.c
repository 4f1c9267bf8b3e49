/* SPDX-License-Identifier: Apache-2.0 */
#include "eval/choice_template.h"

#include "base/file.h"

#include <string.h>

enum { MAX_FILE = 1 << 20 };

/* ---- Built-in ---- */

struct mlt_choice_template mlt_choice_template_of(bool chinese, bool texts)
{
    static const struct mlt_choice_template builtin[2][2] = {
        {{.name = "en letters",
          .parts = {"The following are multiple choice questions (with answers) about {subject}.\n\n",
                    "{passage}{question}\n{options}Answer:", "{letter}. {choice}\n", " {letter}", "\n\n"}},
         {.name = "en texts",
          .parts = {"", "{passage}Question: {question}\nAnswer:", "", " {choice}", "\n\n"}}},
        {{.name = "zh letters",
          .parts = {"以下是中国关于{subject}考试的单项选择题，请选出其中的正确答案。\n\n",
                    "{passage}{question}\n{options}答案：", "{letter}. {choice}\n", "{letter}", "\n\n"}},
         {.name = "zh texts", .parts = {"", "{passage}问题：{question}\n答案：", "", "{choice}", "\n\n"}}},
    };
    return builtin[chinese][texts];
}

bool mlt_choice_template_letters(const struct mlt_choice_template *template)
{
    return strstr(template->parts[MLT_PART_ANSWER], "{letter}") &&
           !strstr(template->parts[MLT_PART_ANSWER], "{choice}");
}

/* ---- A file ---- */

enum placeholder { SUBJECT, PASSAGE, QUESTION, OPTIONS, LETTER, CHOICE, N_PLACEHOLDERS };

static const char *const placeholders[N_PLACEHOLDERS] = {"{subject}", "{passage}", "{question}",
                                                         "{options}", "{letter}",  "{choice}"};
static const char *const headings[MLT_TEMPLATE_PARTS] = {"[header]", "[question]", "[option]", "[answer]",
                                                         "[between]"};

/* What a part may hold, as bits. */
enum { OF_RECORD = 1 << SUBJECT | 1 << PASSAGE | 1 << QUESTION, OF_CHOICE = 1 << LETTER | 1 << CHOICE };
static const unsigned allowed[MLT_TEMPLATE_PARTS] = {1 << SUBJECT, OF_RECORD | 1 << OPTIONS, OF_CHOICE,
                                                     OF_CHOICE, 0};

/* The placeholder that text begins with, or N_PLACEHOLDERS. */
static int placeholder_at(const char *text)
{
    int i = 0;
    while (i < N_PLACEHOLDERS && strncmp(text, placeholders[i], strlen(placeholders[i])) != 0)
        i++;
    return i;
}

struct template_reader {
    const char *path;
    unsigned line;
    int part;   /* -1: before the first heading */
    bool begun; /* it has a line */
    millet_error *err;
};

static millet_status bad(const struct template_reader *r, const char *what, const char *which)
{
    return mlt_fail_at(r->err, MILLET_BAD_FORMAT, r->path, NULL, MILLET_NO_OFFSET, "line %u: %s%s", r->line,
                       what, which);
}

/* Braces around small letters must be a placeholder of this part. */
static millet_status check_line(const struct template_reader *r, const char *line)
{
    for (const char *brace = strchr(line, '{'); brace; brace = strchr(brace + 1, '{')) {
        size_t word = strspn(brace + 1, "abcdefghijklmnopqrstuvwxyz");
        if (word == 0 || brace[1 + word] != '}') continue;
        int which = placeholder_at(brace);
        if (which == N_PLACEHOLDERS)
            return bad(
                r,
                "unknown placeholder; known are {subject} {passage} {question} {options} {letter} {choice}",
                "");
        if (!(allowed[r->part] >> which & 1)) return bad(r, "this part has no ", placeholders[which]);
    }
    return MILLET_OK;
}

static int heading_of(const char *line)
{
    for (int i = 0; i < MLT_TEMPLATE_PARTS; i++)
        if (strcmp(line, headings[i]) == 0) return i;
    return -1;
}

/* Cuts the file's text into its parts: what stands between two headings, without the last end of line. */
static millet_status cut(struct mlt_choice_template *template, struct template_reader *r)
{
    char *out = NULL; /* where the part's text ends; lines move up to it */
    for (char *line = template->file, *next; line; line = next) {
        r->line++;
        char *end = strchr(line, '\n');
        next = end ? end + 1 : NULL;
        if (end) *end = 0;
        size_t length = strlen(line);
        if (length && line[length - 1] == '\r') line[--length] = 0;
        int part = heading_of(line);
        if (part >= 0) {
            if (template->parts[part]) return bad(r, "this part stands twice: ", headings[part]);
            r->part = part;
            r->begun = false;
            template->parts[part] = out = line; /* overwritten by what follows */
            *out = 0;
            continue;
        }
        if (!next && length == 0) break;
        if (!out && (length == 0 || line[0] == '#')) continue;
        if (!out) return bad(r, "a part is expected first: ", headings[MLT_PART_QUESTION]);
        MLT_TRY(check_line(r, line));
        if (r->begun) *out++ = '\n';
        r->begun = true;
        memmove(out, line, length + 1);
        out += length;
    }
    return MILLET_OK;
}

millet_status mlt_choice_template_read(struct mlt_choice_template *template,
                                       const millet_allocator *allocator, const char *path, millet_error *err)
{
    *template = (struct mlt_choice_template){.name = path, .allocator = *allocator};
    struct template_reader reader = {.path = path, .part = -1, .err = err};
    uint64_t size;
    MLT_TRY(mlt_file_read(allocator, path, MAX_FILE, &template->file, &size, err));
    if (strlen(template->file) != size) return bad(&reader, "there is a NUL byte in the template", "");
    MLT_TRY(cut(template, &reader));
    for (int i = 0; i < MLT_TEMPLATE_PARTS; i++) {
        bool needed = i == MLT_PART_QUESTION || i == MLT_PART_ANSWER;
        if (!template->parts[i] && needed) return bad(&reader, "the template has no ", headings[i]);
        if (!template->parts[i]) template->parts[i] = i == MLT_PART_BETWEEN ? "\n\n" : "";
    }
    const char *answer = template->parts[MLT_PART_ANSWER];
    if (!strstr(answer, "{letter}") && !strstr(answer, "{choice}"))
        return bad(&reader, "the part needs {letter} or {choice}: ", headings[MLT_PART_ANSWER]);
    return MILLET_OK;
}

void mlt_choice_template_release(struct mlt_choice_template *template)
{
    if (template->file) mlt_free(&template->allocator, template->file);
    template->file = NULL;
}

/* ---- Writing ---- */

static millet_status append(struct mlt_text *out, const char *text, millet_error *err)
{
    return mlt_text_append(out, text, strlen(text), err);
}

/* "college_physics" is written with spaces. */
static millet_status append_subject(struct mlt_text *out, const char *subject, millet_error *err)
{
    for (; *subject; subject++)
        MLT_TRY(mlt_text_append(out, *subject == '_' ? " " : subject, 1, err));
    return MILLET_OK;
}

static millet_status append_value(const struct mlt_choice_template *template, int which,
                                  const struct mlt_choice_record *record, int32_t choice,
                                  struct mlt_text *out, millet_error *err)
{
    const char letter = (char)('A' + choice);
    switch (which) {
    case SUBJECT: return append_subject(out, record->subject, err);
    case PASSAGE:
        if (!record->passage[0]) return MILLET_OK;
        MLT_TRY(append(out, record->passage, err));
        return append(out, "\n", err);
    case QUESTION: return append(out, record->question, err);
    case OPTIONS:
        for (int32_t i = 0; i < record->n_choices; i++)
            MLT_TRY(mlt_choice_template_write(template, MLT_PART_OPTION, record, i, out, err));
        return MILLET_OK;
    case LETTER: return mlt_text_append(out, &letter, 1, err);
    default: return append(out, record->choices[choice], err);
    }
}

millet_status mlt_choice_template_write(const struct mlt_choice_template *template,
                                        enum mlt_template_part part, const struct mlt_choice_record *record,
                                        int32_t choice, struct mlt_text *out, millet_error *err)
{
    const char *text = template->parts[part];
    MLT_TRY(append(out, "", err));
    while (*text) {
        size_t plain = strcspn(text, "{");
        MLT_TRY(mlt_text_append(out, text, plain, err));
        text += plain;
        if (!*text) break;
        int which = placeholder_at(text);
        if (which == N_PLACEHOLDERS) {
            MLT_TRY(mlt_text_append(out, text++, 1, err));
        } else {
            MLT_TRY(append_value(template, which, record, choice, out, err));
            text += strlen(placeholders[which]);
        }
    }
    return MILLET_OK;
}
