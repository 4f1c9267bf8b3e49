/* Reading words from left to right. SPDX-License-Identifier: Apache-2.0 */
#include "assistant/words_scan.h"

#include "assistant/sentence.h"

#include <string.h>
#include <strings.h>

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

void mlt_scan_space(struct mlt_scan *s)
{
    for (; s->at < s->length; s->at++) {
        char c = s->text[s->at];
        bool joins = c == '-' && s->at > 0 && is_letter(s->text[s->at - 1]); /* "twenty-five"; else a minus */
        if (c != ' ' && c != ',' && !joins) return;
    }
}

bool mlt_scan_at_end(struct mlt_scan *s)
{
    mlt_scan_space(s);
    return s->at == s->length;
}

size_t mlt_scan_sees(const struct mlt_scan *s, const char *word)
{
    size_t n = strlen(word);
    return n <= s->length - s->at && strncasecmp(s->text + s->at, word, n) == 0 ? n : 0;
}

size_t mlt_scan_sees_word(const struct mlt_scan *s, const char *word)
{
    size_t n = mlt_scan_sees(s, word);
    if (!n) return 0;
    bool ends = s->at + n == s->length || !is_letter(s->text[s->at + n]);
    /* "10min" and "5pm" have no space; a word that follows letters is a part of another one */
    bool begins = s->at == 0 || !is_letter(s->text[s->at - 1]);
    return ends && begins ? n : 0;
}

bool mlt_scan_take(struct mlt_scan *s, const char *word)
{
    struct mlt_scan ahead = *s;
    mlt_scan_space(&ahead);
    size_t n = mlt_scan_sees(&ahead, word);
    if (!n) return false;
    ahead.at += n;
    *s = ahead;
    return true;
}

bool mlt_scan_take_word(struct mlt_scan *s, const char *word)
{
    struct mlt_scan ahead = *s;
    mlt_scan_space(&ahead);
    size_t n = mlt_scan_sees_word(&ahead, word);
    if (!n) return false;
    ahead.at += n;
    *s = ahead;
    return true;
}
