/* Divergence against size. SPDX-License-Identifier: Apache-2.0 */
#include "compact_pictures.h"

#include <math.h>
#include <string.h>

enum { WIDTH = 960, HEIGHT = 460, LEFT = 76, RIGHT = 24, TOP = 16, BOTTOM = 44 };

/* Both axes are logarithmic. */
struct view {
    FILE *out;
    double left, right, low, high; /* logarithms */
};

static double x_of(const struct view *v, double bytes)
{
    return LEFT + (log(bytes) - v->left) / (v->right - v->left) * (WIDTH - LEFT - RIGHT);
}

static double y_of(const struct view *v, double kl)
{
    return TOP + (v->high - log(kl)) / (v->high - v->low) * (HEIGHT - TOP - BOTTOM);
}

static void draw_axes(const struct view *v)
{
    static const double steps[] = {1, 2, 5};
    FILE *out = v->out;
    double decades = (v->high - v->low) / log(10), octaves = (v->right - v->left) / log(2);
    for (int e = (int)floor(v->low / log(10)); e <= (int)ceil(v->high / log(10)); e++)
        for (int i = 0; i < (decades < 3 ? 3 : 1); i++) {
            double kl = steps[i] * pow(10, e), y = y_of(v, kl);
            if (log(kl) < v->low || log(kl) > v->high) continue;
            fprintf(out,
                    "<line class='grid' x1='%d' x2='%d' y1='%.1f' y2='%.1f'/><text x='%d' y='%.1f' "
                    "text-anchor='end'>%.0e</text>\n",
                    LEFT, WIDTH - RIGHT, y, y, LEFT - 8, y + 4, kl);
        }
    const char *unit = v->right > log(2e9) ? "GB" : v->right > log(2e6) ? "MB" : "kB";
    double scale = *unit == 'G' ? 1e9 : *unit == 'M' ? 1e6 : 1e3;
    static const double marks[] = {1, 2, 5, 3, 1.5, 7}; /* the more, the shorter the axis */
    int n_marks = octaves > 6 ? 3 : octaves > 3 ? 4 : 6;
    for (int e = (int)floor(v->left / log(10)); e <= (int)ceil(v->right / log(10)); e++)
        for (int i = 0; i < n_marks; i++) {
            double bytes = marks[i] * pow(10, e), x = x_of(v, bytes);
            if (log(bytes) < v->left || log(bytes) > v->right) continue;
            fprintf(out,
                    "<line class='grid' x1='%.1f' x2='%.1f' y1='%d' y2='%d'/><text x='%.1f' y='%d' "
                    "text-anchor='middle'>%.4g</text>\n",
                    x, x, TOP, HEIGHT - BOTTOM, x, HEIGHT - BOTTOM + 18, bytes / scale);
        }
    fprintf(out, "<text x='%d' y='%d' text-anchor='middle'>size of the file, %s</text>\n",
            (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, unit);
    fprintf(
        out,
        "<text x='14' y='%d' text-anchor='middle' transform='rotate(-90 14 %d)'>divergence, nats</text>\n",
        HEIGHT / 2, HEIGHT / 2);
}

static void include(struct view *v, double bytes, double kl)
{
    if (!(kl > 0) || !(bytes > 0)) return;
    v->left = fmin(v->left, log(bytes));
    v->right = fmax(v->right, log(bytes));
    v->low = fmin(v->low, log(kl));
    v->high = fmax(v->high, log(kl));
}

/* Where the names of types stand; one that would cover another is left out. */
struct labels {
    double x[COMPACT_MOST_POINTS], y[COMPACT_MOST_POINTS];
    size_t n;
};

static bool has_room(struct labels *labels, double x, double y)
{
    for (size_t i = 0; i < labels->n; i++)
        if (fabs(labels->x[i] - x) < 52 && fabs(labels->y[i] - y) < 13) return false;
    labels->x[labels->n] = x;
    labels->y[labels->n++] = y;
    return true;
}

static void draw_points(const struct view *v, const struct compact_report *r)
{
    FILE *out = v->out;
    struct labels labels = {.n = 0};
    fputs("<polyline class='front' points='", out);
    for (size_t i = 0; i < r->n_points; i++)
        if (!r->points[i].type && r->points[i].kl > 0)
            fprintf(out, "%.1f,%.1f ", x_of(v, (double)r->points[i].file_bytes), y_of(v, r->points[i].kl));
    fputs("'/>\n", out);
    for (size_t i = 0; i < r->n_points; i++) {
        const struct compact_point *p = &r->points[i];
        if (!(p->kl > 0)) continue;
        double x = x_of(v, (double)p->file_bytes), y = y_of(v, p->kl);
        fprintf(out,
                "<circle class='%s' cx='%.1f' cy='%.1f' r='%d'><title>%s: %s, %.3g nats</title></circle>\n",
                p->type ? "type" : "plan", x, y, p->type ? 4 : 3, p->type ? p->type : "a plan",
                cli_bytes(p->file_bytes), p->kl);
        if (p->type && has_room(&labels, x, y))
            fprintf(out, "<text x='%.1f' y='%.1f'>%s</text>\n", x + 7, y - 5, p->type);
    }
}

static void draw_chosen(const struct view *v, const struct compact_report *r)
{
    double kl[] = {r->plan->kl, r->divergence.kl.value};
    static const char *const names[] = {"chosen, sum over tensors", "chosen, as measured"};
    for (int i = 0; i < 2; i++)
        if (kl[i] > 0)
            fprintf(v->out,
                    "<circle class='chosen%s' cx='%.1f' cy='%.1f' r='7'><title>%s: %s, %.3g "
                    "nats</title></circle>\n",
                    i ? " measured" : "", x_of(v, (double)r->file_bytes), y_of(v, kl[i]), names[i],
                    cli_bytes(r->file_bytes), kl[i]);
}

void compact_draw_front(const struct compact_report *r, FILE *out)
{
    struct view v = {out, INFINITY, -INFINITY, INFINITY, -INFINITY};
    for (size_t i = 0; i < r->n_points; i++)
        include(&v, (double)r->points[i].file_bytes, r->points[i].kl);
    include(&v, (double)r->file_bytes, r->plan->kl);
    include(&v, (double)r->file_bytes, r->divergence.kl.value);
    if (!(v.right > v.left) || !(v.high > v.low)) return;
    double x = 0.04 * (v.right - v.left), y = 0.05 * (v.high - v.low);
    v.left -= x;
    v.right += 2 * x;
    v.low -= y;
    v.high += y;
    fprintf(out, "<svg viewBox='0 0 %d %d' role='img' aria-label='divergence by size'>\n", WIDTH, HEIGHT);
    draw_axes(&v);
    draw_points(&v, r);
    draw_chosen(&v, r);
    fputs("</svg>\n", out);
}
