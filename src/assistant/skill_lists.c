/* Skills of lists and notes. SPDX-License-Identifier: Apache-2.0 */
#include "assistant/skills.h"
#include "assistant/spoken.h"

#include <string.h>
#include <strings.h>

enum { MAX_SHOWN = 100, MAX_ITEM = 500 };

/* One list under its names in both languages; another name is a list of its own. */
static const struct {
    const char *name, *english, *chinese;
} known[] = {
    {"shopping", "shopping", "购物"}, {"shopping", "grocery", "采购"}, {"shopping", "groceries", "买菜"},
    {"to-do", "to-do", "待办"},       {"to-do", "to do", "待办事项"},  {"to-do", "todo", "任务"},
    {"to-do", "task", "代办"},        {"to-do", "tasks", "事项"},
};

static const char *list_name(const millet_call *call)
{
    const char *told = millet_call_text(call, "list");
    if (!told) return known[0].name;
    for (size_t i = 0; i < MLT_COUNT(known); i++)
        if (strcasecmp(told, known[i].english) == 0 || strcmp(told, known[i].chinese) == 0)
            return known[i].name;
    return told;
}

static const char *spoken_name(const millet_call *call, const char *name)
{
    for (size_t i = 0; i < MLT_COUNT(known); i++)
        if (strcmp(name, known[i].name) == 0) return mlt_call_word(call, known[i].english, known[i].chinese);
    return name;
}

/* The list's id; 0: there is none. */
static millet_status find_list(millet_call *call, const char *name, int64_t *id, millet_error *err)
{
    struct mlt_rows rows;
    *id = 0;
    MLT_TRY(mlt_rows_open(mlt_call_store(call), &rows, err,
                          "SELECT id FROM lists WHERE name = ?1 COLLATE NOCASE", "s", name));
    if (mlt_rows_next(&rows)) *id = mlt_row_int(&rows, 0);
    return mlt_rows_close(&rows, err);
}

static millet_status make_list(millet_call *call, const char *name, int64_t *id, millet_error *err)
{
    MLT_TRY(find_list(call, name, id, err));
    if (*id) return MILLET_OK;
    MLT_TRY(mlt_store_run(mlt_call_store(call), err, "INSERT INTO lists(name) VALUES (?1)", "s", name));
    *id = mlt_store_last_id(mlt_call_store(call));
    return MILLET_OK;
}

/* "milk and eggs" of an argument; released with mlt_text_release. */
static millet_status spoken_items(const millet_call *call, const json_t *items, struct mlt_text *text,
                                  millet_error *err)
{
    *text = (struct mlt_text){.allocator = &call->assistant->allocator};
    return mlt_spoken_list(text, items, call->language, err);
}

static json_t *items_and_list(const json_t *items, const char *list)
{
    return json_pack("{s:O,s:s}", "items", items, "list", list);
}

millet_status mlt_skill_add_to_list(millet_call *call, void *context, millet_error *err)
{
    (void)context;
    const char *name = list_name(call);
    json_t *items = mlt_call_argument(call, "items"), *item;
    size_t i;
    int64_t list;
    MLT_TRY(make_list(call, name, &list, err));
    json_array_foreach (items, i, item) {
        MLT_TRY(mlt_store_run(mlt_call_store(call), err,
                              "INSERT INTO items(list, text, created) VALUES (?1, ?2, ?3)", "isi", list,
                              json_string_value(item), mlt_call_now(call)));
    }
    struct mlt_text text;
    millet_status status = spoken_items(call, items, &text, err);
    if (status == MILLET_OK)
        mlt_call_say(call, "I added %s to your %s list.", "已把%s加到%s清单。", text.data,
                     spoken_name(call, name));
    mlt_text_release(&text);
    mlt_call_undo(call, "remove_from_list", items_and_list(items, name));
    return status;
}

/* Does `sql` (?1 list, ?2 text) to each item; those that are there go to `done`, the others to `missing`. */
static millet_status each_item(millet_call *call, const char *sql, json_t *done, json_t *missing,
                               millet_error *err)
{
    size_t i;
    json_t *item;
    int64_t list;
    MLT_TRY(find_list(call, list_name(call), &list, err));
    json_array_foreach (mlt_call_argument(call, "items"), i, item) {
        MLT_TRY(mlt_store_run(mlt_call_store(call), err, sql, "is", list, json_string_value(item)));
        json_array_append(mlt_store_changes(mlt_call_store(call)) ? done : missing, item);
    }
    return MILLET_OK;
}

