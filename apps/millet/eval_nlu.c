/* millet eval nlu: how well a model understands commands. SPDX-License-Identifier: Apache-2.0 */
#include "eval_nlu.h"

#include <math.h>
#include <string.h>

static struct {
    const char *set, *outside, *predictions;
    float cost;
} arguments;

const struct cli_option cli_eval_nlu_rows[] = {
    {.name = "set",
     .argument = "NAME",
     .kind = CLI_STRING,
     .target = &arguments.set,
     .help = "nlu: the set of the model that the records are of; without, what they say themselves"},
    {.name = "outside",
     .argument = "INTENT",
     .kind = CLI_STRING,
     .target = &arguments.outside,
     .help = "nlu: the intent of records that belong to no skill; without: oos"},
    {.name = "outside-cost",
     .argument = "PART",
     .kind = CLI_FLOAT,
     .target = &arguments.cost,
     .min = 0,
     .max = 0.5,
     .help = "nlu: how much of the accuracy it may cost to reject those; 0: 0.02"},
    {.name = "predictions",
     .argument = "FILE",
     .kind = CLI_STRING,
     .target = &arguments.predictions,
     .help = "nlu: write each record with what was understood, as JSONL (for one file)"},
    {0},
};

static json_t *real_or_null(double x)
{
    return isnan(x) ? json_null() : json_real(x);
}

static json_t *interval_or_null(const millet_interval *x)
{
    return isnan(x->value) ? json_null()
                           : json_pack("{s:f,s:f,s:f}", "value", x->value, "low", x->low, "high", x->high);
}

static json_t *scores_json(const char *path, const millet_nlu_scores *s)
{
    return json_pack("{s:s,s:s,s:I,s:I,s:I,s:o,s:o,s:o,s:o,s:o,s:I,s:I,s:I,s:o,s:o,s:o}", "file", path, "set",
                     s->set, "records", (json_int_t)s->n_records, "inside", (json_int_t)s->n_inside,
                     "outside", (json_int_t)s->n_outside, "intent", interval_or_null(&s->intent), "whole",
                     interval_or_null(&s->whole), "threshold", real_or_null(s->threshold),
                     "intent_at_threshold", real_or_null(s->intent_at_threshold), "outside_recall",
                     interval_or_null(&s->outside_recall), "slots", (json_int_t)s->n_slots, "slots_found",
                     (json_int_t)s->n_found, "slots_right", (json_int_t)s->n_right, "slot_precision",
                     real_or_null(s->slot_precision), "slot_recall", real_or_null(s->slot_recall), "slot_f1",
                     real_or_null(s->slot_f1));
}

/* A share in percent, or a dash, in `width` columns. */
static void print_share(int width, double share)
{
    if (isnan(share))
        printf(" %*s", width, "-");
    else
        printf(" %*.2f", width, 100 * share);
}

static void print_scores(const millet_nlu_scores *s)
{
    printf("%-16.63s %7lld", s->set, (long long)s->n_records);
    print_share(7, s->intent.value);
    if (isnan(s->intent.low))
        printf(" %15s", "-");
    else
        printf("  [%5.2f, %6.2f]", 100 * s->intent.low, 100 * s->intent.high);
    print_share(8, s->slot_f1);
    print_share(7, s->whole.value);
    print_share(8, s->outside_recall.value);
    print_share(9, s->intent_at_threshold);
    putchar('\n');
}

int cli_eval_nlu(int n_operands, char **operands, bool exact_activations)
{
    if (n_operands < 2) return cli_usage("the form is: millet eval nlu MODEL FILE.jsonl...");
    if (arguments.predictions && n_operands > 2)
        return cli_usage("--predictions is for one file; %d are given", n_operands - 1);
    millet_model *model = cli_open_model(operands[0]);
    if (!model) return CLI_FAILED;
    static char label[] = "understanding";
    const millet_nlu_options options = {.set = arguments.set,
                                        .outside = arguments.outside,
                                        .outside_cost = (double)arguments.cost,
                                        .predictions = arguments.predictions,
                                        .n_threads = cli_threads,
                                        .exact_activations = exact_activations,
                                        .progress = cli_progress_callback,
                                        .context = label};
    json_t *all = cli_json ? json_array() : NULL;
    int status = CLI_OK;
    cli_catch_interrupt();
    for (int i = 1; i < n_operands && status == CLI_OK; i++) {
        millet_nlu_scores scores;
        millet_error err;
        millet_status result = millet_nlu_measure(model, operands[i], &options, &scores, &err);
        cli_progress_end();
        if (result != MILLET_OK) {
            status = cli_fail(&err);
        } else if (cli_json) {
            json_array_append_new(all, scores_json(operands[i], &scores));
        } else {
            if (i == 1)
                printf("%-16s %7s %7s %16s %8s %7s %8s %9s\n", "set", "records", "intent", "95%", "slot F1",
                       "whole", "outside", "at cost");
            print_scores(&scores);
        }
    }
    millet_model_close(&model);
    if (cli_json && status == CLI_OK) return cli_print_json(all);
    json_decref(all);
    return status;
}
