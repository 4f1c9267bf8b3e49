/* millet chat: a conversation in the terminal. SPDX-License-Identifier: Apache-2.0 */
#include "adapters.h"
#include "generation.h"
#include "speculation.h"
#include "verbs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef MILLET_HAVE_EDITLINE
#include <editline/readline.h>
#endif

static struct {
    const char *system, *template;
    bool speed;
} arguments;

static const struct cli_option rows[] = {
    {.name = "system",
     .letter = 's',
     .argument = "TEXT",
     .kind = CLI_STRING,
     .target = &arguments.system,
     .help = "what the model is told before the conversation"},
    {.name = "template",
     .argument = "NAME",
     .kind = CLI_STRING,
     .target = &arguments.template,
     .help = "chat template by name; else the model's own. \"list\" prints the names"},
    {.name = "speed",
     .kind = CLI_FLAG,
     .target = &arguments.speed,
     .help = "say on stderr how fast each answer was"},
    {0},
};

/* The conversation so far; contents are owned. */
struct dialogue {
    millet_message *messages;
    size_t count, capacity;
    size_t fed; /* bytes of the rendered dialogue that the session has seen, its own answers included */
};

static bool add_message(struct dialogue *dialogue, const char *role, const char *content, size_t length)
{
    if (dialogue->count == dialogue->capacity) {
        size_t capacity = dialogue->capacity ? 2 * dialogue->capacity : 16;
        millet_message *larger = realloc(dialogue->messages, capacity * sizeof *larger);
        if (!larger) return false;
        dialogue->messages = larger;
        dialogue->capacity = capacity;
    }
    char *copy = malloc(length + 1);
    if (!copy) return false;
    memcpy(copy, content, length);
    copy[length] = 0;
    dialogue->messages[dialogue->count++] = (millet_message){role, copy};
    return true;
}

static void forget_from(struct dialogue *dialogue, size_t count)
{
    while (dialogue->count > count) {
        union {
            const char *constant;
            void *plain;
        } content = {dialogue->messages[--dialogue->count].content};
        free(content.plain);
    }
}

/* The answer as it is printed, kept for the history. */
struct answer {
    char *text;
    size_t length, capacity;
};

static bool answer_piece(void *context, const millet_piece *piece)
{
    struct answer *answer = context;
    if (answer->length + piece->length > answer->capacity) {
        size_t capacity = 2 * (answer->length + piece->length);
        char *larger = realloc(answer->text, capacity);
        if (!larger) return false;
        answer->text = larger;
        answer->capacity = capacity;
    }
    if (piece->length) memcpy(answer->text + answer->length, piece->text, piece->length);
    answer->length += piece->length;
    return cli_print_piece(NULL, piece);
}

/* The rendered dialogue; released with free. NULL after a message. */
static char *render(const millet_model *model, const struct dialogue *dialogue, bool assistant,
                    size_t *length)
{
    millet_error err;
    if (millet_chat_render(model, arguments.template, dialogue->messages, dialogue->count, assistant, NULL, 0,
                           length, &err) != MILLET_OK) {
        cli_fail(&err);
        return NULL;
    }
    char *text = malloc(*length + 1);
    if (!text || millet_chat_render(model, arguments.template, dialogue->messages, dialogue->count, assistant,
                                    text, *length + 1, length, &err) != MILLET_OK) {
        free(text);
        cli_fail_text("out of memory");
        return NULL;
    }
    return text;
}

/*
 * One turn. Only what is new of the rendered dialogue is computed; when the context is full the conversation
 * begins again with the system text and this turn.
 */
static int answer_turn(const millet_model *model, millet_session *session, struct dialogue *dialogue)
{
    size_t length;
    char *text = render(model, dialogue, true, &length);
    if (!text) return CLI_FAILED;
    millet_generate_options how = cli_generate_options();
    how.special = true;
    /* Templates that write BOS themselves: the tokenizer must not add it a second time. */
    size_t bos_length = 0;
    const char *bos = millet_token_text(model, millet_token_bos(model), &bos_length);
    how.no_bos = bos && length >= bos_length && memcmp(text, bos, bos_length) == 0;

    struct answer answer = {0};
    millet_generation result;
    millet_error err;
    size_t from = dialogue->fed <= length ? dialogue->fed : 0;
    if (from == 0) millet_sequence_truncate(session, 0, 0, NULL);
    millet_status status =
        millet_generate(session, text + from, length - from, &how, answer_piece, &answer, &result, &err);
    if (status == MILLET_CONTEXT_FULL && from > 0) {
        fputs("(the context is full: going on without the earlier conversation)\n", stderr);
        size_t keep = dialogue->messages[0].role[0] == 's' ? 1 : 0;
        millet_message last = dialogue->messages[--dialogue->count];
        forget_from(dialogue, keep);
        dialogue->messages[dialogue->count++] = last;
        dialogue->fed = 0;
        free(text);
        free(answer.text);
        return answer_turn(model, session, dialogue);
    }
    putchar('\n');
    free(text);
    int code = CLI_OK;
    if (status != MILLET_OK) {
        code = cli_fail(&err);
    } else {
        if (arguments.speed) cli_print_speed(&result);
        if (!add_message(dialogue, "assistant", answer.text ? answer.text : "", answer.length))
            code = cli_fail_text("out of memory");
        /*
         * The session has seen the prompt and the answer. The end of the answer's turn is rendered with the
         * next turn: what the session holds is the rendering without what follows the answer's text.
         */
        size_t total;
        char *whole = code == CLI_OK ? render(model, dialogue, false, &total) : NULL;
        dialogue->fed = 0;
        if (whole && length + answer.length <= total && answer.length > 0 &&
            memcmp(whole + length, answer.text, answer.length) == 0)
            dialogue->fed = length + answer.length;
        free(whole);
    }
    free(answer.text);
    cli_interrupted = 0;
    return code;
}

