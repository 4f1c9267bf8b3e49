/*
 * A source tokenised into a cache.
 *
 * One thread reads records, all tokenise those of a batch, one writes them in their order: the cache is the
 * same for every number of threads, and memory is that of a batch.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "base/thread_pool.h"
#include "corpus/checksum.h"
#include "corpus/record_tokens.h"
#include "corpus/token_cache.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { BATCH_RECORDS = 1024, BATCH_BYTES = 1 << 23, GROUP_RECORDS = 16, GROUP_BYTES = 1 << 16 };

/* A record of a batch: its text as a place in the batch's bytes, and the tokens as a place in those of the
 * group that it belongs to. */
struct item {
    struct mlt_raw_record raw;
    size_t at; /* of the text */
    bool first, last;
    size_t group;
    size_t tokens_at;
    struct mlt_encoded_record result;
};

/* Records that one thread takes together: [begin, end). */
struct group {
    size_t begin, end;
    struct mlt_encoded encoded;
    millet_status status;
    millet_error err;
    size_t failed; /* the record that failed */
};

struct build {
    const millet_allocator *allocator;
    const millet_cache_options *options;
    struct mlt_encoder encoder;
    struct mlt_record_reader *reader;
    struct mlt_cache_writer *writer;
    struct mlt_thread_pool *pool;
    struct mlt_text text; /* of the batch */
    struct item *items;   /* [BATCH_RECORDS + 1]: one more to look ahead */
    size_t n_items;
    struct group *groups; /* [BATCH_RECORDS] */
    size_t n_groups;
    atomic_size_t next_group;
    bool open;       /* a document has begun and not ended */
    uint32_t prefix; /* of it */
    bool held;       /* items[n_items] has been read already, for the next batch */
    uint64_t skipped[MILLET_SKIP_REASONS], text_bytes;
    millet_cache_info *info;
};

const char *millet_skip_text(millet_skip reason)
{
    static const char *const texts[MILLET_SKIP_REASONS] = {
        [MILLET_SKIP_EMPTY] = "empty",
        [MILLET_SKIP_UTF8] = "not UTF-8",
        [MILLET_SKIP_LONG] = "too long",
        [MILLET_SKIP_JSON] = "no JSON object",
        [MILLET_SKIP_FIELDS] = "members missing or of the wrong type",
        [MILLET_SKIP_DIALOGUE] = "dialogue without a reply to train on, or with an unknown role",
        [MILLET_SKIP_SPECIAL] = "control token in a message",
        [MILLET_SKIP_TAGS] = "tags without a prefix, overlapping, outside the prompt or on no token",
        [MILLET_SKIP_TAG_TOKENS] = "tags that the vocabulary has no control tokens for",
        [MILLET_SKIP_TAG_PROMPT] = "tags in a prompt that does not end with a control token",
    };
    return (unsigned)reason < MILLET_SKIP_REASONS ? texts[reason] : "";
}

millet_cache_options millet_cache_options_default(void)
{
    return (millet_cache_options){0};
}

/* Counts changes of what the same source becomes: a training goes on only where it has not changed. */
enum { RECORD_RULES = 1 };

/* Everything but the source and the tokenizer that decides what a cache holds. */
static uint64_t sum_options(const millet_source_options *options, const char *chat_template)
{
    const char *separator = options->separator ? options->separator : "<|endoftext|>";
    uint64_t numbers[] = {RECORD_RULES, options->max_line_bytes, options->special, MLT_RECORD_PART};
    uint64_t sum = mlt_checksum(MLT_CHECKSUM_START, numbers, sizeof numbers);
    sum = mlt_checksum_text(sum, separator, strlen(separator));
    return chat_template ? mlt_checksum_text(sum, chat_template, strlen(chat_template)) : sum;
}

/* ---- Reading a batch ---- */

static millet_status read_item(struct build *build, bool *found, millet_error *err)
{
    struct item *item = &build->items[build->n_items];
    *found = true;
    if (build->held) {
        build->held = false;
        return MILLET_OK;
    }
    MLT_TRY(mlt_record_reader_next(build->reader, &item->raw, found, err));
    if (!*found) return MILLET_OK;
    item->at = build->text.length;
    return mlt_text_append(&build->text, item->raw.text, item->raw.length, err);
}

/* Moves the record that was read ahead to the front. */
static void begin_batch(struct build *build)
{
    if (build->held) {
        struct item item = build->items[build->n_items];
        memmove(build->text.data, build->text.data + item.at, item.raw.length);
        item.at = 0;
        build->text.length = item.raw.length;
        build->items[0] = item;
    } else {
        build->text.length = 0;
    }
    build->n_items = 0;
}

