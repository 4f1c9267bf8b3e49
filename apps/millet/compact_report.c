/* Measuring and writing what compacting did. SPDX-License-Identifier: Apache-2.0 */
#include "compact_report.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { FRONT_POINTS = 24, SPEED_TOKENS = 48, SPEED_ROUNDS = 5 };

/* ---- Measuring ---- */

static millet_status measure_side(const millet_model *model, int32_t n_threads, int32_t *ctx,
                                  struct compact_side *side, millet_error *err)
{
    millet_session_options session = millet_session_options_default();
    millet_memory memory;
    session.n_threads = n_threads;
    session.n_ctx = *ctx;
    millet_status status = millet_estimate(model, &session, &memory, err);
    if (status != MILLET_OK) return status;
    *ctx = memory.n_ctx;
    side->weight_bytes = memory.weights;
    side->memory_bytes = memory.weights + memory.total;
    millet_speed_options options = millet_speed_options_default();
    millet_speed speed;
    options.session.n_threads = n_threads;
    options.prompt_tokens = -1;
    options.generate_tokens = SPEED_TOKENS < memory.n_ctx / 2 ? SPEED_TOKENS : memory.n_ctx / 2;
    options.rounds = SPEED_ROUNDS;
    side->tokens_per_second = NAN;
    if (options.generate_tokens < 1) return MILLET_OK;
    status = millet_speed_measure(model, &options, NULL, NULL, NULL, &speed, err);
    if (status == MILLET_OK) side->tokens_per_second = speed.generate.median;
    return status;
}

static millet_status compare(const struct compact_subject *s, const char *text, size_t length,
                             struct compact_report *r, millet_error *err)
{
    millet_model_options open = {.tokenizer_path = s->options->tokenizer_path};
    millet_model *before = NULL, *after = NULL;
    millet_eval_options eval = millet_eval_options_default();
    static char label[] = "comparing";
    eval.max_tokens = s->max_tokens;
    eval.n_threads = s->options->n_threads;
    eval.progress = cli_progress_callback;
    eval.context = label;
    millet_status status = millet_lab_model_open(s->base, &open, &before, err);
    if (status == MILLET_OK) status = millet_lab_model_open(s->output, NULL, &after, err);
    if (status == MILLET_OK)
        status = millet_divergence_measure(before, after, text, length, &eval, &r->divergence, err);
    cli_progress_end();
    if (status == MILLET_OK) status = measure_side(before, eval.n_threads, &r->memory_ctx, &r->before, err);
    if (status == MILLET_OK) status = measure_side(after, eval.n_threads, &r->memory_ctx, &r->after, err);
    r->before.perplexity = r->divergence.base.perplexity;
    r->after.perplexity = r->divergence.other.perplexity;
    millet_model_close(&before);
    millet_model_close(&after);
    return status;
}

/* ---- The front ---- */

static void add_point(struct compact_report *r, const char *type, uint64_t file_bytes, double kl)
{
    if (r->n_points < COMPACT_MOST_POINTS && isfinite(kl))
        r->points[r->n_points++] = (struct compact_point){type, file_bytes, kl};
}

/* What a plan loses by the table; NAN where it has a type that the table has not. */
static double loss_of(const millet_sensitivity *s, const millet_plan *plan)
{
    double sum = 0;
    uint64_t at = 0;
    for (size_t i = 0; i < s->n_tensors; i++) {
        while (at < plan->n_tensors && strcmp(plan->tensors[at].name, s->tensors[i].name) != 0)
            at++;
        double kl = NAN;
        for (size_t k = 0; at < plan->n_tensors && k < s->tensors[i].n_types; k++)
            if (strcmp(s->tensors[i].types[k].type, plan->tensors[at].type) == 0)
                kl = s->tensors[i].types[k].kl;
        sum += kl;
    }
    return sum;
}

static millet_status add_types(const struct compact_subject *s, struct compact_report *r, millet_error *err)
{
    char names[1024];
    static char kept[32][16]; /* names outlive the report */
    size_t n = 0;
    snprintf(names, sizeof names, "%s", millet_quantize_type_names());
    for (char *rest = names, *type; n < 32 && (type = strtok_r(rest, ", ", &rest));) {
        millet_quantize_options options = *s->options;
        millet_plan *plan = NULL;
        snprintf(kept[n], sizeof kept[n], "%s", type);
        options.plan = NULL;
        options.type = kept[n];
        millet_status status = millet_plan_of(s->input, &options, &plan, err);
        if (status != MILLET_OK) return status;
        add_point(r, kept[n], plan->file_bytes, loss_of(s->sensitivity, plan));
        millet_plan_free(&plan);
        n++;
    }
    return MILLET_OK;
}

