/*
 * The table of chat templates, chat_forms.c, and what its entries mean.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_CHAT_FORMS_H
#define MLT_CHAT_FORMS_H

#include <stddef.h>

/* Where the text of system messages goes. */
enum mlt_system_place {
    MLT_SYSTEM_TURN,       /* a turn of its own */
    MLT_SYSTEM_FIRST,      /* a turn of its own, before all others */
    MLT_SYSTEM_NEXT_USER,  /* before the text of the user's next turn */
    MLT_SYSTEM_FINAL_USER, /* before the text of the user's last turn */
};

/*
 * Patterns are copied but for these: {role} the role, {Role} with a capital, {ROLE} in capitals; {text} what
 * is said, {trim} the same without white space at its ends.
 */
struct mlt_chat_form {
    const char *name;
    const char *begin;                     /* before everything, or NULL */
    const char *system, *user, *assistant; /* a turn of that role; NULL: as `other` */
    const char *other;                     /* a turn of any other role; NULL: not known */
    const char *opening;                   /* of the assistant's turn; NULL: it needs none */
    const char *no_system;       /* instead of the system's turn where the dialogue does not begin with one */
    const char *skip;            /* left out at the very beginning: BOS, which the tokenizer adds */
    enum mlt_system_place place; /* if in a user's turn: `system` is what comes before the user's text */
};

/* A template is of the form `name` when its source has all the marks. The first rule that fits decides. */
struct mlt_chat_rule {
    const char *name;
    const char *marks[3]; /* NULL: no more */
};

extern const struct mlt_chat_form mlt_chat_forms[];
extern const size_t mlt_chat_form_count;
extern const struct mlt_chat_rule mlt_chat_rules[];
extern const size_t mlt_chat_rule_count;

#endif
