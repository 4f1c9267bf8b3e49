/* HTTP by libcurl, messages by a program. SPDX-License-Identifier: Apache-2.0 */
#include "outside.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static millet_status failed(millet_error *err, const char *what)
{
    if (err) {
        *err = (millet_error){.status = MILLET_IO, .offset = MILLET_NO_OFFSET};
        snprintf(err->message, sizeof err->message, "%s", what);
    }
    return MILLET_IO;
}

static millet_status run_program(void *context, const char *person, const char *text, millet_error *err)
{
    /* execv takes them as they are and changes nothing */
    char *arguments[5] = {strdup(context), strdup(text ? "send" : "call"), strdup(person),
                          text ? strdup(text) : NULL, NULL};
    int code = -1;
    pid_t child = fork();
    if (child == 0) {
        execvp(arguments[0], arguments);
        _exit(127);
    }
    for (int i = 0; i < 4; i++)
        free(arguments[i]);
    if (child < 0) return failed(err, strerror(errno));
    while (waitpid(child, &code, 0) < 0 && errno == EINTR)
        continue;
    if (WIFEXITED(code) && WEXITSTATUS(code) == 0) return MILLET_OK;
    if (WIFEXITED(code) && WEXITSTATUS(code) == 127)
        return failed(err, "the messenger's program is not there");
    return failed(err, "the messenger's program did not send it");
}

millet_messenger cli_messenger(const char *program)
{
    union {
        const char *constant;
        void *plain;
    } name = {program};
    return (millet_messenger){name.plain, run_program};
}

#ifdef MILLET_HAVE_CURL
#include <curl/curl.h>

static struct {
    CURL *curl;
    char *body;
    size_t length, max;
} web;

static size_t take(char *data, size_t size, size_t count, void *context)
{
    (void)context;
    size_t n = size * count;
    if (n > web.max - web.length) return 0;
    char *larger = realloc(web.body, web.length + n + 1);
    if (!larger) return 0;
    web.body = larger;
    memcpy(web.body + web.length, data, n);
    web.length += n;
    return n;
}

static millet_status request(void *context, const millet_http_request *asked, millet_http_reply *reply,
                             millet_error *err)
{
    (void)context;
    struct curl_slist *headers = NULL;
    if (!web.curl) web.curl = curl_easy_init();
    if (!web.curl) return failed(err, "libcurl does not start");
    curl_easy_reset(web.curl);
    web.length = 0;
    web.max = asked->max_bytes;
    for (const char *const *h = asked->headers; h && *h; h++)
        headers = curl_slist_append(headers, *h);
    curl_easy_setopt(web.curl, CURLOPT_URL, asked->url);
    curl_easy_setopt(web.curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(web.curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(web.curl, CURLOPT_TIMEOUT_MS, (long)asked->timeout_ms);
    curl_easy_setopt(web.curl, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(web.curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(web.curl, CURLOPT_USERAGENT, "millet");
    if (asked->body) {
        curl_easy_setopt(web.curl, CURLOPT_POSTFIELDS, asked->body);
        curl_easy_setopt(web.curl, CURLOPT_POSTFIELDSIZE, (long)asked->body_length);
    }
    CURLcode code = curl_easy_perform(web.curl);
    curl_slist_free_all(headers);
    if (code != CURLE_OK) return failed(err, curl_easy_strerror(code));
    long status = 0;
    curl_easy_getinfo(web.curl, CURLINFO_RESPONSE_CODE, &status);
    *reply = (millet_http_reply){(int32_t)status, web.body ? web.body : "", web.length};
    return MILLET_OK;
}

const millet_http *cli_http(void)
{
    static const millet_http http = {NULL, request};
    return &http;
}

void cli_http_end(void)
{
    if (web.curl) curl_easy_cleanup(web.curl);
    free(web.body);
    web.curl = NULL;
    web.body = NULL;
}
#else
const millet_http *cli_http(void)
{
    return NULL;
}

void cli_http_end(void)
{
}
#endif
