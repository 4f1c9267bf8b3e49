/* millet eval choice: questions with choices. SPDX-License-Identifier: Apache-2.0 */
#include "eval_choice.h"

#include <math.h>
#include <string.h>

static struct {
    const char *template_path, *language, *scored;
    bool no_subjects;
} arguments;

const struct cli_option cli_eval_choice_rows[] = {
    {.name = "template",
     .argument = "FILE",
     .kind = CLI_STRING,
     .target = &arguments.template_path,
     .help = "choice: how a question is written (docs/eval.md); without, a built-in form"},
    {.name = "language",
     .argument = "LANGUAGE",
     .kind = CLI_STRING,
     .target = &arguments.language,
     .choices = "zh|en",
     .help = "choice: language of the built-in form; without, that of the questions"},
    {.name = "scored",
     .argument = "WHAT",
     .kind = CLI_STRING,
     .target = &arguments.scored,
     .choices = "letters|texts",
     .help =
         "choice: take the likelihood of the choices' letters (and list the choices), or of what they say"},
    {.name = "no-subjects",
     .kind = CLI_FLAG,
     .target = &arguments.no_subjects,
     .help = "choice: print only the sum of all subjects"},
    {0},
};

/* ---- JSON ---- */

static json_t *score_json(const millet_choice_score *s, bool with_base)
{
    return json_pack("{s:s,s:I,s:f,s:o,s:o}", "subject", s->subject, "questions", (json_int_t)s->n_questions,
                     "chance", s->chance, "sum", cli_task_share(&s->sum, with_base), "length",
                     cli_task_share(&s->length, with_base));
}

static int print_json(const millet_choice_scores *s, bool with_base)
{
    json_t *subjects = json_array();
    for (int64_t i = 0; i < s->n_subjects; i++)
        json_array_append_new(subjects, score_json(&s->subjects[i], with_base));
    return cli_print_json(json_pack(
        "{s:s,s:i,s:I,s:I,s:I,s:I,s:o,s:f,s:f,s:o,s:o,s:o}", "template", s->template_name, "shots",
        cli_task.shots, "shortened", (json_int_t)s->n_shortened, "cut", (json_int_t)s->n_cut, "tokens",
        (json_int_t)s->n_tokens, "computed", (json_int_t)s->n_computed, "all", score_json(&s->all, with_base),
        "subject_mean_sum", s->subject_mean_sum, "subject_mean_length", s->subject_mean_length,
        "base_subject_mean_sum", cli_task_number(s->base_subject_mean_sum), "base_subject_mean_length",
        cli_task_number(s->base_subject_mean_length), "subjects", subjects));
}

/* ---- The table ---- */

static void print_share(const millet_task_share *s, bool with_base)
{
    cli_print_percent(&s->right);
    if (!with_base) return;
    printf(" %6.2f", 100 * s->base.value);
    cli_print_percent(&s->kept);
    printf(" %6.2f", 100 * s->agreement.value);
}

static void print_head(const char *title, bool with_base)
{
    printf(" %6s %-17s", title, "  [95%]");
    if (with_base) printf(" %6s %6s %-17s %6s", "base", "kept", "  [95%]", "same");
}

static void print_row(const millet_choice_score *s, bool texts, bool with_base)
{
    printf("%-28.28s %9lld %7.2f", s->subject[0] ? s->subject : "all", (long long)s->n_questions,
           100 * s->chance);
    print_share(&s->sum, with_base);
    if (texts) print_share(&s->length, with_base);
    putchar('\n');
}

static void print_table(const millet_choice_scores *s, bool with_base)
{
    bool texts = !s->listed;
    printf("%-28s %9s %7s", "subject", "questions", "chance");
    print_head(texts ? "sum" : "right", with_base);
    if (texts) print_head("length", with_base);
    putchar('\n');
    bool rows = !arguments.no_subjects && s->n_subjects > 1;
    for (int64_t i = 0; rows && i < s->n_subjects; i++)
        print_row(&s->subjects[i], texts, with_base);
    print_row(&s->all, texts, with_base);
    printf("%lld subjects, each counted once: %.2f", (long long)s->n_subjects, 100 * s->subject_mean_sum);
    if (texts) printf(" by the sum, %.2f by length", 100 * s->subject_mean_length);
    if (with_base) printf("; base %.2f", 100 * s->base_subject_mean_sum);
    if (with_base && texts) printf(" by the sum, %.2f by length", 100 * s->base_subject_mean_length);
    printf("\ntemplate %s, %d shots", s->template_name, cli_task.shots);
    if (s->n_shortened) printf("; for %lld questions the context had less room", (long long)s->n_shortened);
    if (s->n_cut) printf(", and %lld lost their beginning", (long long)s->n_cut);
    printf("; %.1f%% of the tokens computed\n", 100 * (double)s->n_computed / (double)s->n_tokens);
    if (!with_base) return;
    printf("difference from the base, in points:");
    cli_print_percent(&s->all.sum.difference);
    if (texts) printf(" by the sum,");
    if (texts) cli_print_percent(&s->all.length.difference);
    printf("%s\n", texts ? " by length" : "");
}

int cli_eval_choice(int n_operands, char **operands, struct cli_task_settings *settings)
{
    if (n_operands < 2) return cli_usage("the form is: millet eval choice MODEL FILE.jsonl...");
    if (arguments.template_path && (arguments.language || arguments.scored))
        return cli_usage("--template says itself what is asked and scored; --%s is too much",
                         arguments.language ? "language" : "scored");
    struct cli_task_models models;
    int status = cli_open_task(operands[0], settings, &models);
    if (status == CLI_OK) {
        static char label[] = "asking";
        const millet_choice_options options = {
            .session = settings->session,
            .n_shots = cli_task.shots,
            .shots_path = cli_task.shots_file,
            .template_path = arguments.template_path,
            .language = arguments.language,
            .texts = arguments.scored && strcmp(arguments.scored, "texts") == 0,
            .max_records = cli_task.limit,
            .answers = cli_task.answers,
            .progress = cli_progress_callback,
            .context = label,
        };
        millet_choice_scores *scores = NULL;
        millet_error err;
        cli_catch_interrupt();
        millet_status result =
            millet_choice_measure(models.model, models.base, (const char *const *)(operands + 1),
                                  (size_t)(n_operands - 1), &options, &scores, &err);
        cli_progress_end();
        if (result != MILLET_OK)
            status = cli_fail(&err);
        else if (cli_json)
            status = print_json(scores, models.base);
        else
            print_table(scores, models.base);
        millet_choice_scores_free(&scores);
    }
    cli_close_task(&models);
    return status;
}
