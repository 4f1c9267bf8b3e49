/* millet eval lambada and millet eval gsm8k. SPDX-License-Identifier: Apache-2.0 */
#include "eval_tasks.h"

#include <string.h>

static millet_task_options task_options(const struct cli_task_settings *settings, char *label)
{
    return (millet_task_options){
        .session = settings->session,
        .n_shots = cli_task.shots,
        .shots_path = cli_task.shots_file,
        .max_records = cli_task.limit,
        .answers = cli_task.answers,
        .progress = cli_progress_callback,
        .context = label,
    };
}

static void print_share(const char *what, const millet_task_share *s, bool with_base)
{
    printf("%-20s", what);
    cli_print_percent(&s->right);
    putchar('\n');
    if (!with_base) return;
    const struct {
        const char *name;
        const millet_interval *value;
    } rows[] = {{"  of the base", &s->base},
                {"  difference", &s->difference},
                {"  share kept", &s->kept},
                {"  the same", &s->agreement}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        printf("%-20s", rows[i].name);
        cli_print_percent(rows[i].value);
        putchar('\n');
    }
}

static void print_number(const char *what, const millet_interval *x)
{
    printf("%-20s %.6g [%.6g, %.6g]\n", what, x->value, x->low, x->high);
}

/* ---- Last words ---- */

static int print_lambada(const millet_lambada_scores *s, bool with_base)
{
    if (cli_json)
        return cli_print_json(json_pack(
            "{s:I,s:I,s:o,s:o,s:o,s:o,s:o}", "records", (json_int_t)s->n_records, "cut", (json_int_t)s->n_cut,
            "word", cli_task_share(&s->word, with_base), "nll", cli_task_interval(&s->nll), "perplexity",
            cli_task_interval(&s->perplexity), "base_perplexity", cli_task_interval(&s->base_perplexity),
            "perplexity_ratio", cli_task_interval(&s->perplexity_ratio)));
    printf("%lld passages", (long long)s->n_records);
    if (s->n_cut) printf(", %lld of them without their beginning", (long long)s->n_cut);
    puts("; with intervals of 95%");
    print_share("last word right, %", &s->word, with_base);
    print_number("perplexity per word", &s->perplexity);
    if (with_base) print_number("  of the base", &s->base_perplexity);
    if (with_base) print_number("  ratio", &s->perplexity_ratio);
    return CLI_OK;
}

int cli_eval_lambada(int n_operands, char **operands, struct cli_task_settings *settings)
{
    if (n_operands != 2) return cli_usage("the form is: millet eval lambada MODEL FILE.jsonl");
    if (cli_task.shots || cli_task.shots_file) return cli_usage("lambada has no shots");
    struct cli_task_models models;
    int status = cli_open_task(operands[0], settings, &models);
    if (status == CLI_OK) {
        static char label[] = "reading";
        const millet_task_options options = task_options(settings, label);
        millet_lambada_scores scores;
        millet_error err;
        cli_catch_interrupt();
        millet_status result =
            millet_lambada_measure(models.model, models.base, operands[1], &options, &scores, &err);
        cli_progress_end();
        status = result ? cli_fail(&err) : print_lambada(&scores, models.base);
    }
    cli_close_task(&models);
    return status;
}

/* ---- Sums in words ---- */

static int print_gsm8k(const millet_gsm8k_scores *s, bool with_base)
{
    if (cli_json)
        return cli_print_json(
            json_pack("{s:I,s:o,s:I,s:I,s:I,s:I,s:i,s:i}", "records", (json_int_t)s->n_records, "right",
                      cli_task_share(&s->right, with_base), "numbers", (json_int_t)s->n_numbers, "ended",
                      (json_int_t)s->n_ended, "tokens", (json_int_t)s->n_tokens, "shortened",
                      (json_int_t)s->n_shortened, "max_tokens", s->max_tokens, "shots", cli_task.shots));
    printf("%lld questions, %d shots", (long long)s->n_records, cli_task.shots);
    if (s->n_shortened) printf(" (fewer for %lld)", (long long)s->n_shortened);
    printf("; with intervals of 95%%\n");
    print_share("number right, %", &s->right, with_base);
    printf("%lld answers with a number, %lld ended within %d tokens, %.1f tokens on average\n",
           (long long)s->n_numbers, (long long)s->n_ended, s->max_tokens,
           (double)s->n_tokens / (double)s->n_records);
    return CLI_OK;
}

int cli_eval_gsm8k(int n_operands, char **operands, struct cli_task_settings *settings, int32_t max_tokens)
{
    if (n_operands != 2) return cli_usage("the form is: millet eval gsm8k MODEL FILE.jsonl");
    struct cli_task_models models;
    int status = cli_open_task(operands[0], settings, &models);
    if (status == CLI_OK) {
        static char label[] = "reckoning";
        millet_task_options options = task_options(settings, label);
        options.max_tokens = max_tokens;
        millet_gsm8k_scores scores;
        millet_error err;
        cli_catch_interrupt();
        millet_status result =
            millet_gsm8k_measure(models.model, models.base, operands[1], &options, &scores, &err);
        cli_progress_end();
        status = result ? cli_fail(&err) : print_gsm8k(&scores, models.base);
    }
    cli_close_task(&models);
    return status;
}
