/* Words around the matter, as tables. SPDX-License-Identifier: Apache-2.0 */
#include "assistant/polite.h"

#include "assistant/sentence.h"

#include <string.h>
#include <strings.h>

enum { MAX_UTTERANCE = 4096 };

static const char *const polite_first[] = {"please",
                                           "could you",
                                           "can you",
                                           "would you",
                                           "will you",
                                           "could we",
                                           "can we",
                                           "hey millet",
                                           "ok millet",
                                           "okay millet",
                                           "hi millet",
                                           "millet",
                                           "hey",
                                           "i want you to",
                                           "i would like you to",
                                           "i'd like you to",
                                           "i want to",
                                           "i would like to",
                                           "i'd like to",
                                           "i need you to",
                                           "i need to",
                                           "um",
                                           "uh",
                                           "er",
                                           "well",
                                           "so",
                                           "okay",
                                           "ok",
                                           "just",
                                           "kindly",
                                           "now",
                                           "go ahead and",
                                           "let's",
                                           "also",
                                           "then",
                                           "and",
                                           "oh",
                                           "yes",
                                           "yeah",
                                           "sorry",
                                           "请问",
                                           "请",
                                           "帮我",
                                           "帮忙",
                                           "麻烦你",
                                           "麻烦",
                                           "你能不能",
                                           "能不能",
                                           "你能",
                                           "可以",
                                           "你可以",
                                           "给我",
                                           "嗯",
                                           "呃",
                                           "那个",
                                           "那就",
                                           "小米粒",
                                           "现在",
                                           "再",
                                           "然后",
                                           "我想要",
                                           "我想",
                                           "我要"};
static const char *const polite_last[] = {
    "please",    "for me",  "thanks",     "thank you", "thank you very much",
    "right now", "now",     "if you can", "okay",      "will you",
    "would you", "can you", "millet",     "谢谢",      "谢谢你",
    "吧",        "好吗",    "好不好",     "可以吗",    "行吗",
    "一下",      "啊",      "呀",         "啦"};
static const char *const yes[] = {
    "yes",      "yeah",       "yep",        "yup",       "sure",      "ok",           "okay",     "do it",
    "go ahead", "correct",    "right",      "please do", "of course", "that's right", "yes i do", "yes do it",
    "confirm",  "definitely", "absolutely", "i do",      "是",        "是的",         "好",       "好的",
    "对",       "对的",       "可以",       "行",        "确定",      "没错",         "确认",     "当然",
    "要",       "嗯",         "删吧",       "发吧"};
static const char *const no[] = {
    "no",          "nope",       "nah",       "don't",     "do not",    "no don't",     "cancel",
    "stop",        "never mind", "nevermind", "forget it", "no thanks", "no thank you", "not now",
    "cancel that", "leave it",   "不",        "不要",      "不用",      "不用了",       "别",
    "算了",        "不是",       "取消",      "不行",      "不了",      "不要了",       "没事",
    "不对",        "别删",       "不发"};
static const char *const corrections[] = {"no i meant",
                                          "no i said",
                                          "no i mean",
                                          "no not that",
                                          "no make it",
                                          "no make that",
                                          "i meant",
                                          "i mean",
                                          "i said",
                                          "sorry i meant",
                                          "make it",
                                          "make that",
                                          "change it to",
                                          "change that to",
                                          "actually make it",
                                          "actually make that",
                                          "actually",
                                          "sorry",
                                          "wait",
                                          "rather",
                                          "no",
                                          "oops",
                                          "不对",
                                          "不是",
                                          "我是说",
                                          "我说的是",
                                          "应该是",
                                          "改成",
                                          "改为",
                                          "还是",
                                          "错了",
                                          "不"};
static const char *const follow_ups[] = {
    "and what about", "and how about", "what about", "how about", "and for",
    "and in",         "and on",        "and at",     "and",       "same for",
    "the same for",   "那么",          "那",         "再看看",    "还有"};
