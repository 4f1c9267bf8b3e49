/* Writing dialogues by the table of forms. SPDX-License-Identifier: Apache-2.0 */
#include "tokenizer/chat_template.h"
#include "tokenizer/chat_forms.h"
#include "tokenizer/utf8.h"

#include <string.h>

const char *mlt_chat_names(void)
{
    return "chatml, llama2, llama2-sys, llama2-sys-bos, llama2-sys-strip, llama2-sys-bos-strip, mistral-v1, "
           "mistral-v3, "
           "mistral-v3-tekken, mistral-v7, mistral-v7-tekken, llama3, llama4, gemma, gemma4, phi3, phi4, "
           "zephyr, "
           "zephyr-llama, falcon3, vicuna, vicuna-orca, openchat, monarch, orion, deepseek, deepseek2, "
           "deepseek3, "
           "command-r, chatglm3, chatglm4, glmedge, minicpm, exaone3, rwkv-world, granite, gigachat, megrez, "
           "smolvlm, "
           "gpt-oss, kimi-k2, grok-2, bailing, bailing-think, bailing2, seed_oss, dots1, hunyuan-moe, bitnet";
}

const char *mlt_chat_name(size_t index)
{
    return index < mlt_chat_form_count ? mlt_chat_forms[index].name : NULL;
}

/* Whether source[0..length) contains the mark. */
static bool contains(const char *source, size_t length, const char *mark)
{
    size_t size = strlen(mark);
    const char *end = source + length;
    while ((size_t)(end - source) >= size) {
        source = memchr(source, mark[0], (size_t)(end - source) - size + 1);
        if (!source) return false;
        if (memcmp(source, mark, size) == 0) return true;
        source++;
    }
    return false;
}

const char *mlt_chat_detect(const char *source, size_t length)
{
    if (length == 0) return NULL;
    for (size_t i = 0; i < mlt_chat_rule_count; i++) {
        const struct mlt_chat_rule *rule = &mlt_chat_rules[i];
        bool fits = true;
        for (size_t k = 0; k < MLT_COUNT(rule->marks) && rule->marks[k] && fits; k++)
            fits = contains(source, length, rule->marks[k]);
        if (fits) return rule->name;
    }
    return NULL;
}

struct span {
    const char *data;
    size_t length;
};

static struct span trim(struct span text)
{
    while (text.length && mlt_ascii_space(text.data[0])) {
        text.data++;
        text.length--;
    }
    while (text.length && mlt_ascii_space(text.data[text.length - 1]))
        text.length--;
    return text;
}

static millet_status append_role(struct mlt_text *out, const char *role, bool all_capitals, millet_error *err)
{
    size_t begin = out->length;
    MLT_TRY(mlt_text_append(out, role, strlen(role), err));
    for (size_t i = begin; i < out->length && (all_capitals || i == begin); i++)
        if (out->data[i] >= 'a' && out->data[i] <= 'z') out->data[i] = (char)(out->data[i] - 'a' + 'A');
    return MILLET_OK;
}

/* Writes a turn by its pattern; `before` stands before what is said, outside of its trimming. */
static millet_status append_turn(struct mlt_text *out, const char *pattern, const char *role,
                                 struct span before, struct span said, millet_error *err)
{
    enum { ROLE, ROLE_CAPITAL, ROLE_CAPITALS, TEXT, TRIM, NONE };
    static const char *const words[] = {"{role}", "{Role}", "{ROLE}", "{text}", "{trim}"};
    for (const char *brace; (brace = strchr(pattern, '{')) != NULL;) {
        int word = 0;
        while (word < NONE && strncmp(brace, words[word], strlen(words[word])) != 0)
            word++;
        size_t plain = (size_t)(brace - pattern) + (word == NONE);
        MLT_TRY(mlt_text_append(out, pattern, plain, err));
        pattern += plain;
        if (word == NONE) continue;
        pattern += strlen(words[word]);
        if (word == ROLE) {
            MLT_TRY(mlt_text_append(out, role, strlen(role), err));
        } else if (word == ROLE_CAPITAL || word == ROLE_CAPITALS) {
            MLT_TRY(append_role(out, role, word == ROLE_CAPITALS, err));
        } else {
            struct span text = word == TRIM ? trim(said) : said;
            MLT_TRY(mlt_text_append(out, before.data, before.length, err));
            MLT_TRY(mlt_text_append(out, text.data, text.length, err));
        }
    }
    return mlt_text_append(out, pattern, strlen(pattern), err);
}

/* A dialogue on its way into a text. */
struct rendering {
    const struct mlt_chat_form *form;
    const millet_message *messages;
    size_t n_messages;
    struct mlt_text *out;
    struct mlt_text held; /* system texts that wait for a user's turn */
};

static bool has_role(const millet_message *message, const char *role)
{
    return strcmp(message->role, role) == 0;
}

static struct span content_of(const millet_message *message)
{
    return (struct span){message->content, strlen(message->content)};
}

