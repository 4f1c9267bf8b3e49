/* Pre-tokenising with PCRE2. SPDX-License-Identifier: Apache-2.0 */
#include "tokenizer/pretokenizer.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdio.h>
#include <string.h>

/*
 * Bounds for one search, in PCRE2's units: backtracking steps and KiB. Patterns of the table need a few steps
 * a byte; a search that needs more comes from a pattern that was made to hang.
 */
enum { MATCH_STEPS = 1000000, MATCH_STEPS_PER_BYTE = 16, HEAP_KIB = 256 * 1024 };

struct stage {
    enum mlt_stage_kind kind;
    pcre2_code *code;
};

struct mlt_pretokenizer {
    millet_allocator allocator;
    struct stage stages[MLT_MAX_STAGES];
    int n_stages;
};

struct mlt_pretokenizer_scratch {
    millet_allocator allocator;
    pcre2_match_context *context;
    pcre2_jit_stack *jit_stack; /* may be NULL */
    pcre2_match_data *matches[MLT_MAX_STAGES];
};

/* The name's entry; NULL where it is unknown. */
static const struct mlt_pretokenizer_source *find_source(const char *name)
{
    if (!name || !name[0]) name = "default";
    for (size_t i = 0; i < mlt_pretokenizer_source_count; i++)
        if (strcmp(mlt_pretokenizer_sources[i].name, name) == 0) return &mlt_pretokenizer_sources[i];
    return NULL;
}

bool mlt_pretokenizer_traits(const char *name, struct mlt_pretokenizer_traits *traits)
{
    const struct mlt_pretokenizer_source *source = find_source(name);
    if (source) *traits = source->traits;
    return source != NULL;
}

static void *pcre_allocate(PCRE2_SIZE size, void *allocator)
{
    return mlt_alloc(allocator, size, 1, NULL);
}

static void pcre_release(void *block, void *allocator)
{
    mlt_free(allocator, block);
}

static millet_status compile(struct mlt_pretokenizer *pretokenizer, pcre2_compile_context *context,
                             enum mlt_stage_kind kind, const char *pattern, millet_error *err)
{
    int code;
    PCRE2_SIZE offset;
    struct stage *stage = &pretokenizer->stages[pretokenizer->n_stages];
    stage->kind = kind;
    stage->code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
                                PCRE2_UTF | PCRE2_UCP | PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_BACKSLASH_C, &code,
                                &offset, context);
    if (!stage->code) {
        if (code == PCRE2_ERROR_HEAP_FAILED)
            return mlt_fail(err, MILLET_NO_MEMORY,
                            "compiling a pre-tokenising pattern failed for lack of memory");
        char reason[120];
        pcre2_get_error_message(code, (PCRE2_UCHAR *)reason, sizeof reason);
        return mlt_fail(err, MILLET_UNSUPPORTED,
                        "the pre-tokenising pattern cannot be used: %s (at byte %zu of \"%.100s\")", reason,
                        (size_t)offset, pattern);
    }
    pretokenizer->n_stages++;
    /* Where no machine code can be made (no support, no permission) the interpreter serves, to the same
     * effect. */
    (void)pcre2_jit_compile(stage->code, PCRE2_JIT_COMPLETE);
    return MILLET_OK;
}

static millet_status compile_stages(struct mlt_pretokenizer *pretokenizer, pcre2_compile_context *context,
                                    const struct mlt_stage_source *stages, millet_error *err)
{
    for (int i = 0; i < MLT_MAX_STAGES && stages[i].kind; i++)
        MLT_TRY(compile(pretokenizer, context, stages[i].kind, stages[i].pattern, err));
    return MILLET_OK;
}

