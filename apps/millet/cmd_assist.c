/* millet assist: commands and conversation. SPDX-License-Identifier: Apache-2.0 */
#include "outside.h"
#include "verbs.h"

#include "millet/assistant.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef MILLET_HAVE_EDITLINE
#include <editline/readline.h>
#endif

static struct {
    const char *model, *store, *language, *zone, *rates, *weather, *place, *messenger, *take, *give, *text,
        *tools;
    bool wait, forget;
    uint64_t seed;
} arguments;

static const struct cli_option rows[] = {
    {.name = "model",
     .letter = 'm',
     .argument = "FILE",
     .kind = CLI_STRING,
     .target = &arguments.model,
     .help = "a model that was trained to understand commands; without, the skills' own sentences are "
             "understood"},
    {.name = "prompt",
     .letter = 'p',
     .argument = "TEXT",
     .kind = CLI_STRING,
     .target = &arguments.text,
     .help = "do this and stop; without, each line of the standard input is an utterance"},
    {.name = "store",
     .argument = "FILE",
     .kind = CLI_STRING,
     .target = &arguments.store,
     .help = "where timers, lists and notes are kept (default $XDG_DATA_HOME/millet/assistant.db)"},
    {.name = "forget",
     .kind = CLI_FLAG,
     .target = &arguments.forget,
     .help = "keep nothing: a store in memory"},
    {.name = "language",
     .argument = "LANGUAGE",
     .kind = CLI_STRING,
     .target = &arguments.language,
     .choices = "en|zh",
     .help = "of the replies; without, that of each utterance"},
    {.name = "zone",
     .argument = "ZONE",
     .kind = CLI_STRING,
     .target = &arguments.zone,
     .help = "time zone, Europe/Berlin; without, the system's"},
    {.name = "rates",
     .argument = "FILE",
     .kind = CLI_STRING,
     .target = &arguments.rates,
     .help = "rates of exchange as JSON: date, base, rates; without, old ones that are built in"},
    {.name = "weather",
     .argument = "URL",
     .kind = CLI_STRING,
     .target = &arguments.weather,
     .help = "an Open-Meteo service to ask for the weather (https://api.open-meteo.com/v1/forecast); "
             "without, nothing "
             "is asked"},
    {.name = "place",
     .argument = "PLACE",
     .kind = CLI_STRING,
     .target = &arguments.place,
     .help = "where this device is: a city, or latitude,longitude"},
    {.name = "messenger",
     .argument = "PROGRAM",
     .kind = CLI_STRING,
     .target = &arguments.messenger,
     .help = "sends messages and calls: PROGRAM send PERSON TEXT, PROGRAM call PERSON"},
    {.name = "import-calendar",
     .argument = "FILE",
     .kind = CLI_STRING,
     .target = &arguments.take,
     .help = "take the events of an iCalendar file over, and stop"},
    {.name = "export-calendar",
     .argument = "FILE",
     .kind = CLI_STRING,
     .target = &arguments.give,
     .help = "write all events as an iCalendar file (- for the standard output), and stop"},
    {.name = "wait",
     .kind = CLI_FLAG,
     .target = &arguments.wait,
     .help = "when the input ends, stay until every timer, alarm and reminder has fired"},
    {.name = "tools",
     .argument = "FORM",
     .kind = CLI_STRING,
     .target = &arguments.tools,
     .choices = "openai|mcp",
     .help = "print the skills as tool definitions, and stop"},
    {.name = "seed",
     .argument = "N",
     .kind = CLI_U64,
     .target = &arguments.seed,
     .help = "of what is random"},
    {0},
};

enum { NOT_UNDERSTOOD = 3 };

/* What becomes of the exit code: the worst of all utterances. */
static int worst = CLI_OK;

static void note_outcome(millet_outcome outcome)
{
    if (outcome == MILLET_FAILED)
        worst = CLI_FAILED;
    else if ((outcome == MILLET_NOT_UNDERSTOOD || outcome == MILLET_REFUSED) && worst == CLI_OK)
        worst = NOT_UNDERSTOOD;
}

static const char *const outcomes[] = {"done", "refused", "asked", "not understood", "failed"};

/* One JSON object a line. */
static int show_json(const char *said, const millet_answer *answer, millet_assistant *assistant)
{
    json_t *calls = json_loads(answer->calls, 0, NULL);
    json_t *state = json_loads(millet_assistant_state(assistant), JSON_DECODE_ANY, NULL);
    json_t *all =
        json_pack("{s:s*,s:s,s:s,s:s,s:o*,s:o*}", "text", said, "reply", answer->text, "language",
                  answer->language, "outcome", outcomes[answer->outcome], "calls", calls, "state", state);
    char *line = all ? json_dumps(all, 0) : NULL;
    json_decref(all);
    if (!line) return cli_fail_text("out of memory");
    puts(line);
    free(line);
    return CLI_OK;
}

static int show(const char *said, const millet_answer *answer, millet_assistant *assistant)
{
    int status = CLI_OK;
    if (cli_json)
        status = show_json(said, answer, assistant);
    else if (answer->text[0])
        puts(answer->text);
    fflush(stdout);
    return status;
}

