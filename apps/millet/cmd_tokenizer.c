/* millet tokenizer: train a tokenizer, look at one, measure how compact it is. SPDX-License-Identifier:
 * Apache-2.0 */
#include "skips.h"
#include "verbs.h"

#include <stdlib.h>
#include <string.h>

static struct {
    const char *kind, *output, *json_output, *pre, *pattern, *bos, *eos, *pad, *separator, *template_file,
        *name, *normalization, *special_file;
    struct cli_list special;
    int32_t vocabulary, max_length;
    uint64_t min_frequency, max_bytes;
    float coverage;
    bool digits, prefix_space, add_bos, lines;
} arguments;

static const struct cli_option rows[] = {
    {.name = "output",
     .letter = 'o',
     .argument = "FILE",
     .kind = CLI_STRING,
     .target = &arguments.output,
     .help = "train: the GGUF file to write"},
    {.name = "tokenizer-json",
     .argument = "FILE",
     .kind = CLI_STRING,
     .target = &arguments.json_output,
     .help = "train: write Hugging Face's tokenizer.json too (and, under that name, tokenizer_config.json "
             "beside it)"},
    {.name = "kind",
     .letter = 'k',
     .argument = "KIND",
     .kind = CLI_STRING,
     .target = &arguments.kind,
     .choices = "bpe|unigram",
     .help = "bpe (byte-level, the default) or unigram"},
    {.name = "vocabulary",
     .letter = 'v',
     .argument = "N",
     .kind = CLI_INT,
     .target = &arguments.vocabulary,
     .min = 0,
     .max = 1 << 21,
     .help = "tokens in all, bytes and special ones included; 0: 8192"},
    {.name = "special",
     .letter = 's',
     .argument = "TEXT",
     .kind = CLI_LIST,
     .target = &arguments.special,
     .help = "a control token, several times; they get the first ids. Without: <|endoftext|>, or <s> and "
             "</s> in unigram"},
    {.name = "special-file",
     .argument = "FILE",
     .kind = CLI_STRING,
     .target = &arguments.special_file,
     .help = "more control tokens, one a line, which follow those of --special"},
    {.name = "bos",
     .argument = "TEXT",
     .kind = CLI_STRING,
     .target = &arguments.bos,
     .help = "which special token begins a text; without: the first"},
    {.name = "eos",
     .argument = "TEXT",
     .kind = CLI_STRING,
     .target = &arguments.eos,
     .help = "which one ends a text; without: the first, in unigram the second"},
    {.name = "pad",
     .argument = "TEXT",
     .kind = CLI_STRING,
     .target = &arguments.pad,
     .help = "which one is for padding"},
    {.name = "add-bos",
     .kind = CLI_FLAG,
     .target = &arguments.add_bos,
     .help = "a model is to see the beginning token before every text"},
    {.name = "pre-tokenizer",
     .argument = "NAME",
     .kind = CLI_STRING,
     .target = &arguments.pre,
     .choices = "gpt-2|starcoder|llama-bpe|qwen2|gpt-4o|tekken",
     .help = "bpe: how texts are cut into words; without: qwen2"},
    {.name = "pattern",
     .argument = "REGEX",
     .kind = CLI_STRING,
     .target = &arguments.pattern,
     .help = "bpe: a regular expression whose matches are the words instead; other runtimes may not know it"},
    {.name = "split-digits",
     .kind = CLI_FLAG,
     .target = &arguments.digits,
     .help = "every digit is a token of its own (qwen2, starcoder and tekken do so anyway)"},
    {.name = "prefix-space",
     .kind = CLI_FLAG,
     .target = &arguments.prefix_space,
     .help = "unigram: a space before every text, so that its first word is like the others"},
    {.name = "normalization",
     .argument = "RULE",
     .kind = CLI_STRING,
     .target = &arguments.normalization,
     .choices = "identity|nmt_nfkc",
     .help =
         "unigram: identity (texts come back as they were) or SentencePiece's nmt_nfkc; without: identity"},
    {.name = "min-frequency",
     .argument = "N",
     .kind = CLI_U64,
     .target = &arguments.min_frequency,
     .help = "what occurs more seldom is not made a token; 0: 2"},
    {.name = "max-length",
     .argument = "N",
     .kind = CLI_INT,
     .target = &arguments.max_length,
     .min = 0,
     .max = 512,
     .help = "of a token: in bytes (0: 48), in unigram in characters (0: 16)"},
    {.name = "coverage",
     .argument = "PART",
     .kind = CLI_FLOAT,
     .target = &arguments.coverage,
     .min = 0,
     .max = 1,
     .help = "unigram: the rarest characters beyond this part of the text are left to bytes; 0: 0.9995"},
    {.name = "max-bytes",
     .argument = "N",
     .kind = CLI_U64,
     .target = &arguments.max_bytes,
     .help = "read only so much text; 0: all"},
    {.name = "separator",
     .argument = "LINE",
     .kind = CLI_STRING,
     .target = &arguments.separator,
     .help = "a line that ends a document of a text; without: <|endoftext|>"},
    {.name = "chat-template",
     .argument = "FILE",
     .kind = CLI_STRING,
     .target = &arguments.template_file,
     .help = "a Jinja template to store in the files"},
    {.name = "name",
     .argument = "TEXT",
     .kind = CLI_STRING,
     .target = &arguments.name,
     .help = "general.name in the GGUF file"},
    {.name = "lines",
     .kind = CLI_FLAG,
     .target = &arguments.lines,
     .help = "measure: every line is a text of its own, and ends of lines do not count"},
    {0},
};

