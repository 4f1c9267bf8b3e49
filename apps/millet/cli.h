/*
 * What the verbs of the command line share: declared options, opening a model, talking to the user, JSON and
 * tables.
 *
 * A verb is a row of options and a function. From the same rows come parsing, --help, the man page and shell
 * completion, so that they cannot disagree.
 *
 * Results go to stdout, talk goes to stderr. Exit codes: 0 the work is done, 1 it failed, 2 the command was
 * wrong.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MILLET_CLI_H
#define MILLET_CLI_H

#include "millet/lab.h"
#include "millet/millet.h"

#include <jansson.h>
#include <stdio.h>

enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

enum cli_kind {
    CLI_FLAG,   /* bool */
    CLI_STRING, /* const char * */
    CLI_INT,    /* int32_t in [min, max] */
    CLI_FLOAT,  /* float in [min, max] */
    CLI_U64,    /* uint64_t */
    CLI_LIST,   /* struct cli_list: the option may be given several times */
};

struct cli_list {
    const char *items[64];
    size_t count;
};

struct cli_option {
    const char *name;     /* without the dashes */
    char letter;          /* 0: none */
    const char *argument; /* placeholder in the help, "N"; NULL for flags */
    enum cli_kind kind;
    void *target;
    const char *help;
    double min, max;     /* of numbers */
    const char *choices; /* of strings: "f16|f32", checked and completed; NULL: any */
};

struct cli_verb {
    const char *name, *summary;
    const char *operands; /* "MODEL", "[MODEL]" */
    int min_operands, max_operands;
    const char *description; /* paragraphs separated by empty lines */
    const char *examples;    /* lines: command, tab, what it does */
    const struct cli_option *const
        *options; /* groups, each ending with a row without a name; NULL-terminated */
    void (*prepare)(
        void); /* sets defaults of the options' targets before they are parsed; NULL: zeros will do */
    int (*run)(int n_operands, char **operands);
};

/* All verbs, NULL-terminated. */
extern const struct cli_verb *const cli_verbs[];

/*
 * Parses argv[1..] of a verb into its options' targets. Returns CLI_OK and the operands in *operands (*count
 * of them), or CLI_USAGE after a message that says what to type instead. --help and --man are answered here:
 * *done is set.
 */
int cli_parse(const struct cli_verb *verb, int argc, char **argv, char ***operands, int *count, bool *done);

/* Prints "millet VERB: message" to stderr and returns CLI_USAGE / CLI_FAILED. */
int cli_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));
int cli_fail(const millet_error *err);
int cli_fail_text(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Set where another process of the same run speaks for this one: then nothing is said, and `cli_unsaid` is
 * the last message. */
extern bool cli_quiet;
extern char cli_unsaid[1024];

void cli_print_help(const struct cli_verb *verb, FILE *out);
void cli_print_man(const struct cli_verb *verb, FILE *out);
void cli_print_completion(const char *shell, FILE *out);
/* The name among `names` (NULL-terminated) that is most like `word`, or NULL when none is close. */
const char *cli_nearest(const char *word, const char *const *names);

/* ---- Options that several verbs have
 * -------------------------------------------------------------------------- */

struct cli_model_options {
    const char *tokenizer;
};
struct cli_session_options {
    int32_t ctx, batch;
    const char *cache, *cpu;
    bool exact_activations;
};

extern struct cli_model_options cli_model;
extern struct cli_session_options cli_session;
extern int32_t cli_threads;
extern bool cli_json;
extern const struct cli_option cli_model_rows[], cli_session_rows[], cli_threads_rows[], cli_json_rows[];

/* Opens a model of any layout; on failure the error has been printed and NULL is returned. */
millet_model *cli_open_model(const char *path);
/* The choices of --cache; the type that one of them names, F16 for NULL. */
#define CLI_CACHES "f16|f32|q8_0|q4"
millet_cache_type cli_cache_type(const char *name);
/* Session options as the command line gives them. */
millet_session_options cli_session_options(void);

/* ---- Talking
 * -------------------------------------------------------------------------------------------------- */

/* Prints a JSON value to stdout, followed by a newline, and releases it. Returns CLI_OK or CLI_FAILED. */
int cli_print_json(json_t *value);

/* "1.5 GB", "866 MB", "12 kB" in decimal units; static storage, eight results at a time. */
const char *cli_bytes(uint64_t bytes);

/* A progress line on stderr, only where that is a terminal: label, part done, time left. */
void cli_progress(const char *label, double fraction);
void cli_progress_end(void);
/* The same as a millet_progress_callback whose context is the label, a string; stops on Ctrl-C. */
bool cli_progress_callback(void *label, double fraction);

/* Set by Ctrl-C after cli_catch_interrupt; a second Ctrl-C ends the process. */
extern volatile int cli_interrupted;
void cli_catch_interrupt(void);
/* The same for what mpirun passes on: SIGTERM for its own Ctrl-C, and SIGUSR1. */
void cli_catch_termination(void);

/* Reads all of a file, or of stdin (path NULL); *text has a NUL behind its end and is released with free.
 * False, after a message, when it cannot be read. */
bool cli_read_text(const char *path, char **text, size_t *length);

/* Parses "1,5,7" (or blanks between) into *ids, released with free. False with a usage message printed. */
bool cli_parse_ids(const char *text, int32_t n_vocab, int32_t **ids, size_t *count);

/* Takes "FILE=VALUE" apart: returns the name, released with free (NULL: out of memory), and *value points to
 * what stands behind the last '=', or is NULL. Where a file has the whole as its name, that is meant. */
char *cli_split_value(const char *argument, const char **value);

/* Seconds on a steady clock. */
double cli_seconds(void);

#endif
