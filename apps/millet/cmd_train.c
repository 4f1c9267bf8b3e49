/* millet train: a model from texts and dialogues. SPDX-License-Identifier: Apache-2.0 */
#include "caches.h"
#include "loss_plot.h"
#include "train_ranks.h"
#include "train_sources.h"
#include "training.h"
#include "verbs.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static millet_train_options options; /* filled by the rows below */
static int (*prepare_more)(void);    /* of another verb that trains, when there are caches; or NULL */

static struct {
    const char *shape, *optimizer, *schedule, *storage, *packing, *log, *plot, *folder;
    struct cli_list data, evaluation;
    bool memory;
} arguments;

static const struct {
    const char *name;
    millet_train_storage storage;
} storages[] = {{"f32", MILLET_STORE_F32},
                {"bf16", MILLET_STORE_BF16},
                {"q8_0", MILLET_STORE_Q8_0},
                {"q4_0", MILLET_STORE_Q4_0},
                {"tq2_0", MILLET_STORE_TQ2_0}};

const struct cli_option cli_train_rows[] = {
    {.name = "new",
     .argument = "FILE",
     .kind = CLI_STRING,
     .target = &arguments.shape,
     .help = "start a new model of the shape described in this JSON file, with the tokenizer of --tokenizer"},
    {.name = "data",
     .letter = 'f',
     .argument = "FILE[=WEIGHT[@LOSS]]",
     .kind = CLI_LIST,
     .target = &arguments.data,
     .help =
         "learn from this text or JSONL (also .gz), or from a cache of millet corpus; several times for a "
         "mixture. WEIGHT: its share of the tokens, in parts of the sum; without, by its size. LOSS: what "
         "its targets count "
         "in the loss (1)"},
    {.name = "cache-dir",
     .argument = "DIR",
     .kind = CLI_STRING,
     .target = &arguments.folder,
     .help = "where NAME.tokens are kept, the tokens of each file; without, beside the output"},
    {.name = "holdout",
     .argument = "N",
     .kind = CLI_INT,
     .target = &options.holdout,
     .min = 0,
     .max = 1 << 30,
     .help = "keep every N-th document apart, and measure the loss on those"},
    {.name = "eval-data",
     .argument = "FILE",
     .kind = CLI_LIST,
     .target = &arguments.evaluation,
     .help = "measure the loss on this file instead; several times for more"},
    {.name = "eval-every",
     .argument = "N",
     .kind = CLI_U64,
     .target = &options.evaluate_every,
     .help = "measure it every N steps; without, at the end only"},
    {.name = "eval-rows",
     .argument = "N",
     .kind = CLI_U64,
     .target = &options.evaluate_rows,
     .help = "measure it on N sequences at most; without, on all that are kept for it"},
    {.name = "packing",
     .argument = "HOW",
     .kind = CLI_STRING,
     .target = &arguments.packing,
     .choices = "best-fit|sequential",
     .help = "best-fit (default): only documents longer than a sequence are cut; sequential: one after the "
             "other, without padding"},
    {.name = "skip-long",
     .kind = CLI_FLAG,
     .target = &options.skip_long,
     .help = "leave out documents longer than a sequence"},
    {.name = "output",
     .letter = 'o',
     .argument = "FILE",
     .kind = CLI_STRING,
     .target = &options.output,
     .help = "the GGUF file to write at the end"},
    {.name = "state",
     .argument = "FILE",
     .kind = CLI_STRING,
     .target = &options.state,
     .help = "where to keep what a stopped training goes on from; without, the output's name and .state"},
    {.name = "save-every",
     .argument = "N",
     .kind = CLI_U64,
     .target = &options.save_every,
     .help = "keep it every N steps; without, on Ctrl-C and at the end only"},
    {.name = "resume",
     .letter = 'r',
     .kind = CLI_FLAG,
     .target = &options.resume,
     .help = "go on from the state; give the other options as before"},
    {.name = "allow-changes",
     .kind = CLI_FLAG,
     .target = &options.allow_changes,
     .help = "resume although options differ from those of the state"},
    {.name = "restart",
     .kind = CLI_FLAG,
     .target = &options.restart,
     .help = "begin anew although a state is there, and overwrite it"},
    {.name = "steps",
     .letter = 'n',
     .argument = "N",
     .kind = CLI_U64,
     .target = &options.steps,
     .help = "steps of the optimiser"},
    {.name = "epochs",
     .argument = "X",
     .kind = CLI_FLOAT,
     .target = &options.epochs,
     .max = 1e6,
     .help = "instead of --steps: so many times through the data"},
    {.name = "rows",
     .letter = 'b',
     .argument = "N",
     .kind = CLI_INT,
     .target = &options.rows,
     .min = 1,
     .max = 65536,
     .help = "sequences of a batch (default 8)"},
    {.name = "length",
     .letter = 'c',
     .argument = "N",
     .kind = CLI_INT,
     .target = &options.length,
     .min = 2,
     .max = 1 << 24,
     .help = "tokens of a sequence (default 256)"},
    {.name = "accumulate",
     .argument = "N",
     .kind = CLI_INT,
     .target = &options.accumulate,
     .min = 1,
     .max = 65536,
     .help = "batches of a step (default 1)"},
    {.name = "optimizer",
     .argument = "NAME",
     .kind = CLI_STRING,
     .target = &arguments.optimizer,
     .choices = "adamw|muon",
     .help = "adamw (default), or muon for the matrices of blocks"},
    {.name = "schedule",
     .argument = "NAME",
     .kind = CLI_STRING,
     .target = &arguments.schedule,
     .choices = "cosine|wsd|constant",
     .help = "course of the learning rate after the warm-up: cosine (default), wsd (stable, then down) or "
             "constant"},
    {.name = "rate",
     .argument = "X",
     .kind = CLI_FLOAT,
     .target = &options.rate,
     .max = 1000,
     .help = "the highest learning rate (default 0.0003)"},
    {.name = "final-rate",
     .argument = "X",
     .kind = CLI_FLOAT,
     .target = &options.final_rate,
     .max = 1,
     .help = "the last one, in parts of --rate (default 0.1)"},
    {.name = "warmup",
     .argument = "N",
     .kind = CLI_U64,
     .target = &options.warmup,
     .help = "steps in which the rate rises to --rate"},
    {.name = "decay-steps",
     .argument = "N",
     .kind = CLI_U64,
     .target = &options.decay_steps,
     .help = "last steps of wsd, in which the rate falls; without, a tenth of all"},
    {.name = "beta1",
     .argument = "X",
     .kind = CLI_FLOAT,
     .target = &options.beta1,
     .max = 0.999999,
     .help = "of AdamW (default 0.9)"},
    {.name = "beta2",
     .argument = "X",
     .kind = CLI_FLOAT,
     .target = &options.beta2,
     .max = 0.999999,
     .help = "of AdamW (default 0.95)"},
    {.name = "momentum",
     .argument = "X",
     .kind = CLI_FLOAT,
     .target = &options.momentum,
     .max = 0.999999,
     .help = "of Muon (default 0.95)"},
    {.name = "weight-decay",
     .argument = "X",
     .kind = CLI_FLOAT,
     .target = &options.weight_decay,
     .max = 1000,
     .help = "of matrices and embeddings (default 0.1)"},
    {.name = "clip",
     .argument = "X",
     .kind = CLI_FLOAT,
     .target = &options.clip,
     .max = 1e30,
     .help = "largest norm of the gradient (default 1); 0: any"},
    {.name = "z-loss",
     .argument = "X",
     .kind = CLI_FLOAT,
     .target = &options.z_loss,
     .max = 1000,
     .help = "weight of the squared logarithm of the softmax's denominator, as 0.0001 (default 0)"},
    {.name = "tag-weight",
     .argument = "X",
     .kind = CLI_FLOAT,
     .target = &options.tag_weight,
     .max = 1000,
     .help = "what the label of a tagged token counts in the loss, where a next token counts 1 (default 1)"},
    {.name = "mask",
     .argument = "P",
     .kind = CLI_FLOAT,
     .target = &options.mask,
     .max = 1,
     .help =
         "probability with which a token of a prefix is hidden behind <|mask|> while learning (default 0)"},
    {.name = "mask-predict",
     .kind = CLI_FLAG,
     .target = &options.mask_predict,
     .help = "what was hidden is to be predicted where it stood, unless the token has a label; it counts "
             "--tag-weight"},
    {.name = "dropout",
     .argument = "P",
     .kind = CLI_FLOAT,
     .target = &options.dropout,
     .max = 0.99,
     .help =
         "part of the embeddings and of each branch's output that is left out while learning (default 0)"},
    {.name = "storage",
     .argument = "TYPE",
     .kind = CLI_STRING,
     .target = &arguments.storage,
     .choices = "f32|bf16|q8_0|q4_0|tq2_0",
     .help = "type of the weights in the output, and as the passes see them (default f32)"},
    {.name = "quantize-after",
     .argument = "N",
     .kind = CLI_U64,
     .target = &options.quantize_after,
     .help = "see them as f32 in the first N steps, and of the type of --storage after that"},
    {.name = "lora",
     .argument = "RANK",
     .kind = CLI_INT,
     .target = &options.lora_rank,
     .max = 4096,
     .help = "train a low-rank adapter of this rank instead of the model, which stays as it is; the output "
             "is an adapter file"},
    {.name = "lora-alpha",
     .argument = "X",
     .kind = CLI_FLOAT,
     .target = &options.lora_alpha,
     .max = 1e6,
     .help = "the adapter counts X / RANK times (default: twice the rank)"},
    {.name = "lora-targets",
     .argument = "NAMES",
     .kind = CLI_STRING,
     .target = &options.lora_targets,
     .help = "matrices that get an adapter, of q,k,v,o,gate,up,down (default: all)"},
    {.name = "recompute",
     .kind = CLI_FLAG,
     .target = &options.recompute,
     .help = "keep less of each layer and compute it again: less memory, more time"},
    {.name = "seed",
     .argument = "N",
     .kind = CLI_U64,
     .target = &options.seed,
     .help = "of new weights and of the order of the sequences (default 1)"},
    {.name = "log",
     .argument = "FILE",
     .kind = CLI_STRING,
     .target = &arguments.log,
     .help = "append a line of JSON for each step; without, the output's name and .jsonl"},
    {.name = "plot",
     .argument = "FILE",
     .kind = CLI_STRING,
     .target = &arguments.plot,
     .help = "a page of HTML with the losses as a picture; without, the output's name and .html"},
    {.name = "memory",
     .kind = CLI_FLAG,
     .target = &arguments.memory,
     .help = "say how much memory training would take, and stop"},
    {.name = "ranks",
     .argument = "N",
     .kind = CLI_INT,
     .target = &options.n_ranks,
     .min = 1,
     .max = 65536,
     .help = "with --memory: the memory of each of so many processes that share the work (mpirun -n N)"},
    {0},
};