static void group_items(struct build *build)
{
    size_t bytes = 0;
    build->n_groups = 0;
    for (size_t i = 0; i < build->n_items; i++) {
        struct group *group = build->n_groups ? &build->groups[build->n_groups - 1] : NULL;
        if (!group || group->end - group->begin == GROUP_RECORDS || bytes >= GROUP_BYTES) {
            group = &build->groups[build->n_groups++];
            group->begin = i;
            bytes = 0;
        }
        bytes += build->items[i].raw.length;
        group->end = i + 1;
        build->items[i].group = build->n_groups - 1;
    }
}

static millet_status read_batch(struct build *build, bool *more, millet_error *err)
{
    begin_batch(build);
    for (;;) {
        bool found;
        MLT_TRY(read_item(build, &found, err));
        if (!found) {
            *more = false;
            break;
        }
        if (build->n_items == BATCH_RECORDS || (build->n_items && build->text.length > BATCH_BYTES)) {
            build->held = true; /* this one tells whether the one before is the last of its document */
            *more = true;
            break;
        }
        build->n_items++;
    }
    for (size_t i = 0; i < build->n_items; i++) {
        struct item *item = &build->items[i];
        item->raw.text = build->text.data + item->at;
        item->first = !item->raw.continues;
        item->last =
            i + 1 == build->n_items ? !build->held || !item[1].raw.continues : !item[1].raw.continues;
    }
    group_items(build);
    return MILLET_OK;
}

/* ---- Tokenising it ---- */

static void encode_group(struct build *build, size_t index)
{
    struct group *group = &build->groups[index];
    group->encoded.count = 0;
    group->status = MILLET_OK;
    for (size_t i = group->begin; i < group->end && group->status == MILLET_OK; i++) {
        struct item *item = &build->items[i];
        item->tokens_at = group->encoded.count;
        group->failed = i;
        group->status = mlt_encode_record(&build->encoder, &item->raw, item->first, item->last,
                                          &group->encoded, &item->result, &group->err);
    }
}

static void encode_share(void *argument, int share, int threads)
{
    struct build *build = argument;
    (void)share;
    (void)threads;
    for (;;) {
        size_t index = atomic_fetch_add(&build->next_group, 1);
        if (index >= build->n_groups) return;
        encode_group(build, index);
    }
}

/* ---- Writing it ---- */

static millet_status end_document(struct build *build, millet_error *err)
{
    if (!build->open) return MILLET_OK;
    build->open = false;
    return mlt_cache_writer_end_document(build->writer, build->prefix, err);
}

static millet_status write_item(struct build *build, const struct item *item,
                                const struct mlt_encoded *encoded, millet_error *err)
{
    if (item->result.skip != MILLET_SKIP_REASONS) {
        /* What was left out of a document parts it. */
        build->skipped[item->result.skip]++;
        return end_document(build, err);
    }
    if (!build->open || item->first) {
        MLT_TRY(end_document(build, err));
        build->prefix = item->result.prefix;
    }
    MLT_TRY(mlt_cache_writer_put(
        build->writer, encoded->tokens + item->tokens_at, encoded->trained + item->tokens_at,
        item->result.n_labels ? encoded->labels + item->tokens_at : NULL, item->result.count, err));
    build->text_bytes += item->result.bytes;
    build->open = true;
    return item->last ? end_document(build, err) : MILLET_OK;
}

static millet_status write_batch(struct build *build, millet_error *err)
{
    for (size_t i = 0; i < build->n_items; i++) {
        const struct group *group = &build->groups[build->items[i].group];
        if (group->status != MILLET_OK && group->failed == i) {
            if (err) *err = group->err;
            return group->status;
        }
        MLT_TRY(write_item(build, &build->items[i], &group->encoded, err));
    }
    return MILLET_OK;
}

static millet_status nothing_usable(const struct build *build, const char *source, millet_error *err)
{
    char counts[256] = "";
    size_t length = 0;
    for (int i = 0; i < MILLET_SKIP_REASONS; i++)
        if (build->skipped[i] && length < sizeof counts)
            length +=
                (size_t)snprintf(counts + length, sizeof counts - length, "%s%llu %s", length ? ", " : "",
                                 (unsigned long long)build->skipped[i], millet_skip_text((millet_skip)i));
    return mlt_fail_at(err, MILLET_BAD_FORMAT, source, NULL, MILLET_NO_OFFSET,
                       "nothing in it can be used (%s)", length ? counts : "no records");
}

