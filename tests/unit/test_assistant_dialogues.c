/*
 * Dialogues of tests/dialogues, word for word: what is called, what is waited for, what is said.
 *
 *     # a name: a new dialogue, with a new assistant, at 9 in the morning of 2026-12-01 in Berlin
 *     > an utterance
 *     ~ home/HassStartTimer 0.98 minutes=ten      what hearing gives for it; several lines: several labels
 *     = set_timer {"duration":600.0} done         a call
 *     ? set_timer duration                        what the dialogue waits for
 *     < The timer is set for 10 minutes.          the reply, a line for each of its lines
 *     ! offline                                   from here on there is no network
 *     + 600                                       seconds pass; < what fires
 *
 * With MILLET_DIALOGUES_PRINT set, what happens is printed in this form.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "millet/assistant.h"

#include <dirent.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_HEARD = 8, MAX_SLOTS = 8, MAX_BLOCK = 16384 };

static int64_t now_ms, up_ms;

static int64_t wall(void *context)
{
    (void)context;
    return now_ms;
}

static int64_t uptime(void *context)
{
    (void)context;
    return up_ms;
}

/* ---- Scripted hearing
 * ---------------------------------------------------------------------------------------- */

static struct script {
    millet_heard heard[MAX_HEARD];
    millet_heard_slot slots[MAX_HEARD][MAX_SLOTS];
    char text[MAX_HEARD][512], line[MAX_HEARD][512];
    char utterance[4200];
    int32_t count;
} script;

static millet_status hear(void *context, const char *text, size_t length, const millet_heard **heard,
                          int32_t *n_heard, millet_error *err)
{
    (void)context;
    (void)err;
    /* for the whole utterance only: parts of it are other ones */
    bool whole = strlen(script.utterance) == length && memcmp(script.utterance, text, length) == 0;
    *heard = script.heard;
    *n_heard = whole ? script.count : 0;
    return MILLET_OK;
}

/* "home/HassStartTimer 0.98 minutes=ten name=egg" */
static void add_heard(const char *line)
{
    assert_true(script.count < MAX_HEARD);
    millet_heard *heard = &script.heard[script.count];
    millet_heard_slot *slots = script.slots[script.count];
    char *text = script.text[script.count++], *rest = NULL;
    assert_true(strlen(line) < sizeof script.text[0]);
    strcpy(text, line);
    strcpy(script.line[script.count - 1], line);
    char *label = strtok_r(text, " ", &rest), *probability = strtok_r(NULL, " ", &rest);
    char *slash = strchr(label, '/');
    *slash = 0;
    *heard = (millet_heard){label, slash + 1, strtof(probability, NULL), slots, 0};
    for (char *slot; (slot = strtok_r(NULL, " ", &rest));) {
        char *value = strchr(slot, '=');
        *value++ = 0;
        for (char *c = value; *c; c++)
            if (*c == '_') *c = ' ';
        const char *at = strstr(script.utterance, value);
        if (!at) fail_msg("the slot \"%s\" is not in \"%s\"", value, script.utterance);
        size_t start = (size_t)(at - script.utterance);
        slots[heard->n_slots++] = (millet_heard_slot){slot, start, start + strlen(value)};
    }
}

/* ---- A world: an Open-Meteo service that can be cut off ("! offline", "! online"), somebody who sends
 * --------- */

static bool online;

static millet_status request(void *context, const millet_http_request *asked, millet_http_reply *reply,
                             millet_error *err)
{
    static const char body[] =
        "{\"current\": {\"temperature_2m\": 3.4, \"weather_code\": 61}, \"daily\": {\"time\": "
        "[\"2026-12-01\","
        " \"2026-12-02\", \"2026-12-03\"], \"weather_code\": [61, 0, 73], \"temperature_2m_max\": [5.2, 8, "
        "-1.6],"
        " \"temperature_2m_min\": [0.8, 2, -6], \"precipitation_probability_max\": [70, 0, 95]}}";
    (void)context;
    if (!online) {
        if (err) *err = (millet_error){.status = MILLET_IO};
        return MILLET_IO;
    }
    bool lies = strstr(asked->url, "latitude=48.85") != NULL; /* of Paris it says nothing that is of use */
    *reply = (millet_http_reply){200, lies ? "<html>" : body, lies ? 6 : sizeof body - 1};
    return MILLET_OK;
}

static millet_status send_to(void *context, const char *person, const char *text, millet_error *err)
{
    (void)context;
    (void)text;
    if (strcmp(person, "nobody") != 0) return MILLET_OK;
    *err = (millet_error){.status = MILLET_IO, .message = "nobody has no number"};
    return MILLET_IO;
}

/* ---- Running
 * -------------------------------------------------------------------------------------------------- */

static const millet_hearing hearing = {NULL, hear, NULL};
static const millet_http http = {NULL, request};
static const millet_messenger messenger = {NULL, send_to};
static int n_dialogues, n_failed;

static millet_assistant *open_assistant(void)
{
    static const millet_assistant_clock clock = {NULL, wall, uptime, "boot"};
    const millet_assistant_options options = {.http = &http,
                                              .weather = "http://weather/v1/forecast",
                                              .place = "Berlin",
                                              .messenger = &messenger,
                                              .zone = "Europe/Berlin",
                                              .hearing = &hearing,
                                              .clock = &clock,
                                              .seed = 7};
    millet_assistant *assistant = NULL;
    millet_error err = {0};
    now_ms = INT64_C(1796112000000); /* 2026-12-01 08:00 UTC */
    up_ms = 1000000;
    online = true;
    if (millet_assistant_open(&options, &assistant, &err) != MILLET_OK)
        fail_msg("%s %s", err.message, err.item);
    return assistant;
}

