/*
 * What the assistant must not forget, in one SQLite file: timers, lists, notes, events.
 *
 * A change is one transaction, and it is on disk before the reply says so (WAL with synchronous=FULL): a
 * process that is killed leaves the change whole or not at all. Every opening checks the file; a damaged one
 * is put aside as PATH.damaged and the last copy, PATH.backup, takes its place. The copy is renewed when the
 * store is opened, after some changes, and when it is closed.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_ASSISTANT_STORE_H
#define MLT_ASSISTANT_STORE_H

#include "base/memory.h"

struct mlt_store;

enum mlt_store_health {
    MLT_STORE_WHOLE,
    MLT_STORE_RESTORED, /* damaged; the backup took its place */
    MLT_STORE_LOST,     /* damaged, and no backup was whole: begun anew */
};

struct mlt_store_state {
    enum mlt_store_health health;
    int64_t backup_time; /* of a restored one: seconds since 1970 */
};

/* `path` NULL: in memory. The folder is made where it is missing. Errors: IO, NO_MEMORY, UNSUPPORTED (a
 * newer version wrote it). */
millet_status mlt_store_open(const millet_allocator *allocator, const char *path, struct mlt_store **store,
                             struct mlt_store_state *state, millet_error *err);
void mlt_store_close(struct mlt_store **store);

millet_status mlt_store_begin(struct mlt_store *store, millet_error *err);
millet_status mlt_store_commit(struct mlt_store *store, millet_error *err);
void mlt_store_rollback(struct mlt_store *store);
bool mlt_store_in_transaction(const struct mlt_store *store);

/*
 * Runs one statement. `types` has a letter for each parameter: 's' const char * (NULL allowed), 'i' int64_t.
 */
millet_status mlt_store_run(struct mlt_store *store, millet_error *err, const char *sql, const char *types,
                            ...);
/* The id of the last row inserted; how many rows the last statement changed. */
int64_t mlt_store_last_id(const struct mlt_store *store);
int64_t mlt_store_changes(const struct mlt_store *store);

/*
 * Reads rows:
 *     struct mlt_rows rows;
 *     MLT_TRY(mlt_rows_open(store, &rows, err, "SELECT name FROM lists WHERE id = ?", "i", id));
 *     while (mlt_rows_next(&rows)) ... mlt_row_text(&rows, 0) ...
 *     MLT_TRY(mlt_rows_close(&rows, err));
 * Texts are valid until the next row. Closing tells whether reading failed.
 */
struct mlt_rows {
    void *statement;
    int code;
};
millet_status mlt_rows_open(struct mlt_store *store, struct mlt_rows *rows, millet_error *err,
                            const char *sql, const char *types, ...);
bool mlt_rows_next(struct mlt_rows *rows);
const char *mlt_row_text(const struct mlt_rows *rows, int column); /* "" for NULL */
int64_t mlt_row_int(const struct mlt_rows *rows, int column);
bool mlt_row_null(const struct mlt_rows *rows, int column);
millet_status mlt_rows_close(struct mlt_rows *rows, millet_error *err);

#endif
