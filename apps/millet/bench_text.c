/* SPDX-License-Identifier: Apache-2.0 */
#include "bench_text.h"

#include "speculation.h"

#include <stdlib.h>
#include <string.h>

enum { WITHOUT, WITH, BOTH };

struct text {
    char *data;
    size_t length;
};

/* What one way of generating has done. */
struct measured {
    millet_session *session;
    double *rate; /* [rounds] tokens a second */
    int64_t generated, drafted, accepted;
    int32_t *tokens; /* of the generation at hand */
    int32_t n_tokens, capacity;
};

static bool keep_token(void *context, const millet_piece *piece)
{
    struct measured *m = context;
    if (piece->token >= 0 && m->n_tokens < m->capacity) m->tokens[m->n_tokens++] = piece->token;
    return !cli_interrupted;
}

static int generate(struct measured *m, const struct text *text, const millet_generate_options *how,
                    double *seconds, double *tokens)
{
    millet_generation result;
    millet_error err;
    m->n_tokens = 0;
    millet_sequence_truncate(m->session, 0, 0, NULL);
    if (millet_generate(m->session, text->data, text->length, how, keep_token, m, &result, &err) != MILLET_OK)
        return cli_fail(&err);
    if (cli_interrupted) return cli_fail_text("the measurement was interrupted");
    /* The time of the first token is that of the prompt. */
    *seconds += result.generate_seconds;
    *tokens += result.generated_tokens - 1;
    m->generated += result.generated_tokens;
    m->drafted += result.drafted_tokens;
    m->accepted += result.accepted_tokens;
    return CLI_OK;
}

static int one_round(const struct bench_text *bench, const struct text *texts, struct measured *both,
                     int32_t round)
{
    double seconds[BOTH] = {0}, tokens[BOTH] = {0};
    for (size_t i = 0; i < bench->n_files; i++) {
        millet_generate_options how = millet_generate_options_default();
        how.sampler.temperature = bench->temperature;
        how.sampler.seed = i;
        how.max_tokens = bench->tokens;
        how.ignore_end = true;
        for (int j = 0; j < BOTH; j++) {
            int way = (round + j) % BOTH; /* neither is always the first */
            int code = generate(&both[way], &texts[i], &how, &seconds[way], &tokens[way]);
            if (code != CLI_OK) return code;
        }
        size_t bytes = (size_t)both[WITH].n_tokens * sizeof *both[WITH].tokens;
        if (both[WITH].n_tokens != both[WITHOUT].n_tokens ||
            memcmp(both[WITH].tokens, both[WITHOUT].tokens, bytes) != 0)
            return cli_fail_text("after %s, speculation has changed the text", bench->files[i]);
    }
    for (int way = 0; way < BOTH; way++)
        both[way].rate[round] = seconds[way] > 0 ? tokens[way] / seconds[way] : 0;
    return CLI_OK;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, int32_t n)
{
    qsort(values, (size_t)n, sizeof *values, compare_doubles);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

static int report(const char *path, const struct bench_text *bench, struct measured *both)
{
    double without = median(both[WITHOUT].rate, bench->rounds), with = median(both[WITH].rate, bench->rounds);
    const struct measured *m = &both[WITH];
    double gain = without > 0 ? with / without : 0;
    double right = m->drafted > 0 ? (double)m->accepted / (double)m->drafted : 0;
    double a_step = (double)m->generated / (double)(m->generated - m->accepted);
    if (cli_json)
        return cli_print_json(json_pack(
            "{s:s,s:i,s:i,s:i,s:f,s:f,s:f,s:I,s:I,s:f,s:f}", "model", path, "texts", (int)bench->n_files,
            "generate_tokens", bench->tokens, "rounds", bench->rounds, "without", without, "with", with,
            "gain", gain, "drafted_tokens", (json_int_t)m->drafted, "accepted_tokens",
            (json_int_t)m->accepted, "acceptance", right, "tokens_a_step", a_step));
    printf("%s\n  %-16s %10.1f tokens/s\n  %-16s %10.1f tokens/s, %.2f times as many\n", path, "without",
           without, "with speculation", with, gain);
    printf("  %-16s %lld, of which %.1f%% were right: %.2f tokens a step\n", "guesses", (long long)m->drafted,
           100 * right, a_step);
    return CLI_OK;
}

static int open_sessions(const millet_model *model, const struct bench_text *bench, struct measured *both,
                         millet_model **draft)
{
    millet_session_options options[BOTH] = {cli_session_options(), cli_session_options()};
    millet_error err;
    int code = cli_open_speculation(&options[WITH], draft);
    for (int way = 0; way < BOTH && code == CLI_OK; way++) {
        struct measured *m = &both[way];
        m->capacity = bench->tokens;
        m->rate = calloc((size_t)bench->rounds, sizeof *m->rate);
        m->tokens = calloc((size_t)bench->tokens, sizeof *m->tokens);
        if (!m->rate || !m->tokens) code = cli_fail_text("out of memory");
        if (code == CLI_OK && millet_session_open(model, &options[way], &m->session, &err) != MILLET_OK)
            code = cli_fail(&err);
    }
    return code;
}

int bench_text_run(const millet_model *model, const char *path, const struct bench_text *asked)
{
    struct bench_text bench = *asked;
    struct measured both[BOTH] = {0};
    struct text texts[sizeof((struct cli_list *)NULL)->items / sizeof(char *)] = {0};
    millet_model *draft = NULL;
    if (!cli_has_speculation()) return cli_usage("--text needs --draft FILE or --lookup");
    if (bench.tokens < 0) return cli_usage("--text needs --generate-tokens of 1 or more");
    if (bench.tokens == 0) bench.tokens = 128;
    if (bench.rounds == 0) bench.rounds = 5;
    int code = open_sessions(model, &bench, both, &draft);
    for (size_t i = 0; i < bench.n_files && code == CLI_OK; i++)
        if (!cli_read_text(bench.files[i], &texts[i].data, &texts[i].length)) code = CLI_FAILED;
    for (int32_t round = 0; round < bench.rounds && code == CLI_OK; round++) {
        code = one_round(&bench, texts, both, round);
        cli_progress("timing", (double)(round + 1) / bench.rounds);
    }
    cli_progress_end();
    if (code == CLI_OK) code = report(path, &bench, both);
    for (size_t i = 0; i < bench.n_files; i++)
        free(texts[i].data);
    for (int way = 0; way < BOTH; way++) {
        millet_session_close(&both[way].session);
        free(both[way].rate);
        free(both[way].tokens);
    }
    millet_model_close(&draft);
    return code;
}
