/*
 * Talking to people and programs: JSON, sizes, progress, interrupts; and options that several verbs have.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "cli.h"

#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct cli_model_options cli_model;
struct cli_session_options cli_session;
int32_t cli_threads;
bool cli_json;

const struct cli_option cli_model_rows[] = {
    {.name = "tokenizer",
     .argument = "FILE",
     .kind = CLI_STRING,
     .target = &cli_model.tokenizer,
     .help = "tokenizer.bin of a llama2.c checkpoint; else it is looked for beside the model"},
    {0},
};

const struct cli_option cli_session_rows[] = {
    {.name = "ctx",
     .letter = 'c',
     .argument = "N",
     .kind = CLI_INT,
     .target = &cli_session.ctx,
     .min = 0,
     .max = 1 << 24,
     .help = "positions of context; 0: what the model was trained for, at most 4096"},
    {.name = "batch",
     .argument = "N",
     .kind = CLI_INT,
     .target = &cli_session.batch,
     .min = 0,
     .max = 65536,
     .help = "tokens of a prompt computed together; 0: 512"},
    {.name = "cache",
     .argument = "TYPE",
     .kind = CLI_STRING,
     .target = &cli_session.cache,
     .choices = CLI_CACHES,
     .help = "how keys and values are stored: f16, f32, q8_0 (half of f16's memory) or q4 (a quarter)"},
    {.name = "cpu",
     .argument = "TIER",
     .kind = CLI_STRING,
     .target = &cli_session.cpu,
     .choices = "scalar|avx2|avx512|avx512vnni|neon|dotprod|i8mm|native",
     .help = "highest instruction set to use, as the variable MILLET_CPU; results are the same with each"},
    {.name = "exact-activations",
     .kind = CLI_FLAG,
     .target = &cli_session.exact_activations,
     .help = "multiply quantised weights with float activations: slow, for comparisons"},
    {0},
};

const struct cli_option cli_threads_rows[] = {
    {.name = "threads",
     .letter = 't',
     .argument = "N",
     .kind = CLI_INT,
     .target = &cli_threads,
     .max = 256,
     .help = "threads; 0: one for each CPU"},
    {0},
};

const struct cli_option cli_json_rows[] = {
    {.name = "json", .kind = CLI_FLAG, .target = &cli_json, .help = "print the result as JSON"},
    {0},
};

millet_cache_type cli_cache_type(const char *name)
{
    static const char *const names[] = {[MILLET_CACHE_F16] = "f16",
                                        [MILLET_CACHE_F32] = "f32",
                                        [MILLET_CACHE_Q8_0] = "q8_0",
                                        [MILLET_CACHE_Q4] = "q4"};
    int type = MILLET_CACHE_F16;
    for (int i = 0; name && i < (int)(sizeof names / sizeof *names); i++)
        if (strcmp(name, names[i]) == 0) type = i;
    return (millet_cache_type)type;
}

millet_session_options cli_session_options(void)
{
    millet_session_options options = millet_session_options_default();
    options.n_ctx = cli_session.ctx;
    options.n_threads = cli_threads;
    options.n_batch = cli_session.batch;
    options.cache_type = cli_cache_type(cli_session.cache);
    options.exact_activations = cli_session.exact_activations;
    return options;
}

int cli_print_json(json_t *value)
{
    char *text =
        value ? json_dumps(value, JSON_INDENT(1) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(value);
    if (!text) return cli_fail_text("the result could not be written as JSON: out of memory");
    puts(text);
    free(text);
    return fflush(stdout) == 0 ? CLI_OK : cli_fail_text("cannot write the result: %s", strerror(errno));
}

char *cli_split_value(const char *argument, const char **value)
{
    const char *equals = strrchr(argument, '=');
    *value = equals && access(argument, F_OK) != 0 ? equals + 1 : NULL;
    return *value ? strndup(argument, (size_t)(equals - argument)) : strdup(argument);
}

const char *cli_bytes(uint64_t bytes)
{
    static char texts[8][24];
    static int next;
    char *text = texts[next = (next + 1) % 8];
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
    double value = (double)bytes;
    int unit = 0;
    while (value >= 999.5 && unit < 4) {
        value /= 1000;
        unit++;
    }
    snprintf(text, sizeof texts[0], unit == 0 || value >= 99.95 ? "%.0f %s" : "%.1f %s", value, units[unit]);
    return text;
}

double cli_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static double progress_began, progress_shown;
static bool progress_open;

void cli_progress(const char *label, double fraction)
{
    if (!isatty(STDERR_FILENO)) return;
    double now = cli_seconds();
    if (!progress_open) progress_began = now;
    if (progress_open && now - progress_shown < 0.1 && fraction < 1) return;
    progress_open = true;
    progress_shown = now;
    double left = fraction > 0 ? (now - progress_began) / fraction * (1 - fraction) : 0;
    char bar[31];
    int filled = (int)(fraction * 30);
    for (int i = 0; i < 30; i++)
        bar[i] = i < filled ? '#' : '.';
    bar[30] = 0;
    fprintf(stderr, "\r%s [%s] %3.0f%%  %.0f s left \033[K", label, bar, 100 * fraction, left);
    fflush(stderr);
}

void cli_progress_end(void)
{
    if (!progress_open) return;
    progress_open = false;
    fputs("\r\033[K", stderr);
    fflush(stderr);
}

bool cli_progress_callback(void *label, double fraction)
{
    cli_progress(label, fraction);
    return !cli_interrupted;
}

volatile int cli_interrupted;

static void on_interrupt(int signal_number)
{
    if (cli_interrupted) {
        signal(signal_number, SIG_DFL);
        raise(signal_number);
    }
    cli_interrupted = 1;
}

static void catch_signal(int signal_number)
{
    struct sigaction action = {.sa_handler = on_interrupt};
    sigemptyset(&action.sa_mask);
    sigaction(signal_number, &action, NULL);
}

void cli_catch_interrupt(void)
{
    catch_signal(SIGINT);
}

void cli_catch_termination(void)
{
    catch_signal(SIGTERM);
    catch_signal(SIGUSR1);
}

bool cli_read_text(const char *path, char **text, size_t *length)
{
    FILE *file = path ? fopen(path, "rb") : stdin;
    size_t capacity = 1 << 16, size = 0;
    char *data = file ? malloc(capacity) : NULL;
    while (data) {
        size_t n = fread(data + size, 1, capacity - size, file);
        size += n;
        if (n == 0) break;
        if (size == capacity) {
            char *larger = realloc(data, capacity *= 2);
            if (!larger) free(data);
            data = larger;
        }
    }
    bool good = data && !ferror(file);
    if (!good) {
        cli_fail_text("cannot read %s: %s", path ? path : "the standard input", strerror(errno));
        free(data);
    }
    if (path && file) fclose(file);
    if (!good) return false;
    data[size] = 0; /* there is room: what is full grows */
    *text = data;
    *length = size;
    return true;
}

bool cli_parse_ids(const char *text, int32_t n_vocab, int32_t **ids, size_t *count)
{
    *count = 0;
    *ids =
        malloc((strlen(text) / 2 + 2) * sizeof **ids); /* an id takes two characters with what separates it */
    if (!*ids) {
        cli_fail_text("out of memory");
        return false;
    }
    while (*text) {
        char *end;
        if (isspace((unsigned char)*text) || *text == ',') {
            text++;
            continue;
        }
        long id = strtol(text, &end, 10);
        if (end == text || id < 0 || id >= n_vocab) {
            cli_usage("\"%.20s\" is no token: whole numbers from 0 to %d, separated by commas, are needed",
                      text, n_vocab - 1);
            free(*ids);
            return false;
        }
        (*ids)[(*count)++] = (int32_t)id;
        text = end;
    }
    return true;
}
