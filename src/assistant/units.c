/* Units and currencies. SPDX-License-Identifier: Apache-2.0 */
#include "assistant/units.h"

#include "assistant/words.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Factors are exact by definition (the international yard and pound of 1959, US customary volumes). */
static const struct mlt_unit units[] = {
    {"length", "mm", "millimeters", "毫米", "millimeter|millimetre|millimetres", 0.001, 0},
    {"length", "cm", "centimeters", "厘米", "centimeter|centimetre|centimetres|公分", 0.01, 0},
    {"length", "m", "meters", "米", "meter|metre|metres", 1, 0},
    {"length", "km", "kilometers", "公里", "kilometer|kilometre|kilometres|千米|k m|kms", 1000, 0},
    {"length", "in", "inches", "英寸", "inch", 0.0254, 0},
    {"length", "ft", "feet", "英尺", "foot", 0.3048, 0},
    {"length", "yd", "yards", "码", "yard", 0.9144, 0},
    {"length", "mi", "miles", "英里", "mile", 1609.344, 0},
    {"length", "nmi", "nautical miles", "海里", "nautical mile", 1852, 0},
    {"length", "li", "li", "里", "华里", 500, 0},
    {"mass", "mg", "milligrams", "毫克", "milligram", 1e-6, 0},
    {"mass", "g", "grams", "克", "gram|gramme|grammes", 0.001, 0},
    {"mass", "kg", "kilograms", "公斤", "kilogram|kilo|kilos|千克|k g|kgs", 1, 0},
    {"mass", "t", "metric tons", "吨", "metric ton|tonne|tonnes", 1000, 0},
    {"mass", "oz", "ounces", "盎司", "ounce", 0.028349523125, 0},
    {"mass", "lb", "pounds", "磅", "pound|lbs", 0.45359237, 0},
    {"mass", "st", "stone", "英石", "stones", 6.35029318, 0},
    {"mass", "jin", "jin", "斤", "市斤", 0.5, 0},
    {"volume", "ml", "milliliters", "毫升", "milliliter|millilitre|millilitres", 0.001, 0},
    {"volume", "l", "liters", "升", "liter|litre|litres", 1, 0},
    {"volume", "tsp", "teaspoons", "茶匙", "teaspoon", 0.00492892159375, 0},
    {"volume", "tbsp", "tablespoons", "汤匙", "tablespoon", 0.01478676478125, 0},
    {"volume", "fl oz", "fluid ounces", "液量盎司", "fluid ounce", 0.0295735295625, 0},
    {"volume", "cup", "cups", "杯", "", 0.2365882365, 0},
    {"volume", "pt", "pints", "品脱", "pint", 0.473176473, 0},
    {"volume", "qt", "quarts", "夸脱", "quart", 0.946352946, 0},
    {"volume", "gal", "gallons", "加仑", "gallon", 3.785411784, 0},
    {"temperature", "C", "degrees Celsius", "摄氏度",
     "celsius|degree celsius|degrees c|centigrade|degrees centigrade|°c", 1, 0},
    {"temperature", "F", "degrees Fahrenheit", "华氏度", "fahrenheit|degree fahrenheit|degrees f|华氏|°f",
     5.0 / 9, -160.0 / 9},
    {"temperature", "K", "kelvins", "开尔文", "kelvin", 1, -273.15},
    {"area", "m2", "square meters", "平方米", "square meter|square metres|square metre|m²|平米", 1, 0},
    {"area", "km2", "square kilometers", "平方公里", "square kilometer|square kilometres", 1e6, 0},
    {"area", "ft2", "square feet", "平方英尺", "square foot", 0.09290304, 0},
    {"area", "ha", "hectares", "公顷", "hectare", 10000, 0},
    {"area", "ac", "acres", "英亩", "acre", 4046.8564224, 0},
    {"area", "mu", "mu", "亩", "", 2000.0 / 3, 0},
    {"speed", "km/h", "kilometers per hour", "公里每小时",
     "kph|kmh|kilometers an hour|kilometres per hour|km per hour", 1 / 3.6, 0},
    {"speed", "mph", "miles per hour", "英里每小时", "miles an hour", 0.44704, 0},
    {"speed", "m/s", "meters per second", "米每秒", "metres per second", 1, 0},
    {"speed", "kn", "knots", "节", "knot", 1852.0 / 3600, 0},
    {"time", "s", "seconds", "秒", "second", 1, 0},
    {"time", "min", "minutes", "分钟", "minute", 60, 0},
    {"time", "h", "hours", "小时", "hour", 3600, 0},
    {"time", "d", "days", "天", "day", 86400, 0},
    {"time", "wk", "weeks", "周", "week|星期", 604800, 0},
    {"data", "kB", "kilobytes", "千字节", "kilobyte", 1e3, 0},
    {"data", "MB", "megabytes", "兆字节", "megabyte", 1e6, 0},
    {"data", "GB", "gigabytes", "吉字节", "gigabyte", 1e9, 0},
    {"data", "TB", "terabytes", "太字节", "terabyte", 1e12, 0},
    {"energy", "J", "joules", "焦耳", "joule", 1, 0},
    {"energy", "kcal", "kilocalories", "千卡", "kilocalorie|calories|calorie|大卡", 4184, 0},
    {"energy", "kWh", "kilowatt hours", "千瓦时", "kilowatt hour|度电", 3.6e6, 0},
    {"currency", "EUR", "euros", "欧元", "euro|€", 1, 0},
    {"currency", "USD", "US dollars", "美元",
     "dollar|dollars|us dollar|usd|u. s. d|u.s.d|bucks|$|美金|american dollars", 1, 0},
    {"currency", "GBP", "British pounds", "英镑", "british pound|pounds sterling|sterling|£|quid", 1, 0},
    {"currency", "CNY", "yuan", "人民币", "rmb|renminbi|chinese yuan|元|块|块钱|元人民币", 1, 0},
    {"currency", "JPY", "yen", "日元", "japanese yen|¥|円|日币", 1, 0},
    {"currency", "CHF", "Swiss francs", "瑞士法郎", "swiss franc|francs|franc", 1, 0},
    {"currency", "CAD", "Canadian dollars", "加元", "canadian dollar", 1, 0},
    {"currency", "AUD", "Australian dollars", "澳元", "australian dollar|aussie dollars", 1, 0},
    {"currency", "NZD", "New Zealand dollars", "新西兰元", "new zealand dollar", 1, 0},
    {"currency", "HKD", "Hong Kong dollars", "港币", "hong kong dollar|港元", 1, 0},
    {"currency", "SGD", "Singapore dollars", "新加坡元", "singapore dollar|新币", 1, 0},
    {"currency", "INR", "Indian rupees", "卢比", "rupee|rupees|indian rupee|inr", 1, 0},
    {"currency", "KRW", "Korean won", "韩元", "won|韩币", 1, 0},
    {"currency", "SEK", "Swedish kronor", "瑞典克朗", "swedish krona|kronor", 1, 0},
    {"currency", "NOK", "Norwegian kroner", "挪威克朗", "norwegian krone|kroner", 1, 0},
    {"currency", "DKK", "Danish kroner", "丹麦克朗", "danish krone", 1, 0},
    {"currency", "PLN", "zloty", "兹罗提", "zlotys|polish zloty", 1, 0},
    {"currency", "CZK", "Czech koruna", "捷克克朗", "koruna", 1, 0},
    {"currency", "HUF", "forint", "福林", "forints", 1, 0},
    {"currency", "MXN", "Mexican pesos", "墨西哥比索", "peso|pesos|mexican peso", 1, 0},
    {"currency", "BRL", "Brazilian reais", "雷亚尔", "real|reais", 1, 0},
    {"currency", "ZAR", "rand", "兰特", "south african rand", 1, 0},
    {"currency", "TRY", "Turkish lira", "里拉", "lira|turkish liras", 1, 0},
    {"currency", "THB", "baht", "泰铢", "thai baht", 1, 0},
};