/* A line without its newline, released with free; NULL at the end of the input. */
static char *read_line(bool interactive)
{
#ifdef MILLET_HAVE_EDITLINE
    if (interactive) {
        char *line = readline("> ");
        if (line && line[0]) add_history(line);
        return line;
    }
#endif
    if (interactive) {
        fputs("> ", stderr);
        fflush(stderr);
    }
    char *line = NULL;
    size_t capacity = 0;
    ssize_t length = getline(&line, &capacity, stdin);
    if (length < 0) {
        free(line);
        return NULL;
    }
    if (length > 0 && line[length - 1] == '\n') line[length - 1] = 0;
    return line;
}

#ifdef MILLET_HAVE_EDITLINE
/* Where the lines typed are kept between conversations; NULL: nowhere. */
static const char *history_path(void)
{
    static char path[4096];
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    if (state && state[0] == '/')
        snprintf(path, sizeof path, "%s", state);
    else if (home && home[0])
        snprintf(path, sizeof path, "%s/.local/state", home);
    else
        return NULL;
    size_t length = strlen(path);
    snprintf(path + length, sizeof path - length, "/millet");
    if (mkdir(path, 0700) != 0 && errno != EEXIST) return NULL;
    length = strlen(path);
    snprintf(path + length, sizeof path - length, "/history");
    return path;
}
#endif

static int converse(const millet_model *model, millet_session *session)
{
    bool interactive = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    struct dialogue dialogue = {0};
    int status = CLI_OK;
#ifdef MILLET_HAVE_EDITLINE
    const char *history = NULL;
#endif
    if (interactive) {
        fputs("/clear begins anew, /quit or Ctrl-D ends, Ctrl-C stops an answer\n", stderr);
#ifdef MILLET_HAVE_EDITLINE
        using_history();
        history = history_path();
        if (history) read_history(history);
#endif
    }
    if (arguments.system && !add_message(&dialogue, "system", arguments.system, strlen(arguments.system)))
        return cli_fail_text("out of memory");
    for (char *line; status == CLI_OK && (line = read_line(interactive)); free(line)) {
        if (strcmp(line, "/quit") == 0) {
            free(line);
            break;
        }
        if (strcmp(line, "/clear") == 0) {
            forget_from(&dialogue, arguments.system ? 1 : 0);
            dialogue.fed = 0;
            continue;
        }
        if (!line[0]) continue;
        if (!add_message(&dialogue, "user", line, strlen(line)))
            status = cli_fail_text("out of memory");
        else
            status = answer_turn(model, session, &dialogue);
    }
#ifdef MILLET_HAVE_EDITLINE
    if (history) write_history(history);
#endif
    forget_from(&dialogue, 0);
    free(dialogue.messages);
    return status;
}

static int run(int n_operands, char **operands)
{
    (void)n_operands;
    if (arguments.template && strcmp(arguments.template, "list") == 0) {
        puts(millet_chat_template_names());
        return CLI_OK;
    }
    millet_model *model = cli_open_model(operands[0]);
    if (!model) return CLI_FAILED;
    millet_session_options options = cli_session_options();
    millet_session *session = NULL;
    millet_model *draft = NULL;
    millet_error err;
    int status = CLI_OK;
    if (!arguments.template && !millet_chat_template_detect(model)) {
        status = cli_fail_text("%s has no chat template that is known; choose one with --template: %s",
                               operands[0], millet_chat_template_names());
    } else if ((status = cli_open_adapters(model, &options.adapters, &options.n_adapters)) != CLI_OK ||
               (status = cli_open_grammar(model)) != CLI_OK ||
               (status = cli_open_speculation(&options, &draft)) != CLI_OK) {
        /* it has said why */
    } else if (millet_session_open(model, &options, &session, &err) != MILLET_OK) {
        status = cli_fail(&err);
    } else {
        cli_catch_interrupt();
        status = converse(model, session);
    }
    millet_session_close(&session);
    millet_model_close(&draft);
    cli_close_adapters();
    cli_close_grammar();
    millet_model_close(&model);
    return status;
}

static const struct cli_option *const groups[] = {rows,
                                                  cli_generation_rows,
                                                  cli_speculation_rows,
                                                  cli_adapter_rows,
                                                  cli_session_rows,
                                                  cli_threads_rows,
                                                  cli_model_rows,
                                                  NULL};

const struct cli_verb cli_verb_chat = {
    .name = "chat",
    .summary = "talk with a model",
    .operands = "MODEL",
    .min_operands = 1,
    .max_operands = 1,
    .description = "A conversation: a line from the standard input is a turn, the answer is printed as it is "
                   "generated. On "
                   "a terminal lines can be edited and come back with the arrow keys; they are kept in "
                   "$XDG_STATE_HOME/millet/history. The conversation is rendered with the model's chat "
                   "template, or with "
                   "the one named.",
    .examples = "millet chat model.gguf -s 'Answer in one sentence.'\ttalk\n"
                "echo 'What is millet?' | millet chat model.gguf --template chatml\tone question",
    .options = groups,
    .run = run,
};
