/*
 * The assistant: an utterance becomes calls of skills, calls become effects and a reply, in English or
 * Chinese, on the device. In libmillet-assistant; the conventions of millet.h hold here too.
 * docs/assistant.md has the whole.
 *
 *     text ─ sentences of the manifests ─┐
 *          └ hearing (a small model) ────┴─ skill and slots ─ typed arguments ─ dialogue ─ call ─ reply
 *                                                                                 │
 *                                                            store (SQLite): timers, lists, notes
 *
 * A skill is a manifest (JSON) and a function. What it is told comes as typed arguments, whoever understood
 * the utterance: the sentences of its manifest, a small model, or a large one that was given it as a tool.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MILLET_ASSISTANT_H
#define MILLET_ASSISTANT_H

#include "millet/allocator.h"
#include "millet/millet.h"
#include "millet/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Hearing: who says what an utterance means
 * --------------------------------------------------------------- */

/* A part of the utterance: text[start .. end). */
typedef struct millet_heard_slot {
    const char *name;
    size_t start, end;
} millet_heard_slot;

/* One label of one set with its slots, and how probable it is among the labels of its set. */
typedef struct millet_heard {
    const char *set, *label;
    float probability;
    const millet_heard_slot *slots;
    int32_t n_slots;
} millet_heard;

/*
 * Who hears. `hear` gives the labels worth thinking about, for each set the most probable first, none where
 * it has nothing to say; they are valid until the next call. One thread at a time.
 */
typedef struct millet_hearing {
    void *context;
    millet_status (*hear)(void *context, const char *text, size_t length, const millet_heard **heard,
                          int32_t *n_heard, millet_error *err);
    void (*close)(void *context); /* NULL: nothing to release */
} millet_hearing;

/*
 * Hearing by a model that was trained for it (millet/understand.h): one pass for each of the sets home, hwu64
 * and clinc150 that it has. The model must outlive it; call hearing->close when done. Errors: those of
 * millet_understander_open, and NOT_FOUND where the model has none of the sets.
 */
MILLET_API millet_status millet_hearing_model(const millet_model *model, int32_t n_threads,
                                              millet_hearing *hearing, millet_error *err);

/* ---- Skills
 * -------------------------------------------------------------------------------------------------- */

/* A call in progress, as a skill's function sees it. */
typedef struct millet_call millet_call;

/*
 * What a skill does. Arguments are read with millet_call_text and millet_call_number, the reply is given with
 * millet_call_say. Returns OK where it said what happened, a refusal included ("there is no timer"); an error
 * where it could not do its work: then what it changed in the store is undone and the error is said.
 */
typedef millet_status (*millet_skill_function)(millet_call *call, void *context, millet_error *err);

/* The manifest's fields are in docs/assistant.md. */
typedef struct millet_skill {
    const char *manifest; /* JSON */
    millet_skill_function run;
    void *context; /* handed to `run` */
} millet_skill;

/* An argument as text, or NULL where it was not given. Valid until the call ends. */
MILLET_API const char *millet_call_text(const millet_call *call, const char *name);
/* An argument as a number (durations in seconds, percentages in per cent); false where there is none. */
MILLET_API bool millet_call_number(const millet_call *call, const char *name, double *number);
/* "en" or "zh": in which language to reply. */
MILLET_API const char *millet_call_language(const millet_call *call);
/* Adds to the reply; the text is copied. */
MILLET_API void millet_call_say(millet_call *call, const char *text);
/* Says that nothing came of it: there is no such thing, or the request makes no sense. */
MILLET_API void millet_call_refuse(millet_call *call, const char *text);

/* ---- The assistant
 * ------------------------------------------------------------------------------------------- */

/* Time, so that tests can have their own. Milliseconds. */
typedef struct millet_assistant_clock {
    void *context;
    int64_t (*wall)(void *context);   /* since 1970 in UTC; may be set */
    int64_t (*uptime)(void *context); /* since the machine started, sleep included; is never set */
    const char *boot;                 /* names this run of the machine: uptime counts within one */
} millet_assistant_clock;

/* ---- The world outside, as the program lets it in
 * ------------------------------------------------------------- */

typedef struct millet_http_request {
    const char *url;
    const char *const *headers; /* "Name: value", NULL-terminated; NULL: none */
    const char *body;           /* NULL: GET; else POST */
    size_t body_length;
    int32_t timeout_ms;
    size_t max_bytes; /* of the reply; more is an error */
} millet_http_request;

typedef struct millet_http_reply {
    int32_t code;     /* 200 */
    const char *body; /* not NUL-terminated; valid until the next request */
    size_t length;
} millet_http_reply;

/* Who speaks HTTP. Errors: IO where there is no network or the time is over. */
typedef struct millet_http {
    void *context;
    millet_status (*request)(void *context, const millet_http_request *request, millet_http_reply *reply,
                             millet_error *err);
} millet_http;

/* Who sends messages and makes calls. `text` is NULL for a call. Errors are said as they are. */
typedef struct millet_messenger {
    void *context;
    millet_status (*send)(void *context, const char *person, const char *text, millet_error *err);
} millet_messenger;

