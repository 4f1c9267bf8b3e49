/*
 * Units of measure and currencies by name, and what one is in another.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_ASSISTANT_UNITS_H
#define MLT_ASSISTANT_UNITS_H

#include "base/memory.h"

struct mlt_unit {
    const char *kind;              /* "length"; "currency" */
    const char *code;              /* "km", "USD": the normal form */
    const char *english, *chinese; /* as said of several */
    const char *names;             /* more, parted by '|', small letters */
    double factor, offset;         /* to the kind's base: value * factor + offset */
};

/* By code or name; NULL: not known. */
const struct mlt_unit *mlt_unit_find(const char *name, size_t length);
/* "5 km", "$5", "five miles", 三公里: number and unit. */
bool mlt_quantity_read(const char *text, size_t length, double *number, const struct mlt_unit **unit);

/* Rates of exchange, one base. */
struct mlt_rates {
    char date[16]; /* of the rates, "2024-12-31" */
    size_t count;
    char codes[64][4];
    double rates[64]; /* units of the currency for one of the base */
};

/*
 * {"date": "2024-12-31", "base": "EUR", "rates": {"USD": 1.0389, ...}}. Errors: BAD_FORMAT.
 */
millet_status mlt_rates_read(const char *json, size_t length, struct mlt_rates *rates, millet_error *err);
/* False where one of them has no rate. */
bool mlt_rates_convert(const struct mlt_rates *rates, const char *from, const char *to, double *number);
/* The rates that are built in. */
extern const char mlt_rates_built_in[];

#endif