millet_status mlt_pretokenizer_open(const millet_allocator *allocator, const char *name, const char *pattern,
                                    struct mlt_pretokenizer **out, millet_error *err)
{
    *out = NULL;
    const struct mlt_pretokenizer_source *source = pattern ? NULL : find_source(name);
    if (!pattern && !source)
        return mlt_fail_at(
            err, MILLET_UNSUPPORTED, NULL, "tokenizer.ggml.pre", MILLET_NO_OFFSET,
            "the pre-tokeniser \"%.40s\" is not known; docs/tokenizers.md lists those that are, for "
            "example default, gpt-2, llama-bpe, qwen2",
            name);
    struct mlt_pretokenizer *pretokenizer = mlt_alloc_zero(allocator, 1, sizeof *pretokenizer, err);
    if (!pretokenizer) return MILLET_NO_MEMORY;
    pretokenizer->allocator = *allocator;
    /* The context refers to the allocator inside the object: PCRE2 frees the compiled code with it. */
    pcre2_general_context *general =
        pcre2_general_context_create(pcre_allocate, pcre_release, &pretokenizer->allocator);
    pcre2_compile_context *context = general ? pcre2_compile_context_create(general) : NULL;
    millet_status status;
    if (!context)
        status = mlt_fail(err, MILLET_NO_MEMORY, "an allocation for the pre-tokeniser failed");
    else if (pattern)
        status = compile(pretokenizer, context, MLT_STAGE_PATTERN, pattern, err);
    else
        status = compile_stages(pretokenizer, context, source->stages, err);
    pcre2_compile_context_free(context);
    pcre2_general_context_free(general);
    if (status)
        mlt_pretokenizer_close(&pretokenizer);
    else
        *out = pretokenizer;
    return status;
}

void mlt_pretokenizer_close(struct mlt_pretokenizer **pretokenizer)
{
    if (!*pretokenizer) return;
    for (int i = 0; i < (*pretokenizer)->n_stages; i++)
        pcre2_code_free((*pretokenizer)->stages[i].code);
    millet_allocator allocator = (*pretokenizer)->allocator;
    mlt_free(&allocator, *pretokenizer);
    *pretokenizer = NULL;
}

millet_status mlt_pretokenizer_scratch_open(const struct mlt_pretokenizer *pretokenizer,
                                            const millet_allocator *allocator,
                                            struct mlt_pretokenizer_scratch **out, millet_error *err)
{
    *out = NULL;
    struct mlt_pretokenizer_scratch *scratch = mlt_alloc_zero(allocator, 1, sizeof *scratch, err);
    if (!scratch) return MILLET_NO_MEMORY;
    scratch->allocator = *allocator;
    pcre2_general_context *general =
        pcre2_general_context_create(pcre_allocate, pcre_release, &scratch->allocator);
    bool complete = general && (scratch->context = pcre2_match_context_create(general));
    for (int i = 0; complete && i < pretokenizer->n_stages; i++)
        complete = (scratch->matches[i] =
                        pcre2_match_data_create_from_pattern(pretokenizer->stages[i].code, general));
    if (complete) {
        pcre2_set_heap_limit(scratch->context, HEAP_KIB);
        scratch->jit_stack = pcre2_jit_stack_create(32 * 1024, 1024 * 1024, general);
        if (scratch->jit_stack) pcre2_jit_stack_assign(scratch->context, NULL, scratch->jit_stack);
    }
    pcre2_general_context_free(general);
    if (!complete) {
        mlt_pretokenizer_scratch_close(&scratch);
        return mlt_fail(err, MILLET_NO_MEMORY, "an allocation for the pre-tokeniser failed");
    }
    *out = scratch;
    return MILLET_OK;
}

void mlt_pretokenizer_scratch_close(struct mlt_pretokenizer_scratch **scratch)
{
    if (!*scratch) return;
    for (int i = 0; i < MLT_MAX_STAGES; i++)
        pcre2_match_data_free((*scratch)->matches[i]);
    pcre2_jit_stack_free((*scratch)->jit_stack);
    pcre2_match_context_free((*scratch)->context);
    millet_allocator allocator = (*scratch)->allocator;
    mlt_free(&allocator, *scratch);
    *scratch = NULL;
}

/* One text on its way through the stages. */
struct split {
    const struct mlt_pretokenizer *pretokenizer;
    struct mlt_pretokenizer_scratch *scratch;
    mlt_word_function *word;
    void *context;
};

static millet_status split_piece(const struct split *split, int stage, const char *text, size_t length,
                                 millet_error *err);

