/* Matching sentences by backtracking. SPDX-License-Identifier: Apache-2.0 */
#include "assistant/sentence.h"

#include <string.h>

enum kind { LITERAL, SPACE, CAPTURE, CHOICE };
enum { MAX_DEPTH = 8, MAX_STEPS = 100000 };

struct branch {
    const struct mlt_sentence_node *first;
    struct branch *next;
};

struct mlt_sentence_node {
    enum kind kind;
    const char *text; /* literal, or the capture's name */
    size_t length;
    bool typed; /* of a capture: the longest that is judged well is taken */
    struct branch *branches;
    struct mlt_sentence_node *next;
};

/* ---- Compiling
 * ---------------------------------------------------------------------------------------------- */

struct compiler {
    struct mlt_arena *arena;
    const char *source, *at;
    int depth;
    mlt_capture_typed *typed;
    void *context;
    millet_error *err;
};

static millet_status bad(const struct compiler *c, const char *what)
{
    return mlt_fail(c->err, MILLET_BAD_FORMAT, "the sentence \"%s\": %s", c->source, what);
}

static struct mlt_sentence_node *new_node(struct compiler *c, enum kind kind, const char *text, size_t length)
{
    struct mlt_sentence_node *node = mlt_arena_alloc(c->arena, 1, sizeof *node, c->err);
    char *copy = node ? mlt_arena_text(c->arena, text, length, c->err) : NULL;
    if (!copy) return NULL;
    *node = (struct mlt_sentence_node){.kind = kind, .text = copy, .length = length};
    return node;
}

static millet_status sequence(struct compiler *c, const struct mlt_sentence_node **first);

static millet_status branches(struct compiler *c, char close, struct branch **tail)
{
    if (++c->depth > MAX_DEPTH) return bad(c, "brackets are nested too deep");
    for (;;) {
        struct branch *branch = mlt_arena_alloc(c->arena, 1, sizeof *branch, c->err);
        if (!branch) return MILLET_NO_MEMORY;
        *branch = (struct branch){0};
        MLT_TRY(sequence(c, &branch->first));
        *tail = branch;
        tail = &branch->next;
        if (*c->at != '|') break;
        c->at++;
    }
    if (*c->at++ != close) return bad(c, "a bracket is not closed");
    if (close == ']') {
        *tail = mlt_arena_alloc(c->arena, 1, sizeof **tail, c->err);
        if (!*tail) return MILLET_NO_MEMORY;
        **tail = (struct branch){0};
    }
    c->depth--;
    return MILLET_OK;
}

static millet_status piece(struct compiler *c, struct mlt_sentence_node **node)
{
    const char *at = c->at;
    if (*at == ' ') {
        c->at += strspn(at, " ");
        *node = new_node(c, SPACE, "", 0);
    } else if (*at == '{') {
        size_t length = strcspn(at + 1, "}");
        if (!at[1 + length] || length == 0) return bad(c, "an argument has no name or no end");
        c->at += length + 2;
        *node = new_node(c, CAPTURE, at + 1, length);
        if (*node) (*node)->typed = c->typed(c->context, (*node)->text);
    } else if (*at == '(' || *at == '[') {
        c->at++;
        *node = new_node(c, CHOICE, "", 0);
        if (*node) return branches(c, *at == '(' ? ')' : ']', &(*node)->branches);
    } else {
        size_t length = strcspn(at, " {([|)]}");
        if (length == 0) return bad(c, "a bracket that was not opened");
        c->at += length;
        *node = new_node(c, LITERAL, at, length);
    }
    return *node ? MILLET_OK : MILLET_NO_MEMORY;
}

/* Up to | or a closing bracket or the end. */
static millet_status sequence(struct compiler *c, const struct mlt_sentence_node **first)
{
    struct mlt_sentence_node *last = NULL, *node = NULL;
    while (*c->at && *c->at != '|' && *c->at != ')' && *c->at != ']') {
        MLT_TRY(piece(c, &node));
        if (last)
            last->next = node;
        else
            *first = node;
        last = node;
    }
    return MILLET_OK;
}

millet_status mlt_sentence_compile(struct mlt_arena *arena, const char *source, mlt_capture_typed *typed,
                                   void *context, struct mlt_sentence *sentence, millet_error *err)
{
    struct compiler c = {
        .arena = arena, .source = source, .at = source, .typed = typed, .context = context, .err = err};
    sentence->source = source;
    sentence->first = NULL;
    sentence->implied = NULL;
    MLT_TRY(sequence(&c, &sentence->first));
    return *c.at ? bad(&c, "a bracket that was not opened") : MILLET_OK;
}

static void names_of(const struct mlt_sentence_node *node, void (*each)(void *, const char *), void *context)
{
    for (; node; node = node->next) {
        if (node->kind == CAPTURE) each(context, node->text);
        for (const struct branch *b = node->branches; b; b = b->next)
            names_of(b->first, each, context);
    }
}

