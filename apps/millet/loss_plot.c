/* The losses of a log as a page with one SVG picture. SPDX-License-Identifier: Apache-2.0 */
#include "loss_plot.h"

#include "cli.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct point {
    double step, loss, evaluation; /* NAN: none */
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
        struct point point = {number(value, "step"), number(value, "loss"), number(value, "evaluation_loss")};
        if (isfinite(point.step) && isfinite(point.loss))
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
                LEFT, WIDTH - RIGHT, y_of(v, t), y_of(v, t), LEFT - 8, y_of(v, t) + 4, t);
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
static void draw_losses(const struct view *v, const struct points *p)
{
    size_t group = p->count / MOST_POINTS + 1;
    fputs("<polyline class='loss' points='", v->out);
    for (size_t i = 0; i < p->count; i += group) {
        double step = 0, loss = 0, n = 0;
        for (size_t j = i; j < p->count && j < i + group; j++, n++) {
            step += p->items[j].step;
            loss += p->items[j].loss;
        }
        fprintf(v->out, "%.1f,%.1f ", x_of(v, step / n), y_of(v, loss / n));
    }
    fputs("'/>\n<polyline class='evaluation' points='", v->out);
    for (size_t i = 0; i < p->count; i++)
        if (isfinite(p->items[i].evaluation))
            fprintf(v->out, "%.1f,%.1f ", x_of(v, p->items[i].step), y_of(v, p->items[i].evaluation));
    fputs("'/>\n", v->out);
    for (size_t i = 0; i < p->count; i++)
        if (isfinite(p->items[i].evaluation))
            fprintf(v->out,
                    "<circle class='evaluation' cx='%.1f' cy='%.1f' r='3'><title>step %.0f: "
                    "%.4f</title></circle>\n",
                    x_of(v, p->items[i].step), y_of(v, p->items[i].evaluation), p->items[i].step,
                    p->items[i].evaluation);
}

static void draw(FILE *out, const struct points *p)
{
    struct view v = {.out = out,
                     .first = p->items[0].step,
                     .last = p->items[p->count - 1].step,
                     .low = INFINITY,
                     .high = -INFINITY};
    for (size_t i = 0; i < p->count; i++) {
        const struct point *point = &p->items[i];
        v.low = fmin(v.low, fmin(point->loss, point->evaluation)); /* fmin and fmax pass over NAN */
        v.high = fmax(v.high, fmax(point->loss, point->evaluation));
    }
    double margin = fmax((v.high - v.low) * 0.03, 1e-6);
    v.low -= margin;
    v.high += margin;
    const struct point *end = &p->items[p->count - 1];
    fprintf(
        out,
        "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'><title>millet train</title>\n<style>\n"
        "body{font:14px sans-serif;margin:2em;color:#222;background:#fff}\n"
        "svg{max-width:100%%;height:auto}text{font:12px sans-serif;fill:#555}\n"
        ".grid{stroke:#ddd}.loss{fill:none;stroke:#3366aa}\n"
        "polyline.evaluation{fill:none;stroke:#cc6633;stroke-width:2}circle.evaluation{fill:#cc6633}\n"
        "</style></head><body>\n<p>Loss in nats a token after step %.0f: <b>%.4f</b>. Blue: training. "
        "Orange: "
        "evaluation.</p>\n<svg viewBox='0 0 %d %d' role='img' aria-label='loss by step'>\n",
        end->step, end->loss, WIDTH, HEIGHT);
    draw_axes(&v);
    draw_losses(&v, p);
    fputs("</svg>\n</body></html>\n", out);
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