/* The digits of a run in threes, counted from its end: 1234567 is 1, 234, 567. */
static millet_status split_triples(const struct split *split, int stage, const char *text, size_t length,
                                   millet_error *err)
{
    size_t digits = 0;
    for (size_t i = 0; i < length; i++)
        digits += ((uint8_t)text[i] & 0xC0) != 0x80;
    while (length) {
        size_t wanted = digits % 3 ? digits % 3 : 3, size = 0;
        for (size_t n = 0; n < wanted; n++)
            do
                size++;
            while (size < length && ((uint8_t)text[size] & 0xC0) == 0x80);
        MLT_TRY(split_piece(split, stage, text, size, err));
        digits -= wanted;
        text += size;
        length -= size;
    }
    return MILLET_OK;
}

static int search(const struct split *split, int stage, const char *text, size_t length, size_t from)
{
    const pcre2_code *code = split->pretokenizer->stages[stage].code;
    struct mlt_pretokenizer_scratch *scratch = split->scratch;
    int found = pcre2_match(code, (PCRE2_SPTR)text, length, from, PCRE2_NO_UTF_CHECK, scratch->matches[stage],
                            scratch->context);
    if (found == PCRE2_ERROR_JIT_STACKLIMIT)
        found = pcre2_match(code, (PCRE2_SPTR)text, length, from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                            scratch->matches[stage], scratch->context);
    return found;
}

static millet_status search_failed(int code, size_t length, millet_error *err)
{
    if (code == PCRE2_ERROR_NOMEMORY || code == PCRE2_ERROR_HEAPLIMIT)
        return mlt_fail(err, MILLET_NO_MEMORY,
                        "pre-tokenising a piece of %zu bytes failed for lack of memory", length);
    return mlt_fail(err, MILLET_UNSUPPORTED,
                    "the pre-tokenising pattern takes too long on a piece of %zu bytes (PCRE2 error %d)",
                    length, code);
}

/* Cuts a piece with one stage and hands the parts to the next. */
static millet_status split_piece(const struct split *split, int stage, const char *text, size_t length,
                                 millet_error *err)
{
    if (stage == split->pretokenizer->n_stages)
        return length ? split->word(split->context, text, length, err) : MILLET_OK;

    const struct stage *how = &split->pretokenizer->stages[stage];
    size_t done = 0;
    for (size_t from = 0; from <= length && done < length;) {
        int found = search(split, stage, text, length, from);
        if (found == PCRE2_ERROR_NOMATCH) break;
        if (found < 0) return search_failed(found, length, err);
        const PCRE2_SIZE *bounds = pcre2_get_ovector_pointer(split->scratch->matches[stage]);
        size_t begin = bounds[0], end = bounds[1];
        /* \K may report an end before the begin or a begin before what is done. */
        if (begin > end || begin < done)
            return mlt_fail(err, MILLET_UNSUPPORTED,
                            "the pre-tokenising pattern uses \\K, which is not supported");
        if (begin > done) MLT_TRY(split_piece(split, stage + 1, text + done, begin - done, err));
        if (end > begin && how->kind == MLT_STAGE_PATTERN)
            MLT_TRY(split_piece(split, stage + 1, text + begin, end - begin, err));
        else if (end > begin)
            MLT_TRY(split_triples(split, stage + 1, text + begin, end - begin, err));
        done = end;
        from = end;
        if (end == begin && from < length) /* an empty match: look on behind the next character */
            do
                from++;
            while (from < length && ((uint8_t)text[from] & 0xC0) == 0x80);
        else if (end == begin)
            break;
    }
    return done < length ? split_piece(split, stage + 1, text + done, length - done, err) : MILLET_OK;
}

millet_status mlt_pretokenizer_split(const struct mlt_pretokenizer *pretokenizer,
                                     struct mlt_pretokenizer_scratch *scratch, const char *text,
                                     size_t length, mlt_word_function *word, void *context, millet_error *err)
{
    size_t steps = MATCH_STEPS + MATCH_STEPS_PER_BYTE * MLT_MIN(length, (size_t)UINT32_MAX / 64);
    pcre2_set_match_limit(scratch->context, (uint32_t)steps);
    pcre2_set_depth_limit(scratch->context, (uint32_t)steps);
    struct split split = {pretokenizer, scratch, word, context};
    return split_piece(&split, 0, text, length, err);
}
