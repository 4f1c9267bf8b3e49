/* The store's file: opening, checking, backing up, transactions. SPDX-License-Identifier: Apache-2.0 */
#include "assistant/store.h"

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    SCHEMA_VERSION = 1,
    BACKUP_EVERY = 20, /* changes */
    WAIT_FOR_OTHERS_MS = 2000,
};

static const char schema[] =
    "CREATE TABLE timers(id INTEGER PRIMARY KEY, kind TEXT NOT NULL, name TEXT, length_ms INTEGER,"
    " due_wall INTEGER NOT NULL, due_uptime INTEGER, boot TEXT, left_ms INTEGER, state TEXT NOT NULL,"
    " repeat TEXT, created INTEGER NOT NULL);"
    "CREATE INDEX timers_state ON timers(state, due_wall);"
    "CREATE TABLE lists(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);"
    "CREATE TABLE items(id INTEGER PRIMARY KEY, list INTEGER NOT NULL REFERENCES lists(id) ON DELETE CASCADE,"
    " text TEXT NOT NULL, done INTEGER NOT NULL DEFAULT 0, created INTEGER NOT NULL);"
    "CREATE TABLE notes(id INTEGER PRIMARY KEY, text TEXT NOT NULL, created INTEGER NOT NULL);"
    "CREATE TABLE events(id INTEGER PRIMARY KEY, uid TEXT NOT NULL UNIQUE, title TEXT NOT NULL, place TEXT,"
    " starts INTEGER NOT NULL, ends INTEGER NOT NULL, whole_day INTEGER NOT NULL DEFAULT 0, rule TEXT);"
    "CREATE INDEX events_start ON events(starts);"
    "CREATE TABLE cache(key TEXT PRIMARY KEY, body TEXT NOT NULL, fetched INTEGER NOT NULL);"
    "PRAGMA user_version = 1;";

struct mlt_store {
    millet_allocator allocator;
    sqlite3 *db;
    char *path, *backup; /* NULL: in memory */
    int changes;         /* commits since the last backup */
};

static millet_status fail_sqlite(const struct mlt_store *store, int code, millet_error *err)
{
    const char *said = store->db ? sqlite3_errmsg(store->db) : sqlite3_errstr(code);
    millet_status status = code == SQLITE_NOMEM ? MILLET_NO_MEMORY : MILLET_IO;
    if ((code & 0xff) == SQLITE_CORRUPT || (code & 0xff) == SQLITE_NOTADB) status = MILLET_BAD_FORMAT;
    return mlt_fail_at(err, status, store->path ? store->path : "", NULL, MILLET_NO_OFFSET, "%s", said);
}

static int run_script(struct mlt_store *store, const char *sql)
{
    return sqlite3_exec(store->db, sql, NULL, NULL, NULL);
}

/* The first column of the first row as text equals `expected`. */
static int first_is(struct mlt_store *store, const char *sql, const char *expected, bool *is)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(store->db, sql, -1, &statement, NULL);
    *is = false;
    if (code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        const unsigned char *text = sqlite3_column_text(statement, 0);
        *is = text && strcmp((const char *)text, expected) == 0;
        code = SQLITE_OK;
    }
    sqlite3_finalize(statement);
    return code;
}

static void disconnect(struct mlt_store *store)
{
    sqlite3_close_v2(store->db);
    store->db = NULL;
}

/* Connects and looks the whole file over; a code of corruption means that it is damaged. */
static int connect_checked(struct mlt_store *store)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    int code = sqlite3_open_v2(store->path ? store->path : ":memory:", &store->db, flags, NULL);
    bool whole = false;
    if (code != SQLITE_OK) return code;
    sqlite3_busy_timeout(store->db, WAIT_FOR_OTHERS_MS);
    sqlite3_extended_result_codes(store->db, 1);
    code = run_script(store, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;"
                             "PRAGMA cache_size = -512; PRAGMA wal_autocheckpoint = 200;");
    if (code == SQLITE_OK) code = first_is(store, "PRAGMA integrity_check(1)", "ok", &whole);
    if (code == SQLITE_OK && !whole) code = SQLITE_CORRUPT;
    return code;
}

