/*
 * Chat templates against renderings of the models' own Jinja templates (chat_templates/renderings.jsonl),
 * whose sources must be recognised.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/test_data.h"
#include "tokenizer/chat_template.h"

enum { MAX_MESSAGES = 16 };

/* Calls `check` with each line of a .jsonl file and returns their number. */
static unsigned each_line(const char *relative, void (*check)(const json_t *line))
{
    size_t size;
    char *text = test_data_read(relative, &size);
    unsigned lines = 0;
    for (char *at = text, *end; at < text + size; at = end + 1) {
        end = memchr(at, '\n', (size_t)(text + size - at));
        if (!end) end = text + size;
        json_t *line = json_loadb(at, (size_t)(end - at), 0, NULL);
        assert_non_null(line);
        check(line);
        json_decref(line);
        lines++;
    }
    free(text);
    return lines;
}

static const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

/* Renders the messages of a line; to be released by the caller. */
static struct mlt_text render(const json_t *line, const char *name)
{
    const json_t *list = json_object_get(line, "messages");
    millet_message messages[MAX_MESSAGES];
    size_t count = json_array_size(list);
    assert_true(count <= MAX_MESSAGES);
    for (size_t i = 0; i < count; i++) {
        messages[i].role = text_of(json_array_get(list, i), "role");
        messages[i].content = text_of(json_array_get(list, i), "content");
    }
    struct mlt_text out = {.allocator = mlt_default_allocator()};
    millet_error err;
    bool assistant = json_is_true(json_object_get(line, "add_generation_prompt"));
    if (mlt_chat_render(name, messages, count, assistant, &out, &err)) fail_msg("%s: %s", name, err.message);
    return out;
}

static void check_inline(const json_t *line)
{
    const char *source = text_of(line, "source");
    const char *name = mlt_chat_detect(source, strlen(source));
    if (!name) fail_msg("%s is not recognised", text_of(line, "template"));
    struct mlt_text out = render(line, name);
    if (strcmp(out.data, text_of(line, "expected")) != 0)
        fail_msg("%s as %s:\n%s\nexpected:\n%s", text_of(line, "template"), name, out.data,
                 text_of(line, "expected"));
    mlt_text_release(&out);
}

static void inline_templates_render_as_the_model_does(void **state)
{
    (void)state;
    unsigned lines = each_line("chat_templates/renderings.jsonl", check_inline);
    print_message("%u renderings\n", lines);
    assert_true(lines > 0);
}

int main(void)
{
    if (!test_data_root()) return TEST_SKIPPED;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(inline_templates_render_as_the_model_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