/* ---- Following the steps ---- */

static struct {
    FILE *log;
    char *log_path, *plot_path;
    double shown, plotted;
    bool line_open, log_begun, log_failed;
} follow;

static json_t *number_or_null(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static void add_finite(json_t *object, const char *key, double value)
{
    if (object && isfinite(value)) json_object_set_new(object, key, json_real(value));
}

/* What was measured. */
static void add_evaluation(json_t *object, const millet_train_report *r)
{
    add_finite(object, "evaluation_loss", r->evaluation_loss);
    add_finite(object, "evaluation_tag_loss", r->evaluation_tag_loss);
    if (isfinite(r->evaluation_tag_loss))
        add_finite(object, "evaluation_token_loss", r->evaluation_token_loss);
    add_finite(object, "evaluation_divergence", r->evaluation_divergence);
    add_finite(object, "evaluation_hidden", r->evaluation_hidden);
    add_finite(object, "evaluation_attention", r->evaluation_attention);
}

/* Where the lines of steps from `step` on begin in a log, and a line that was torn off: what a training that
 * goes on says anew. */
static off_t log_end_before(FILE *log, uint64_t step)
{
    char *line = NULL;
    size_t capacity = 0;
    off_t end = 0;
    ssize_t length;
    rewind(log);
    while ((length = getline(&line, &capacity, log)) > 0) {
        json_t *value = json_loads(line, 0, NULL);
        const json_t *number = json_object_get(value, "step");
        bool stays =
            line[length - 1] == '\n' && json_is_number(number) && json_number_value(number) < (double)step;
        json_decref(value);
        if (!stays) break;
        end += (off_t)length;
    }
    free(line);
    return end;
}

static void log_step(const millet_train_report *r)
{
    if (!follow.log || follow.log_failed) return;
    /* The log of an earlier training stands until this one has come as far as a step. */
    bool fine = follow.log_begun ||
                ftruncate(fileno(follow.log), options.resume ? log_end_before(follow.log, r->step) : 0) == 0;
    follow.log_begun = true;
    json_t *line =
        json_pack("{s:I,s:f,s:o,s:o,s:f,s:f,s:I,s:f,s:f}", "step", (json_int_t)r->step, "epochs", r->epochs,
                  "loss", number_or_null(r->loss), "z", number_or_null(r->z), "gradient_norm",
                  r->gradient_norm, "rate", r->rate, "tokens", (json_int_t)r->tokens, "tokens_per_second",
                  r->tokens_per_second, "seconds", r->seconds);
    add_finite(line, "tag_loss", r->tag_loss);
    add_finite(line, "divergence", r->divergence);
    add_finite(line, "hidden", r->hidden);
    add_finite(line, "attention", r->attention);
    add_evaluation(line, r);
    char *text = line ? json_dumps(line, JSON_PRESERVE_ORDER | JSON_COMPACT) : NULL;
    json_decref(line);
    /* Training goes on without its log, but not in silence. */
    if (!fine || !text || fprintf(follow.log, "%s\n", text) < 0 || fflush(follow.log) != 0) {
        follow.log_failed = true;
        fprintf(stderr, "\nmillet train: cannot write %s: %s; training goes on without it\n", follow.log_path,
                strerror(errno));
    }
    free(text);
}

static void show_step(const millet_train_report *r)
{
    enum { PIPE_SECONDS = 10 }; /* between lines where nobody watches a terminal */
    bool terminal = isatty(STDERR_FILENO), last = r->step == r->steps || isfinite(r->evaluation_loss);
    double now = cli_seconds(), pause = terminal ? 0.2 : PIPE_SECONDS;
    if (!last && follow.shown > 0 && now - follow.shown < pause) return;
    follow.shown = now;
    long left = lround(r->seconds_left);
    char evaluation[128] = "", divergence[96] = "";
    const struct {
        const char *name;
        double value;
    } shown[] = {{"divergence", r->divergence}, {"hidden", r->hidden}, {"attention", r->attention}};
    for (size_t i = 0, used = 0; i < sizeof shown / sizeof *shown; i++)
        if (isfinite(shown[i].value))
            used += (size_t)snprintf(divergence + used, sizeof divergence - used, "  %s %.4f", shown[i].name,
                                     shown[i].value);
    if (isfinite(r->evaluation_divergence))
        snprintf(evaluation, sizeof evaluation, "  evaluation %.4f, divergence %.4f", r->evaluation_loss,
                 r->evaluation_divergence);
    else if (isfinite(r->evaluation_tag_loss))
        snprintf(evaluation, sizeof evaluation, "  evaluation %.4f (tags %.4f, tokens %.4f)",
                 r->evaluation_loss, r->evaluation_tag_loss, r->evaluation_token_loss);
    else if (isfinite(r->evaluation_loss))
        snprintf(evaluation, sizeof evaluation, "  evaluation %.4f", r->evaluation_loss);
    fprintf(stderr,
            "%sstep %llu/%llu  epoch %.2f  loss %.4f%s%s  rate %.2e  %.0f tokens/s  %ld:%02ld:%02ld left%s",
            terminal ? "\r\033[K" : "", (unsigned long long)r->step, (unsigned long long)r->steps, r->epochs,
            r->loss, divergence, evaluation, r->rate, r->tokens_per_second, left / 3600, left / 60 % 60,
            left % 60, terminal && !isfinite(r->evaluation_loss) ? "" : "\n");
    follow.line_open = terminal && !isfinite(r->evaluation_loss);
}

static void plot(void)
{
    enum { MOST_OFTEN_SECONDS = 30 };
    double now = cli_seconds();
    if (!follow.log || follow.log_failed || now - follow.plotted < MOST_OFTEN_SECONDS) return;
    follow.plotted = now;
    if (!cli_loss_plot(follow.log_path, follow.plot_path))
        fprintf(stderr, "\nmillet train: cannot write %s: %s\n", follow.plot_path, strerror(errno));
}

static bool report_step(void *context, const millet_train_report *r)
{
    (void)context;
    if (cli_quiet) return !cli_interrupted;
    log_step(r);
    show_step(r);
    plot();
    return !cli_interrupted;
}

static char *name_with(const char *given, const char *suffix)
{
    const char *base = given ? given : options.output;
    size_t length = strlen(base) + strlen(suffix) + 1;
    char *name = malloc(length);
    if (name) snprintf(name, length, "%s%s", base, given ? "" : suffix);
    return name;
}

/* ---- The data ---- */

/* The folder of the output. */
static char *folder_of_output(void)
{
    const char *slash = strrchr(options.output, '/');
    if (!slash) return strdup(".");
    return strndup(options.output, slash == options.output ? 1 : (size_t)(slash - options.output));
}

/* The tokenizer is the model's own: that of the state where training goes on. */
static int open_tokenizer(millet_tokenizer **tokenizer)
{
    const char *path = arguments.shape ? options.tokenizer_path : options.model;
    bool state_has_it = options.resume && !options.lora_rank; /* an adapter's state has none */
    const char *beside = arguments.shape || state_has_it ? NULL : options.tokenizer_path;
    char *state = name_with(options.state, ".state");
    if (!state) return cli_fail_text("out of memory");
    millet_error err;
    millet_status status = millet_tokenizer_open(state_has_it ? state : path, beside, NULL, tokenizer, &err);
    free(state);
    return status == MILLET_OK ? CLI_OK : cli_fail(&err);
}

static int prepare_data(void)
{
    millet_tokenizer *tokenizer = NULL;
    int code = open_tokenizer(&tokenizer);
    if (code != CLI_OK) return code;
    char *folder = arguments.folder ? strdup(arguments.folder) : folder_of_output();
    code = folder ? cli_prepare_sources(&arguments.data, &arguments.evaluation, folder, tokenizer, &options)
                  : cli_fail_text("out of memory");
    free(folder);
    millet_tokenizer_close(&tokenizer);
    return code == CLI_OK && prepare_more ? prepare_more() : code;
}

/* ---- The verb ---- */

static int print_memory(void)
{
    millet_train_memory m;
    millet_error err;
    if (millet_train_estimate(&options, &m, &err)) return cli_fail(&err);
    if (cli_json)
        return cli_print_json(json_pack(
            "{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I}", "parameters", (json_int_t)m.n_weights, "weights",
            (json_int_t)m.weights, "gradients", (json_int_t)m.gradients, "optimizer", (json_int_t)m.optimizer,
            "activations", (json_int_t)m.activations, "distillation", (json_int_t)m.distillation, "exchange",
            (json_int_t)m.exchange, "total", (json_int_t)m.total));
    printf("%.2f million parameters\nweights %s, gradients %s, optimizer %s, activations %s",
           (double)m.n_weights / 1e6, cli_bytes(m.weights), cli_bytes(m.gradients), cli_bytes(m.optimizer),
           cli_bytes(m.activations));
    if (m.distillation) printf(", teacher %s", cli_bytes(m.distillation));
    if (m.exchange) printf(", exchange %s", cli_bytes(m.exchange));
    printf(": %s in all%s, and the corpus\n", cli_bytes(m.total), m.exchange ? " for each process" : "");
    return CLI_OK;
}

static int print_result(const millet_train_report *r)
{
    if (cli_json) {
        json_t *result =
            json_pack("{s:s,s:I,s:I,s:o,s:f,s:f}", "output", options.output, "steps", (json_int_t)r->step,
                      "tokens", (json_int_t)r->tokens, "loss", number_or_null(r->loss), "seconds", r->seconds,
                      "tokens_per_second", r->tokens_per_second);
        add_finite(result, "divergence", r->divergence);
        add_finite(result, "hidden", r->hidden);
        add_finite(result, "attention", r->attention);
        add_evaluation(result, r);
        return cli_print_json(result);
    }
    printf("%s: %llu steps", options.output, (unsigned long long)r->step);
    if (isfinite(r->loss)) printf(", loss %.4f", r->loss);
    if (isfinite(r->divergence)) printf(", divergence %.4f", r->divergence);
    if (isfinite(r->evaluation_loss)) printf(", evaluation %.4f", r->evaluation_loss);
    if (isfinite(r->evaluation_divergence)) printf(", its divergence %.4f", r->evaluation_divergence);
    printf(", %.1f s, %.0f tokens/s\n", r->seconds, r->tokens_per_second);
    return CLI_OK;
}

static int take_arguments(int n_operands, char **operands)
{
    if (n_operands == 1 && arguments.shape) return cli_usage("either MODEL or --new FILE, not both");
    if (n_operands == 0 && !arguments.shape) return cli_usage("MODEL or --new FILE is missing; see --help");
    if (arguments.shape && !cli_model.tokenizer)
        return cli_usage("--new needs --tokenizer FILE: any checkpoint whose tokenizer the model shall have");
    if (n_operands == 1) options.model = operands[0];
    options.tokenizer_path = cli_model.tokenizer;
    options.n_threads = cli_threads;
    if (arguments.optimizer && !strcmp(arguments.optimizer, "muon")) options.optimizer = MILLET_MUON;
    if (arguments.schedule && !strcmp(arguments.schedule, "wsd")) options.schedule = MILLET_WSD;
    if (arguments.schedule && !strcmp(arguments.schedule, "constant")) options.schedule = MILLET_CONSTANT;
    for (size_t i = 0; arguments.storage && i < sizeof storages / sizeof *storages; i++)
        if (!strcmp(arguments.storage, storages[i].name)) options.storage = storages[i].storage;
    if (arguments.packing && !strcmp(arguments.packing, "sequential"))
        options.packing = MILLET_PACK_SEQUENTIAL;
    if (arguments.memory) return CLI_OK;
    if (options.n_ranks)
        return cli_usage("--ranks is for --memory; to train, start millet by mpirun -n %d", options.n_ranks);
    if (!arguments.data.count) return cli_usage("--data FILE is missing: what to learn from");
    if (!options.output) return cli_usage("-o FILE is missing: the GGUF file to write");
    if (!options.steps && !(options.epochs > 0)) return cli_usage("--steps N or --epochs X is missing");
    if (options.steps && options.epochs > 0) return cli_usage("--steps or --epochs, not both");
    if (options.holdout && arguments.evaluation.count) return cli_usage("--holdout or --eval-data, not both");
    if (options.lora_rank && arguments.shape) return cli_usage("--lora needs a MODEL, not --new");
    if (!options.lora_rank && (options.lora_alpha > 0 || options.lora_targets))
        return cli_usage("--lora-alpha and --lora-targets belong to --lora RANK");
    if (options.resume && options.restart) return cli_usage("--resume or --restart, not both");
    return CLI_OK;
}

/* The data, and the log of the process that writes. */
static int prepare(void)
{
    follow.log_path = name_with(arguments.log, ".jsonl");
    follow.plot_path = name_with(arguments.plot, ".html");
    if (!follow.log_path || !follow.plot_path) return cli_fail_text("out of memory");
    int code = prepare_data();
    if (code != CLI_OK || cli_quiet) return code;
    follow.log = fopen(follow.log_path, "a+");
    if (!follow.log) return cli_fail_text("cannot write %s: %s", follow.log_path, strerror(errno));
    return CLI_OK;
}

static int train(void)
{
    cli_catch_interrupt();
    int code = prepare();
    bool done = code == CLI_PREPARED;
    code = cli_ranks_agree(&options, done ? CLI_OK : code);
    if (code != CLI_OK || done) return code;
    follow.plotted = cli_seconds();
    millet_train_report last = {0};
    millet_error err;
    millet_status status = millet_train(&options, &last, &err);
    if (follow.line_open) fputc('\n', stderr);
    follow.plotted = 0;
    plot();
    cli_ranks_speak(&options);
    if (status == MILLET_CANCELLED)
        return cli_fail_text("%s: stopped after step %llu of %llu; the same command with --resume goes on",
                             err.file, (unsigned long long)last.step, (unsigned long long)last.steps);
    if (status != MILLET_OK) return cli_fail(&err);
    return cli_quiet ? CLI_OK : print_result(&last);
}

static int join_and_train(void)
{
    int code = cli_ranks_join(&options);
    if (code != CLI_OK) return code;
    options.report = report_step;
    if (!arguments.memory)
        code = train();
    else if (!cli_quiet)
        code = print_memory();
    if (follow.log) fclose(follow.log);
    cli_ranks_leave(&options);
    return code;
}

int cli_train(int n_operands, char **operands, int (*prepare_caches)(void))
{
    char *shape = NULL;
    size_t length;
    if (cli_list_chat_templates()) return CLI_OK;
    int code = take_arguments(n_operands, operands);
    if (code != CLI_OK) return code;
    if (arguments.shape) {
        if (!cli_read_text(arguments.shape, &shape, &length)) return CLI_FAILED;
        options.shape = shape;
    }
    prepare_more = prepare_caches;
    code = join_and_train();
    free(follow.log_path);
    free(follow.plot_path);
    cli_release_sources();
    free(shape);
    return code;
}

static int run(int n_operands, char **operands)
{
    return cli_train(n_operands, operands, NULL);
}

millet_train_options *cli_train_defaults(void)
{
    options = millet_train_options_default();
    cli_ranks_prepare();
    return &options;
}

static void set_defaults(void)
{
    cli_train_defaults();
}

static const struct cli_option *const groups[] = {cli_train_rows, cli_source_rows, cli_threads_rows,
                                                  cli_model_rows, cli_json_rows,   NULL};

const struct cli_verb cli_verb_train = {
    .name = "train",
    .summary = "make a model, or make it better, by learning from texts and dialogues",
    .operands = "[MODEL]",
    .min_operands = 0,
    .max_operands = 1,
    .description =
        "Trains a checkpoint (GGUF, llama2.c, safetensors) or a new model and writes a GGUF file. Ctrl-C "
        "saves the "
        "state and stops; the same command with --resume goes on and sees the same losses, to the bit. What "
        "was "
        "saved stays until something newer is complete on disk.\n\n"
        "Data are texts (.txt; documents end with a line <|endoftext|>) and records (.jsonl: {\"text\"}, "
        "{\"prompt\", \"completion\"}, {\"messages\"}), also compressed (.gz). Each is tokenised once into a "
        "cache, "
        "NAME.tokens, which is used again while file, tokenizer and options are the same; a .tokens file of "
        "millet "
        "corpus is taken as it is. What cannot be used is left out and counted.\n\n"
        "The shape of a new model is a JSON object: {\"architecture\": \"llama\", \"layers\": 6, \"width\": "
        "256, "
        "\"heads\": 4, \"kv_heads\": 2, \"feed_forward\": 704, \"context\": 512}. Architectures: llama, "
        "gpt2, qwen2, "
        "qwen3, gemma2, gemma3.\n\n"
        "Started by mpirun in a build with MPI, several processes share the sequences of every batch and the "
        "state of the optimiser; a state can be gone on with by another number of them.",
    .examples =
        "millet train --new shape.json --tokenizer m.gguf -f text.txt.gz -o new.gguf --epochs 3 "
        "--holdout 100 "
        "--eval-every 200 --save-every 200\ta new model; every 100th document measures it\n"
        "millet train m.gguf -f chats.jsonl=3 -f text.txt=1 -o tuned.gguf -n 300 --rate 0.00002 "
        "--schedule wsd\tgo on "
        "with a model: three tokens of dialogues for one of text\n"
        "mpirun -n 2 millet train m.gguf -f text.txt -o tuned.gguf -n 300\tthe same with two processes\n"
        "millet train m.gguf -c 1024 -b 4 --memory\thow much memory that would take",
    .options = groups,
    .prepare = set_defaults,
    .run = run,
};