static bool is_damage(int code)
{
    return (code & 0xff) == SQLITE_CORRUPT || (code & 0xff) == SQLITE_NOTADB;
}

/* Makes the tables where there are none. */
static millet_status settle_schema(struct mlt_store *store, millet_error *err)
{
    bool empty = false, ours = false;
    char version[16];
    snprintf(version, sizeof version, "%d", SCHEMA_VERSION);
    int code = first_is(store, "PRAGMA user_version", "0", &empty);
    if (code == SQLITE_OK) code = first_is(store, "PRAGMA user_version", version, &ours);
    if (code == SQLITE_OK && empty) {
        code = run_script(store, "BEGIN IMMEDIATE");
        /* another process may have been faster */
        if (code == SQLITE_OK) code = first_is(store, "PRAGMA user_version", "0", &empty);
        if (code == SQLITE_OK && empty) code = run_script(store, schema);
        if (code == SQLITE_OK) code = run_script(store, "COMMIT");
        if (code != SQLITE_OK) {
            millet_status status = fail_sqlite(store, code, err);
            run_script(store, "ROLLBACK");
            return status;
        }
        ours = true;
    }
    if (code != SQLITE_OK) return fail_sqlite(store, code, err);
    if (!ours)
        return mlt_fail_at(err, MILLET_UNSUPPORTED, store->path ? store->path : "", NULL, MILLET_NO_OFFSET,
                           "a newer version of the assistant wrote this store");
    return MILLET_OK;
}

/* Renews the backup; a failure leaves the old one and is not the caller's concern. */
static void back_up(struct mlt_store *store)
{
    char temporary[4096];
    if (!store->path ||
        snprintf(temporary, sizeof temporary, "%s.new", store->backup) >= (int)sizeof temporary)
        return;
    unlink(temporary);
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(store->db, "VACUUM INTO ?1", -1, &statement, NULL);
    if (code == SQLITE_OK) code = sqlite3_bind_text(statement, 1, temporary, -1, SQLITE_STATIC);
    if (code == SQLITE_OK) code = sqlite3_step(statement);
    sqlite3_finalize(statement);
    int fd = code == SQLITE_DONE ? open(temporary, O_RDONLY | O_CLOEXEC) : -1;
    bool safe = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0) close(fd);
    if (safe && rename(temporary, store->backup) == 0) {
        mlt_sync_directory(store->backup);
        store->changes = 0;
    } else {
        unlink(temporary);
    }
}

static millet_status copy_file(const millet_allocator *allocator, const char *from, const char *to,
                               millet_error *err)
{
    struct mlt_file_map map;
    struct mlt_writer *writer = NULL;
    MLT_TRY(mlt_file_map_open(from, &map, err));
    millet_status status = mlt_writer_open(allocator, to, &writer, err);
    if (status == MILLET_OK) status = mlt_writer_write(writer, map.data, map.size, err);
    if (status == MILLET_OK)
        status = mlt_writer_commit(&writer, err);
    else
        mlt_writer_abort(&writer);
    mlt_file_map_close(&map);
    return status;
}