void mlt_sentence_names(const struct mlt_sentence *sentence, void (*each)(void *, const char *),
                        void *context)
{
    names_of(sentence->first, each, context);
}

/* ---- Matching
 * ----------------------------------------------------------------------------------------------- */

/* What is left to match when a branch is through. */
struct rest {
    const struct mlt_sentence_node *node;
    const struct rest *outer;
};

struct matcher {
    const char *text;
    size_t length;
    mlt_capture_judge *judge;
    void *context;
    struct mlt_match *match;
    int steps;
};

static bool is_gap(char c)
{
    return c == ' ' || c == ',';
}

/* Beginning with U+2E80 no spaces are written; their UTF-8 begins with 0xE2 0xBA at least. */
static bool dense_at(const char *text, size_t length, size_t at)
{
    unsigned char first = at < length ? (unsigned char)text[at] : 0;
    return first >= 0xE3 || (first == 0xE2 && at + 1 < length && (unsigned char)text[at + 1] >= 0xBA);
}

static bool dense_before(const char *text, size_t length, size_t at)
{
    while (at > 0 && ((unsigned char)text[--at] & 0xC0) == 0x80)
        continue;
    return dense_at(text, length, at);
}

bool mlt_word_edge(const char *text, size_t length, size_t at)
{
    if (at < length && ((unsigned char)text[at] & 0xC0) == 0x80) return false;
    return at == 0 || at >= length || is_gap(text[at]) || is_gap(text[at - 1]) ||
           dense_at(text, length, at) || dense_before(text, length, at);
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool literal_at(const struct matcher *m, const struct mlt_sentence_node *node, size_t at)
{
    if (node->length > m->length - at) return false;
    for (size_t i = 0; i < node->length; i++)
        if (lower(m->text[at + i]) != node->text[i]) return false;
    return true;
}

static bool match_at(struct matcher *m, const struct mlt_sentence_node *node, const struct rest *rest,
                     size_t at);

static bool capture_at(struct matcher *m, const struct mlt_sentence_node *node, const struct rest *rest,
                       size_t at)
{
    struct mlt_match *match = m->match;
    while (at < m->length && is_gap(m->text[at]))
        at++;
    if (match->n_captures == MLT_MAX_CAPTURES || !mlt_word_edge(m->text, m->length, at)) return false;
    int mine = match->n_captures++;
    for (size_t i = at + 1; i <= m->length; i++) {
        size_t end = node->typed ? m->length + at + 1 - i : i;
        if (!mlt_word_edge(m->text, m->length, end) || is_gap(m->text[end - 1])) continue;
        if (node->typed && !m->judge(m->context, node->text, m->text + at, end - at)) continue;
        match->captures[mine] = (struct mlt_capture){node->text, at, end};
        if (match_at(m, node->next, rest, end)) return true;
        match->n_captures = mine + 1;
    }
    match->n_captures = mine;
    return false;
}

static bool accepted(const struct matcher *m)
{
    for (int i = 0; i < m->match->n_captures; i++) {
        const struct mlt_capture *got = &m->match->captures[i];
        if (!m->judge(m->context, got->name, m->text + got->start, got->end - got->start)) return false;
    }
    return true;
}

static bool match_at(struct matcher *m, const struct mlt_sentence_node *node, const struct rest *rest,
                     size_t at)
{
    if (++m->steps > MAX_STEPS) return false;
    if (!node) {
        if (rest) return match_at(m, rest->node, rest->outer, at);
        while (at < m->length && is_gap(m->text[at]))
            at++;
        return at == m->length && accepted(m);
    }
    switch (node->kind) {
    case SPACE: {
        size_t next = at;
        while (next < m->length && is_gap(m->text[next]))
            next++;
        return mlt_word_edge(m->text, m->length, at) && match_at(m, node->next, rest, next);
    }
    case LITERAL:
        if (!literal_at(m, node, at)) return false;
        m->match->literal += (int)node->length;
        if (match_at(m, node->next, rest, at + node->length)) return true;
        m->match->literal -= (int)node->length;
        return false;
    case CAPTURE: return capture_at(m, node, rest, at);
    case CHOICE: {
        const struct rest after = {node->next, rest};
        for (const struct branch *b = node->branches; b; b = b->next)
            if (match_at(m, b->first, &after, at)) return true;
        return false;
    }
    }
    return false;
}

bool mlt_sentence_match(const struct mlt_sentence *sentence, const char *text, size_t length,
                        mlt_capture_judge *judge, void *context, struct mlt_match *match)
{
    struct matcher m = {text, length, judge, context, match, 0};
    *match = (struct mlt_match){0};
    size_t begin = 0;
    while (begin < length && is_gap(text[begin]))
        begin++;
    return match_at(&m, sentence->first, NULL, begin);
}