static millet_status say_items(millet_call *call, const json_t *items, const char *english,
                               const char *chinese, bool refuse, millet_error *err)
{
    struct mlt_text text;
    if (json_array_size(items) == 0) return MILLET_OK;
    MLT_TRY(spoken_items(call, items, &text, err));
    char line[1024];
    const char *name = spoken_name(call, list_name(call));
    bool zh = call->language == MLT_CHINESE;
    /* the texts are ours: two %s each, the items and the list */
    snprintf(line, sizeof line, "%s%s%s%s%s", zh ? name : "", zh ? chinese : english, text.data,
             zh       ? "。"
             : refuse ? " on your "
                      : " from your ",
             zh ? "" : name);
    if (!zh) snprintf(line + strlen(line), sizeof line - strlen(line), " list.");
    if (refuse)
        millet_call_refuse(call, line);
    else
        millet_call_say(call, line);
    mlt_text_release(&text);
    return MILLET_OK;
}

static millet_status take_off(millet_call *call, const char *sql, const char *english, const char *chinese,
                              bool undo, millet_error *err)
{
    json_t *done = json_array(), *missing = json_array();
    millet_status status = done && missing ? each_item(call, sql, done, missing, err)
                                           : mlt_fail(err, MILLET_NO_MEMORY, "out of memory");
    if (status == MILLET_OK) status = say_items(call, done, english, chinese, false, err);
    if (status == MILLET_OK) status = say_items(call, missing, "I can't find ", "清单里没有", true, err);
    if (json_array_size(done)) call->refused = false;
    if (undo && json_array_size(done))
        mlt_call_undo(call, "add_to_list", items_and_list(done, list_name(call)));
    json_decref(done);
    json_decref(missing);
    return status;
}

#define ONE_ITEM                                                                                             \
    "(SELECT id FROM items WHERE list = ?1 AND done = 0 AND text = ?2 COLLATE NOCASE ORDER BY id DESC "      \
    "LIMIT 1)"

millet_status mlt_skill_remove_from_list(millet_call *call, void *context, millet_error *err)
{
    (void)context;
    return take_off(call, "DELETE FROM items WHERE id = " ONE_ITEM, "I removed ", "清单已删除", true, err);
}

millet_status mlt_skill_check_off_list(millet_call *call, void *context, millet_error *err)
{
    (void)context;
    return take_off(call, "UPDATE items SET done = 1 WHERE id = " ONE_ITEM, "I checked off ", "清单已完成",
                    true, err);
}

/* The open items of a list. */
static millet_status open_items(millet_call *call, int64_t list, json_t *items, millet_error *err)
{
    struct mlt_rows rows;
    MLT_TRY(mlt_rows_open(mlt_call_store(call), &rows, err,
                          "SELECT text FROM items WHERE list = ?1 AND done = 0 ORDER BY id LIMIT ?2", "ii",
                          list, (int64_t)MAX_SHOWN));
    while (mlt_rows_next(&rows))
        json_array_append_new(items, json_string(mlt_row_text(&rows, 0)));
    return mlt_rows_close(&rows, err);
}

millet_status mlt_skill_show_list(millet_call *call, void *context, millet_error *err)
{
    (void)context;
    const char *name = list_name(call), *spoken = spoken_name(call, name);
    int64_t list;
    json_t *items = json_array();
    struct mlt_text text = {0};
    if (!items) return mlt_fail(err, MILLET_NO_MEMORY, "out of memory");
    millet_status status = find_list(call, name, &list, err);
    if (status == MILLET_OK) status = open_items(call, list, items, err);
    if (status == MILLET_OK) status = spoken_items(call, items, &text, err);
    if (status == MILLET_OK && json_array_size(items) == 0)
        mlt_call_say(call, "Your %s list is empty.", "%s清单是空的。", spoken);
    else if (status == MILLET_OK)
        mlt_call_say(call, "On your %s list: %s.", "%s清单上有：%s。", spoken, text.data);
    if (text.allocator) mlt_text_release(&text);
    json_decref(items);
    return status;
}

millet_status mlt_skill_clear_list(millet_call *call, void *context, millet_error *err)
{
    (void)context;
    const char *name = list_name(call), *spoken = spoken_name(call, name);
    int64_t list;
    MLT_TRY(find_list(call, name, &list, err));
    if (!list) {
        mlt_call_refuse(call, "There is no %s list.", "没有%s清单。", spoken);
        return MILLET_OK;
    }
    MLT_TRY(mlt_store_run(mlt_call_store(call), err, "DELETE FROM lists WHERE id = ?1", "i", list));
    mlt_call_say(call, "Your %s list is deleted.", "%s清单已删除。", spoken);
    return MILLET_OK;
}

