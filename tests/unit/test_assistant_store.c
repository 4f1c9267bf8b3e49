/*
 * The store: what is on disk when a reply is given, damage and backup, a full disk, timers over restarts and
 * changes of the clock.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "millet/assistant.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[256], store[300];
static int64_t now_ms, up_ms;
static const char *boot_name;

static int64_t wall(void *context)
{
    (void)context;
    return now_ms;
}

static int64_t uptime(void *context)
{
    (void)context;
    return up_ms;
}

static millet_status open_at(const char *path, millet_assistant **assistant, millet_error *err)
{
    const millet_assistant_clock clock = {NULL, wall, uptime, boot_name};
    const millet_assistant_options options = {.store = path, .zone = "UTC", .clock = &clock, .seed = 1};
    return millet_assistant_open(&options, assistant, err);
}

static millet_assistant *opened(void)
{
    millet_assistant *assistant = NULL;
    millet_error err = {0};
    if (open_at(store, &assistant, &err) != MILLET_OK) fail_msg("%s: %s", err.file, err.message);
    return assistant;
}

static millet_answer said(millet_assistant *assistant, const char *text)
{
    millet_answer answer;
    millet_error err = {0};
    if (millet_assistant_say(assistant, text, strlen(text), &answer, &err) != MILLET_OK)
        fail_msg("%s", err.message);
    return answer;
}

static void expect(millet_assistant *assistant, const char *text, const char *reply)
{
    assert_string_equal(said(assistant, text).text, reply);
}

static const char *fired(millet_assistant *assistant)
{
    millet_answer answer;
    millet_error err = {0};
    if (millet_assistant_due(assistant, &answer, &err) != MILLET_OK) fail_msg("%s", err.message);
    return answer.text;
}

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "%s/millet-store-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    if (!mkdtemp(folder)) return -1;
    snprintf(store, sizeof store, "%s/deep/er/a.db", folder);
    now_ms = INT64_C(1796112000000);
    up_ms = 5000;
    boot_name = "first";
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static void timers_survive_a_restart(void **state)
{
    (void)state;
    millet_assistant *assistant = opened();
    said(assistant, "set a timer for 10 minutes called tea");
    millet_assistant_close(&assistant);
    now_ms += 300000;
    up_ms += 300000;
    assistant = opened();
    assert_int_equal(millet_assistant_next_due(assistant), 300000);
    now_ms += 300000;
    up_ms += 300000;
    assert_string_equal(fired(assistant), "The tea timer is done.");
    assert_string_equal(fired(assistant), "");
    assert_int_equal(millet_assistant_next_due(assistant), -1);
    millet_assistant_close(&assistant);
    assistant = opened();
    assert_string_equal(fired(assistant), "");
    millet_assistant_close(&assistant);
}

/* The time of day may be set: a timer counts on. After a restart of the machine only the time of day is left.
 */
static void timers_do_not_follow_the_clock(void **state)
{
    (void)state;
    millet_assistant *assistant = opened();
    said(assistant, "set a timer for 10 minutes");
    now_ms += 3 * 3600 * 1000;
    assert_int_equal(millet_assistant_next_due(assistant), 600000);
    now_ms -= 6 * 3600 * 1000;
    up_ms += 100;
    assert_int_equal(millet_assistant_next_due(assistant), 599900);
    now_ms += 3 * 3600 * 1000 + 60000;
    millet_assistant_close(&assistant);
    boot_name = "second";
    up_ms = 10;
    assistant = opened();
    assert_int_equal(millet_assistant_next_due(assistant), 540000);
    now_ms += 540000 + 120000;
    assert_non_null(strstr(fired(assistant), "You missed this: The timer for 10 minutes is done."));
    millet_assistant_close(&assistant);
}

static void damage(const char *path, long at, size_t bytes)
{
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    fseek(file, at, SEEK_SET);
    for (size_t i = 0; i < bytes; i++)
        fputc((int)(i * 37 % 251), file);
    fclose(file);
}

static void a_damaged_store_is_restored(void **state)
{
    (void)state;
    char name[400];
    millet_assistant *assistant = opened();
    said(assistant, "set a timer for 10 minutes called tea");
    millet_assistant_close(&assistant); /* makes the backup */
    for (int kind = 0; kind < 3; kind++) {
        if (kind < 2)
            damage(store, kind == 0 ? 0 : 4096, 3000);
        else
            assert_int_equal(truncate(store, 5000), 0);
        assistant = opened();
        millet_answer answer = said(assistant, "how much time is left");
        assert_non_null(strstr(answer.text, "My memory was damaged; I went back to my copy of 20"));
        assert_non_null(strstr(answer.text, "10 minutes left on the tea timer."));
        expect(assistant, "how much time is left", "10 minutes left on the tea timer.");
        millet_assistant_close(&assistant);
        snprintf(name, sizeof name, "%s.damaged", store);
        assert_int_equal(access(name, F_OK), 0);
    }
    snprintf(name, sizeof name, "%s.backup", store);
    damage(store, 0, 3000);
    damage(name, 0, 3000);
    assistant = opened();
    assert_non_null(strstr(said(assistant, "how much time is left").text, "are lost"));
    said(assistant, "set a timer for 5 minutes");
    millet_assistant_close(&assistant);
    assistant = opened();
    expect(assistant, "how much time is left", "5 minutes left on the timer for 5 minutes.");
    millet_assistant_close(&assistant);
}