/* Puts the damaged file aside and the backup, or nothing, in its place. */
static millet_status put_aside(struct mlt_store *store, bool with_backup, struct mlt_store_state *state,
                               millet_error *err)
{
    static const char *const companions[] = {"-wal", "-shm"};
    char name[4096], damaged[4096];
    disconnect(store);
    snprintf(damaged, sizeof damaged, "%s.damaged", store->path);
    if (rename(store->path, damaged) != 0 && errno != ENOENT)
        return mlt_fail_errno(err, store->path, "cannot be put aside");
    for (size_t i = 0; i < MLT_COUNT(companions); i++) { /* they belong to the damaged file */
        snprintf(name, sizeof name, "%s%s", store->path, companions[i]);
        snprintf(damaged, sizeof damaged, "%s.damaged%s", store->path, companions[i]);
        if (rename(name, damaged) != 0) unlink(name);
    }
    mlt_sync_directory(store->path);
    struct stat info;
    if (!with_backup || stat(store->backup, &info) != 0) {
        state->health = MLT_STORE_LOST;
        return MILLET_OK;
    }
    state->health = MLT_STORE_RESTORED;
    state->backup_time = (int64_t)info.st_mtime;
    return copy_file(&store->allocator, store->backup, store->path, err);
}

/* Whether the file, or its log, was written after the backup. */
static bool backup_is_old(const struct mlt_store *store)
{
    struct stat backup, file;
    char log[4096];
    if (!store->path) return false;
    if (stat(store->backup, &backup) != 0) return true;
    snprintf(log, sizeof log, "%s-wal", store->path);
    if (stat(log, &file) == 0 && file.st_size > 0) return true; /* a process ended without closing */
    return stat(store->path, &file) == 0 && file.st_mtime > backup.st_mtime;
}

static millet_status open_file(struct mlt_store *store, struct mlt_store_state *state, millet_error *err)
{
    bool old = backup_is_old(store);
    int code = connect_checked(store);
    for (int attempt = 0; is_damage(code) && store->path && attempt < 2; attempt++) {
        MLT_TRY(put_aside(store, attempt == 0, state, err));
        code = connect_checked(store);
    }
    if (code != SQLITE_OK) return fail_sqlite(store, code, err);
    MLT_TRY(settle_schema(store, err));
    if (old) back_up(store);
    return MILLET_OK;
}

/* The folder of `path`, and those it stands in. */
static void make_folders(char *path)
{
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        mkdir(path, 0700);
        *slash = '/';
    }
}

millet_status mlt_store_open(const millet_allocator *allocator, const char *path, struct mlt_store **out,
                             struct mlt_store_state *state, millet_error *err)
{
    struct mlt_store *store = mlt_alloc_zero(allocator, 1, sizeof *store, err);
    if (!store) return MILLET_NO_MEMORY;
    store->allocator = *allocator;
    *state = (struct mlt_store_state){0};
    millet_status status = MILLET_OK;
    if (path) {
        struct mlt_text name = {.allocator = &store->allocator};
        store->path = mlt_copy_text(allocator, path, strlen(path), err);
        status = store->path ? mlt_text_printf(&name, err, "%s.backup", path) : MILLET_NO_MEMORY;
        store->backup = name.data;
        if (status == MILLET_OK && strlen(path) > 3000)
            status = mlt_fail(err, MILLET_BAD_ARGUMENT, "the store's name is too long");
        if (status == MILLET_OK) make_folders(store->path);
    }
    if (status == MILLET_OK) status = open_file(store, state, err);
    if (status != MILLET_OK) {
        store->changes = 0;
        mlt_store_close(&store);
        return status;
    }
    *out = store;
    return MILLET_OK;
}

void mlt_store_close(struct mlt_store **handle)
{
    struct mlt_store *store = *handle;
    if (!store) return;
    if (store->db && store->changes) back_up(store);
    disconnect(store);
    mlt_free(&store->allocator, store->path);
    mlt_free(&store->allocator, store->backup);
    millet_allocator allocator = store->allocator;
    mlt_free(&allocator, store);
    *handle = NULL;
}

millet_status mlt_store_begin(struct mlt_store *store, millet_error *err)
{
    int code = run_script(store, "BEGIN IMMEDIATE");
    return code == SQLITE_OK ? MILLET_OK : fail_sqlite(store, code, err);
}