static const char *const leads[] = {
    "for",   "at",   "in",    "on",      "to",  "it's called", "it's",      "call it",   "called", "name it",
    "named", "that", "about", "make it", "say", "set it for",  "set it to", "let's say", "maybe",  "about",
    "the",   "its",  "it is", "叫",      "就",  "大概",        "是",        "在",        "内容是"};
static const char *const joints[] = {", and then ", " and then ", " and also ", ", then ", " then ", ", and ",
                                     " and ",       "; ",         ", ",         ",然后",   "然后",   ",再",
                                     "并且",        ",同时",      ",并",        ",顺便",   "顺便",   ",",
                                     ";",           "同时",       "还有"};

/* How many bytes of the text's beginning are the word, as a whole word; 0: none. */
static size_t begins_with(const char *text, size_t length, const char *word)
{
    size_t n = strlen(word);
    if (n > length || strncasecmp(text, word, n) != 0 || !mlt_word_edge(text, length, n)) return 0;
    return n;
}

static bool ends_with(const char *text, size_t length, const char *word)
{
    size_t n = strlen(word);
    return n < length && strncasecmp(text + length - n, word, n) == 0 &&
           mlt_word_edge(text, length, length - n);
}

static void trim(const char **text, size_t *length)
{
    while (*length && (**text == ' ' || **text == ',')) {
        ++*text;
        --*length;
    }
    while (*length && ((*text)[*length - 1] == ' ' || (*text)[*length - 1] == ','))
        --*length;
}

/* Takes the longest of the words off the beginning, where something is left. */
static bool strip_first(const char *const *words, size_t n_words, const char **text, size_t *length)
{
    size_t longest = 0;
    for (size_t i = 0; i < n_words; i++)
        longest = MLT_MAX(longest, begins_with(*text, *length, words[i]));
    const char *rest = *text + longest;
    size_t left = *length - longest;
    trim(&rest, &left);
    if (!longest || !left) return false;
    *text = rest;
    *length = left;
    return true;
}

bool mlt_strip_polite(const char **text, size_t *length)
{
    for (size_t i = 0; i < MLT_COUNT(polite_last); i++)
        if (ends_with(*text, *length, polite_last[i])) {
            *length -= strlen(polite_last[i]);
            trim(text, length);
            return *length > 0;
        }
    return strip_first(polite_first, MLT_COUNT(polite_first), text, length);
}

bool mlt_strip_correction(const char **text, size_t *length)
{
    bool any = false;
    while (strip_first(corrections, MLT_COUNT(corrections), text, length))
        any = true;
    return any;
}

bool mlt_strip_follow_up(const char **text, size_t *length)
{
    bool any = strip_first(follow_ups, MLT_COUNT(follow_ups), text, length);
    static const char *const last[] = {"呢", "then", "as well", "too"};
    for (size_t i = 0; i < MLT_COUNT(last); i++)
        if (ends_with(*text, *length, last[i])) {
            *length -= strlen(last[i]);
            trim(text, length);
            any = true;
        }
    return any && *length > 0;
}

bool mlt_strip_lead(const char **text, size_t *length)
{
    static const char *const last[] = {"one", "timer", "list", "那个", "的", "计时器", "那一个"};
    bool any = strip_first(leads, MLT_COUNT(leads), text, length);
    for (size_t i = 0; i < MLT_COUNT(last) && !any; i++)
        if (ends_with(*text, *length, last[i])) {
            *length -= strlen(last[i]);
            trim(text, length);
            any = *length > 0;
        }
    return any;
}

static bool is_one_of(const char *const *words, size_t n_words, const char *text, size_t length)
{
    for (;;) {
        for (size_t i = 0; i < n_words; i++)
            if (strlen(words[i]) == length && strncasecmp(text, words[i], length) == 0) return true;
        if (!mlt_strip_polite(&text, &length)) return false;
    }
}

bool mlt_is_yes(const char *text, size_t length)
{
    return is_one_of(yes, MLT_COUNT(yes), text, length);
}

bool mlt_is_no(const char *text, size_t length)
{
    return is_one_of(no, MLT_COUNT(no), text, length);
}