static int fire(millet_assistant *assistant)
{
    millet_answer answer;
    millet_error err;
    if (millet_assistant_next_due(assistant) != 0) return CLI_OK;
    if (millet_assistant_due(assistant, &answer, &err) != MILLET_OK) return cli_fail(&err);
    return answer.text[0] ? show(NULL, &answer, assistant) : CLI_OK;
}

static int say(millet_assistant *assistant, const char *text, size_t length)
{
    millet_answer answer;
    millet_error err;
    int status = fire(assistant);
    if (status != CLI_OK || strspn(text, " \t\r\n") >= length) return status;
    if (millet_assistant_say(assistant, text, length, &answer, &err) != MILLET_OK) {
        if (err.status != MILLET_BAD_ARGUMENT) return cli_fail(&err);
        cli_fail(&err); /* this line is no utterance; the next may be */
        worst = CLI_FAILED;
        return CLI_OK;
    }
    note_outcome(answer.outcome);
    return show(text, &answer, assistant);
}

/* Waits until a descriptor (-1: none) can be read or something is due; fires what is due. */
static int wait_and_fire(millet_assistant *assistant, int fd, bool *readable)
{
    *readable = false;
    while (!*readable && !cli_interrupted) {
        int status = fire(assistant);
        int64_t due = millet_assistant_next_due(assistant);
        if (status != CLI_OK || (fd < 0 && due < 0)) return status;
        /* not for long: the time of day may be set meanwhile */
        int timeout = due < 0 ? 60000 : (int)(due < 1000 ? due : due - 500 < 60000 ? due - 500 : 60000);
        struct pollfd wait = {fd, POLLIN, 0};
        *readable = poll(&wait, fd >= 0, timeout) > 0;
    }
    return CLI_OK;
}

/* Lines of a pipe or a file: read without the library's buffer, so that waiting sees what is there. */
static int talk_piped(millet_assistant *assistant)
{
    char buffer[8192];
    size_t used = 0;
    bool readable, end = false;
    int status = CLI_OK;
    while (status == CLI_OK && !end && !cli_interrupted) {
        status = wait_and_fire(assistant, STDIN_FILENO, &readable);
        if (status != CLI_OK || !readable) continue;
        ssize_t got = read(STDIN_FILENO, buffer + used, sizeof buffer - 1 - used);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return cli_fail_text("cannot read the standard input: %s", strerror(errno));
        end = got == 0;
        used += (size_t)got;
        size_t begin = 0;
        for (char *line_end; status == CLI_OK && (line_end = memchr(buffer + begin, '\n', used - begin));
             begin = (size_t)(line_end - buffer) + 1) {
            *line_end = 0;
            status = say(assistant, buffer + begin, (size_t)(line_end - buffer) - begin);
        }
        memmove(buffer, buffer + begin, used - begin);
        used -= begin;
        if (status == CLI_OK && (end || used == sizeof buffer - 1) && used) {
            buffer[used] = 0;
            status = say(assistant, buffer, used);
            used = 0;
        }
    }
    return status;
}

#ifdef MILLET_HAVE_EDITLINE
static char *typed;
static bool ended;

static void take_line(char *line)
{
    typed = line;
    ended = !line;
    rl_callback_handler_remove();
}

/* On a terminal: lines can be edited while timers go on. */
static int talk_on_terminal(millet_assistant *assistant)
{
    int status = CLI_OK;
    bool readable;
    fputs("Say what you want; \"help\" lists what I can do, Ctrl-D ends.\n", stderr);
    using_history();
    while (status == CLI_OK && !ended && !cli_interrupted) {
        typed = NULL;
        rl_callback_handler_install("> ", take_line);
        while (!typed && !ended && !cli_interrupted && status == CLI_OK) {
            status = wait_and_fire(assistant, STDIN_FILENO, &readable);
            if (readable) rl_callback_read_char();
        }
        if (typed && typed[0]) {
            add_history(typed);
            if (strcmp(typed, "/quit") == 0)
                ended = true;
            else if (status == CLI_OK)
                status = say(assistant, typed, strlen(typed));
        }
        free(typed);
    }
    rl_callback_handler_remove();
    fputs("\n", stderr);
    return status;
}
#else
static int talk_on_terminal(millet_assistant *assistant)
{
    return talk_piped(assistant);
}
#endif

static int talk(millet_assistant *assistant)
{
    int status;
    bool readable;
    cli_catch_interrupt();
    if (arguments.text)
        status = say(assistant, arguments.text, strlen(arguments.text));
    else
        status = isatty(STDIN_FILENO) ? talk_on_terminal(assistant) : talk_piped(assistant);
    if (status == CLI_OK && arguments.wait) status = wait_and_fire(assistant, -1, &readable);
    return status == CLI_OK ? worst : status;
}

