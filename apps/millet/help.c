/*
 * From rows of options: --help, man pages and shell completion.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "cli.h"

#include <string.h>

/* Prints `text` wrapped at 80 columns, each line indented by `indent`; the first is already at that column.
 */
static void wrap(FILE *out, const char *text, int indent)
{
    int column = indent;
    while (*text) {
        int length = (int)strcspn(text, " \n");
        if (column > indent && column + 1 + length > 80) {
            fprintf(out, "\n%*s", indent, "");
            column = indent;
        } else if (column > indent) {
            fputc(' ', out);
            column++;
        }
        fprintf(out, "%.*s", length, text);
        column += length;
        text += length;
        if (strncmp(text, "\n\n", 2) == 0) {
            fprintf(out, "\n\n%*s", indent, "");
            column = indent;
        }
        text += strspn(text, " \n");
    }
    fputc('\n', out);
}

void cli_print_help(const struct cli_verb *verb, FILE *out)
{
    fprintf(out, "millet %s %s [options]\n\n", verb->name, verb->operands);
    wrap(out, verb->description, 0);
    fputs("\nOptions:\n", out);
    for (const struct cli_option *const *group = verb->options; *group; group++) {
        for (const struct cli_option *row = *group; row->name; row++) {
            char left[64], letter[8] = "    ";
            if (row->letter) snprintf(letter, sizeof letter, "-%c, ", row->letter);
            int n = snprintf(left, sizeof left, "  %s--%s%s%s", letter, row->name, row->argument ? " " : "",
                             row->argument ? row->argument : "");
            fprintf(out, "%s%*s", left, n < 30 ? 30 - n : 1, "");
            wrap(out, row->help, n < 30 ? 30 : n + 1);
        }
    }
    fprintf(out, "  -h, --help%*sthis text; --man: the manual page\n", 18, "");
    if (!verb->examples) return;
    fputs("\nExamples:\n", out);
    for (const char *line = verb->examples; *line;) {
        int command = (int)strcspn(line, "\t"), rest = (int)strcspn(line + command, "\n");
        fprintf(out, "  %.*s\n      %.*s\n", command, line, rest - 1, line + command + 1);
        line += command + rest;
        line += *line == '\n';
    }
}

/* Text in roff: backslashes, dashes in options, and dots at the start of a line mean something there. */
static void roff(FILE *out, const char *text)
{
    bool line_start = true;
    for (; *text; text++) {
        if (line_start && (*text == '.' || *text == '\'')) fputs("\\&", out);
        if (strncmp(text, "\n\n", 2) == 0) {
            fputs("\n.PP\n", out);
            text++;
            line_start = true;
            continue;
        }
        if (*text == '\\')
            fputs("\\e", out);
        else if (*text == '-')
            fputs("\\-", out);
        else
            fputc(*text, out);
        line_start = *text == '\n';
    }
    fputc('\n', out);
}

void cli_print_man(const struct cli_verb *verb, FILE *out)
{
    fprintf(out, ".TH MILLET\\-%s 1 \"\" \"Millet %s\" \"Millet\"\n.SH NAME\nmillet\\-%s \\- ", verb->name,
            millet_version(), verb->name);
    roff(out, verb->summary);
    fprintf(out, ".SH SYNOPSIS\n.B millet %s\n", verb->name);
    roff(out, verb->operands);
    fputs("[options]\n.SH DESCRIPTION\n", out);
    roff(out, verb->description);
    fputs(".SH OPTIONS\n", out);
    for (const struct cli_option *const *group = verb->options; *group; group++) {
        for (const struct cli_option *row = *group; row->name; row++) {
            fputs(".TP\n.B ", out);
            if (row->letter) fprintf(out, "\\-%c, ", row->letter);
            fputs("\\-\\-", out);
            for (const char *c = row->name; *c; c++)
                *c == '-' ? (void)fputs("\\-", out) : (void)fputc(*c, out);
            if (row->argument) fprintf(out, " \\fI%s\\fR", row->argument);
            fputc('\n', out);
            roff(out, row->help);
        }
    }
    if (verb->examples) {
        fputs(".SH EXAMPLES\n", out);
        for (const char *line = verb->examples; *line;) {
            int command = (int)strcspn(line, "\t"), rest = (int)strcspn(line + command, "\n");
            char text[512];
            snprintf(text, sizeof text, "%.*s", command, line);
            fputs(".TP\n.B ", out);
            roff(out, text);
            snprintf(text, sizeof text, "%.*s", rest - 1, line + command + 1);
            roff(out, text);
            line += command + rest;
            line += *line == '\n';
        }
    }
    fputs(".SH EXIT STATUS\n0 the work is done, 1 it failed, 2 the command was wrong.\n", out);
}