static double per(uint64_t a, uint64_t b)
{
    return b ? (double)a / (double)b : 0;
}

static int print_training(const millet_tokenizer_training *r, double seconds)
{
    const char *to = arguments.output ? arguments.output : arguments.json_output;
    if (cli_json)
        return cli_print_json(
            json_pack("{s:s,s:i,s:i,s:i,s:i,s:I,s:I,s:I,s:I,s:f,s:o,s:f}", "output", to, "tokens",
                      (int)r->n_tokens, "special", (int)r->n_special, "bytes", (int)r->n_bytes, "learned",
                      (int)r->n_learned, "text_bytes", (json_int_t)r->text_bytes, "words",
                      (json_int_t)r->n_words, "distinct_words", (json_int_t)r->n_distinct, "text_tokens",
                      (json_int_t)r->n_text_tokens, "bytes_per_token", per(r->text_bytes, r->n_text_tokens),
                      "skipped", cli_skips_json(r->n_skipped), "seconds", seconds));
    printf("%s: %d tokens (%d special, %d bytes, %d learned) from %s of text, %llu words, %llu different; "
           "%.3f bytes a token; %.1f s\n",
           to, r->n_tokens, r->n_special, r->n_bytes, r->n_learned, cli_bytes(r->text_bytes),
           (unsigned long long)r->n_words, (unsigned long long)r->n_distinct,
           per(r->text_bytes, r->n_text_tokens), seconds);
    cli_print_skips(r->n_skipped);
    return CLI_OK;
}

/* The control tokens of --special and --special-file. */
struct special_tokens {
    const char **texts;
    size_t count;
    char *file; /* what the texts of the file point into */
};

static int read_special(struct special_tokens *special)
{
    size_t length = 0, lines = 0;
    if (arguments.special_file && !cli_read_text(arguments.special_file, &special->file, &length))
        return CLI_FAILED;
    for (size_t i = 0; i < length; i++)
        lines += special->file[i] == '\n';
    special->texts = calloc(arguments.special.count + lines + 1, sizeof *special->texts);
    if (!special->texts) return cli_fail_text("out of memory");
    for (size_t i = 0; i < arguments.special.count; i++)
        special->texts[special->count++] = arguments.special.items[i];
    char *rest = special->file;
    for (char *line; rest && (line = strsep(&rest, "\r\n"));)
        if (*line) special->texts[special->count++] = line;
    return CLI_OK;
}

