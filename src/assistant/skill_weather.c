/*
 * The weather from an Open-Meteo service: what it said last is kept, and used where the network is away.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "assistant/parts.h"
#include "assistant/places.h"
#include "assistant/skills.h"
#include "assistant/spoken.h"
#include "assistant/when.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FRESH_MS = 30 * 60000, USABLE_MS = 24 * 3600000, TIMEOUT_MS = 4000, MAX_REPLY = 1 << 18 };

/* WMO code table 4677 as Open-Meteo uses it. */
static const struct {
    int code;
    const char *english, *chinese;
} skies[] = {
    {0, "clear sky", "晴"},
    {1, "mostly clear", "大部晴朗"},
    {2, "partly cloudy", "多云"},
    {3, "overcast", "阴"},
    {45, "fog", "雾"},
    {48, "freezing fog", "冻雾"},
    {51, "light drizzle", "毛毛雨"},
    {53, "drizzle", "毛毛雨"},
    {55, "heavy drizzle", "毛毛雨"},
    {56, "freezing drizzle", "冻毛毛雨"},
    {57, "freezing drizzle", "冻毛毛雨"},
    {61, "light rain", "小雨"},
    {63, "rain", "中雨"},
    {65, "heavy rain", "大雨"},
    {66, "freezing rain", "冻雨"},
    {67, "freezing rain", "冻雨"},
    {71, "light snow", "小雪"},
    {73, "snow", "中雪"},
    {75, "heavy snow", "大雪"},
    {77, "snow grains", "米雪"},
    {80, "light showers", "小阵雨"},
    {81, "showers", "阵雨"},
    {82, "heavy showers", "强阵雨"},
    {85, "snow showers", "阵雪"},
    {86, "heavy snow showers", "强阵雪"},
    {95, "thunderstorm", "雷暴"},
    {96, "thunderstorm with hail", "雷暴伴冰雹"},
    {99, "thunderstorm with hail", "雷暴伴冰雹"},
};

static const char *sky(const millet_call *call, int code)
{
    for (size_t i = 0; i < MLT_COUNT(skies); i++)
        if (skies[i].code == code) return mlt_call_word(call, skies[i].english, skies[i].chinese);
    return mlt_call_word(call, "unknown weather", "天气不明");
}

struct where {
    const char *name; /* NULL: here */
    double latitude, longitude;
};

/* The place that was told, or that of the device; false after a refusal. */
static bool find_where(millet_call *call, struct where *where)
{
    const char *told = millet_call_text(call, "place"), *here = mlt_parts(call->assistant)->place;
    const char *name = told ? told : here;
    char *end;
    if (!name) {
        mlt_call_ask(call, "For which place?", "哪里的天气？", "place");
        return false;
    }
    const struct mlt_place *place = mlt_place_find(name, strlen(name));
    if (place) {
        *where = (struct where){told ? mlt_call_word(call, place->english, place->chinese) : NULL,
                                (double)place->latitude, (double)place->longitude};
        return true;
    }
    where->name = NULL;
    where->latitude = strtod(name, &end);
    if (*end == ',') where->longitude = strtod(end + 1, &end);
    if (!*end && end != name) return true;
    mlt_call_refuse(call, "I don't know where %s is.", "我不知道%s在哪里。", name);
    return false;
}

/* What was kept; NULL where there is nothing. */
static millet_status read_cache(millet_call *call, const char *key, json_t **body, int64_t *fetched,
                                millet_error *err)
{
    struct mlt_rows rows;
    *body = NULL;
    MLT_TRY(mlt_rows_open(mlt_call_store(call), &rows, err, "SELECT body, fetched FROM cache WHERE key = ?1",
                          "s", key));
    if (mlt_rows_next(&rows)) {
        *body = json_loads(mlt_row_text(&rows, 0), 0, NULL);
        *fetched = mlt_row_int(&rows, 1);
    }
    return mlt_rows_close(&rows, err);
}

/* NULL where the service cannot be had or says nothing that is of use. */
static json_t *ask_service(millet_call *call, const char *url)
{
    const struct mlt_parts *parts = mlt_parts(call->assistant);
    const millet_http_request request = {.url = url, .timeout_ms = TIMEOUT_MS, .max_bytes = MAX_REPLY};
    millet_http_reply reply;
    if (!parts->http || parts->http->request(parts->http->context, &request, &reply, NULL) != MILLET_OK ||
        reply.code != 200)
        return NULL;
    json_t *body = json_loadb(reply.body, reply.length, 0, NULL);
    if (json_is_object(json_object_get(body, "current")) && json_is_object(json_object_get(body, "daily")))
        return body;
    json_decref(body);
    return NULL;
}

/* The forecast, from the service or what was kept; *old_ms: its age where the service could not be had, else
 * 0. */
