/* millet distil: a student that learns from teachers. SPDX-License-Identifier: Apache-2.0 */
#include "caches.h"
#include "training.h"
#include "verbs.h"

#include <stdlib.h>
#include <string.h>

static millet_train_options *options; /* filled by the rows of training and those below */
static millet_teacher_options teacher;
static float alpha;

enum { MOST = sizeof((struct cli_list *)NULL)->items / sizeof(char *) };

static struct {
    struct cli_list teachers, hidden, attention;
    const char *folder;
    float hidden_weight, attention_weight;
    int attention_heads;
    bool prepare, online;
} arguments;

static millet_layer_match hidden[MOST], attention[MOST];

static struct {
    const char *paths[2 * MOST]; /* one for each cache of the data, then of the evaluation */
    char *owned[2 * MOST];       /* the same, to be released */
    size_t count;
} outputs;

static const struct cli_option rows[] = {
    {.name = "teacher",
     .argument = "FILE",
     .kind = CLI_LIST,
     .target = &arguments.teachers,
     .help = "learn from this model (of any type of weights, with the student's tokenizer); several times: "
             "from the mean of their probabilities"},
    {.name = "alpha",
     .argument = "X",
     .kind = CLI_FLOAT,
     .target = &alpha,
     .max = 1,
     .help = "weight of the teacher, 0 to 1; the labels have the rest (default 0.9)"},
    {.name = "temperature",
     .argument = "X",
     .kind = CLI_FLOAT,
     .target = &teacher.temperature,
     .min = 0.01,
     .max = 100,
     .help = "that both sides' logits are divided by (default 2)"},
    {.name = "top-k",
     .argument = "N",
     .kind = CLI_INT,
     .target = &teacher.top_k,
     .min = 0,
     .max = 1 << 30,
     .help = "tokens whose probabilities are kept for each position, and of the others the sum (default 32); "
             "0: all"},
    {.name = "labels",
     .argument = "FILE",
     .kind = CLI_STRING,
     .target = &teacher.labels,
     .help = "what else is known about completions' first tokens: JSONL of {\"prompt\", \"probabilities\": "
             "{TOKEN: p}}, one more teacher for the records that it has"},
    {.name = "labels-weight",
     .argument = "X",
     .kind = CLI_FLOAT,
     .target = &teacher.labels_weight,
     .max = 1,
     .help = "its weight beside the teachers' mean (default 0.5)"},
    {.name = "teacher-length",
     .argument = "N",
     .kind = CLI_INT,
     .target = &teacher.length,
     .min = 0,
     .max = 1 << 24,
     .help = "tokens that a teacher sees at a time; without, as --length"},
    {.name = "teacher-dir",
     .argument = "DIR",
     .kind = CLI_STRING,
     .target = &arguments.folder,
     .help =
         "where NAME.teacher are kept, what the teachers say about each file; without, beside NAME.tokens"},
    {.name = "prepare", .kind = CLI_FLAG, .target = &arguments.prepare, .help = "make these files, and stop"},
    {.name = "online",
     .kind = CLI_FLAG,
     .target = &arguments.online,
     .help = "no files: the teachers run beside the student at every step, and speak of all tokens"},
    {.name = "hidden",
     .argument = "S:T",
     .kind = CLI_LIST,
     .target = &arguments.hidden,
     .help =
         "also match the hidden state behind the student's layer S, through a linear map that is learnt, "
         "with that behind layer T of the first teacher (0: behind the embeddings); several times for more "
         "layers; as with --online"},
    {.name = "hidden-weight",
     .argument = "X",
     .kind = CLI_FLOAT,
     .target = &arguments.hidden_weight,
     .max = 1e6,
     .help = "weight of their error (default 1)"},
    {.name = "attention",
     .argument = "S:T",
     .kind = CLI_LIST,
     .target = &arguments.attention,
     .help =
         "also match how queries, keys and values relate in the student's layer S with layer T of the first "
         "teacher (1: the first layer); several times for more layers; as with --online"},
    {.name = "attention-weight",
     .argument = "X",
     .kind = CLI_FLOAT,
     .target = &arguments.attention_weight,
     .max = 1e6,
     .help = "weight of its divergence (default 1)"},
    {.name = "attention-heads",
     .argument = "N",
     .kind = CLI_INT,
     .target = &arguments.attention_heads,
     .min = 0,
     .max = 1 << 20,
     .help = "heads that both sides' queries, keys and values are cut into; without, the largest number that "
             "divides "
             "both sides' key heads"},
    {0},
};

