/*
 * SHA-256 (FIPS 180-4), for comparing tensors with recorded digests.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_TEST_SHA256_H
#define MLT_TEST_SHA256_H

#include <stddef.h>

/* The digest of `size` bytes as 64 lower-case hexadecimal digits and a NUL. */
void sha256_hex(const void *bytes, size_t size, char hex[65]);

#endif