millet_status mlt_skill_show_lists(millet_call *call, void *context, millet_error *err)
{
    (void)context;
    struct mlt_rows rows;
    struct mlt_text text;
    json_t *names = json_array();
    millet_status status =
        mlt_rows_open(mlt_call_store(call), &rows, err, "SELECT name FROM lists ORDER BY id", "");
    if (status == MILLET_OK) {
        while (mlt_rows_next(&rows))
            json_array_append_new(names, json_string(spoken_name(call, mlt_row_text(&rows, 0))));
        status = mlt_rows_close(&rows, err);
    }
    if (status == MILLET_OK) status = spoken_items(call, names, &text, err);
    if (status == MILLET_OK) {
        if (json_array_size(names))
            mlt_call_say(call, "Your lists: %s.", "您的清单：%s。", text.data);
        else
            mlt_call_say(call, "You have no lists yet.", "还没有清单。");
        mlt_text_release(&text);
    }
    json_decref(names);
    return status;
}

/* ---- Notes
 * --------------------------------------------------------------------------------------------------- */

millet_status mlt_skill_take_note(millet_call *call, void *context, millet_error *err)
{
    (void)context;
    MLT_TRY(mlt_store_run(mlt_call_store(call), err, "INSERT INTO notes(text, created) VALUES (?1, ?2)", "si",
                          millet_call_text(call, "text"), mlt_call_now(call)));
    double id = (double)mlt_store_last_id(mlt_call_store(call));
    mlt_call_say(call, "Noted.", "记下了。");
    mlt_call_undo(call, "delete_note", json_pack("{s:f}", "id", id));
    return MILLET_OK;
}

millet_status mlt_skill_read_notes(millet_call *call, void *context, millet_error *err)
{
    (void)context;
    struct mlt_rows rows;
    const char *about = millet_call_text(call, "about");
    static const char *const articles[] = {"the ", "my ", "a "};
    int n = 0;
    for (size_t i = 0; about && i < MLT_COUNT(articles); i++)
        if (strncasecmp(about, articles[i], strlen(articles[i])) == 0) about += strlen(articles[i]);
    MLT_TRY(
        mlt_rows_open(mlt_call_store(call), &rows, err,
                      "SELECT text, created FROM notes WHERE ?1 IS NULL OR instr(lower(text), lower(?1)) > 0"
                      " ORDER BY id DESC LIMIT 10",
                      "s", about));
    for (; mlt_rows_next(&rows); n++) {
        char day[96];
        mlt_spoken_day(call->assistant, day, sizeof day, mlt_row_int(&rows, 1));
        mlt_call_say(call, "From %2$s: %1$s.", "%2$s：%1$s。", mlt_row_text(&rows, 0), day);
    }
    if (n == 0 && about)
        mlt_call_refuse(call, "I have no note about %s.", "没有关于%s的笔记。", about);
    else if (n == 0)
        mlt_call_refuse(call, "There are no notes.", "没有笔记。");
    return mlt_rows_close(&rows, err);
}

millet_status mlt_skill_delete_note(millet_call *call, void *context, millet_error *err)
{
    (void)context;
    double id = mlt_call_number_or(call, "id", 0);
    if (id > 0)
        MLT_TRY(
            mlt_store_run(mlt_call_store(call), err, "DELETE FROM notes WHERE id = ?1", "i", (int64_t)id));
    else
        MLT_TRY(mlt_store_run(mlt_call_store(call), err,
                              "DELETE FROM notes WHERE id = (SELECT max(id) FROM notes)", ""));
    if (mlt_store_changes(mlt_call_store(call)) == 0)
        mlt_call_refuse(call, "There is no note to delete.", "没有可删除的笔记。");
    else
        mlt_call_say(call, "The note is deleted.", "笔记已删除。");
    return MILLET_OK;
}

millet_status mlt_skill_delete_notes(millet_call *call, void *context, millet_error *err)
{
    (void)context;
    MLT_TRY(mlt_store_run(mlt_call_store(call), err, "DELETE FROM notes", ""));
    mlt_call_say(call, "I deleted your notes, %lld in all.", "已删除%lld条笔记。",
                 (long long)mlt_store_changes(mlt_call_store(call)));
    return MILLET_OK;
}