static void a_newer_store_is_left_alone(void **state)
{
    (void)state;
    millet_assistant *assistant = opened();
    millet_error err;
    millet_assistant_close(&assistant);
    FILE *file = fopen(store, "r+");
    assert_non_null(file);
    fseek(file, 60, SEEK_SET); /* user_version, big-endian */
    fwrite("\0\0\0\143", 4, 1, file);
    fclose(file);
    assert_int_equal(open_at(store, &assistant, &err), MILLET_UNSUPPORTED);
    assert_null(assistant);
}

/* Killed at any point: what a reply has confirmed is there. */
static void a_kill_loses_nothing_confirmed(void **state)
{
    (void)state;
    enum { ROUNDS = 12 };
    int confirmed = 0;
    for (int round = 0; round < ROUNDS; round++) {
        int pipes[2];
        assert_int_equal(pipe(pipes), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            millet_assistant *assistant = opened();
            for (;;) {
                millet_answer answer = said(assistant, "set a timer for 2 hours");
                char done = answer.outcome == MILLET_DONE;
                if (write(pipes[1], &done, 1) != 1) _exit(1);
            }
        }
        close(pipes[1]);
        char done;
        for (int i = 0; i <= round % 4; i++) {
            assert_int_equal(read(pipes[0], &done, 1), 1);
            assert_int_equal(done, 1);
            confirmed++;
        }
        usleep((unsigned)(round * 700));
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        while (read(pipes[0], &done, 1) == 1)
            confirmed++;
        close(pipes[0]);
        millet_assistant *assistant = opened();
        millet_answer answer = said(assistant, "cancel all timers");
        int found = 1;
        if (sscanf(answer.text, "I cancelled %d timers.", &found) != 1) found = 1;
        assert_null(strstr(answer.text, "damaged"));
        /* one may be there whose reply was on its way; a list is cut at 64 */
        assert_true(found == confirmed || found == confirmed + 1 || found == 64);
        while (said(assistant, "cancel all timers").outcome == MILLET_DONE)
            continue;
        confirmed = 0;
        millet_assistant_close(&assistant);
    }
}

/* Files may grow no more: the reply says that it did not work, and nothing that was there is lost. */
static void a_full_disk_is_said(void **state)
{
    (void)state;
    millet_assistant *assistant = opened();
    said(assistant, "set a timer for 3 hours called first");
    millet_assistant_close(&assistant);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGXFSZ, SIG_IGN);
        struct rlimit limit = {60000, 60000};
        setrlimit(RLIMIT_FSIZE, &limit);
        assistant = opened();
        millet_answer answer = {0};
        for (int i = 0; i < 400 && answer.outcome != MILLET_FAILED; i++)
            answer = said(assistant,
                          "set a timer for 2 hours called second third fourth fifth sixth seventh eighth");
        bool failed = answer.outcome == MILLET_FAILED && strstr(answer.text, "That did not work");
        bool alive = strstr(said(assistant, "how much time is left").text, "first timer") != NULL;
        _exit(failed && alive ? 0 : 1);
    }
    int code = -1;
    waitpid(child, &code, 0);
    assert_int_equal(code, 0);
    assistant = opened();
    assert_non_null(strstr(said(assistant, "how much time is left").text, "left on the first timer."));
    expect(assistant, "set a timer for 1 hour called later", "The later timer is set for 1 hour.");
    millet_assistant_close(&assistant);
}

static void a_folder_that_is_not_ours_is_an_error(void **state)
{
    (void)state;
    millet_assistant *assistant = NULL;
    millet_error err;
    assert_int_equal(open_at("/dev/null/a.db", &assistant, &err), MILLET_IO);
    assert_null(assistant);
    assert_true(err.message[0] != 0);
}

int main(void)
{
#define STORE_TEST(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)
    const struct CMUnitTest tests[] = {
        STORE_TEST(timers_survive_a_restart),
        STORE_TEST(timers_do_not_follow_the_clock),
        STORE_TEST(a_damaged_store_is_restored),
        STORE_TEST(a_newer_store_is_left_alone),
        STORE_TEST(a_kill_loses_nothing_confirmed),
        STORE_TEST(a_full_disk_is_said),
        STORE_TEST(a_folder_that_is_not_ours_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