millet_status mlt_store_commit(struct mlt_store *store, millet_error *err)
{
    bool changed = sqlite3_txn_state(store->db, NULL) == SQLITE_TXN_WRITE;
    int code = run_script(store, "COMMIT");
    if (code != SQLITE_OK) {
        millet_status status = fail_sqlite(store, code, err);
        mlt_store_rollback(store);
        return status;
    }
    if (changed && ++store->changes >= BACKUP_EVERY) back_up(store);
    return MILLET_OK;
}

void mlt_store_rollback(struct mlt_store *store)
{
    if (!sqlite3_get_autocommit(store->db)) run_script(store, "ROLLBACK");
}

bool mlt_store_in_transaction(const struct mlt_store *store)
{
    return !sqlite3_get_autocommit(store->db);
}

int64_t mlt_store_last_id(const struct mlt_store *store)
{
    return sqlite3_last_insert_rowid(store->db);
}

int64_t mlt_store_changes(const struct mlt_store *store)
{
    return sqlite3_changes(store->db);
}

/* ---- Statements
 * -------------------------------------------------------------------------------------------- */

static int prepare(struct mlt_store *store, sqlite3_stmt **statement, const char *sql, const char *types,
                   va_list values)
{
    int code = sqlite3_prepare_v2(store->db, sql, -1, statement, NULL);
    for (int i = 0; code == SQLITE_OK && types[i]; i++) {
        if (types[i] == 's') {
            const char *text = va_arg(values, const char *);
            code = sqlite3_bind_text(*statement, i + 1, text, -1, SQLITE_TRANSIENT);
        } else {
            code = sqlite3_bind_int64(*statement, i + 1, va_arg(values, int64_t));
        }
    }
    return code;
}

millet_status mlt_store_run(struct mlt_store *store, millet_error *err, const char *sql, const char *types,
                            ...)
{
    sqlite3_stmt *statement = NULL;
    va_list values;
    va_start(values, types);
    int code = prepare(store, &statement, sql, types, values);
    va_end(values);
    if (code == SQLITE_OK) code = sqlite3_step(statement);
    millet_status status =
        code == SQLITE_DONE || code == SQLITE_ROW ? MILLET_OK : fail_sqlite(store, code, err);
    sqlite3_finalize(statement);
    return status;
}

millet_status mlt_rows_open(struct mlt_store *store, struct mlt_rows *rows, millet_error *err,
                            const char *sql, const char *types, ...)
{
    sqlite3_stmt *statement = NULL;
    va_list values;
    va_start(values, types);
    int code = prepare(store, &statement, sql, types, values);
    va_end(values);
    if (code != SQLITE_OK) {
        millet_status status = fail_sqlite(store, code, err);
        sqlite3_finalize(statement);
        return status;
    }
    *rows = (struct mlt_rows){statement, SQLITE_ROW};
    return MILLET_OK;
}

bool mlt_rows_next(struct mlt_rows *rows)
{
    if (rows->code == SQLITE_ROW) rows->code = sqlite3_step(rows->statement);
    return rows->code == SQLITE_ROW;
}

const char *mlt_row_text(const struct mlt_rows *rows, int column)
{
    const unsigned char *text = sqlite3_column_text(rows->statement, column);
    return text ? (const char *)text : "";
}

int64_t mlt_row_int(const struct mlt_rows *rows, int column)
{
    return sqlite3_column_int64(rows->statement, column);
}

bool mlt_row_null(const struct mlt_rows *rows, int column)
{
    return sqlite3_column_type(rows->statement, column) == SQLITE_NULL;
}

millet_status mlt_rows_close(struct mlt_rows *rows, millet_error *err)
{
    millet_status status = MILLET_OK;
    if (rows->code != SQLITE_ROW && rows->code != SQLITE_DONE) {
        sqlite3 *db = sqlite3_db_handle(rows->statement);
        status = mlt_fail(err, rows->code == SQLITE_NOMEM ? MILLET_NO_MEMORY : MILLET_IO, "the store: %s",
                          sqlite3_errmsg(db));
    }
    sqlite3_finalize(rows->statement);
    rows->statement = NULL;
    return status;
}
