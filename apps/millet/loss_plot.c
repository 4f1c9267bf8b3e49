/* The losses of a log as a page with one SVG picture. SPDX-License-Identifier: Apache-2.0 */
#include "loss_plot.h"

#include "cli.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What a log may say of a step, in the order of drawing: evaluations lie above what is trained on. */
static const struct series {
    const char *key, *name, *colour;
    bool parts;      /* an error in parts of the teacher's square, 0 to about 1; else nats a token */
    bool evaluation; /* measured on what is kept apart, at few steps */
} series[] = {
    {"loss", "training: loss", "#3366aa", false, false},
    {"tag_loss", "training: loss of tags", "#338855", false, false},
    {"divergence", "training: divergence from the teacher", "#8855aa", false, false},
    {"hidden", "training: error of hidden states", "#3366aa", true, false},
    {"attention", "training: error of attention", "#8855aa", true, false},
    {"evaluation_loss", "held out: loss", "#cc6633", false, true},
    {"evaluation_token_loss", "held out: loss of next tokens", "#aa2244", false, true},
    {"evaluation_tag_loss", "held out: loss of tags", "#88aa22", false, true},
    {"evaluation_divergence", "held out: divergence from the teacher", "#dd55aa", false, true},
    {"evaluation_hidden", "held out: error of hidden states", "#cc6633", true, true},
    {"evaluation_attention", "held out: error of attention", "#dd55aa", true, true},
};
enum { N_SERIES = sizeof series / sizeof series[0], LOSS = 0 };

struct point {
    double step, values[N_SERIES]; /* NAN: none */
};

struct points {
    struct point *items;
    size_t count, capacity;
};

static bool add_point(struct points *p, struct point point)
{
    /* A resumed run repeats the steps that were lost: what it says of them, and of all after them, is newer.
     */
    while (p->count > 0 && p->items[p->count - 1].step >= point.step)
        p->count--;
    if (p->count == p->capacity) {
        size_t capacity = p->capacity ? 2 * p->capacity : 1024;
        struct point *items = realloc(p->items, capacity * sizeof *items);
        if (!items) return false;
        p->items = items;
        p->capacity = capacity;
    }
    p->items[p->count++] = point;
    return true;
}