/* ---- What the teachers say ---- */

/* NAME.teacher for a cache NAME.tokens, or NULL: no memory. */
static char *output_path(const char *cache)
{
    static const char tail[] = ".tokens";
    const char *slash = strrchr(cache, '/'), *name = arguments.folder && slash ? slash + 1 : cache;
    size_t length = strlen(name), n = sizeof tail - 1;
    if (length > n && strcmp(name + length - n, tail) == 0) length -= n;
    size_t size = length + (arguments.folder ? strlen(arguments.folder) : 0) + 16;
    char *path = malloc(size);
    if (path)
        snprintf(path, size, "%s%s%.*s.teacher", arguments.folder ? arguments.folder : "",
                 arguments.folder ? "/" : "", (int)length, name);
    return path;
}

static void print_output(const char *path, const millet_teacher_info *i, const char *more)
{
    fprintf(stderr, "%s: %llu positions, ", path, (unsigned long long)i->n_positions);
    if (i->top_k == i->n_vocab)
        fprintf(stderr, "all %d tokens", i->n_vocab);
    else
        fprintf(stderr, "%d tokens", i->top_k);
    fprintf(stderr, " at temperature %g, %s%s\n", (double)i->temperature, cli_bytes(i->file_bytes), more);
}

static int make_output(const char *cache, const char *path)
{
    millet_teacher_info info;
    millet_error err;
    if (millet_teacher_estimate(cache, &teacher, &info, &err) != MILLET_OK) return cli_fail(&err);
    print_output(path, &info, "");
    millet_status status = millet_teacher_build(cache, path, &teacher, &info, &err);
    cli_progress_end();
    if (status == MILLET_CANCELLED)
        return cli_fail_text("%s: stopped; the same command goes on with it", path);
    if (status != MILLET_OK) return cli_fail(&err);
    if (info.reused) fprintf(stderr, "%s: as it was\n", path);
    if (info.taken_over > 0)
        fprintf(stderr, "%s: %.1f%% had been done before\n", path, 100 * info.taken_over);
    return CLI_OK;
}

static int prepare(void)
{
    static char label[] = "teaching";
    if (options->distil.n_teachers) return CLI_OK; /* they run beside the student */
    size_t n = options->n_data + options->n_evaluation_data;
    int code = CLI_OK;
    teacher.progress = cli_progress_callback;
    teacher.context = label;
    for (size_t i = 0; code == CLI_OK && i < n; i++) {
        const char *cache =
            i < options->n_data ? options->data[i].cache : options->evaluation_data[i - options->n_data];
        char *path = output_path(cache);
        if (!path) return cli_fail_text("out of memory");
        outputs.owned[outputs.count] = path;
        outputs.paths[outputs.count++] = path;
        bool again = false; /* one file may be learnt from and measured on */
        for (size_t j = 0; j < i; j++)
            again = again || strcmp(outputs.paths[j], path) == 0;
        if (!again && !cli_quiet) code = make_output(cache, path); /* one process makes it for all */
    }
    options->distil.outputs = outputs.paths;
    return code == CLI_OK && arguments.prepare ? CLI_PREPARED : code;
}

/* ---- The verb ---- */

static int take_layers(const char *option, const struct cli_list *list, millet_layer_match *matches)
{
    for (size_t i = 0; i < list->count; i++) {
        const char *text = list->items[i];
        int used = 0;
        if (sscanf(text, "%9d:%9d%n", &matches[i].student, &matches[i].teacher, &used) != 2 || text[used])
            return cli_usage("--%s %s: two layers are needed, as 2:6", option, text);
    }
    return CLI_OK;
}

