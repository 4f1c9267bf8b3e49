/*
 * Chat templates: the table is consistent, the rules for system messages, what is refused.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tokenizer/chat_forms.h"
#include "tokenizer/chat_template.h"

static const millet_message dialogue[] = {
    {"system", "Be brief."},
    {"user", "Hello "},
    {"assistant", " Hi"},
    {"user", "Bye"},
};
enum { MESSAGES = 4 };

static struct mlt_text out;

/* The rendering, valid until the next. */
static const char *render(const char *name, const millet_message *messages, size_t count, bool assistant)
{
    out.allocator = mlt_default_allocator();
    out.length = 0;
    millet_error err;
    if (mlt_chat_render(name, messages, count, assistant, &out, &err)) fail_msg("%s: %s", name, err.message);
    return out.data;
}

static void forms_write_dialogues(void **state)
{
    (void)state;
    assert_string_equal(
        render("chatml", dialogue, MESSAGES, true),
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHello <|im_end|>\n"
        "<|im_start|>assistant\n Hi<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n");
    assert_string_equal(render("llama3", dialogue, 2, false),
                        "<|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
                        "<|start_header_id|>user<|end_header_id|>\n\nHello<|eot_id|>");
    assert_string_equal(
        render("openchat", dialogue, 2, true),
        "GPT4 Correct System: Be brief.<|end_of_turn|>GPT4 Correct User: Hello <|end_of_turn|>"
        "GPT4 Correct Assistant:");
    assert_string_equal(render("bailing", dialogue, 2, true),
                        "<role>SYSTEM</role>Be brief.<role>HUMAN</role>Hello <role>ASSISTANT</role>");
    assert_string_equal(render("chatml", NULL, 0, true), "<|im_start|>assistant\n");
}

static void system_messages_find_their_place(void **state)
{
    (void)state;
    /* Before the next user's text. */
    assert_string_equal(
        render("gemma", dialogue, MESSAGES, true),
        "<start_of_turn>user\nBe brief.\n\nHello<end_of_turn>\n<start_of_turn>model\nHi<end_of_turn>\n"
        "<start_of_turn>user\nBye<end_of_turn>\n<start_of_turn>model\n");
    /* Before the last user's text. */
    assert_string_equal(render("mistral-v3", dialogue, MESSAGES, true),
                        "[INST] Hello [/INST] Hi</s>[INST] Be brief.\n\nBye[/INST]");
    /* BOS stands before each turn of the user but the first, where the tokenizer puts it. */
    assert_string_equal(render("llama2-sys-bos-strip", dialogue, MESSAGES, true),
                        "[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHello [/INST] Hi </s><s>[INST] Bye [/INST]");
    /* First of all, wherever it stood. */
    const millet_message late[] = {{"user", "Hello"}, {"system", "Be brief."}};
    assert_string_equal(render("rwkv-world", late, 2, true),
                        "System: Be brief.\n\nUser: Hello\n\nAssistant:");
    /* After the last turn of the user there is nobody to say it: it gets a turn of its own. */
    assert_string_equal(
        render("gemma", late, 2, false),
        "<start_of_turn>user\nHello<end_of_turn>\n<start_of_turn>user\nBe brief.\n\n<end_of_turn>\n");
    /* Where the model wants a system turn there is one. */
    assert_string_equal(render("exaone3", dialogue + 1, 1, false),
                        "[|system|][|endofturn|]\n[|user|]Hello \n");
    assert_string_equal(render("exaone3", dialogue, 1, false), "[|system|]Be brief.[|endofturn|]\n");
}

static void rendering_appends(void **state)
{
    (void)state;
    mlt_text_release(&out);
    assert_int_equal(mlt_text_append(&out, "<s>", 3, NULL), MILLET_OK);
    assert_int_equal(mlt_chat_render("monarch", dialogue + 1, 1, true, &out, NULL), MILLET_OK);
    assert_string_equal(out.data, "<s>user\nHello </s>\n<s>assistant\n");
    /* What fails leaves the text as it was. */
    const millet_message tool = {"tool", "42"};
    millet_error err;
    assert_int_equal(mlt_chat_render("vicuna", &tool, 1, true, &out, &err), MILLET_BAD_ARGUMENT);
    assert_non_null(strstr(err.message, "\"tool\""));
    assert_string_equal(out.data, "<s>user\nHello </s>\n<s>assistant\n");
    const millet_message silent = {"user", NULL}, nobody = {NULL, "x"};
    assert_int_equal(mlt_chat_render("chatml", &silent, 1, true, &out, &err), MILLET_BAD_ARGUMENT);
    assert_int_equal(mlt_chat_render("chatml", &nobody, 1, true, &out, &err), MILLET_BAD_ARGUMENT);
    assert_int_equal(mlt_chat_render("no-such", dialogue, 1, true, &out, &err), MILLET_NOT_FOUND);
    assert_non_null(strstr(err.message, "chatml"));
}

static void names_and_table_agree(void **state)
{
    (void)state;
    struct mlt_text names = {.allocator = mlt_default_allocator()};
    for (size_t i = 0; mlt_chat_name(i); i++)
        assert_int_equal(mlt_text_printf(&names, NULL, "%s%s", i ? ", " : "", mlt_chat_name(i)), MILLET_OK);
    assert_string_equal(names.data, mlt_chat_names());
    mlt_text_release(&names);
    for (size_t i = 0; i < mlt_chat_form_count; i++) {
        const struct mlt_chat_form *form = &mlt_chat_forms[i];
        assert_true((form->user || form->other) && (form->assistant || form->other));
        /* A system text that is put before the user's needs its pattern. */
        assert_true(form->system || form->place == MLT_SYSTEM_TURN);
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(form->name, mlt_chat_forms[k].name);
        /* Every form renders the three roles. */
        assert_non_null(strstr(render(form->name, dialogue, MESSAGES, true), "Be brief."));
        assert_non_null(strstr(render(form->name, dialogue, MESSAGES, true), "Bye"));
    }
}

static void sources_are_recognised(void **state)
{
    (void)state;
    for (size_t i = 0; i < mlt_chat_rule_count; i++) {
        const struct mlt_chat_rule *rule = &mlt_chat_rules[i];
        bool known = false;
        for (size_t k = 0; k < mlt_chat_form_count; k++)
            known = known || strcmp(mlt_chat_forms[k].name, rule->name) == 0;
        assert_true(known);
        /* A source with just the marks of a rule is of its form, or an earlier rule would hide this one. */
        char source[512] = "{{ ";
        for (size_t k = 0; k < MLT_COUNT(rule->marks) && rule->marks[k]; k++) {
            strcat(source, rule->marks[k]);
            strcat(source, "}}");
        }
        const char *name = mlt_chat_detect(source, strlen(source));
        assert_non_null(name);
        assert_string_equal(name, rule->name);
    }
    assert_null(mlt_chat_detect("", 0));
    assert_null(mlt_chat_detect("{{ messages }}", 14));
    assert_null(mlt_chat_detect("<|im_start|>", 11)); /* cut short */
}

static int release(void **state)
{
    (void)state;
    mlt_text_release(&out);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forms_write_dialogues),  cmocka_unit_test(system_messages_find_their_place),
        cmocka_unit_test(rendering_appends),      cmocka_unit_test(names_and_table_agree),
        cmocka_unit_test(sources_are_recognised),
    };
    return cmocka_run_group_tests(tests, NULL, release);
}