/* The best plans from the smallest size to that of the largest types but the matrices' own. */
static millet_status add_front(const struct compact_subject *s, struct compact_report *r, millet_error *err)
{
    double least = 0, most = 0;
    const millet_sensitivity *table = s->sensitivity;
    for (size_t i = 0; i < table->n_tensors; i++) {
        size_t n = table->tensors[i].n_types;
        least += (double)table->tensors[i].types[0].bytes;
        most += (double)table->tensors[i].types[n > 1 ? n - 2 : 0].bytes;
    }
    double fixed = (double)s->plan->file_bytes;
    for (uint64_t i = 0; i < s->plan->n_tensors; i++)
        for (size_t k = 0; k < table->n_tensors; k++)
            if (strcmp(s->plan->tensors[i].name, table->tensors[k].name) == 0)
                fixed -= (double)s->plan->tensors[i].bytes;
    least = 1.001 * (least + fixed) + 1024;
    most += fixed;
    for (int i = 0; i < FRONT_POINTS; i++) {
        double bytes = least * pow(fmax(most / least, 1), (double)i / (FRONT_POINTS - 1));
        const millet_budget budget = {.file_bytes = (uint64_t)bytes};
        millet_plan *plan = NULL;
        millet_status status = millet_plan_choose(s->input, table, &budget, s->options, &plan, err);
        if (status == MILLET_BAD_ARGUMENT) continue;
        if (status != MILLET_OK) return status;
        add_point(r, NULL, plan->file_bytes, plan->kl);
        millet_plan_free(&plan);
    }
    return MILLET_OK;
}

/* ---- JSON ---- */

