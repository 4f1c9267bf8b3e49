/* The plan of `millet compact`. SPDX-License-Identifier: Apache-2.0 */
#include "plan_options.h"

#include "compact_report.h"
#include "plan_budget.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct {
    const char *plan, *write, *budget, *calibrate, *sensitivity, *types, *report, *evaluate, *profile, *base;
    int32_t measure, tokens, evaluation_tokens;
    bool dry_run;
} arguments;

static millet_plan *plan;
static millet_sensitivity *sensitivity; /* of --budget */

const struct cli_option cli_plan_rows[] = {
    {.name = "plan",
     .argument = "FILE",
     .kind = CLI_STRING,
     .target = &arguments.plan,
     .help = "the type of every tensor, from a plan (JSON) that --write-plan made"},
    {.name = "write-plan",
     .argument = "FILE",
     .kind = CLI_STRING,
     .target = &arguments.write,
     .help = "write the plan, to be read, edited and given to --plan"},
    {.name = "budget",
     .argument = "LIST",
     .kind = CLI_STRING,
     .target = &arguments.budget,
     .help =
         "make the plan that loses least in it: file=900MB (size of the file), ram=1.2GB@4096 (memory with "
         "a context of 4096), speed=15tok/s (tokens generated a second), or several with commas between"},
    {.name = "calibrate",
     .argument = "FILE",
     .kind = CLI_STRING,
     .target = &arguments.calibrate,
     .help = "with --budget: a text of the kind that the model is for; it is measured what rounding each "
             "matrix does to the predictions on it"},
    {.name = "profile",
     .argument = "FILE",
     .kind = CLI_STRING,
     .target = &arguments.profile,
     .help = "with --budget: predict speed by this profile of a device, that millet bench --device-profile "
             "made there; without, this machine is measured where the budget has a speed"},
    {.name = "sensitivity",
     .argument = "FILE",
     .kind = CLI_STRING,
     .target = &arguments.sensitivity,
     .help = "keep what was measured (JSON), and go on from it"},
    {.name = "types",
     .argument = "LIST",
     .kind = CLI_STRING,
     .target = &arguments.types,
     .help = "types to choose from, with commas between them; else all that are of use"},
    {.name = "measure",
     .argument = "N",
     .kind = CLI_INT,
     .target = &arguments.measure,
     .max = 64,
     .help =
         "types to measure for each matrix, the others being estimated; 0: all, or 2 where all would take "
         "long"},
    {.name = "calibration-tokens",
     .argument = "N",
     .kind = CLI_INT,
     .target = &arguments.tokens,
     .max = 1 << 20,
     .help = "tokens of the text to measure on; 0: 1024"},
    {.name = "report",
     .argument = "NAME",
     .kind = CLI_STRING,
     .target = &arguments.report,
     .help =
         "compare the output with MODEL on a text, and write a page (NAME.html, with NAME.json) or a folder "
         "NAME with both"},
    {.name = "evaluate",
     .argument = "FILE",
     .kind = CLI_STRING,
     .target = &arguments.evaluate,
     .help = "the text of --report; without, that of --calibrate"},
    {.name = "base",
     .argument = "MODEL",
     .kind = CLI_STRING,
     .target = &arguments.base,
     .help = "the model that --report compares with, where MODEL was itself made from it, by pruning for "
             "instance; with the same tokenizer"},
    {.name = "evaluation-tokens",
     .argument = "N",
     .kind = CLI_INT,
     .target = &arguments.evaluation_tokens,
     .max = 2147483647,
     .help = "use only the first N tokens of it; 0: 16384"},
    {.name = "dry-run",
     .kind = CLI_FLAG,
     .target = &arguments.dry_run,
     .help = "show the plan and write nothing else"},
    {0},
};

bool cli_plan_asked(void)
{
    return arguments.plan || arguments.budget;
}

bool cli_plan_is_dry(void)
{
    return arguments.dry_run;
}

