/* Skills of numbers: arithmetic, units and currencies, chance. SPDX-License-Identifier: Apache-2.0 */
#include "assistant/expression.h"
#include "assistant/parts.h"
#include "assistant/skills.h"
#include "assistant/spoken.h"
#include "assistant/units.h"

#include <string.h>

millet_status mlt_skill_calculate(millet_call *call, void *context, millet_error *err)
{
    (void)context;
    (void)err;
    const char *expression = millet_call_text(call, "expression");
    double value;
    char text[64];
    switch (mlt_expression_evaluate(expression, strlen(expression), &value)) {
    case MLT_EXPRESSION_NONE: mlt_call_refuse(call, "I can't calculate that.", "这个我算不了。"); break;
    case MLT_EXPRESSION_UNDEFINED: mlt_call_refuse(call, "That is undefined.", "这个没有意义。"); break;
    case MLT_EXPRESSION_VALUE:
        mlt_spoken_number(text, sizeof text, value);
        mlt_call_say(call, "%s.", "等于%s。", text);
        break;
    }
    return MILLET_OK;
}

static const char *unit_name(const millet_call *call, const struct mlt_unit *unit)
{
    return mlt_call_word(call, unit->english, unit->chinese);
}

millet_status mlt_skill_convert(millet_call *call, void *context, millet_error *err)
{
    (void)context;
    (void)err;
    const char *amount = millet_call_text(call, "amount"), *into = millet_call_text(call, "unit");
    const struct mlt_rates *rates = &mlt_parts(call->assistant)->rates;
    const struct mlt_unit *from, *to = mlt_unit_find(into, strlen(into));
    double number;
    char before[64], after[64];
    if (!to || !mlt_quantity_read(amount, strlen(amount), &number, &from)) {
        mlt_call_refuse(call, "I don't know that unit.", "我不知道这个单位。");
        return MILLET_OK;
    }
    mlt_spoken_number(before, sizeof before, number);
    bool money = strcmp(from->kind, "currency") == 0;
    if (strcmp(from->kind, to->kind) != 0) {
        mlt_call_refuse(call, "%s can't be turned into %s.", "%s不能换算成%s。", unit_name(call, from),
                        unit_name(call, to));
        return MILLET_OK;
    }
    if (money && !mlt_rates_convert(rates, from->code, to->code, &number)) {
        mlt_call_refuse(call, "I have no rate for that.", "我没有这个汇率。");
        return MILLET_OK;
    }
    if (!money) number = (number * from->factor + from->offset - to->offset) / to->factor;
    mlt_spoken_number(after, sizeof after, number);
    char line[300];
    const char *unit = unit_name(call, to);
    if (call->language == MLT_ENGLISH && money)
        snprintf(line, sizeof line, "That's %s %s, at the rates of %s.", after, unit, rates->date);
    else if (call->language == MLT_ENGLISH)
        snprintf(line, sizeof line, "That's %s %s.", after, unit);
    else if (money)
        snprintf(line, sizeof line, "按%s的汇率，%s%s是%s%s。", rates->date, before, unit_name(call, from),
                 after, unit);
    else
        snprintf(line, sizeof line, "%s%s是%s%s。", before, unit_name(call, from), after, unit);
    millet_call_say(call, line);
    return MILLET_OK;
}

millet_status mlt_skill_flip_coin(millet_call *call, void *context, millet_error *err)
{
    (void)context;
    (void)err;
    if (mlt_random_u64(&call->assistant->random) >> 63)
        mlt_call_say(call, "Heads.", "正面。");
    else
        mlt_call_say(call, "Tails.", "反面。");
    return MILLET_OK;
}

millet_status mlt_skill_roll_dice(millet_call *call, void *context, millet_error *err)
{
    (void)context;
    (void)err;
    double sides = mlt_call_number_or(call, "sides", 6), count = mlt_call_number_or(call, "count", 1);
    char each[256] = "", total[32];
    uint64_t sum = 0;
    size_t used = 0;
    if (sides < 2 || sides > 1000000 || count < 1 || count > 10) {
        mlt_call_refuse(call, "One to ten dice, each with two sides at least.",
                        "一到十个骰子，每个至少两面。");
        return MILLET_OK;
    }
    for (int i = 0; i < (int)count; i++) {
        uint64_t rolled =
            1 + (uint64_t)(mlt_random_double(&call->assistant->random) * (double)(uint64_t)sides);
        sum += rolled;
        used += (size_t)snprintf(each + used, sizeof each - used, i ? ", %llu" : "%llu",
                                 (unsigned long long)rolled);
    }
    snprintf(total, sizeof total, "%llu", (unsigned long long)sum);
    if (count < 2)
        mlt_call_say(call, "%s.", "%s点。", total);
    else
        mlt_call_say(call, "%s: %s together.", "%s，一共%s点。", each, total);
    return MILLET_OK;
}

millet_status mlt_skill_random_number(millet_call *call, void *context, millet_error *err)
{
    (void)context;
    (void)err;
    double low = mlt_call_number_or(call, "low", 1), high = mlt_call_number_or(call, "high", 100);
    char text[64];
    if (low > high || high - low > 1e15) {
        mlt_call_refuse(call, "The second number must be the greater one.", "第二个数必须更大。");
        return MILLET_OK;
    }
    double span = (double)(int64_t)(high - low) + 1;
    mlt_spoken_number(text, sizeof text,
                      low + (double)(int64_t)(mlt_random_double(&call->assistant->random) * span));
    mlt_call_say(call, "%s.", "%s。", text);
    return MILLET_OK;
}

/* Letters with hyphens between them. */
millet_status mlt_skill_spell(millet_call *call, void *context, millet_error *err)
{
    (void)context;
    (void)err;
    const char *word = millet_call_text(call, "word");
    char text[512];
    size_t used = 0;
    for (size_t i = 0; word[i] && used + 8 < sizeof text; i++) {
        if (i && ((unsigned char)word[i] & 0xC0) != 0x80) text[used++] = '-';
        bool small = word[i] >= 'a' && word[i] <= 'z';
        text[used++] = small ? (char)(word[i] - 'a' + 'A') : word[i];
    }
    text[used] = 0;
    mlt_call_say(call, "%s.", "%s。", text);
    return MILLET_OK;
}
