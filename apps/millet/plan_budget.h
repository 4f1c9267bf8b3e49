/*
 * Budgets as users write them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MILLET_PLAN_BUDGET_H
#define MILLET_PLAN_BUDGET_H

#include "millet/plan.h"

/*
 * "file=900MB,ram=1.2GB@4096,speed=15tok/s": any of them, in any order. Bytes: a number and B, kB, MB, GB
 * (powers of 1000) or KiB, MiB, GiB (powers of 1024); a number alone is bytes. False with a usage message
 * printed.
 */
bool cli_parse_budget(const char *text, millet_budget *budget);

#endif