static int train_with(const struct special_tokens *special, int n_sources, char **sources)
{
    millet_tokenizer_train_options options = millet_tokenizer_train_options_default();
    bool unigram = arguments.kind && strcmp(arguments.kind, "unigram") == 0;
    options.kind = unigram ? MILLET_TOKENIZER_UNIGRAM : MILLET_TOKENIZER_BPE;
    options.vocabulary = arguments.vocabulary;
    options.special = special->count ? special->texts : NULL;
    options.n_special = special->count;
    options.bos = arguments.bos;
    options.eos = arguments.eos;
    options.pad = arguments.pad;
    options.add_bos = arguments.add_bos;
    options.pre_tokenizer = arguments.pre;
    options.pattern = arguments.pattern;
    options.split_digits = arguments.digits;
    options.add_prefix_space = arguments.prefix_space;
    options.nfkc = arguments.normalization && strcmp(arguments.normalization, "nmt_nfkc") == 0;
    options.min_frequency = arguments.min_frequency;
    options.max_token_bytes = arguments.max_length;
    options.character_coverage = (double)arguments.coverage;
    options.max_bytes = arguments.max_bytes;
    options.name = arguments.name;
    options.source.separator = arguments.separator;
    options.n_threads = cli_threads;
    options.progress = cli_progress_callback;
    static char label[] = "learning";
    options.context = label;
    size_t length;
    char *template = NULL;
    if (arguments.template_file && !cli_read_text(arguments.template_file, &template, &length))
        return CLI_FAILED;
    options.chat_template = template;
    millet_tokenizer_training result;
    millet_error err;
    cli_catch_interrupt();
    double began = cli_seconds();
    millet_status status =
        millet_tokenizer_train((const char *const *)sources, (size_t)n_sources, arguments.output,
                               arguments.json_output, &options, &result, &err);
    cli_progress_end();
    free(template);
    if (status == MILLET_CANCELLED) return cli_fail_text("interrupted; nothing was written");
    if (status != MILLET_OK) return cli_fail(&err);
    return print_training(&result, cli_seconds() - began);
}

static int train(int n_sources, char **sources)
{
    if (n_sources == 0)
        return cli_usage("TEXT is missing; the form is: millet tokenizer train TEXT... -o FILE");
    if (!arguments.output && !arguments.json_output)
        return cli_usage("-o FILE is missing: the GGUF file to write");
    struct special_tokens special = {0};
    int status = read_special(&special);
    if (status == CLI_OK) status = train_with(&special, n_sources, sources);
    free(special.texts);
    free(special.file);
    return status;
}

static int inspect(const char *path)
{
    millet_tokenizer *tokenizer;
    millet_tokenizer_info info;
    millet_error err;
    if (millet_tokenizer_open(path, cli_model.tokenizer, NULL, &tokenizer, &err) != MILLET_OK)
        return cli_fail(&err);
    millet_tokenizer_get_info(tokenizer, &info);
    int status = CLI_OK;
    if (cli_json)
        status = cli_print_json(json_pack(
            "{s:s,s:i,s:i,s:i,s:b,s:b,s:s?,s:I}", "kind", info.kind, "tokens", (int)info.n_tokens, "bos",
            (int)info.bos, "eos", (int)info.eos, "add_bos", (int)info.add_bos, "add_eos", (int)info.add_eos,
            "chat_template", info.chat_template, "checksum", (json_int_t)info.checksum));
    else
        printf("%s: %s, %d tokens, bos %d%s, eos %d%s, chat template %s, checksum %016llx\n", path, info.kind,
               info.n_tokens, info.bos, info.add_bos ? " (added)" : "", info.eos,
               info.add_eos ? " (added)" : "", info.chat_template ? info.chat_template : "none",
               (unsigned long long)info.checksum);
    millet_tokenizer_close(&tokenizer);
    return status;
}