bool mlt_next_joint(const char *text, size_t length, size_t from, size_t *end, size_t *next)
{
    for (size_t at = from; at < length; at++)
        for (size_t i = 0; i < MLT_COUNT(joints); i++) {
            size_t n = strlen(joints[i]);
            if (n >= length - at || at == 0 || strncasecmp(text + at, joints[i], n) != 0) continue;
            *end = at;
            *next = at + n;
            return true;
        }
    return false;
}

/* ---- Spelling
 * ------------------------------------------------------------------------------------------------ */

/* The length of the UTF-8 character at the text's beginning, 0 where it is none. */
static size_t character(const unsigned char *text, size_t length)
{
    size_t n = text[0] < 0x80                      ? 1
               : text[0] >= 0xC2 && text[0] < 0xE0 ? 2
               : text[0] >= 0xE0 && text[0] < 0xF0 ? 3
               : text[0] >= 0xF0 && text[0] < 0xF5 ? 4
                                                   : 0;
    if (n > length) return 0;
    for (size_t i = 1; i < n; i++)
        if ((text[i] & 0xC0) != 0x80) return 0;
    if (n == 3 && ((text[0] == 0xE0 && text[1] < 0xA0) || (text[0] == 0xED && text[1] > 0x9F))) return 0;
    if (n == 4 && ((text[0] == 0xF0 && text[1] < 0x90) || (text[0] == 0xF4 && text[1] > 0x8F))) return 0;
    return n;
}

static const struct {
    const char *from, *to;
} spellings[] = {
    {"\u2018", "'"}, {"\u2019", "'"}, {"\u201C", "\""}, {"\u201D", "\""}, {"\uFF0C", ","},
    {"\u3000", " "}, {"\u00A0", " "}, {"\uFF1F", "?"},  {"\uFF01", "!"},  {"\u3002", "."},
    {"\u2026", "."}, {"\uFF1A", ":"}, {"\uFF1B", ";"},
};

static bool is_mark(char c)
{
    return c == '.' || c == '?' || c == '!' || c == ',' || c == ';' || c == ':' || c == ' ';
}

/* "p.m." keeps its stop: a letter, a stop and a letter stand before it. */
static bool keeps_stop(const char *text, size_t length)
{
    return length >= 4 && text[length - 1] == '.' && text[length - 3] == '.';
}

millet_status mlt_clean_utterance(struct mlt_arena *arena, const char *text, size_t length, char **clean,
                                  size_t *clean_length, millet_error *err)
{
    if (length > MAX_UTTERANCE)
        return mlt_fail(err, MILLET_BAD_ARGUMENT, "an utterance may have %d bytes", MAX_UTTERANCE);
    char *out = mlt_arena_alloc(arena, length + 1, 1, err);
    if (!out) return MILLET_NO_MEMORY;
    size_t used = 0;
    for (size_t i = 0, n; i < length; i += n) {
        n = character((const unsigned char *)text + i, length - i);
        if (!n) return mlt_fail(err, MILLET_BAD_ARGUMENT, "the utterance is not UTF-8 at byte %zu", i);
        const char *piece = text + i;
        size_t size = n;
        for (size_t s = 0; s < MLT_COUNT(spellings); s++)
            if (strlen(spellings[s].from) == n && memcmp(text + i, spellings[s].from, n) == 0) {
                piece = spellings[s].to;
                size = strlen(piece);
            }
        if (size == 1 && (unsigned char)*piece <= ' ') piece = " ";
        if (*piece == ' ' && (used == 0 || out[used - 1] == ' ')) continue;
        memcpy(out + used, piece, size);
        used += size;
    }
    while (used && is_mark(out[used - 1]) && !keeps_stop(out, used))
        used--;
    out[used] = 0;
    *clean = out;
    *clean_length = used;
    return MILLET_OK;
}

bool mlt_has_chinese(const char *text, size_t length)
{
    for (size_t i = 0; i + 2 < length; i++) {
        unsigned char a = (unsigned char)text[i], b = (unsigned char)text[i + 1];
        /* U+3400 to U+9FFF */
        if ((a == 0xE3 && b >= 0x90) || (a >= 0xE4 && a <= 0xE9)) return true;
    }
    return false;
}