static millet_status forecast(millet_call *call, const struct where *where, json_t **body, int64_t *old_ms,
                              millet_error *err)
{
    char url[1024];
    int64_t fetched = 0, now = mlt_call_now(call);
    int n = snprintf(
        url, sizeof url,
        "%s?latitude=%.2f&longitude=%.2f&current=temperature_2m,weather_code&daily=weather_code,"
        "temperature_2m_max,temperature_2m_min,precipitation_probability_max&timezone=auto&forecast_days=7",
        mlt_parts(call->assistant)->weather, where->latitude, where->longitude);
    if (n >= (int)sizeof url) return mlt_fail(err, MILLET_BAD_ARGUMENT, "the weather's URL is too long");
    *old_ms = 0;
    MLT_TRY(read_cache(call, url, body, &fetched, err));
    if (*body && now - fetched >= 0 && now - fetched < FRESH_MS) return MILLET_OK;
    json_t *fresh = ask_service(call, url);
    if (!fresh) {
        *old_ms = now - fetched;
        if (*body && (*old_ms < 0 || *old_ms > USABLE_MS)) {
            json_decref(*body);
            *body = NULL;
        }
        return MILLET_OK;
    }
    json_decref(*body);
    *body = fresh;
    char *text = json_dumps(fresh, JSON_COMPACT);
    millet_status status =
        text ? mlt_store_run(mlt_call_store(call), err,
                             "INSERT OR REPLACE INTO cache(key, body, fetched) VALUES (?1, ?2, ?3)", "ssi",
                             url, text, now)
             : mlt_fail(err, MILLET_NO_MEMORY, "out of memory");
    free(text);
    return status;
}

static double of_day(const json_t *daily, const char *field, size_t i)
{
    const json_t *value = json_array_get(json_object_get(daily, field), i);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

/* "Today 1 to 5 degrees, light rain, 40% chance of rain." */
static void say_day(millet_call *call, const json_t *daily, size_t i, const char *day)
{
    double low = of_day(daily, "temperature_2m_min", i), high = of_day(daily, "temperature_2m_max", i);
    double rain = of_day(daily, "precipitation_probability_max", i);
    char chance[96] = "";
    double said = of_day(daily, "weather_code", i);
    int code = said >= 0 && said < 100 ? (int)said : -1;
    if (isnan(low) || isnan(high)) {
        mlt_call_refuse(call, "I have no forecast for that day.", "没有那天的预报。");
        return;
    }
    if (rain >= 5)
        snprintf(chance, sizeof chance, mlt_call_word(call, ", %.0f%% chance of %s", "，降水概率%.0f%%"),
                 rain, (code >= 71 && code <= 77) || code == 85 || code == 86 ? "snow" : "rain");
    const char *what = sky(call, code);
    mlt_call_say(call, "%s: %.0f to %.0f degrees, %s%s.", "%s%.0f到%.0f度，%s%s。", day, round(low),
                 round(high), what, chance);
}

/* The index of a date among those of the forecast; -1: it has none. */
static int index_of_day(const json_t *daily, const char *date)
{
    size_t i;
    json_t *day;
    json_array_foreach (json_object_get(daily, "time"), i, day) {
        if (json_is_string(day) && strncmp(json_string_value(day), date, 10) == 0) return (int)i;
    }
    return -1;
}

static void say_weather(millet_call *call, const struct where *where, const json_t *body)
{
    const char *when = millet_call_text(call, "day");
    const json_t *current = json_object_get(body, "current"), *daily = json_object_get(body, "daily");
    char today[32], name[96];
    struct mlt_when moment = {mlt_local_now(call->assistant), false};
    mlt_when_text(&moment, today, sizeof today);
    bool other = when && strncmp(when, today, 10) != 0;
    int i = index_of_day(daily, other ? when : today);
    if (other && i < 0) {
        mlt_call_refuse(call, "I have no forecast for that day.", "没有那天的预报。");
        return;
    }
    if (other && mlt_when_read(when, &moment)) {
        mlt_spoken_day(call->assistant, name, sizeof name, mlt_wall_ms(call->assistant, moment.local));
        if (name[0] >= 'a' && name[0] <= 'z') name[0] = (char)(name[0] - 'a' + 'A');
        char there[256];
        if (where->name)
            snprintf(there, sizeof there, call->language == MLT_CHINESE ? "%2$s%1$s" : "%1$s in %2$s", name,
                     where->name);
        else
            snprintf(there, sizeof there, "%s", name);
        say_day(call, daily, (size_t)i, there);
        return;
    }
    double temperature = json_number_value(json_object_get(current, "temperature_2m"));
    const char *what = sky(call, (int)json_integer_value(json_object_get(current, "weather_code")));
    if (where->name)
        mlt_call_say(call, "In %s it's %.0f degrees, %s.", "%s现在%.0f度，%s。", where->name,
                     round(temperature), what);
    else
        mlt_call_say(call, "It's %.0f degrees, %s.", "现在%.0f度，%s。", round(temperature), what);
    if (i >= 0) say_day(call, daily, (size_t)i, mlt_call_word(call, "Today", "今天"));
}

millet_status mlt_skill_get_weather(millet_call *call, void *context, millet_error *err)
{
    (void)context;
    struct where where = {0};
    json_t *body = NULL;
    int64_t old_ms = 0;
    if (!mlt_parts(call->assistant)->weather) {
        mlt_call_refuse(call, "No weather service is set up.", "没有设置天气服务。");
        return MILLET_OK;
    }
    if (!find_where(call, &where)) return MILLET_OK;
    MLT_TRY(forecast(call, &where, &body, &old_ms, err));
    if (!body) {
        mlt_call_refuse(call, "I'm offline and can't get the weather.", "现在离线，查不到天气。");
        return MILLET_OK;
    }
    if (old_ms > 0) {
        char age[96];
        mlt_spoken_duration(age, sizeof age, old_ms / 60000 * 60000, call->language);
        mlt_call_say(call, "I'm offline; this is %s old.", "现在离线，这是%s前的数据。", age);
    }
    say_weather(call, &where, body);
    json_decref(body);
    return MILLET_OK;
}