static bool is_held(const struct mlt_chat_form *form)
{
    return form->place == MLT_SYSTEM_NEXT_USER || form->place == MLT_SYSTEM_FINAL_USER;
}

static const char *pattern_for(const struct mlt_chat_form *form, const char *role)
{
    const char *pattern = NULL;
    if (strcmp(role, "system") == 0) pattern = form->system;
    if (strcmp(role, "user") == 0) pattern = form->user;
    if (strcmp(role, "assistant") == 0) pattern = form->assistant;
    return pattern ? pattern : form->other;
}

static millet_status check_messages(const struct rendering *rendering, millet_error *err)
{
    for (size_t i = 0; i < rendering->n_messages; i++) {
        const millet_message *message = &rendering->messages[i];
        if (!message->role || !message->content)
            return mlt_fail(err, MILLET_BAD_ARGUMENT, "message %zu has no %s", i,
                            message->role ? "content" : "role");
        if (!pattern_for(rendering->form, message->role))
            return mlt_fail(err, MILLET_BAD_ARGUMENT,
                            "the chat template %s has no turn for the role \"%.40s\"; it knows system, user "
                            "and assistant",
                            rendering->form->name, message->role);
    }
    return MILLET_OK;
}

static millet_status append_message(struct rendering *rendering, const millet_message *message,
                                    bool with_held, millet_error *err)
{
    struct span before = {rendering->held.data, with_held ? rendering->held.length : 0};
    MLT_TRY(append_turn(rendering->out, pattern_for(rendering->form, message->role), message->role, before,
                        content_of(message), err));
    if (with_held) rendering->held.length = 0;
    return MILLET_OK;
}

static millet_status append_messages(struct rendering *rendering, millet_error *err)
{
    const struct mlt_chat_form *form = rendering->form;
    size_t last_user = rendering->n_messages;
    for (size_t i = 0; i < rendering->n_messages; i++)
        if (has_role(&rendering->messages[i], "user")) last_user = i;
    for (size_t i = 0; i < rendering->n_messages; i++) {
        const millet_message *message = &rendering->messages[i];
        bool system = has_role(message, "system"), user = has_role(message, "user");
        if (system && form->place == MLT_SYSTEM_FIRST) continue;
        if (system && is_held(form)) {
            struct span none = {"", 0};
            MLT_TRY(append_turn(&rendering->held, form->system, "system", none, content_of(message), err));
            continue;
        }
        MLT_TRY(append_message(rendering, message,
                               user && (form->place != MLT_SYSTEM_FINAL_USER || i == last_user), err));
    }
    /* System texts after the last user's turn make one of their own. */
    const millet_message rest = {"user", ""};
    return rendering->held.length ? append_message(rendering, &rest, true, err) : MILLET_OK;
}

static millet_status append_dialogue(struct rendering *rendering, bool assistant, millet_error *err)
{
    const struct mlt_chat_form *form = rendering->form;
    const millet_message *messages = rendering->messages;
    struct mlt_text *out = rendering->out;
    size_t begin = out->length;
    if (form->begin) MLT_TRY(mlt_text_append(out, form->begin, strlen(form->begin), err));
    bool starts_with_system = rendering->n_messages && has_role(&messages[0], "system");
    if (form->no_system && !starts_with_system)
        MLT_TRY(mlt_text_append(out, form->no_system, strlen(form->no_system), err));
    for (size_t i = 0; form->place == MLT_SYSTEM_FIRST && i < rendering->n_messages; i++)
        if (has_role(&messages[i], "system")) MLT_TRY(append_message(rendering, &messages[i], false, err));
    MLT_TRY(append_messages(rendering, err));
    if (assistant && form->opening) MLT_TRY(mlt_text_append(out, form->opening, strlen(form->opening), err));

    size_t skip = form->skip ? strlen(form->skip) : 0;
    if (skip && out->length - begin >= skip && memcmp(out->data + begin, form->skip, skip) == 0) {
        out->length -= skip;
        memmove(out->data + begin, out->data + begin + skip, out->length - begin + 1);
    }
    return MILLET_OK;
}

millet_status mlt_chat_render(const char *name, const millet_message *messages, size_t n_messages,
                              bool assistant, struct mlt_text *out, millet_error *err)
{
    const struct mlt_chat_form *form = NULL;
    for (size_t i = 0; i < mlt_chat_form_count && !form; i++)
        if (strcmp(mlt_chat_forms[i].name, name) == 0) form = &mlt_chat_forms[i];
    if (!form)
        return mlt_fail(err, MILLET_NOT_FOUND,
                        "there is no chat template \"%.40s\"; the names are %.280s ...", name,
                        mlt_chat_names());
    struct rendering rendering = {form, messages, n_messages, out, {.allocator = out->allocator}};
    MLT_TRY(check_messages(&rendering, err));
    size_t before = out->length;
    millet_status status = append_dialogue(&rendering, assistant, err);
    mlt_text_release(&rendering.held);
    if (status) {
        out->length = before;
        if (out->data) out->data[before] = 0;
    }
    return status;
}
