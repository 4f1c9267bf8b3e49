/*
 * Places that are known by name: their time zone and where they are.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_ASSISTANT_PLACES_H
#define MLT_ASSISTANT_PLACES_H

#include <stddef.h>

struct mlt_place {
    const char *english, *chinese; /* the name that is said */
    const char *other;             /* more names, parted by '|', small letters; NULL: none */
    const char *zone;
    float latitude, longitude;
};

/* Capitals, articles and 市 do not count; NULL: not known. */
const struct mlt_place *mlt_place_find(const char *name, size_t length);

#endif