static int measure(const char *path, int n_sources, char **sources)
{
    if (n_sources == 0)
        return cli_usage("TEXT is missing; the form is: millet tokenizer measure TOKENIZER TEXT...");
    millet_tokenizer *tokenizer;
    millet_tokenizer_measure_result r;
    millet_error err;
    if (millet_tokenizer_open(path, cli_model.tokenizer, NULL, &tokenizer, &err) != MILLET_OK)
        return cli_fail(&err);
    const millet_source_options options = {.separator = arguments.separator};
    millet_status status = millet_tokenizer_measure(tokenizer, (const char *const *)sources,
                                                    (size_t)n_sources, arguments.lines, &options, &r, &err);
    millet_tokenizer_close(&tokenizer);
    if (status != MILLET_OK) return cli_fail(&err);
    if (cli_json)
        return cli_print_json(json_pack(
            "{s:I,s:I,s:f,s:I,s:I,s:I,s:I,s:o}", "text_bytes", (json_int_t)r.text_bytes, "tokens",
            (json_int_t)r.n_tokens, "bytes_per_token", per(r.text_bytes, r.n_tokens), "unknown",
            (json_int_t)r.n_unknown, "byte_tokens", (json_int_t)r.n_bytes, "texts", (json_int_t)r.n_texts,
            "lost", (json_int_t)r.n_lost, "skipped", cli_skips_json(r.n_skipped)));
    printf("%s: %.4f bytes a token (%llu bytes, %llu tokens; %llu unknown, %llu of single bytes; %llu of "
           "%llu texts do not come back)\n",
           path, per(r.text_bytes, r.n_tokens), (unsigned long long)r.text_bytes,
           (unsigned long long)r.n_tokens, (unsigned long long)r.n_unknown, (unsigned long long)r.n_bytes,
           (unsigned long long)r.n_lost, (unsigned long long)r.n_texts);
    cli_print_skips(r.n_skipped);
    return CLI_OK;
}

static int run(int n_operands, char **operands)
{
    static const char *const actions[] = {"train", "inspect", "measure", NULL};
    const char *action = operands[0];
    if (strcmp(action, "train") == 0) return train(n_operands - 1, operands + 1);
    bool inspecting = strcmp(action, "inspect") == 0;
    if (!inspecting && strcmp(action, "measure") != 0) {
        const char *nearest = cli_nearest(action, actions);
        return cli_usage("\"%s\" is none of train, inspect, measure; did you mean millet tokenizer %s?",
                         action, nearest ? nearest : "train");
    }
    if (n_operands < 2)
        return cli_usage("TOKENIZER is missing; the form is: millet tokenizer %s TOKENIZER", action);
    return inspecting ? inspect(operands[1]) : measure(operands[1], n_operands - 2, operands + 2);
}

static const struct cli_option *const groups[] = {rows, cli_threads_rows, cli_model_rows, cli_json_rows,
                                                  NULL};

const struct cli_verb cli_verb_tokenizer = {
    .name = "tokenizer",
    .summary = "train a tokenizer, look at one, measure how compact it is",
    .operands = "train|inspect|measure FILE...",
    .min_operands = 1,
    .max_operands = 4096,
    .description = "train TEXT... learns a tokenizer from texts (.txt, .jsonl, also with .gz) and writes it "
                   "as a GGUF file without tensors, which "
                   "other runtimes load too, and as tokenizer.json. The files appear when they are complete; "
                   "a run that is stopped leaves what was "
                   "there before.\n\n"
                   "inspect TOKENIZER shows what a tokenizer is. measure TOKENIZER TEXT... tokenises texts "
                   "and prints the bytes that a token stands "
                   "for, and whether the texts come back from their tokens. TOKENIZER is a model of any "
                   "layout, a GGUF file without tensors or a "
                   "tokenizer.json.",
    .examples = "millet tokenizer train books.txt.gz -v 8192 -o tok.gguf\tbyte-level BPE\n"
                "millet tokenizer train dialogues.jsonl -k unigram -s '<s>' -s '</s>' -s '<|im_start|>' -s "
                "'<|im_end|>' -o tok.gguf\twith tokens "
                "for turns\n"
                "millet tokenizer measure tok.gguf test.txt\tbytes a token",
    .options = groups,
    .run = run,
};
