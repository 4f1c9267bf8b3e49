/* millet eval: perplexity, divergence from another model, tasks. SPDX-License-Identifier: Apache-2.0 */
#include "adapters.h"
#include "eval_choice.h"
#include "eval_nlu.h"
#include "verbs.h"

#include <stdlib.h>
#include <string.h>

static struct {
    const char *text, *base;
    int32_t ctx, overlap, max_tokens, batch;
    const char *cache, *base_cache;
    bool second_half, exact_activations, special;
} arguments;

static const struct cli_option rows[] = {
    {.name = "text",
     .letter = 'f',
     .argument = "FILE",
     .kind = CLI_STRING,
     .target = &arguments.text,
     .help = "the text; without it the standard input"},
    {.name = "base",
     .letter = 'b',
     .argument = "MODEL",
     .kind = CLI_STRING,
     .target = &arguments.base,
     .help = "compare MODEL with this one, on the same text"},
    {.name = "ctx",
     .letter = 'c',
     .argument = "N",
     .kind = CLI_INT,
     .target = &arguments.ctx,
     .max = 1 << 24,
     .help = "tokens of a window; 0: 512, or the trained context if that is less"},
    {.name = "overlap",
     .argument = "N",
     .kind = CLI_INT,
     .target = &arguments.overlap,
     .max = 1 << 24,
     .help = "tokens of a window that repeat the end of the window before and are not scored again"},
    {.name = "second-half",
     .kind = CLI_FLAG,
     .target = &arguments.second_half,
     .help = "score only the second half of each window, as llama.cpp does"},
    {.name = "max-tokens",
     .letter = 'n',
     .argument = "N",
     .kind = CLI_INT,
     .target = &arguments.max_tokens,
     .max = 2147483647,
     .help = "use only the first N tokens of the text; gsm8k: tokens of an answer (256)"},
    {.name = "special",
     .kind = CLI_FLAG,
     .target = &arguments.special,
     .help = "recognise special tokens that are written in the text"},
    {.name = "batch",
     .argument = "N",
     .kind = CLI_INT,
     .target = &arguments.batch,
     .max = 65536,
     .help = "tokens computed together; 0: 512"},
    {.name = "cache",
     .argument = "TYPE",
     .kind = CLI_STRING,
     .target = &arguments.cache,
     .choices = CLI_CACHES,
     .help = "how keys and values are stored: f16, f32, q8_0 or q4"},
    {.name = "base-cache",
     .argument = "TYPE",
     .kind = CLI_STRING,
     .target = &arguments.base_cache,
     .choices = CLI_CACHES,
     .help = "the same for the model of --base; as --cache where it is not given"},
    {.name = "exact-activations",
     .kind = CLI_FLAG,
     .target = &arguments.exact_activations,
     .help = "multiply quantised weights with float activations: slow, for comparisons"},
    {0},
};

static json_t *interval_json(const millet_interval *x)
{
    return json_pack("{s:f,s:f,s:f}", "value", x->value, "low", x->low, "high", x->high);
}

static json_t *perplexity_json(const millet_perplexity *p)
{
    return json_pack("{s:o,s:o,s:I,s:I,s:I,s:i,s:i,s:b,s:b}", "perplexity", interval_json(&p->perplexity),
                     "nll", interval_json(&p->nll), "tokens", (json_int_t)p->n_tokens, "scored",
                     (json_int_t)p->n_scored, "windows", (json_int_t)p->n_windows, "ctx", p->n_ctx, "overlap",
                     p->overlap, "bos", p->bos, "second_half", p->second_half);
}