typedef struct millet_assistant_options {
    const millet_allocator *allocator; /* NULL: the C library's. SQLite and jansson take theirs from there */
    const char *store;                 /* file of timers, lists and notes; NULL: in memory, forgotten */
    const char *language;              /* "en", "zh"; NULL: that of each utterance */
    const char *zone;                  /* "Europe/Berlin"; NULL: the system's */
    const char *rates;                 /* file of exchange rates; NULL: those that were built in */
    const millet_http *http;           /* NULL: the assistant is offline */
    const char *weather;               /* URL of an Open-Meteo service, ".../v1/forecast"; NULL: no weather */
    const char *place;                 /* where the device is: "Berlin", or "52.52,13.41"; NULL: not known */
    const millet_messenger *messenger; /* NULL: there are no messages and calls */
    const millet_hearing *hearing;     /* NULL: the manifests' sentences alone. Must outlive the assistant */
    const millet_skill *skills;        /* beside the built-in ones; the strings must outlive the assistant */
    size_t n_skills;
    const millet_assistant_clock *clock; /* NULL: the system's */
    uint64_t seed;                       /* of dice and jokes; 0: from the clock */
} millet_assistant_options;

typedef struct millet_assistant millet_assistant;

/*
 * Opens the store (a damaged one is put aside and the last backup takes its place: the first reply says so)
 * and the skills. Errors: BAD_FORMAT (a manifest, a rates or home file), IO, NO_MEMORY, BAD_ARGUMENT.
 */
MILLET_API millet_status millet_assistant_open(const millet_assistant_options *options,
                                               millet_assistant **assistant, millet_error *err);
MILLET_API void millet_assistant_close(millet_assistant **assistant);

typedef enum millet_outcome {
    MILLET_DONE,           /* every call did what was asked */
    MILLET_REFUSED,        /* a call said that it could not be: there is no such timer */
    MILLET_ASKED,          /* something is missing or must be confirmed: the next utterance answers */
    MILLET_NOT_UNDERSTOOD, /* no skill is meant, or none surely enough */
    MILLET_FAILED,         /* a call failed: a full disk, a device that does not answer */
} millet_outcome;

/* What came of an utterance. Strings are valid until the next call of the assistant. */
typedef struct millet_answer {
    millet_outcome outcome;
    const char *text;     /* what to say, one or more sentences; "" where nothing is to be said */
    const char *language; /* "en", "zh" */
    const char *calls;    /* JSON: [{"name", "arguments": {}, "outcome": "done|refused|failed"}] */
} millet_answer;

/*
 * One turn. Errors are those of the machine (NO_MEMORY, a hearing that fails); whatever a skill could not do
 * is an answer. What an answer of outcome DONE says is on disk. BAD_ARGUMENT: text that is not UTF-8 or is
 * longer than 4096 bytes.
 */
MILLET_API millet_status millet_assistant_say(millet_assistant *assistant, const char *text, size_t length,
                                              millet_answer *answer, millet_error *err);

/*
 * Fires what is due: timers, alarms, reminders, in their order; each fires once, over restarts too. Text is
 * "" where nothing was due. What was due while nobody ran is said as missed.
 */
MILLET_API millet_status millet_assistant_due(millet_assistant *assistant, millet_answer *answer,
                                              millet_error *err);

/* How many milliseconds from now something is due: 0 at once, -1 nothing is. */
MILLET_API int64_t millet_assistant_next_due(millet_assistant *assistant);

/* ---- Calendars
 * ----------------------------------------------------------------------------------------------- */

/* Takes the events of an iCalendar file (RFC 5545) over, those with the same UID anew; *count of them. All or
 * none. Errors: BAD_FORMAT with the line in err->offset, IO. */
MILLET_API millet_status millet_assistant_import_calendar(millet_assistant *assistant, const char *text,
                                                          size_t length, int32_t *count, millet_error *err);
/* All events as an iCalendar file. Valid until the next call of the assistant. */
MILLET_API millet_status millet_assistant_export_calendar(millet_assistant *assistant, const char **text,
                                                          size_t *length, millet_error *err);

/* ---- What it can do, for others
 * ------------------------------------------------------------------------------- */

typedef enum millet_tools_form {
    MILLET_TOOLS_OPENAI, /* [{"type": "function", "function": {"name", "description", "parameters"}}] */
    MILLET_TOOLS_MCP,    /* [{"name", "description", "inputSchema", "annotations"}] */
} millet_tools_form;

/* The skills as tool definitions, JSON. Valid until the assistant is closed or this is called again. */
MILLET_API millet_status millet_assistant_tools(millet_assistant *assistant, millet_tools_form form,
                                                const char **json, millet_error *err);

/*
 * Calls a skill by name with arguments as JSON, as a large model does: they are checked against the manifest
 * (BAD_ARGUMENT says what is wrong), and what asks for confirmation asks.
 */
MILLET_API millet_status millet_assistant_call(millet_assistant *assistant, const char *name,
                                               const char *arguments, millet_answer *answer,
                                               millet_error *err);

/* What the dialogue waits for: JSON {"skill", "arguments", "waits_for"}; null where for nothing. */
MILLET_API const char *millet_assistant_state(millet_assistant *assistant);

#ifdef __cplusplus
}
#endif
#endif
