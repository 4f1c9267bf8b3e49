/*
 * Reading sources and counting their words, each thread in a table of its own.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "corpus/word_counts.h"

#include "corpus/record_tokens.h"

#include <stdatomic.h>
#include <string.h>

enum { BATCH_BYTES = 1 << 23, BATCH_RECORDS = 1 << 14, GROUP = 8 };

struct counter {
    struct mlt_word_counts counts;
    struct mlt_pretokenizer_scratch *scratch;
    struct mlt_text normalized;
    uint64_t n_words, n_skipped[MILLET_SKIP_REASONS];
    millet_status status;
    millet_error err;
    const struct mlt_word_rules *rules;
};

struct item {
    struct mlt_raw_record raw;
    size_t at;
};

struct counting {
    struct mlt_reading *reading;
    const struct mlt_word_rules *rules;
    struct counter *counters; /* [threads] */
    int threads;
    struct mlt_text text;
    struct item *items; /* [BATCH_RECORDS] */
    size_t n_items;
    atomic_size_t next;
};

static millet_status count_word(void *context, const char *word, size_t length, millet_error *err)
{
    struct counter *counter = context;
    counter->n_words++;
    return mlt_word_counts_add(&counter->counts, word, length, 1, err);
}

/* A text without special tokens. */
static millet_status count_plain(struct counter *counter, const char *text, size_t length, millet_error *err)
{
    if (length == 0) return MILLET_OK;
    if (counter->rules->normalizer) {
        counter->normalized.length = 0;
        MLT_TRY(mlt_tokenizer_normalize(counter->rules->normalizer, counter->counts.allocator, text, length,
                                        &counter->normalized, err));
        text = counter->normalized.data;
        length = counter->normalized.length;
        if (length == 0) return MILLET_OK;
    }
    return mlt_pretokenizer_split(counter->rules->pretokenizer, counter->scratch, text, length, count_word,
                                  counter, err);
}

static millet_status count_text(void *context, const char *text, size_t length, millet_error *err)
{
    struct counter *counter = context;
    const struct mlt_trie *special = counter->rules->special;
    size_t done = 0;
    for (size_t i = 0; i < length;) {
        int32_t value;
        size_t size = special->n_nodes && special->root_children[(uint8_t)text[i]]
                          ? mlt_trie_longest(special, text + i, length - i, &value)
                          : 0;
        if (!size) {
            i++;
            continue;
        }
        MLT_TRY(count_plain(counter, text + done, i - done, err));
        i += size;
        done = i;
    }
    return count_plain(counter, text + done, length - done, err);
}

static void count_share(void *argument, int share, int threads)
{
    struct counting *counting = argument;
    struct counter *counter = &counting->counters[share];
    (void)threads;
    while (counter->status == MILLET_OK) {
        size_t begin = atomic_fetch_add(&counting->next, GROUP);
        if (begin >= counting->n_items) return;
        for (size_t i = begin; i < MLT_MIN(begin + GROUP, counting->n_items) && counter->status == MILLET_OK;
             i++) {
            millet_skip skip;
            counter->status =
                mlt_record_texts(&counting->items[i].raw, count_text, counter, &skip, &counter->err);
            if (counter->status == MILLET_OK && skip != MILLET_SKIP_REASONS) counter->n_skipped[skip]++;
        }
    }
}

static millet_status count_batch(struct counting *counting, millet_error *err)
{
    for (size_t i = 0; i < counting->n_items; i++)
        counting->items[i].raw.text = counting->text.data + counting->items[i].at;
    atomic_store(&counting->next, 0);
    mlt_thread_pool_run(counting->reading->pool, count_share, counting);
    counting->n_items = counting->text.length = 0;
    for (int i = 0; i < counting->threads; i++) {
        if (counting->counters[i].status == MILLET_OK) continue;
        if (err) *err = counting->counters[i].err;
        return counting->counters[i].status;
    }
    return MILLET_OK;
}