static double number(const json_t *line, const char *key)
{
    const json_t *value = json_object_get(line, key);
    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

static bool read_points(const char *log, struct points *p)
{
    FILE *file = fopen(log, "r");
    char *line = NULL;
    size_t capacity = 0;
    bool fine = file != NULL;
    while (fine && getline(&line, &capacity, file) > 0) {
        json_t *value = json_loads(line, 0, NULL);
        struct point point = {.step = number(value, "step")};
        for (int i = 0; i < N_SERIES; i++)
            point.values[i] = number(value, series[i].key);
        if (isfinite(point.step) && isfinite(point.values[LOSS]))
            fine = add_point(p, point); /* a torn last line is passed over */
        json_decref(value);
    }
    free(line);
    if (file) fclose(file);
    return fine;
}

enum { WIDTH = 960, HEIGHT = 480, LEFT = 64, RIGHT = 16, TOP = 16, BOTTOM = 40, MOST_POINTS = 1500 };

struct view {
    FILE *out;
    double first, last, low, high; /* steps, losses */
};

static double x_of(const struct view *v, double step)
{
    return LEFT + (step - v->first) / fmax(v->last - v->first, 1) * (WIDTH - LEFT - RIGHT);
}

static double y_of(const struct view *v, double loss)
{
    return TOP + (v->high - loss) / (v->high - v->low) * (HEIGHT - TOP - BOTTOM);
}

/* 1, 2 or 5 times a power of ten, so that about `wanted` of them span the range. */
static double tick_of(double range, int wanted)
{
    double raw = range / wanted, power = pow(10, floor(log10(raw)));
    return raw / power > 5 ? 10 * power : raw / power > 2 ? 5 * power : raw / power > 1 ? 2 * power : power;
}

static void draw_axes(const struct view *v)
{
    double tick = tick_of(v->high - v->low, 6);
    for (double t = ceil(v->low / tick) * tick; t <= v->high + tick * 1e-9; t += tick)
        fprintf(v->out,
                "<line class='grid' x1='%d' x2='%d' y1='%.1f' y2='%.1f'/><text x='%d' y='%.1f' "
                "text-anchor='end'>%.4g</text>\n",
                LEFT, WIDTH - RIGHT, y_of(v, t), y_of(v, t), LEFT - 8, y_of(v, t) + 4,
                fabs(t) < tick / 2 ? 0 : t);
    tick = fmax(tick_of(fmax(v->last - v->first, 1), 8), 1);
    for (double t = ceil(v->first / tick) * tick; t <= v->last + tick * 1e-9; t += tick)
        fprintf(v->out,
                "<line class='grid' x1='%.1f' x2='%.1f' y1='%d' y2='%d'/><text x='%.1f' y='%d' "
                "text-anchor='middle'>%.0f</text>\n",
                x_of(v, t), x_of(v, t), TOP, HEIGHT - BOTTOM, x_of(v, t), HEIGHT - BOTTOM + 18, t);
    fprintf(v->out, "<text x='%d' y='%d' text-anchor='middle'>step</text>\n", (LEFT + WIDTH - RIGHT) / 2,
            HEIGHT - 6);
}

/* Neighbours are drawn as their mean where there are more than the eye can tell apart. */
static void draw_line(const struct view *v, const struct points *p, int which)
{
    const struct series *s = &series[which];
    size_t group = s->evaluation ? 1 : p->count / MOST_POINTS + 1;
    fprintf(v->out, "<polyline stroke='%s' stroke-width='%d' points='", s->colour, s->evaluation ? 2 : 1);
    for (size_t i = 0; i < p->count; i += group) {
        double step = 0, value = 0, n = 0;
        for (size_t j = i; j < p->count && j < i + group; j++) {
            if (!isfinite(p->items[j].values[which])) continue;
            step += p->items[j].step;
            value += p->items[j].values[which];
            n++;
        }
        if (n > 0) fprintf(v->out, "%.1f,%.1f ", x_of(v, step / n), y_of(v, value / n));
    }
    fputs("'/>\n", v->out);
    for (size_t i = 0; s->evaluation && i < p->count; i++)
        if (isfinite(p->items[i].values[which]))
            fprintf(
                v->out,
                "<circle fill='%s' cx='%.1f' cy='%.1f' r='3'><title>%s, step %.0f: %.4f</title></circle>\n",
                s->colour, x_of(v, p->items[i].step), y_of(v, p->items[i].values[which]), s->name,
                p->items[i].step, p->items[i].values[which]);
}

/* The last value of a series and its least one. */
struct extent {
    size_t count;
    double last, last_step, least, least_step, most;
};

static struct extent extent_of(const struct points *p, int which)
{
    struct extent e = {.least = INFINITY, .most = -INFINITY};
    for (size_t i = 0; i < p->count; i++) {
        double value = p->items[i].values[which];
        if (!isfinite(value)) continue;
        e.count++;
        e.last = value;
        e.last_step = p->items[i].step;
        if (value < e.least) {
            e.least = value;
            e.least_step = p->items[i].step;
        }
        e.most = fmax(e.most, value);
    }
    return e;
}

/* The series of one unit together, with what each line is. */
static void draw_unit(FILE *out, const struct points *p, bool parts, const char *title)
{
    struct view v = {.out = out,
                     .first = p->items[0].step,
                     .last = p->items[p->count - 1].step,
                     .low = INFINITY,
                     .high = -INFINITY};
    struct extent extents[N_SERIES];
    for (int i = 0; i < N_SERIES; i++) {
        extents[i] = extent_of(p, i);
        if (series[i].parts != parts || extents[i].count == 0) continue;
        v.low = fmin(v.low, extents[i].least);
        v.high = fmax(v.high, extents[i].most);
    }
    if (v.low > v.high) return;
    double margin = fmax((v.high - v.low) * 0.03, 1e-6);
    v.low -= margin;
    v.high += margin;
    fprintf(out, "<h2>%s</h2>\n<svg viewBox='0 0 %d %d' role='img' aria-label='%s by step'>\n", title, WIDTH,
            HEIGHT, title);
    draw_axes(&v);
    for (int i = 0; i < N_SERIES; i++)
        if (series[i].parts == parts && extents[i].count > 0) draw_line(&v, p, i);
    fputs("</svg>\n<table><tr><th></th><th>line</th><th>last</th><th>at step</th><th>least</th><th>at "
          "step</th></tr>\n",
          out);
    for (int i = 0; i < N_SERIES; i++)
        if (series[i].parts == parts && extents[i].count > 0)
            fprintf(out,
                    "<tr><td><svg class='key' viewBox='0 0 30 10'><path d='M0 5H30' stroke='%s' "
                    "stroke-width='%d'/></svg></td><td>%s</td><td>%.4f</td><td>%.0f</td><td>%.4f</td>"
                    "<td>%.0f</td></tr>\n",
                    series[i].colour, series[i].evaluation ? 3 : 1, series[i].name, extents[i].last,
                    extents[i].last_step, extents[i].least, extents[i].least_step);
    fputs("</table>\n", out);
}

static void draw(FILE *out, const struct points *p)
{
    const struct point *end = &p->items[p->count - 1];
    fprintf(
        out,
        "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'><title>millet train</title>\n<style>\n"
        "body{font:14px sans-serif;margin:2em;color:#222;background:#fff}h2{font-size:16px}\n"
        "svg{max-width:100%%;height:auto}svg.key{width:30px;height:10px}text{font:12px "
        "sans-serif;fill:#555}\n"
        ".grid{stroke:#ddd}polyline{fill:none}\n"
        "td,th{padding:1px 10px;text-align:right}td:nth-child(2),th:nth-child(2){text-align:left}\n"
        "</style></head><body>\n<p>Training loss after step %.0f: <b>%.4f</b> nats a token.</p>\n",
        end->step, end->values[LOSS]);
    draw_unit(out, p, false, "nats a token");
    draw_unit(out, p, true, "error in parts of the teacher&rsquo;s square");
    fputs("</body></html>\n", out);
}

bool cli_loss_plot(const char *log, const char *page)
{
    struct points p = {0};
    bool fine = read_points(log, &p);
    if (fine && p.count > 0) {
        /* Beside it first, so that a browser never sees half a page. */
        size_t length = strlen(page) + sizeof ".tmp";
        char *temporary = malloc(length);
        FILE *out = NULL;
        if (temporary) {
            snprintf(temporary, length, "%s.tmp", page);
            out = fopen(temporary, "w");
        }
        fine = out != NULL;
        if (out) {
            draw(out, &p);
            fine = !ferror(out);
            fine = fclose(out) == 0 && fine;
            if (fine) fine = rename(temporary, page) == 0;
            if (!fine) remove(temporary);
        }
        free(temporary);
    }
    free(p.items);
    return fine;
}