static bool same(const char *text, size_t length, const char *name, size_t n)
{
    return n == length && strncasecmp(text, name, n) == 0;
}

static bool has_name(const struct mlt_unit *unit, const char *name, size_t length)
{
    /* of codes capitals count where they are one letter: C is no c of a word */
    bool code = length == 1 ? *unit->code == *name && !unit->code[1]
                            : same(name, length, unit->code, strlen(unit->code));
    if (code || same(name, length, unit->english, strlen(unit->english)) ||
        same(name, length, unit->chinese, strlen(unit->chinese)))
        return true;
    for (const char *at = unit->names; *at; at += strspn(at, "|")) {
        size_t n = strcspn(at, "|");
        if (same(name, length, at, n)) return true;
        at += n;
    }
    return false;
}

const struct mlt_unit *mlt_unit_find(const char *name, size_t length)
{
    for (size_t i = 0; i < MLT_COUNT(units); i++)
        if (has_name(&units[i], name, length)) return &units[i];
    return NULL;
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool mlt_quantity_read(const char *text, size_t length, double *number, const struct mlt_unit **unit)
{
    static const char *const signs[] = {"$", "€", "£", "¥"};
    for (size_t i = 0; i < MLT_COUNT(signs); i++) {
        size_t n = strlen(signs[i]);
        if (n >= length || strncmp(text, signs[i], n) != 0) continue;
        *unit = mlt_unit_find(signs[i], n);
        return mlt_words_number(text + n, length - n, number);
    }
    /* the number may take a letter too many ("5 m"): it ends where a unit begins */
    for (size_t at = length; at-- > 1;) {
        size_t n = at, from = at;
        while (n && text[n - 1] == ' ')
            n--;
        while (from < length && text[from] == ' ')
            from++;
        if (((unsigned char)text[at] & 0xC0) == 0x80 || n == 0 || from == length) continue;
        if (n == at && is_letter(text[at - 1]) && is_letter(text[at])) continue; /* "and" is no "an d" */
        *unit = mlt_unit_find(text + from, length - from);
        if (*unit && mlt_words_number(text, n, number)) return true;
    }
    return false;
}

millet_status mlt_rates_read(const char *json, size_t length, struct mlt_rates *rates, millet_error *err)
{
    json_error_t at;
    json_t *all = json_loadb(json, length, 0, &at), *value;
    const char *code, *date = json_string_value(json_object_get(all, "date"));
    const char *base = json_string_value(json_object_get(all, "base"));
    *rates = (struct mlt_rates){0};
    bool good = date && strlen(date) < sizeof rates->date && base && strlen(base) == 3;
    if (good) {
        snprintf(rates->date, sizeof rates->date, "%s", date);
        snprintf(rates->codes[0], 4, "%s", base);
        rates->rates[0] = 1;
        rates->count = 1;
    }
    json_object_foreach (json_object_get(all, "rates"), code, value) {
        double rate = json_number_value(value);
        good &= strlen(code) == 3 && rate > 0;
        if (!good || rates->count == MLT_COUNT(rates->rates)) continue;
        snprintf(rates->codes[rates->count], 4, "%s", code);
        rates->rates[rates->count++] = rate;
    }
    json_decref(all);
    return good ? MILLET_OK
                : mlt_fail(
                      err, MILLET_BAD_FORMAT,
                      "rates are {\"date\": \"2024-12-31\", \"base\": \"EUR\", \"rates\": {\"USD\": 1.04}}");
}

static double rate_of(const struct mlt_rates *rates, const char *code)
{
    for (size_t i = 0; i < rates->count; i++)
        if (strcmp(rates->codes[i], code) == 0) return rates->rates[i];
    return 0;
}

bool mlt_rates_convert(const struct mlt_rates *rates, const char *from, const char *to, double *number)
{
    double a = rate_of(rates, from), b = rate_of(rates, to);
    if (a <= 0 || b <= 0) return false;
    *number = *number / a * b;
    return true;
}

/* The euro's reference rates of the European Central Bank of the last day of 2024. */
const char mlt_rates_built_in[] =
    "{\"date\": \"2024-12-31\", \"base\": \"EUR\", \"rates\": {\"USD\": 1.0389, \"JPY\": 163.06, \"CZK\": "
    "25.185,"
    " \"DKK\": 7.4578, \"GBP\": 0.82918, \"HUF\": 411.35, \"PLN\": 4.275, \"SEK\": 11.459, \"CHF\": 0.9412,"
    " \"NOK\": 11.795, \"TRY\": 36.7372, \"AUD\": 1.6772, \"BRL\": 6.4253, \"CAD\": 1.4948, \"CNY\": 7.5833,"
    " \"HKD\": 8.0686, \"INR\": 88.9335, \"KRW\": 1532.15, \"MXN\": 21.5504, \"NZD\": 1.8532, \"SGD\": "
    "1.4164,"
    " \"THB\": 35.676, \"ZAR\": 19.6188}}";
