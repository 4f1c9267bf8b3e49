/*
 * millet: the command line. Verbs are in cmd_*.c.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "cli.h"
#include "verbs.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

const struct cli_verb *const cli_verbs[] = {
#define VERB_ENTRY(name) &cli_verb_##name,
    CLI_VERB_LIST(VERB_ENTRY)
#undef VERB_ENTRY
        NULL,
};

static void print_overview(FILE *out)
{
    fputs("Millet makes language models compact and runs them on the device.\n\n"
          "millet VERB [options]; millet VERB --help says more.\n\n",
          out);
    for (int i = 0; cli_verbs[i]; i++)
        fprintf(out, "  %-11s %s\n", cli_verbs[i]->name, cli_verbs[i]->summary);
    fputs("\nThe variable MILLET_CPU (", out);
    fprintf(out, "%s) limits the instruction set.\n", millet_cpu_tier_names());
}

static const struct cli_verb *find_verb(const char *name)
{
    for (int i = 0; cli_verbs[i]; i++)
        if (strcmp(cli_verbs[i]->name, name) == 0) return cli_verbs[i];
    return NULL;
}

static int unknown_verb(const char *name)
{
    const char *names[32];
    int n = 0;
    for (; cli_verbs[n]; n++)
        names[n] = cli_verbs[n]->name;
    names[n] = NULL;
    const char *nearest = cli_nearest(name, names);
    if (nearest) return cli_usage("there is no verb \"%s\"; did you mean millet %s?", name, nearest);
    return cli_usage("there is no verb \"%s\"; millet --help lists them", name);
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_DFL);
    if (argc < 2) {
        print_overview(stderr);
        return CLI_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "--version") == 0) {
        printf("millet %s (%s)\n", millet_version(), millet_cpu_tier());
        return CLI_OK;
    }
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || (strcmp(name, "help") == 0 && argc < 3)) {
        print_overview(stdout);
        return CLI_OK;
    }
    if (strcmp(name, "help") == 0) {
        const struct cli_verb *verb = find_verb(argv[2]);
        if (!verb) return unknown_verb(argv[2]);
        cli_print_help(verb, stdout);
        return CLI_OK;
    }
    const struct cli_verb *verb = find_verb(name);
    if (!verb) return unknown_verb(name);

    char **operands;
    int n_operands;
    bool done;
    if (verb->prepare) verb->prepare();
    int status = cli_parse(verb, argc - 1, argv + 1, &operands, &n_operands, &done);
    if (status != CLI_OK || done) return status;
    if (cli_session.cpu) setenv("MILLET_CPU", cli_session.cpu, 1); /* before the first kernel is asked for */
    status = verb->run(n_operands, operands);
    if (fflush(stdout) != 0 && status == CLI_OK)
        return cli_fail_text("cannot write the result: %s", strerror(errno));
    return status;
}