static void print_option_words(const struct cli_verb *verb, FILE *out, const char *separator)
{
    for (const struct cli_option *const *group = verb->options; *group; group++)
        for (const struct cli_option *row = *group; row->name; row++)
            fprintf(out, "--%s%s", row->name, separator);
    fputs("--help", out);
}

static void bash_completion(FILE *out)
{
    fputs("_millet()\n{\n    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}\n"
          "    if [ \"$COMP_CWORD\" = 1 ]; then\n        COMPREPLY=($(compgen -W \"",
          out);
    for (int i = 0; cli_verbs[i]; i++)
        fprintf(out, "%s ", cli_verbs[i]->name);
    fputs("help\" -- \"$word\"))\n        return\n    fi\n    case \"${COMP_WORDS[1]} $before\" in\n", out);
    for (int i = 0; cli_verbs[i]; i++)
        for (const struct cli_option *const *group = cli_verbs[i]->options; *group; group++)
            for (const struct cli_option *row = *group; row->name; row++)
                if (row->choices) {
                    fprintf(out, "    \"%s --%s\") COMPREPLY=($(compgen -W \"", cli_verbs[i]->name,
                            row->name);
                    for (const char *c = row->choices; *c; c++)
                        fputc(*c == '|' ? ' ' : *c, out);
                    fputs("\" -- \"$word\")); return ;;\n", out);
                }
    fputs("    esac\n    case \"$word\" in\n    -*) ;;\n    *) compopt -o default; COMPREPLY=(); return ;;\n "
          "   esac\n"
          "    case \"${COMP_WORDS[1]}\" in\n",
          out);
    for (int i = 0; cli_verbs[i]; i++) {
        fprintf(out, "    %s) COMPREPLY=($(compgen -W \"", cli_verbs[i]->name);
        print_option_words(cli_verbs[i], out, " ");
        fputs("\" -- \"$word\")) ;;\n", out);
    }
    fputs("    esac\n}\ncomplete -F _millet millet\n", out);
}

static void zsh_completion(FILE *out)
{
    fputs("#compdef millet\n_millet()\n{\n    local -a verbs=(\n", out);
    for (int i = 0; cli_verbs[i]; i++)
        fprintf(out, "        '%s:%s'\n", cli_verbs[i]->name, cli_verbs[i]->summary);
    fputs("    )\n    if (( CURRENT == 2 )); then _describe verb verbs; return; fi\n    case \"$words[2]\" "
          "in\n",
          out);
    for (int i = 0; cli_verbs[i]; i++) {
        fprintf(out, "    %s) _arguments '*:file:_files'", cli_verbs[i]->name);
        for (const struct cli_option *const *group = cli_verbs[i]->options; *group; group++)
            for (const struct cli_option *row = *group; row->name; row++) {
                fprintf(out, " \\\n        '--%s", row->name);
                if (row->choices) {
                    fprintf(out, ":%s:(", row->argument);
                    for (const char *c = row->choices; *c; c++)
                        fputc(*c == '|' ? ' ' : *c, out);
                    fputc(')', out);
                } else if (row->argument) {
                    fprintf(out, ":%s:_files", row->argument);
                }
                fputc('\'', out);
            }
        fputs(" ;;\n", out);
    }
    fputs("    esac\n}\ncompdef _millet millet\n", out);
}

static void fish_completion(FILE *out)
{
    for (int i = 0; cli_verbs[i]; i++) {
        fprintf(out, "complete -c millet -n __fish_use_subcommand -f -a %s -d '%s'\n", cli_verbs[i]->name,
                cli_verbs[i]->summary);
        for (const struct cli_option *const *group = cli_verbs[i]->options; *group; group++)
            for (const struct cli_option *row = *group; row->name; row++) {
                fprintf(out, "complete -c millet -n '__fish_seen_subcommand_from %s' -l %s%s",
                        cli_verbs[i]->name, row->name, row->argument ? " -r" : "");
                if (row->letter) fprintf(out, " -s %c", row->letter);
                if (row->choices) {
                    fputs(" -f -a '", out);
                    for (const char *c = row->choices; *c; c++)
                        fputc(*c == '|' ? ' ' : *c, out);
                    fputc('\'', out);
                }
                fputc('\n', out);
            }
    }
}

void cli_print_completion(const char *shell, FILE *out)
{
    if (strcmp(shell, "bash") == 0)
        bash_completion(out);
    else if (strcmp(shell, "zsh") == 0)
        zsh_completion(out);
    else
        fish_completion(out);
}