static millet_status run(struct build *build, const char *source, millet_error *err)
{
    const millet_cache_options *options = build->options;
    for (bool more = true; more;) {
        MLT_TRY(read_batch(build, &more, err));
        atomic_store(&build->next_group, 0);
        mlt_thread_pool_run(build->pool, encode_share, build);
        MLT_TRY(write_batch(build, err));
        if (options->progress &&
            !options->progress(options->context, mlt_record_reader_fraction(build->reader)))
            return mlt_fail(err, MILLET_CANCELLED, "stopped");
    }
    MLT_TRY(end_document(build, err));
    build->skipped[MILLET_SKIP_LONG] += mlt_record_reader_skipped(build->reader);
    if (mlt_cache_writer_documents(build->writer) == 0) return nothing_usable(build, source, err);
    struct mlt_source_identity identity = mlt_record_reader_identity(build->reader);
    return mlt_cache_writer_commit(&build->writer, &identity, build->skipped, build->text_bytes, build->info,
                                   err);
}

static millet_status build_all(struct build *build, const char *source, const char *cache,
                               const struct mlt_cache_origin *origin, millet_error *err)
{
    const millet_allocator *allocator = build->allocator;
    build->items = mlt_alloc(allocator, BATCH_RECORDS + 1, sizeof *build->items, err);
    build->groups = mlt_alloc_zero(allocator, BATCH_RECORDS, sizeof *build->groups, err);
    if (!build->items || !build->groups) return MILLET_NO_MEMORY;
    for (size_t i = 0; i < BATCH_RECORDS; i++)
        build->groups[i].encoded.allocator = allocator;
    MLT_TRY(mlt_record_reader_open(allocator, source, &build->options->source, &build->reader, err));
    MLT_TRY(mlt_thread_pool_open(allocator, build->options->n_threads, &build->pool, err));
    MLT_TRY(mlt_cache_writer_open(allocator, cache, origin, &build->writer, err));
    return run(build, source, err);
}

/* ---- Whether an old cache will do ---- */

/*
 * A source whose size and time are those recorded is taken for unchanged. One that has another time and the
 * same size (it was copied, or touched) is read: its checksum tells.
 */
static bool source_is(const millet_allocator *allocator, const char *source,
                      const struct mlt_cache_trailer *t)
{
    struct mlt_source_identity now;
    if (mlt_source_identify(source, &now, NULL) != MILLET_OK || now.size != t->source_size) return false;
    if ((uint64_t)now.mtime == t->source_mtime) return true;
    return mlt_source_checksum(allocator, source, &now, NULL) == MILLET_OK && now.size == t->source_size &&
           now.checksum == t->source_checksum;
}

static bool is_current(const millet_allocator *allocator, const char *source, const char *path,
                       const struct mlt_cache_origin *origin, millet_cache_info *info)
{
    millet_cache *cache;
    if (millet_cache_open(path, allocator, false, &cache, NULL) != MILLET_OK) return false;
    const struct mlt_cache_trailer *t = &cache->trailer;
    bool current = t->tokenizer_checksum == origin->tokenizer_checksum &&
                   t->options_checksum == origin->options_checksum && source_is(allocator, source, t) &&
                   mlt_cache_verify(cache, NULL) == MILLET_OK;
    if (current) {
        millet_cache_get_info(cache, info);
        info->reused = true;
    }
    millet_cache_close(&cache);
    return current;
}

millet_status millet_cache_build(const char *source, const char *cache, const millet_tokenizer *tokenizer,
                                 const millet_cache_options *options, millet_cache_info *info,
                                 millet_error *err)
{
    millet_cache_options defaults = millet_cache_options_default();
    millet_cache_info unused;
    if (!options) options = &defaults;
    if (!info) info = &unused;
    *info = (millet_cache_info){0};
    const millet_allocator *allocator = options->allocator ? options->allocator : mlt_default_allocator();
    const char *template =
        options->source.chat_template ? options->source.chat_template : tokenizer->chat_template;
    const struct mlt_cache_origin origin = {
        .source = source,
        .tokenizer_checksum = tokenizer->checksum,
        .options_checksum = sum_options(&options->source, template),
        .n_vocab = mlt_tokenizer_size(tokenizer->tokenizer),
    };
    struct mlt_source_identity there;
    MLT_TRY(mlt_source_identify(source, &there, err));
    if (!options->rebuild && is_current(allocator, source, cache, &origin, info)) return MILLET_OK;
    struct build build = {.allocator = allocator,
                          .info = info,
                          .options = options,
                          .encoder = {tokenizer, template, options->source.special},
                          .text.allocator = allocator};
    millet_status status = build_all(&build, source, cache, &origin, err);
    if (status) mlt_error_in_file(err, source);
    mlt_cache_writer_abort(&build.writer);
    mlt_thread_pool_close(&build.pool);
    mlt_record_reader_close(&build.reader);
    for (size_t i = 0; build.groups && i < BATCH_RECORDS; i++)
        mlt_encoded_release(&build.groups[i].encoded);
    mlt_free(allocator, build.groups);
    mlt_free(allocator, build.items);
    mlt_text_release(&build.text);
    return status;
}