static json_t *number_or_null(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *plan_json(void)
{
    json_t *tensors = json_array();
    for (uint64_t i = 0; i < plan->n_tensors; i++) {
        const millet_plan_tensor *t = &plan->tensors[i];
        json_array_append_new(tensors, json_pack("{s:s,s:s,s:I,s:o,s:o}", "name", t->name, "type", t->type,
                                                 "bytes", (json_int_t)t->bytes, "kl", number_or_null(t->kl),
                                                 "seconds", number_or_null(t->seconds)));
    }
    return json_pack("{s:s,s:I,s:I,s:i,s:o,s:o,s:o}", "model", plan->model, "file_bytes",
                     (json_int_t)plan->file_bytes, "memory_bytes", (json_int_t)plan->memory_bytes,
                     "memory_ctx", plan->memory_ctx, "kl", number_or_null(plan->kl), "tokens_per_second",
                     number_or_null(plan->tokens_per_second), "tensors", tensors);
}

static void print_plan(void)
{
    uint64_t elements = 0, bytes = 0;
    printf("  %-40s %-16s %-7s %10s %6s %10s\n", "tensor", "shape", "type", "bytes", "bits", "divergence");
    for (uint64_t i = 0; i < plan->n_tensors; i++) {
        const millet_plan_tensor *t = &plan->tensors[i];
        char shape[96] = "";
        uint64_t n = 1;
        for (int k = 0; k < MILLET_PLAN_DIMS && t->shape[k]; k++) {
            size_t used = strlen(shape);
            snprintf(shape + used, sizeof shape - used, k ? " x %lld" : "%lld", (long long)t->shape[k]);
            n *= (uint64_t)t->shape[k];
        }
        elements += n;
        bytes += t->bytes;
        printf("  %-40s %-16s %-7s %10s %6.2f", t->name, shape, t->type, cli_bytes(t->bytes),
               8 * (double)t->bytes / (double)n);
        if (isfinite(t->kl)) printf(" %10.6f", t->kl);
        puts("");
    }
    printf("%llu tensors, %.3f bits a weight; the file: %llu bytes (%s)\n",
           (unsigned long long)plan->n_tensors, elements ? 8 * (double)bytes / (double)elements : 0.0,
           (unsigned long long)plan->file_bytes, cli_bytes(plan->file_bytes));
    if (plan->memory_bytes)
        printf("memory with a context of %d: %llu bytes (%s)\n", plan->memory_ctx,
               (unsigned long long)plan->memory_bytes, cli_bytes(plan->memory_bytes));
    if (isfinite(plan->tokens_per_second))
        printf("generation: %.1f tokens/s, predicted\n", plan->tokens_per_second);
    if (isfinite(plan->kl)) printf("divergence: %.6f nats, the sum over tensors\n", plan->kl);
}

/* The device that is meant: that of --profile, else this one where a speed is wanted. */
static millet_status get_profile(int32_t n_threads, millet_budget *budget, millet_error *err)
{
    static millet_device_profile profile;
    millet_status status = MILLET_OK;
    if (!arguments.profile && budget->tokens_per_second == 0) return MILLET_OK;
    static char label[] = "measuring the machine";
    if (arguments.profile)
        status = millet_device_profile_read(arguments.profile, &profile, err);
    else
        status = millet_device_profile_measure(n_threads, cli_progress_callback, label, &profile, err);
    cli_progress_end();
    budget->profile = &profile;
    return status;
}

/* Measures, or takes from the file what was measured, and chooses. */
static int make_plan(const char *model, const millet_quantize_options *options)
{
    millet_budget budget;
    if (!cli_parse_budget(arguments.budget, &budget)) return CLI_USAGE;
    if (!arguments.calibrate)
        return cli_usage("--budget needs --calibrate FILE: a text of the kind that the model is for");
    millet_sensitivity_options measure = millet_sensitivity_options_default();
    char *text = NULL;
    size_t length = 0;
    if (!cli_read_text(arguments.calibrate, &text, &length)) return CLI_FAILED;
    static char label[] = "measuring sensitivity";
    measure.tokenizer_path = options->tokenizer_path;
    measure.text = text;
    measure.text_length = length;
    measure.max_tokens = arguments.tokens;
    measure.types = arguments.types;
    measure.n_measured = arguments.measure;
    measure.cache = arguments.sensitivity;
    measure.allow_requantize = options->allow_requantize;
    measure.n_threads = options->n_threads;
    measure.progress = cli_progress_callback;
    measure.context = label;
    millet_error err;
    millet_status status = millet_sensitivity_measure(model, &measure, &sensitivity, &err);
    cli_progress_end();
    free(text);
    if (status == MILLET_OK && !cli_json)
        fprintf(stderr, "sensitivity of %zu matrices on %lld tokens: %zu types measured, %zu estimated\n",
                sensitivity->n_tensors, (long long)sensitivity->n_tokens, sensitivity->n_measured,
                sensitivity->n_estimated);
    if (status == MILLET_OK) status = get_profile(options->n_threads, &budget, &err);
    if (status == MILLET_OK) status = millet_plan_choose(model, sensitivity, &budget, options, &plan, &err);
    if (status == MILLET_CANCELLED && arguments.sensitivity)
        return cli_fail_text("%s; what was is in %s", err.message, arguments.sensitivity);
    return status == MILLET_OK ? CLI_OK : cli_fail(&err);
}

static int get_plan(const char *model, const millet_quantize_options *options)
{
    millet_quantize_options wanted = *options;
    millet_plan *given = NULL;
    millet_error err;
    millet_status status = MILLET_OK;
    if (arguments.plan) status = millet_plan_read(NULL, arguments.plan, &given, &err);
    wanted.plan = given;
    if (status == MILLET_OK) status = millet_plan_of(model, &wanted, &plan, &err);
    millet_plan_free(&given);
    return status == MILLET_OK ? CLI_OK : cli_fail(&err);
}

int cli_plan_prepare(const char *model, const char *output, millet_quantize_options *options, bool *done)
{
    millet_error err;
    *done = false;
    if (!arguments.budget && (arguments.sensitivity || arguments.types || arguments.measure ||
                              arguments.tokens || arguments.calibrate || arguments.profile))
        return cli_usage(
            "--calibrate, --sensitivity, --types, --measure, --calibration-tokens and --profile go "
            "with --budget");
    if (arguments.report && !arguments.evaluate && !arguments.calibrate)
        return cli_usage("--report needs a text to compare on: --evaluate FILE");
    if (arguments.report && arguments.dry_run)
        return cli_usage("--report is of a file that is written; --dry-run writes none");
    if (arguments.report && (options->split_bytes || strcmp(output, model) == 0))
        return cli_usage("--report compares MODEL with one other file: without --split, under another name");
    if (!arguments.report && (arguments.evaluate || arguments.evaluation_tokens || arguments.base))
        return cli_usage("--evaluate, --evaluation-tokens and --base go with --report");
    if (!cli_plan_asked() && !arguments.write && !arguments.dry_run && !arguments.report) return CLI_OK;
    if (arguments.plan && arguments.budget)
        return cli_usage("--plan has a plan already; --budget would make another");
    if (arguments.budget && options->n_merge)
        return cli_usage(
            "--budget measures the model without --lora; merge the adapters first, with --type F16");
    int code = arguments.budget ? make_plan(model, options) : get_plan(model, options);
    if (code != CLI_OK) return code;
    if (arguments.write && millet_plan_write(plan, arguments.write, &err) != MILLET_OK) return cli_fail(&err);
    options->plan = plan;
    if (!arguments.dry_run) return CLI_OK;
    *done = true;
    if (cli_json) return cli_print_json(plan_json());
    print_plan();
    return CLI_OK;
}

int cli_plan_report(const char *model, const char *output, const millet_quantize_options *options,
                    const millet_quantized *result)
{
    enum { DEFAULT_TOKENS = 16384 };
    if (!arguments.report) return CLI_OK;
    const struct compact_subject subject = {
        .input = model,
        .output = output,
        .base = arguments.base ? arguments.base : model,
        .text = arguments.evaluate ? arguments.evaluate : arguments.calibrate,
        .calibration = arguments.calibrate,
        .max_tokens = arguments.evaluation_tokens ? arguments.evaluation_tokens : DEFAULT_TOKENS,
        .options = options,
        .result = result,
        .plan = plan,
        .sensitivity = sensitivity,
    };
    return cli_compact_report(&subject, arguments.report);
}

void cli_plan_close(void)
{
    millet_sensitivity_free(&sensitivity);
    millet_plan_free(&plan);
}
