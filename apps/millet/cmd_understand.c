/* millet understand: commands as calls with arguments. SPDX-License-Identifier: Apache-2.0 */
#include "verbs.h"

#include "millet/understand.h"

#include <stdlib.h>
#include <string.h>

static struct {
    const char *set, *text;
    int32_t best;
    float threshold;
    bool sets;
} arguments;

static const struct cli_option rows[] = {
    {.name = "set",
     .argument = "NAME",
     .kind = CLI_STRING,
     .target = &arguments.set,
     .help = "whose calls the utterances may be; without, the model's first set"},
    {.name = "prompt",
     .letter = 'p',
     .argument = "TEXT",
     .kind = CLI_STRING,
     .target = &arguments.text,
     .help = "understand this utterance; without, each line of the standard input is one"},
    {.name = "best",
     .argument = "N",
     .kind = CLI_INT,
     .target = &arguments.best,
     .min = 1,
     .max = 1000,
     .help = "the N most probable intents (default 1)"},
    {.name = "threshold",
     .argument = "P",
     .kind = CLI_FLOAT,
     .target = &arguments.threshold,
     .max = 1,
     .help = "say that it was not understood where the best intent has a smaller probability (default 0)"},
    {.name = "sets",
     .kind = CLI_FLAG,
     .target = &arguments.sets,
     .help = "list the sets of the model and their intents, and stop"},
    {0},
};

static int list_sets(const millet_understander *u)
{
    json_t *all = cli_json ? json_object() : NULL;
    const char *set;
    for (int32_t s = 0; (set = millet_understander_set(u, s)); s++) {
        json_t *intents = all ? json_array() : NULL;
        const char *intent;
        for (int32_t i = 0; (intent = millet_understander_intent(u, s, i)); i++) {
            if (intents)
                json_array_append_new(intents, json_string(intent));
            else
                printf("%s/%s\n", set, intent);
        }
        if (all) json_object_set_new(all, set, intents);
    }
    return all ? cli_print_json(all) : CLI_OK;
}

static json_t *understanding_json(const char *text, size_t length, const millet_understanding *got)
{
    json_t *intents = json_array(), *slots = json_array();
    for (int32_t i = 0; i < got->n_intents && i < arguments.best; i++)
        json_array_append_new(intents, json_pack("{s:s,s:f}", "name", got->intents[i].name, "probability",
                                                 (double)got->intents[i].probability));
    for (int32_t i = 0; i < got->n_slots; i++) {
        const millet_slot *slot = &got->slots[i];
        json_array_append_new(slots, json_pack("{s:s,s:s%,s:I,s:I,s:f}", "name", slot->name, "value",
                                               text + slot->start, slot->end - slot->start, "start",
                                               (json_int_t)slot->start, "end", (json_int_t)slot->end,
                                               "probability", (double)slot->probability));
    }
    return json_pack("{s:s%,s:o,s:o,s:b}", "text", text, length, "intents", intents, "slots", slots,
                     "understood", (int)(got->intents[0].probability >= arguments.threshold));
}

/* intent(slot="value", ...) 98.7% */
static void print_call(const char *text, const millet_understanding *got)
{
    if (got->intents[0].probability < arguments.threshold) {
        printf("not understood %.1f%%\n", 100 * (double)got->intents[0].probability);
        return;
    }
    for (int32_t i = 0; i < got->n_intents && i < arguments.best; i++) {
        printf("%s(", got->intents[i].name);
        for (int32_t s = 0; s < got->n_slots; s++) {
            const millet_slot *slot = &got->slots[s];
            printf("%s%s=\"", s ? ", " : "", slot->name);
            fwrite(text + slot->start, 1, slot->end - slot->start, stdout);
            putchar('"');
        }
        printf(") %.1f%%\n", 100 * (double)got->intents[i].probability);
    }
}

/* One utterance; `shown` (may be NULL) takes its JSON. */
static int understand(millet_understander *u, const char *text, size_t length, json_t *shown)
{
    millet_understanding got;
    millet_error err;
    if (millet_understand(u, arguments.set, text, length, &got, &err) != MILLET_OK) return cli_fail(&err);
    if (shown)
        json_array_append_new(shown, understanding_json(text, length, &got));
    else
        print_call(text, &got);
    fflush(stdout);
    return CLI_OK;
}

/* Each line of the standard input that has a word. */
static int understand_lines(millet_understander *u, json_t *shown)
{
    char *line = NULL;
    size_t capacity = 0;
    ssize_t length;
    int status = CLI_OK;
    while (status == CLI_OK && (length = getline(&line, &capacity, stdin)) >= 0)
        if (strspn(line, " \t\r\n") < (size_t)length)
            status = understand(u, line, strcspn(line, "\r\n"), shown);
    free(line);
    return status;
}

static int run_with(millet_understander *u)
{
    if (arguments.sets) return list_sets(u);
    if (!arguments.set) arguments.set = millet_understander_set(u, 0);
    json_t *shown = cli_json ? json_array() : NULL;
    int status = arguments.text ? understand(u, arguments.text, strlen(arguments.text), shown)
                                : understand_lines(u, shown);
    if (shown && status == CLI_OK) return cli_print_json(shown);
    json_decref(shown);
    return status;
}

static int run(int n_operands, char **operands)
{
    (void)n_operands;
    millet_model *model = cli_open_model(operands[0]);
    if (!model) return CLI_FAILED;
    millet_understander *u;
    millet_error err;
    const millet_understander_options options = {.n_threads = cli_threads};
    int status =
        millet_understander_open(model, &options, &u, &err) == MILLET_OK ? run_with(u) : cli_fail(&err);
    millet_understander_close(&u);
    millet_model_close(&model);
    return status;
}

static void set_defaults(void)
{
    arguments.best = 1;
}

static const struct cli_option *const groups[] = {rows, cli_threads_rows, cli_model_rows, cli_json_rows,
                                                  NULL};

const struct cli_verb cli_verb_understand = {
    .name = "understand",
    .summary = "turn commands into calls with arguments",
    .operands = "MODEL",
    .min_operands = 1,
    .max_operands = 1,
    .description =
        "Reads utterances, one a line, and prints for each which call it is and which of its words are "
        "the arguments, with the intent's probability: with a model that was trained for it "
        "(docs/understand.md).",
    .examples = "echo 'turn off the lamp in the kitchen' | millet understand nano.gguf --set home\tone call\n"
                "millet understand nano.gguf --sets\twhat it knows",
    .options = groups,
    .prepare = set_defaults,
    .run = run,
};