static millet_status count_source(struct counting *counting, const char *path, double done, double part,
                                  millet_error *err)
{
    struct mlt_reading *reading = counting->reading;
    struct mlt_record_reader *reader;
    bool found = true;
    MLT_TRY(mlt_record_reader_open(reading->allocator, path, reading->options, &reader, err));
    millet_status status = MILLET_OK;
    while (found && status == MILLET_OK) {
        struct item *item = &counting->items[counting->n_items];
        status = mlt_record_reader_next(reader, &item->raw, &found, err);
        if (found && reading->max_bytes && reading->text_bytes >= reading->max_bytes) found = false;
        if (status == MILLET_OK && found) {
            item->at = counting->text.length;
            if (reading->max_bytes &&
                !item->raw.json) { /* the last text is cut, where its characters allow it */
                size_t left =
                    (size_t)MLT_MIN(reading->max_bytes - reading->text_bytes, (uint64_t)item->raw.length);
                while (left < item->raw.length && left && ((uint8_t)item->raw.text[left] & 0xC0) == 0x80)
                    left--;
                item->raw.length = left;
            }
            reading->text_bytes += item->raw.length;
            status = mlt_text_append(&counting->text, item->raw.text, item->raw.length, err);
            counting->n_items++;
        }
        if (status == MILLET_OK &&
            (!found || counting->text.length >= BATCH_BYTES || counting->n_items == BATCH_RECORDS)) {
            status = count_batch(counting, err);
            double fraction = done + part * mlt_record_reader_fraction(reader);
            if (status == MILLET_OK && reading->progress &&
                !reading->progress(reading->context, reading->progress_share * fraction))
                status = mlt_fail(err, MILLET_CANCELLED, "stopped");
        }
    }
    reading->n_skipped[MILLET_SKIP_LONG] += mlt_record_reader_skipped(reader);
    mlt_record_reader_close(&reader);
    if (status) mlt_error_in_file(err, path);
    return status;
}

/* All tables in the first. */
static millet_status merge(struct counting *counting, struct mlt_word_counts *out, millet_error *err)
{
    for (int i = 0; i < counting->threads; i++) {
        struct counter *counter = &counting->counters[i];
        counting->reading->n_words += counter->n_words;
        for (int k = 0; k < MILLET_SKIP_REASONS; k++)
            counting->reading->n_skipped[k] += counter->n_skipped[k];
        for (size_t k = 0; k < counter->counts.n_words; k++) {
            const struct mlt_word *word = &counter->counts.words[k];
            MLT_TRY(mlt_word_counts_add(out, mlt_word_text(&counter->counts, word), word->length, word->count,
                                        err));
        }
        mlt_word_counts_release(&counter->counts);
    }
    mlt_word_counts_sort(out);
    return MILLET_OK;
}

static millet_status count_all(struct counting *counting, const char *const *sources, size_t n_sources,
                               struct mlt_word_counts *out, millet_error *err)
{
    const millet_allocator *allocator = counting->reading->allocator;
    counting->items = mlt_alloc(allocator, BATCH_RECORDS, sizeof *counting->items, err);
    counting->counters =
        mlt_alloc_zero(allocator, (size_t)counting->threads, sizeof *counting->counters, err);
    if (!counting->items || !counting->counters) return MILLET_NO_MEMORY;
    for (int i = 0; i < counting->threads; i++) {
        struct counter *counter = &counting->counters[i];
        counter->counts.allocator = counter->normalized.allocator = allocator;
        counter->rules = counting->rules;
    }
    for (int i = 0; i < counting->threads; i++)
        MLT_TRY(mlt_pretokenizer_scratch_open(counting->rules->pretokenizer, allocator,
                                              &counting->counters[i].scratch, err));
    for (size_t i = 0; i < n_sources; i++)
        MLT_TRY(
            count_source(counting, sources[i], (double)i / (double)n_sources, 1 / (double)n_sources, err));
    return merge(counting, out, err);
}

millet_status mlt_count_words(struct mlt_reading *reading, const char *const *sources, size_t n_sources,
                              const struct mlt_word_rules *rules, struct mlt_word_counts *out,
                              millet_error *err)
{
    const millet_allocator *allocator = reading->allocator;
    struct counting counting = {.reading = reading,
                                .rules = rules,
                                .threads = reading->pool ? mlt_thread_pool_size(reading->pool) : 1,
                                .text.allocator = allocator};
    *out = (struct mlt_word_counts){.allocator = allocator};
    millet_status status = count_all(&counting, sources, n_sources, out, err);
    for (int i = 0; counting.counters && i < counting.threads; i++) {
        mlt_pretokenizer_scratch_close(&counting.counters[i].scratch);
        mlt_text_release(&counting.counters[i].normalized);
        if (counting.counters[i].counts.allocator) mlt_word_counts_release(&counting.counters[i].counts);
    }
    mlt_free(allocator, counting.counters);
    mlt_free(allocator, counting.items);
    mlt_text_release(&counting.text);
    if (status) mlt_word_counts_release(out);
    return status;
}