static void append(char *block, const char *mark, const char *text)
{
    size_t used = strlen(block);
    snprintf(block + used, MAX_BLOCK - used, "%s %s\n", mark, text);
}

static void append_answer(char *block, const millet_answer *answer, millet_assistant *assistant)
{
    char line[4096];
    json_t *calls = json_loads(answer->calls, 0, NULL), *call, *state;
    size_t i;
    assert_non_null(calls);
    json_array_foreach (calls, i, call) {
        char *arguments =
            json_dumps(json_object_get(call, "arguments"), JSON_COMPACT | JSON_REAL_PRECISION(12));
        snprintf(line, sizeof line, "%s %s %s", json_string_value(json_object_get(call, "name")), arguments,
                 json_string_value(json_object_get(call, "outcome")));
        append(block, "=", line);
        free(arguments);
    }
    json_decref(calls);
    state = json_loads(millet_assistant_state(assistant), JSON_DECODE_ANY, NULL);
    if (json_is_object(state)) {
        snprintf(line, sizeof line, "%s %s", json_string_value(json_object_get(state, "skill")),
                 json_string_value(json_object_get(state, "waits_for")));
        append(block, "?", line);
    }
    json_decref(state);
    char *text = strdup(answer->text), *rest = NULL;
    for (char *part = strtok_r(text, "\n", &rest); part; part = strtok_r(NULL, "\n", &rest))
        append(block, "<", part);
    free(text);
}

/* Says or waits, and compares what came of it. */
static void step(millet_assistant *assistant, const char *input, const char *expected, const char *file,
                 int line)
{
    char got[MAX_BLOCK] = "";
    millet_answer answer;
    millet_error err = {0};
    millet_status status = MILLET_OK;
    if (input[0] == '>') {
        status = millet_assistant_say(assistant, script.utterance, strlen(script.utterance), &answer, &err);
    } else {
        int64_t passed = strtoll(input + 1, NULL, 10) * 1000;
        now_ms += passed;
        up_ms += passed;
        status = millet_assistant_due(assistant, &answer, &err);
    }
    if (status != MILLET_OK) fail_msg("%s:%d: %s", file, line, err.message);
    append_answer(got, &answer, assistant);
    if (getenv("MILLET_DIALOGUES_PRINT")) {
        printf("%s\n", input);
        for (int i = 0; i < script.count && input[0] == '>'; i++)
            printf("~ %s\n", script.line[i]);
        fputs(got, stdout);
    } else if (strcmp(got, expected) != 0) {
        print_message("%s:%d: %s\nexpected:\n%sgot:\n%s", file, line, input, expected, got);
        n_failed++;
    }
}

static void run_file(const char *path)
{
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    millet_assistant *assistant = NULL;
    char line[4200], input[4200] = "", expected[MAX_BLOCK] = "";
    int number = 0, input_line = 0;
    bool more = true;
    while (more) {
        more = fgets(line, sizeof line, file) != NULL;
        number++;
        line[strcspn(line, "\n")] = 0;
        bool begins = !more || line[0] == '#' || line[0] == '>' || line[0] == '+' || line[0] == '!';
        if (begins && input[0]) {
            step(assistant, input, expected, path, input_line);
            input[0] = expected[0] = 0;
        }
        if (!more) break;
        if (line[0] == '#') {
            millet_assistant_close(&assistant);
            assistant = open_assistant();
            n_dialogues++;
            if (getenv("MILLET_DIALOGUES_PRINT")) printf("\n%s\n", line);
        } else if (line[0] == '>' || line[0] == '+') {
            assert_non_null(assistant);
            snprintf(input, sizeof input, "%s", line);
            snprintf(script.utterance, sizeof script.utterance, "%s", line[0] == '>' ? line + 2 : "");
            script.count = 0;
            input_line = number;
        } else if (line[0] == '!') {
            online = strcmp(line, "! online") == 0;
            if (getenv("MILLET_DIALOGUES_PRINT")) printf("%s\n", line);
        } else if (line[0] == '~') {
            add_heard(line + 2);
        } else if (line[0]) {
            snprintf(expected + strlen(expected), sizeof expected - strlen(expected), "%s\n", line);
        }
    }
    millet_assistant_close(&assistant);
    fclose(file);
}

static void dialogues_are_as_written(void **state)
{
    (void)state;
    struct dirent **names = NULL;
    char path[2048];
    int n = scandir(MILLET_DIALOGUES, &names, NULL, alphasort);
    assert_true(n > 0);
    for (int i = 0; i < n; i++) {
        size_t length = strlen(names[i]->d_name);
        snprintf(path, sizeof path, "%s/%s", MILLET_DIALOGUES, names[i]->d_name);
        if (length > 4 && strcmp(names[i]->d_name + length - 4, ".txt") == 0) run_file(path);
        free(names[i]);
    }
    free(names);
    print_message("%d dialogues\n", n_dialogues);
    assert_true(n_dialogues > 0);
    assert_int_equal(n_failed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(dialogues_are_as_written)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