static json_t *divergence_json(const millet_divergence *d)
{
    return json_pack("{s:o,s:o,s:o,s:{s:o,s:f,s:f,s:f,s:f,s:f,s:f},s:o,s:f,s:o,s:f}", "base",
                     perplexity_json(&d->base), "model", perplexity_json(&d->other), "perplexity_ratio",
                     interval_json(&d->perplexity_ratio), "kl", "mean", interval_json(&d->kl), "median",
                     d->kl_median, "q90", d->kl_90, "q95", d->kl_95, "q99", d->kl_99, "q999", d->kl_999,
                     "max", d->kl_max, "agreement", interval_json(&d->agreement), "max_probability_drop",
                     d->max_drop, "mean_probability_change", interval_json(&d->mean_change),
                     "rms_probability_change", d->rms_change);
}

static void print_interval(const char *label, const millet_interval *x, const char *format)
{
    char value[32], low[32], high[32];
    /* `format` is one of the literals below. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(value, sizeof value, format, x->value);
    snprintf(low, sizeof low, format, x->low);
    snprintf(high, sizeof high, format, x->high);
#pragma GCC diagnostic pop
    printf("  %-28s %12s   [%s, %s]\n", label, value, low, high);
}

static void print_window(const millet_perplexity *p)
{
    printf("  %lld of %lld tokens scored, in %lld windows of %d%s%s; intervals are 95%%\n",
           (long long)p->n_scored, (long long)p->n_tokens, (long long)p->n_windows, p->n_ctx,
           p->bos ? ", each after BOS" : "", p->second_half ? ", the second half of each" : "");
}

static void print_divergence(const char *path, const millet_divergence *d)
{
    printf("%s beside %s\n", path, arguments.base);
    print_window(&d->other);
    print_interval("perplexity", &d->other.perplexity, "%.4f");
    print_interval("perplexity of the base", &d->base.perplexity, "%.4f");
    print_interval("ratio", &d->perplexity_ratio, "%.5f");
    print_interval("KL divergence, mean", &d->kl, "%.6f");
    printf("  %-28s %12.6f   90%% %.6f  95%% %.6f  99%% %.6f  99.9%% %.6f  max %.6f\n",
           "median and quantiles", d->kl_median, d->kl_90, d->kl_95, d->kl_99, d->kl_999, d->kl_max);
    print_interval("same most probable token", &d->agreement, "%.5f");
    print_interval("change of probability", &d->mean_change, "%+.6f");
    printf("  %-28s %12.6f   largest drop %.6f\n", "root mean square of it", d->rms_change, d->max_drop);
}

static int evaluate(const char *path, const millet_model *model, const millet_model *base, const char *text,
                    size_t length)
{
    millet_eval_options options = millet_eval_options_default();
    options.n_ctx = arguments.ctx;
    options.overlap = arguments.overlap;
    options.second_half = arguments.second_half;
    options.max_tokens = arguments.max_tokens;
    options.n_batch = arguments.batch;
    options.n_threads = cli_threads;
    options.cache_type = cli_cache_type(arguments.cache);
    options.base_cache_type = cli_cache_type(arguments.base_cache ? arguments.base_cache : arguments.cache);
    options.exact_activations = arguments.exact_activations;
    options.special = arguments.special;
    int code = cli_open_adapters(model, &options.adapters, &options.n_adapters);
    if (code != CLI_OK) return code;
    options.progress = cli_progress_callback;
    static char label[] = "evaluating";
    options.context = label;
    millet_perplexity perplexity;
    millet_divergence divergence;
    millet_error err;
    millet_status status =
        base ? millet_divergence_measure(base, model, text, length, &options, &divergence, &err)
             : millet_perplexity_measure(model, text, length, &options, &perplexity, &err);
    cli_progress_end();
    if (status != MILLET_OK) return cli_fail(&err);
    if (cli_json) return cli_print_json(base ? divergence_json(&divergence) : perplexity_json(&perplexity));
    if (base) {
        print_divergence(path, &divergence);
    } else {
        puts(path);
        print_window(&perplexity);
        print_interval("perplexity", &perplexity.perplexity, "%.4f");
        print_interval("mean -ln p", &perplexity.nll, "%.5f");
    }
    return CLI_OK;
}

static struct cli_task_settings task_settings(void)
{
    return (struct cli_task_settings){
        .base = arguments.base,
        .session = {.n_ctx = arguments.ctx,
                    .n_batch = arguments.batch,
                    .n_threads = cli_threads,
                    .cache_type = cli_cache_type(arguments.cache),
                    .base_cache_type =
                        cli_cache_type(arguments.base_cache ? arguments.base_cache : arguments.cache),
                    .exact_activations = arguments.exact_activations},
    };
}

static int run(int n_operands, char **operands)
{
    struct cli_task_settings settings = task_settings();
    const char *task = operands[0];
    if (strcmp(task, "choice") == 0) return cli_eval_choice(n_operands - 1, operands + 1, &settings);
    if (strcmp(task, "lambada") == 0) return cli_eval_lambada(n_operands - 1, operands + 1, &settings);
    if (strcmp(task, "gsm8k") == 0)
        return cli_eval_gsm8k(n_operands - 1, operands + 1, &settings, arguments.max_tokens);
    if (strcmp(task, "nlu") == 0)
        return cli_eval_nlu(n_operands - 1, operands + 1, arguments.exact_activations);
    if (n_operands > 1) return cli_usage("one MODEL is evaluated at a time; %s is too much", operands[1]);
    int status = CLI_FAILED;
    char *text = NULL;
    size_t length = 0;
    millet_model *model = cli_open_model(operands[0]), *base = NULL;
    if (model && arguments.base) base = cli_open_model(arguments.base);
    if (model && (base || !arguments.base) && cli_read_text(arguments.text, &text, &length)) {
        cli_catch_interrupt();
        status = evaluate(operands[0], model, base, text, length);
    }
    free(text);
    cli_close_adapters();
    millet_model_close(&base);
    millet_model_close(&model);
    return status;
}

static const struct cli_option *const groups[] = {rows,
                                                  cli_task_rows,
                                                  cli_eval_choice_rows,
                                                  cli_eval_nlu_rows,
                                                  cli_adapter_rows,
                                                  cli_threads_rows,
                                                  cli_model_rows,
                                                  cli_json_rows,
                                                  NULL};

const struct cli_verb cli_verb_eval = {
    .name = "eval",
    .summary = "perplexity of a text, divergence from another model, scores on tasks",
    .operands = "MODEL | choice MODEL FILE.jsonl... | lambada MODEL FILE.jsonl | gsm8k MODEL FILE.jsonl | "
                "nlu MODEL FILE.jsonl...",
    .min_operands = 1,
    .max_operands = 4096,
    .description =
        "Puts a text before a model in windows and measures how well it predicts each token. With --base it "
        "also "
        "measures how far its predictions are from those of the other model, token by token: "
        "Kullback-Leibler "
        "divergence, how often both prefer the same token, and how the probability of the text changes. "
        "Intervals are 95% confidence.\n\n"
        "eval choice asks questions with choices (the forms of C-Eval, CMMLU, AGIEval and others, "
        "docs/eval.md) and takes the most likely answer: the share that is right for each subject, and with "
        "--base what is left of the other model's. eval lambada measures how often the last word of a "
        "passage is "
        "foreseen, eval gsm8k how often the model reckons rightly.\n\n"
        "eval nlu measures how well a model that was trained for it understands commands: for each file of "
        "records ({\"text\", \"intent\", \"slots\"}) the share of right intents, F1 of the slots, the "
        "share of utterances that are all right, and, where some belong to no skill, how many of those are "
        "rejected.",
    .examples =
        "millet eval model.gguf --text t.txt\tperplexity\n"
        "millet eval model.gguf --lora tuned.gguf --base model.gguf --text t.txt\twhat an adapter changes\n"
        "millet eval small.gguf --base model.gguf --text t.txt --json\twhat compacting lost\n"
        "millet eval choice small.gguf cmmlu.jsonl --shots 5 --base model.gguf\tquestions with choices\n"
        "millet eval nlu nano.gguf dev.jsonl\tunderstanding",
    .options = groups,
    .run = run,
};
