/*
 * Places. Latitudes and longitudes to a hundredth of a degree: enough for a forecast.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "assistant/places.h"

#include <string.h>
#include <strings.h>

static const struct mlt_place places[] = {
    {"London", "伦敦", "england|uk|united kingdom|britain|英国", "Europe/London", 51.51F, -0.13F},
    {"Paris", "巴黎", "france|法国", "Europe/Paris", 48.85F, 2.35F},
    {"Berlin", "柏林", "germany|德国", "Europe/Berlin", 52.52F, 13.41F},
    {"Munich", "慕尼黑", NULL, "Europe/Berlin", 48.14F, 11.58F},
    {"Hamburg", "汉堡", NULL, "Europe/Berlin", 53.55F, 9.99F},
    {"Vienna", "维也纳", "austria|奥地利", "Europe/Vienna", 48.21F, 16.37F},
    {"Zurich", "苏黎世", "switzerland|瑞士", "Europe/Zurich", 47.37F, 8.54F},
    {"Rome", "罗马", "italy|意大利", "Europe/Rome", 41.89F, 12.51F},
    {"Madrid", "马德里", "spain|西班牙", "Europe/Madrid", 40.42F, -3.70F},
    {"Barcelona", "巴塞罗那", NULL, "Europe/Madrid", 41.39F, 2.16F},
    {"Lisbon", "里斯本", "portugal|葡萄牙", "Europe/Lisbon", 38.73F, -9.15F},
    {"Amsterdam", "阿姆斯特丹", "netherlands|荷兰", "Europe/Amsterdam", 52.37F, 4.89F},
    {"Brussels", "布鲁塞尔", "belgium|比利时", "Europe/Brussels", 50.85F, 4.35F},
    {"Dublin", "都柏林", "ireland|爱尔兰", "Europe/Dublin", 53.33F, -6.25F},
    {"Copenhagen", "哥本哈根", "denmark|丹麦", "Europe/Copenhagen", 55.68F, 12.57F},
    {"Stockholm", "斯德哥尔摩", "sweden|瑞典", "Europe/Stockholm", 59.33F, 18.07F},
    {"Oslo", "奥斯陆", "norway|挪威", "Europe/Oslo", 59.91F, 10.75F},
    {"Helsinki", "赫尔辛基", "finland|芬兰", "Europe/Helsinki", 60.17F, 24.94F},
    {"Warsaw", "华沙", "poland|波兰", "Europe/Warsaw", 52.23F, 21.01F},
    {"Prague", "布拉格", "czech republic|捷克", "Europe/Prague", 50.09F, 14.42F},
    {"Athens", "雅典", "greece|希腊", "Europe/Athens", 37.98F, 23.73F},
    {"Istanbul", "伊斯坦布尔", "turkey|土耳其", "Europe/Istanbul", 41.01F, 28.95F},
    {"Moscow", "莫斯科", "russia|俄罗斯", "Europe/Moscow", 55.75F, 37.62F},
    {"Kyiv", "基辅", "kiev|ukraine|乌克兰", "Europe/Kyiv", 50.45F, 30.52F},
    {"Cairo", "开罗", "egypt|埃及", "Africa/Cairo", 30.06F, 31.25F},
    {"Lagos", "拉各斯", "nigeria", "Africa/Lagos", 6.45F, 3.39F},
    {"Nairobi", "内罗毕", "kenya|肯尼亚", "Africa/Nairobi", -1.28F, 36.82F},
    {"Johannesburg", "约翰内斯堡", "south africa|南非", "Africa/Johannesburg", -26.20F, 28.04F},
    {"Dubai", "迪拜", "uae", "Asia/Dubai", 25.08F, 55.31F},
    {"Tehran", "德黑兰", "iran|伊朗", "Asia/Tehran", 35.69F, 51.42F},
    {"Karachi", "卡拉奇", "pakistan", "Asia/Karachi", 24.86F, 67.01F},
    {"Mumbai", "孟买", "bombay|india|印度", "Asia/Kolkata", 19.07F, 72.88F},
    {"Delhi", "德里", "new delhi|新德里", "Asia/Kolkata", 28.65F, 77.23F},
    {"Kathmandu", "加德满都", "nepal|尼泊尔", "Asia/Kathmandu", 27.70F, 85.32F},
    {"Bangkok", "曼谷", "thailand|泰国", "Asia/Bangkok", 13.75F, 100.50F},
    {"Singapore", "新加坡", NULL, "Asia/Singapore", 1.29F, 103.85F},
    {"Jakarta", "雅加达", "indonesia", "Asia/Jakarta", -6.21F, 106.85F},
    {"Hanoi", "河内", "vietnam|越南", "Asia/Ho_Chi_Minh", 21.02F, 105.84F},
    {"Hong Kong", "香港", NULL, "Asia/Hong_Kong", 22.28F, 114.17F},
    {"Beijing", "北京", "peking|china|中国", "Asia/Shanghai", 39.91F, 116.40F},
    {"Shanghai", "上海", NULL, "Asia/Shanghai", 31.22F, 121.46F},
    {"Guangzhou", "广州", "canton", "Asia/Shanghai", 23.12F, 113.25F},
    {"Shenzhen", "深圳", NULL, "Asia/Shanghai", 22.55F, 114.07F},
    {"Chengdu", "成都", NULL, "Asia/Shanghai", 30.67F, 104.07F},
    {"Hangzhou", "杭州", NULL, "Asia/Shanghai", 30.29F, 120.16F},
    {"Wuhan", "武汉", NULL, "Asia/Shanghai", 30.58F, 114.27F},
    {"Xi'an", "西安", "xian", "Asia/Shanghai", 34.26F, 108.93F},
    {"Nanjing", "南京", NULL, "Asia/Shanghai", 32.06F, 118.78F},
    {"Qingdao", "青岛", NULL, "Asia/Shanghai", 36.06F, 120.38F},
    {"Taipei", "台北", "taiwan|台湾", "Asia/Taipei", 25.05F, 121.53F},
    {"Seoul", "首尔", "korea|south korea|韩国", "Asia/Seoul", 37.57F, 126.98F},
    {"Tokyo", "东京", "japan|日本", "Asia/Tokyo", 35.69F, 139.69F},
    {"Osaka", "大阪", NULL, "Asia/Tokyo", 34.69F, 135.50F},
    {"Sydney", "悉尼", NULL, "Australia/Sydney", -33.87F, 151.21F},
    {"Melbourne", "墨尔本", NULL, "Australia/Melbourne", -37.81F, 144.96F},
    {"Perth", "珀斯", NULL, "Australia/Perth", -31.95F, 115.86F},
    {"Auckland", "奥克兰", "new zealand|新西兰", "Pacific/Auckland", -36.85F, 174.76F},
    {"Honolulu", "檀香山", "hawaii|夏威夷", "Pacific/Honolulu", 21.31F, -157.86F},
    {"Los Angeles", "洛杉矶", "la|l.a|california|加州|pacific time", "America/Los_Angeles", 34.05F, -118.24F},
    {"San Francisco", "旧金山", "sf", "America/Los_Angeles", 37.77F, -122.42F},
    {"Seattle", "西雅图", NULL, "America/Los_Angeles", 47.61F, -122.33F},
    {"Denver", "丹佛", "mountain time", "America/Denver", 39.74F, -104.98F},
    {"Chicago", "芝加哥", "central time", "America/Chicago", 41.85F, -87.65F},
    {"Houston", "休斯敦", "texas", "America/Chicago", 29.76F, -95.36F},
    {"New York", "纽约", "nyc|new york city|eastern time", "America/New_York", 40.71F, -74.01F},
    {"Boston", "波士顿", NULL, "America/New_York", 42.36F, -71.06F},
    {"Washington", "华盛顿", "washington dc", "America/New_York", 38.90F, -77.04F},
    {"Miami", "迈阿密", "florida", "America/New_York", 25.77F, -80.19F},
    {"Toronto", "多伦多", NULL, "America/Toronto", 43.71F, -79.40F},
    {"Vancouver", "温哥华", NULL, "America/Vancouver", 49.25F, -123.12F},
    {"Mexico City", "墨西哥城", "mexico|墨西哥", "America/Mexico_City", 19.43F, -99.13F},
    {"Bogota", "波哥大", "colombia", "America/Bogota", 4.61F, -74.08F},
    {"Lima", "利马", "peru|秘鲁", "America/Lima", -12.04F, -77.03F},
    {"Sao Paulo", "圣保罗", "brazil|são paulo|巴西", "America/Sao_Paulo", -23.55F, -46.64F},
    {"Buenos Aires", "布宜诺斯艾利斯", "argentina|阿根廷", "America/Argentina/Buenos_Aires", -34.61F,
     -58.38F},
    {"UTC", "世界时", "gmt|greenwich", "UTC", 51.48F, 0},
};

static int same(const char *name, size_t length, const char *other, size_t n)
{
    return length == n && strncasecmp(name, other, n) == 0;
}

static int has_name(const struct mlt_place *place, const char *name, size_t length)
{
    if (same(name, length, place->english, strlen(place->english)) ||
        same(name, length, place->chinese, strlen(place->chinese)))
        return 1;
    for (const char *at = place->other; at && *at; at += strspn(at, "|")) {
        size_t n = strcspn(at, "|");
        if (same(name, length, at, n)) return 1;
        at += n;
    }
    return 0;
}

const struct mlt_place *mlt_place_find(const char *name, size_t length)
{
    static const char city[] = "市";
    if (length > 4 && strncasecmp(name, "the ", 4) == 0) {
        name += 4;
        length -= 4;
    }
    size_t suffix = sizeof city - 1;
    if (length > suffix && memcmp(name + length - suffix, city, suffix) == 0) length -= suffix;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
        if (has_name(&places[i], name, length)) return &places[i];
    return NULL;
}