static int take_matches(void)
{
    int code = take_layers("hidden", &arguments.hidden, hidden);
    if (code == CLI_OK) code = take_layers("attention", &arguments.attention, attention);
    if (code != CLI_OK) return code;
    options->distil.attention = attention;
    options->distil.n_attention = arguments.attention.count;
    options->distil.attention_weight = arguments.attention_weight;
    options->distil.attention_heads = arguments.attention_heads;
    options->distil.hidden = hidden;
    options->distil.n_hidden = arguments.hidden.count;
    options->distil.hidden_weight = arguments.hidden_weight;
    return CLI_OK;
}

static int run(int n_operands, char **operands)
{
    if (!arguments.teachers.count && !cli_source.chat_template)
        return cli_usage("--teacher FILE is missing: whom to learn from");
    if (teacher.length == 0) teacher.length = options->length;
    if (teacher.length < 2) return cli_usage("--teacher-length N: at least 2 tokens");
    teacher.teachers = arguments.teachers.items;
    teacher.n_teachers = arguments.teachers.count;
    teacher.rows = options->rows;
    teacher.n_threads = cli_threads;
    teacher.rebuild = cli_source.rebuild;
    options->distil = (millet_distillation){.outputs = outputs.paths, /* for --memory: there will be some */
                                            .alpha = alpha,
                                            .temperature = teacher.temperature,
                                            .top_k = teacher.top_k};
    bool online = arguments.online || arguments.hidden.count || arguments.attention.count;
    if (online && arguments.prepare) return cli_usage("--prepare makes files; with --online there are none");
    if (online) {
        options->distil.outputs = NULL;
        options->distil.teachers = arguments.teachers.items;
        options->distil.n_teachers = arguments.teachers.count;
    }
    int code = take_matches();
    if (code != CLI_OK) return code;
    if (arguments.prepare && !options->steps && !(options->epochs > 0)) options->steps = 1;
    code = cli_train(n_operands, operands, prepare);
    for (size_t i = 0; i < outputs.count; i++)
        free(outputs.owned[i]);
    return code;
}

static void set_defaults(void)
{
    options = cli_train_defaults();
    teacher = millet_teacher_options_default();
    teacher.length = 0;
    alpha = options->distil.alpha;
    arguments.hidden_weight = options->distil.hidden_weight;
    arguments.attention_weight = options->distil.attention_weight;
}

static const struct cli_option *const groups[] = {
    rows, cli_train_rows, cli_source_rows, cli_threads_rows, cli_model_rows, cli_json_rows, NULL};

const struct cli_verb cli_verb_distil = {
    .name = "distil",
    .summary = "make a small model learn from larger ones",
    .operands = "[STUDENT]",
    .min_operands = 0,
    .max_operands = 1,
    .description =
        "Trains as millet train does, and with its options, but the loss of a token is (1 - alpha) times the "
        "cross-entropy with the label plus alpha T^2 times the divergence of the teacher's distribution from "
        "the student's, both at the temperature T (Hinton et al., 2015). What the teachers say about a file "
        "is "
        "made once, NAME.teacher, and used again while texts, teachers and options are the same; its size is "
        "said before it is made, and the room taken. A run that was stopped goes on where it was.\n\n"
        "Of each position the most probable tokens (--top-k) are kept, and the sum of all others as one "
        "event.\n\n"
        "With --online, or where hidden states or attention are matched, the teachers run beside the student "
        "instead, and "
        "speak of all tokens; they take their memory, and the time of their pass.\n\n"
        "Teachers are read as training reads models: of any type of weights, into F32. They must have the "
        "student's tokenizer.",
    .examples =
        "millet distil student.gguf --teacher large.gguf -f text.txt.gz -o tuned.gguf --epochs 1\tgo on with "
        "a "
        "student\n"
        "millet distil --new shape.json --tokenizer large.gguf --teacher large.gguf --teacher other.gguf -f "
        "text.txt -o small.gguf -n 2000 --alpha 1\ta new student, two teachers, no labels\n"
        "millet distil student.gguf --teacher large.gguf --hidden 2:6 --hidden 4:12 -f text.txt -o "
        "tuned.gguf -n 2000\tmatch two "
        "layers as well",
    .options = groups,
    .prepare = set_defaults,
    .run = run,
};
