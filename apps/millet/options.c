/*
 * From rows of options: parsing and its error messages.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "cli.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *current_verb = "";

bool cli_quiet;
char cli_unsaid[1024];

int cli_usage(const char *format, ...)
{
    va_list args;
    if (cli_quiet) { /* mpirun ends all when one has failed: the one that speaks comes first */
        sleep(1);
        return CLI_USAGE;
    }
    fprintf(stderr, "millet%s%s: ", current_verb[0] ? " " : "", current_verb);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    return CLI_USAGE;
}

int cli_fail_text(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (cli_quiet) {
        vsnprintf(cli_unsaid, sizeof cli_unsaid, format, args);
        va_end(args);
        return CLI_FAILED;
    }
    fputs("millet: ", stderr);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    return CLI_FAILED;
}

int cli_fail(const millet_error *err)
{
    char line[1024];
    millet_error_format(err, line, sizeof line);
    return cli_fail_text("%s", line);
}

/* Levenshtein distance of short words; longer ones count as far apart. */
static size_t distance(const char *a, const char *b)
{
    enum { LONGEST = 31 };
    size_t n = strlen(a), m = strlen(b), row[LONGEST + 1];
    if (n > LONGEST || m > LONGEST) return SIZE_MAX;
    for (size_t j = 0; j <= m; j++)
        row[j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t above = row[j], best = diagonal + (a[i - 1] != b[j - 1]);
            if (above + 1 < best) best = above + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            row[j] = best;
            diagonal = above;
        }
    }
    return row[m];
}

const char *cli_nearest(const char *word, const char *const *names)
{
    const char *nearest = NULL;
    size_t best = strlen(word) / 3 + 2;
    for (; *names; names++) {
        size_t d = strncmp(*names, word, strlen(word)) == 0 ? 0 : distance(word, *names);
        if (d < best) {
            best = d;
            nearest = *names;
        }
    }
    return nearest;
}

enum { MAX_OPTIONS = 96 };

/* All rows of a verb, with --help and --man. */
static int gather(const struct cli_verb *verb, const struct cli_option **rows)
{
    int count = 0;
    for (const struct cli_option *const *group = verb->options; *group; group++)
        for (const struct cli_option *row = *group; row->name; row++)
            if (count < MAX_OPTIONS) rows[count++] = row;
    return count;
}

static bool is_choice(const char *choices, const char *value)
{
    size_t length = strlen(value);
    while (*choices) {
        size_t n = strcspn(choices, "|");
        if (n == length && strncmp(choices, value, n) == 0) return true;
        choices += n + (choices[n] == '|');
    }
    return false;
}

static int set_option(const struct cli_option *row, const char *value)
{
    char *end = NULL;
    errno = 0;
    switch (row->kind) {
    case CLI_FLAG: *(bool *)row->target = true; return CLI_OK;
    case CLI_STRING:
        if (row->choices && !is_choice(row->choices, value))
            return cli_usage("--%s %s: one of %s is needed", row->name, value, row->choices);
        *(const char **)row->target = value;
        return CLI_OK;
    case CLI_LIST: {
        struct cli_list *list = row->target;
        if (list->count == sizeof list->items / sizeof *list->items)
            return cli_usage("--%s may be given %zu times at most", row->name, list->count);
        list->items[list->count++] = value;
        return CLI_OK;
    }
    case CLI_INT: {
        long number = strtol(value, &end, 10);
        if (end == value || *end || errno || (double)number < row->min || (double)number > row->max)
            return cli_usage("--%s %s: a whole number from %.0f to %.0f is needed", row->name, value,
                             row->min, row->max);
        *(int32_t *)row->target = (int32_t)number;
        return CLI_OK;
    }
    case CLI_FLOAT: {
        double number = strtod(value, &end);
        if (end == value || *end || !(number >= row->min && number <= row->max))
            return cli_usage("--%s %s: a number from %g to %g is needed", row->name, value, row->min,
                             row->max);
        *(float *)row->target = (float)number;
        return CLI_OK;
    }
    case CLI_U64: {
        unsigned long long number = strtoull(value, &end, 10);
        if (end == value || *end || errno || value[0] == '-')
            return cli_usage("--%s %s: a whole number from 0 is needed", row->name, value);
        *(uint64_t *)row->target = number;
        return CLI_OK;
    }
    }
    return CLI_USAGE;
}

static int unknown_option(const struct option *longs, int count, const char *word)
{
    const char *names[MAX_OPTIONS + 3];
    for (int i = 0; i < count; i++)
        names[i] = longs[i].name;
    names[count] = NULL;
    if (strncmp(word, "--", 2) == 0) {
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)strcspn(word + 2, "="), word + 2);
        const char *nearest = cli_nearest(name, names);
        if (nearest) return cli_usage("no option --%s; did you mean --%s?", name, nearest);
    }
    return cli_usage("no option %s; see millet %s --help", word, current_verb);
}

int cli_parse(const struct cli_verb *verb, int argc, char **argv, char ***operands, int *count, bool *done)
{
    const struct cli_option *rows[MAX_OPTIONS];
    struct option longs[MAX_OPTIONS + 3];
    char shorts[2 * MAX_OPTIONS + 8] = ":h";
    int n = gather(verb, rows);
    size_t at = strlen(shorts);
    current_verb = verb->name;
    *done = false;
    enum { HELP = 1000, MAN, FIRST };
    for (int i = 0; i < n; i++) {
        longs[i] = (struct option){rows[i]->name, rows[i]->argument ? required_argument : no_argument, NULL,
                                   FIRST + i};
        if (rows[i]->letter) {
            shorts[at++] = rows[i]->letter;
            if (rows[i]->argument) shorts[at++] = ':';
        }
    }
    shorts[at] = 0;
    longs[n] = (struct option){"help", no_argument, NULL, HELP};
    longs[n + 1] = (struct option){"man", no_argument, NULL, MAN};
    longs[n + 2] = (struct option){0};

    opterr = 0;
    optind = 1;
    for (;;) {
        int code = getopt_long(argc, argv, shorts, longs, NULL);
        if (code < 0) break;
        const struct cli_option *row = NULL;
        if (code == 'h' || code == HELP || code == MAN) {
            (code == MAN ? cli_print_man : cli_print_help)(verb, stdout);
            *done = true;
            return CLI_OK;
        }
        if (code == ':')
            return cli_usage("%s needs a value; see millet %s --help", argv[optind - 1], verb->name);
        if (code == '?') { /* optopt is the letter, or 0 where a long option is unknown */
            char letter[3] = {'-', (char)optopt, 0};
            return unknown_option(longs, n + 1, optopt > 0 && optopt < FIRST ? letter : argv[optind - 1]);
        }
        if (code >= FIRST) row = rows[code - FIRST];
        for (int i = 0; i < n && !row; i++)
            if (rows[i]->letter == code) row = rows[i];
        if (!row) return CLI_USAGE;
        int status = set_option(row, optarg);
        if (status != CLI_OK) return status;
    }
    *operands = argv + optind;
    *count = argc - optind;
    if (*count < verb->min_operands)
        return cli_usage("%s is missing; the form is: millet %s %s [options]", verb->operands, verb->name,
                         verb->operands);
    if (*count > verb->max_operands)
        return cli_usage("\"%s\" is one word too many; the form is: millet %s %s [options]",
                         (*operands)[verb->max_operands], verb->name, verb->operands);
    return CLI_OK;
}