/* The store's usual place, in static memory; NULL where there is no home. */
static const char *usual_store(void)
{
    static char path[4096];
    const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    int n = 0;
    if (data && *data)
        n = snprintf(path, sizeof path, "%s/millet/assistant.db", data);
    else if (home && *home)
        n = snprintf(path, sizeof path, "%s/.local/share/millet/assistant.db", home);
    return n > 0 && n < (int)sizeof path ? path : NULL;
}

static int print_tools(millet_assistant *assistant)
{
    const char *json;
    millet_error err;
    millet_tools_form form = strcmp(arguments.tools, "mcp") == 0 ? MILLET_TOOLS_MCP : MILLET_TOOLS_OPENAI;
    if (millet_assistant_tools(assistant, form, &json, &err) != MILLET_OK) return cli_fail(&err);
    puts(json);
    return CLI_OK;
}

static int import_calendar(millet_assistant *assistant)
{
    char *text;
    size_t length;
    int32_t count;
    millet_error err;
    if (!cli_read_text(arguments.take, &text, &length)) return CLI_FAILED;
    millet_status status = millet_assistant_import_calendar(assistant, text, length, &count, &err);
    free(text);
    if (status != MILLET_OK) return cli_fail(&err);
    fprintf(stderr, "%d events\n", (int)count);
    return CLI_OK;
}

static int export_calendar(millet_assistant *assistant)
{
    const char *text;
    size_t length;
    millet_error err;
    if (millet_assistant_export_calendar(assistant, &text, &length, &err) != MILLET_OK) return cli_fail(&err);
    bool standard = strcmp(arguments.give, "-") == 0;
    FILE *file = standard ? stdout : fopen(arguments.give, "wb");
    if (!file) return cli_fail_text("cannot write %s: %s", arguments.give, strerror(errno));
    bool written = fwrite(text, 1, length, file) == length;
    if ((standard ? fflush(file) : fclose(file)) != 0) written = false;
    return written ? CLI_OK : cli_fail_text("cannot write %s: %s", arguments.give, strerror(errno));
}

static int run_opened(millet_assistant *assistant)
{
    if (arguments.tools) return print_tools(assistant);
    if (arguments.take) return import_calendar(assistant);
    return arguments.give ? export_calendar(assistant) : talk(assistant);
}

static int run_with(const millet_hearing *hearing)
{
    millet_messenger messenger = cli_messenger(arguments.messenger);
    const char *store = arguments.store ? arguments.store : usual_store();
    if (!arguments.forget && !arguments.tools && !store)
        return cli_fail_text("there is no home folder; say --store FILE or --forget");
    const millet_assistant_options options = {
        .store = arguments.forget || arguments.tools ? NULL : store,
        .language = arguments.language,
        .zone = arguments.zone,
        .rates = arguments.rates,
        .http = arguments.weather ? cli_http() : NULL,
        .weather = arguments.weather,
        .place = arguments.place,
        .messenger = arguments.messenger ? &messenger : NULL,
        .hearing = hearing,
        .seed = arguments.seed,
    };
    millet_assistant *assistant = NULL;
    millet_error err;
    if (millet_assistant_open(&options, &assistant, &err) != MILLET_OK) return cli_fail(&err);
    int status = run_opened(assistant);
    millet_assistant_close(&assistant);
    cli_http_end();
    return status;
}

static int run(int n_operands, char **operands)
{
    (void)n_operands;
    (void)operands;
    if (!arguments.model) return run_with(NULL);
    millet_model *model = cli_open_model(arguments.model);
    if (!model) return CLI_FAILED;
    millet_hearing hearing;
    millet_error err;
    int status = CLI_FAILED;
    if (millet_hearing_model(model, cli_threads, &hearing, &err) != MILLET_OK) {
        cli_fail(&err);
    } else {
        status = run_with(&hearing);
        hearing.close(hearing.context);
    }
    millet_model_close(&model);
    return status;
}

static const struct cli_option *const groups[] = {rows, cli_json_rows, cli_threads_rows, NULL};

const struct cli_verb cli_verb_assist = {
    .name = "assist",
    .summary = "timers, lists, notes and more, by command",
    .operands = "",
    .min_operands = 0,
    .max_operands = 0,
    .description =
        "An assistant in text, in English and Chinese: it sets timers, keeps lists and notes, tells time, "
        "calculates "
        "and more; \"help\" lists it. Each line is an utterance, a reply follows on a line of its own. "
        "Utterances are "
        "understood on this device: by the sentences of the skills, and with --model by a small model.\n\n"
        "Timers fire while the program runs; one that was due before says that it was missed. With --json "
        "each reply "
        "is an object with the calls that were made and what the dialogue waits for.\n\n"
        "Exit codes: 0 everything was done, 1 something failed, 2 the command was wrong, 3 something was not "
        "understood or could not be.",
    .examples =
        "millet assist\ttalk\n"
        "millet assist -p 'set a timer for ten minutes' --wait\tone command; the timer rings here\n"
        "printf 'add milk to my list\\nwhat is on my list\\n' | millet assist --json\tcommands from a pipe\n"
        "millet assist --tools mcp\tthe skills as tool definitions",
    .options = groups,
    .run = run,
};