static json_t *real(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *interval_json(const millet_interval *x)
{
    return json_pack("{s:o,s:o,s:o}", "value", real(x->value), "low", real(x->low), "high", real(x->high));
}

static json_t *side_json(const struct compact_side *side)
{
    return json_pack("{s:s,s:I,s:I,s:o,s:o}", "path", side->path, "weight_bytes",
                     (json_int_t)side->weight_bytes, "memory_bytes", (json_int_t)side->memory_bytes,
                     "perplexity", interval_json(&side->perplexity), "tokens_per_second",
                     real(side->tokens_per_second));
}

static json_t *tensors_json(const struct compact_report *r)
{
    json_t *all = json_array();
    for (uint64_t i = 0; i < r->plan->n_tensors; i++) {
        const millet_plan_tensor *t = &r->plan->tensors[i];
        json_t *tensor = json_pack("{s:s,s:s,s:I,s:o}", "name", t->name, "type", t->type, "bytes",
                                   (json_int_t)t->bytes, "kl", real(t->kl));
        const millet_sensitivity *s = r->sensitivity;
        for (size_t k = 0; s && k < s->n_tensors; k++) {
            if (strcmp(s->tensors[k].name, t->name) != 0) continue;
            json_t *types = json_object();
            for (size_t n = 0; n < s->tensors[k].n_types; n++) {
                const millet_sensitivity_type *type = &s->tensors[k].types[n];
                json_object_set_new(types, type->type,
                                    json_pack("{s:I,s:o,s:o,s:b}", "bytes", (json_int_t)type->bytes, "kl",
                                              real(type->kl), "error", real(type->error), "measured",
                                              type->measured));
            }
            json_object_set_new(tensor, "sensitivity", types);
        }
        json_array_append_new(all, tensor);
    }
    return all;
}

static json_t *report_json(const struct compact_report *r)
{
    const millet_divergence *d = &r->divergence;
    json_t *points = json_array();
    for (size_t i = 0; i < r->n_points; i++)
        json_array_append_new(points,
                              json_pack("{s:s?,s:I,s:o}", "type", r->points[i].type, "file_bytes",
                                        (json_int_t)r->points[i].file_bytes, "kl", real(r->points[i].kl)));
    return json_pack(
        "{s:i,s:o,s:o,s:I,s:i,s:{s:s,s:b,s:I,s:I},s:{s:o,s:o,s:o,s:o,s:o,s:o},s:o,s:o,s:o,s:o,s:o}",
        "version", 1, "before", side_json(&r->before), "after", side_json(&r->after), "file_bytes",
        (json_int_t)r->file_bytes, "memory_ctx", r->memory_ctx, "text", "file", r->text, "also_calibrated_on",
        r->same_text, "tokens", (json_int_t)d->other.n_tokens, "scored", (json_int_t)d->other.n_scored, "kl",
        "mean", interval_json(&d->kl), "median", real(d->kl_median), "q90", real(d->kl_90), "q99",
        real(d->kl_99), "q999", real(d->kl_999), "max", real(d->kl_max), "agreement",
        interval_json(&d->agreement), "perplexity_ratio", interval_json(&d->perplexity_ratio), "predicted_kl",
        real(r->plan->kl), "points", points, "tensors", tensors_json(r));
}

/* ---- Files ---- */

static bool write_json(const struct compact_report *r, FILE *out)
{
    json_t *value = report_json(r);
    bool fine = value && json_dumpf(value, out, JSON_INDENT(1) | JSON_REAL_PRECISION(10)) == 0;
    json_decref(value);
    return fine && fputc('\n', out) != EOF;
}

/* Beside it first, so that nobody sees half a file. */
static int write_file(const struct compact_report *r, const char *path,
                      bool write(const struct compact_report *r, FILE *out))
{
    char temporary[4096 + 8];
    snprintf(temporary, sizeof temporary, "%s.tmp", path);
    FILE *out = fopen(temporary, "w");
    bool fine = out && write(r, out);
    if (out) fine = fclose(out) == 0 && fine;
    if (fine) fine = rename(temporary, path) == 0;
    if (fine) return CLI_OK;
    int code = errno;
    if (out) remove(temporary);
    return cli_fail_text("cannot write %s: %s", path, strerror(code));
}

static int write_files(const struct compact_report *r, const char *target)
{
    char page[4096], json[4096];
    size_t length = strlen(target);
    if (length > sizeof page - 16) return cli_fail_text("the name of the report is too long");
    if (length > 5 && strcmp(target + length - 5, ".html") == 0) {
        snprintf(page, sizeof page, "%s", target);
        snprintf(json, sizeof json, "%.*s.json", (int)length - 5, target);
    } else {
        if (mkdir(target, 0777) != 0 && errno != EEXIST)
            return cli_fail_text("cannot make the folder %s: %s", target, strerror(errno));
        snprintf(page, sizeof page, "%s/index.html", target);
        snprintf(json, sizeof json, "%s/report.json", target);
    }
    int code = write_file(r, json, write_json);
    return code == CLI_OK ? write_file(r, page, cli_compact_page) : code;
}

static void print_report(const struct compact_report *r)
{
    const millet_divergence *d = &r->divergence;
    const struct compact_side *a = &r->before, *b = &r->after;
    printf("  %-28s %16s %16s\n", "", "before", "after");
    printf("  %-28s %16s %16s\n", "weights", cli_bytes(a->weight_bytes), cli_bytes(b->weight_bytes));
    char label[64];
    snprintf(label, sizeof label, "memory, context %d", r->memory_ctx);
    printf("  %-28s %16s %16s\n", label, cli_bytes(a->memory_bytes), cli_bytes(b->memory_bytes));
    printf("  %-28s %16.1f %16.1f\n", "tokens/s, generated", a->tokens_per_second, b->tokens_per_second);
    printf("  %-28s %16.4f %16.4f   [%.4f, %.4f]\n", "perplexity", a->perplexity.value, b->perplexity.value,
           b->perplexity.low, b->perplexity.high);
    printf("  %-28s %16s %16.6f   [%.6f, %.6f]\n", "KL divergence, mean", "", d->kl.value, d->kl.low,
           d->kl.high);
    printf("  %-28s %16s %16.6f   99%% %.6f\n", "KL divergence, median", "", d->kl_median, d->kl_99);
    printf("  %-28s %16s %15.2f%%   [%.2f%%, %.2f%%]\n", "same most probable token", "",
           100 * d->agreement.value, 100 * d->agreement.low, 100 * d->agreement.high);
    printf("  on %lld tokens of %s%s\n", (long long)d->other.n_scored, r->text,
           r->same_text ? ", which it was calibrated on: other text says more" : "");
}

int cli_compact_report(const struct compact_subject *s, const char *target)
{
    static struct compact_report r;
    char *text = NULL;
    size_t length = 0;
    r = (struct compact_report){.before.path = s->base,
                                .after.path = s->output,
                                .text = s->text,
                                .same_text = s->calibration && strcmp(s->calibration, s->text) == 0,
                                .file_bytes = s->result->file_bytes,
                                .plan = s->plan,
                                .sensitivity = s->sensitivity};
    if (!cli_read_text(s->text, &text, &length)) return CLI_FAILED;
    millet_error err;
    millet_status status = compare(s, text, length, &r, &err);
    free(text);
    if (status == MILLET_OK && s->sensitivity) status = add_front(s, &r, &err);
    if (status == MILLET_OK && s->sensitivity) status = add_types(s, &r, &err);
    if (status != MILLET_OK) return cli_fail(&err);
    if (!cli_json) print_report(&r);
    return write_files(&r, target);
}
