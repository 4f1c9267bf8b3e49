/* Maps of a model's matrices: a column for each layer, a row for each kind. SPDX-License-Identifier:
 * Apache-2.0 */
#include "compact_pictures.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_KINDS = 48, ROW = 26, LEFT = 150, TOP = 22, WIDTH = 960, BARS = 150 };
static const double WANTED_BITS = 4.5;

/* A cell: a matrix of a layer. */
struct cell {
    const char *kind;
    size_t kind_length;
    int layer; /* -1: of no layer */
    const char *name, *type;
    double bits, value; /* value: what the colour stands for; NAN: none */
};

struct map {
    struct cell *cells;
    size_t n_cells;
    const char *kinds[MOST_KINDS];
    size_t lengths[MOST_KINDS];
    size_t n_kinds; /* those of layers come first */
    int n_layers;
};

/* "blk.3.attn_q.weight" is kind "attn_q" of layer 3, "token_embd.weight" of none. */
static void name_cell(struct cell *cell)
{
    const char *at = cell->name;
    char *rest;
    cell->layer = -1;
    if (strncmp(at, "blk.", 4) == 0) {
        long layer = strtol(at + 4, &rest, 10);
        if (rest > at + 4 && *rest == '.' && layer >= 0 && layer < 100000) {
            cell->layer = (int)layer;
            at = rest + 1;
        }
    }
    cell->kind = at;
    const char *end = strstr(at, ".weight");
    cell->kind_length = end ? (size_t)(end - at) : strlen(at);
}

static size_t kind_of(const struct map *map, const struct cell *cell)
{
    size_t i = 0;
    while (i < map->n_kinds && (map->lengths[i] != cell->kind_length ||
                                memcmp(map->kinds[i], cell->kind, cell->kind_length) != 0))
        i++;
    return i;
}

static void add_kinds(struct map *map, bool of_layers)
{
    for (size_t i = 0; i < map->n_cells; i++) {
        const struct cell *cell = &map->cells[i];
        if ((cell->layer >= 0) != of_layers || map->n_kinds == MOST_KINDS) continue;
        if (cell->layer >= map->n_layers) map->n_layers = cell->layer + 1;
        size_t kind = kind_of(map, cell);
        if (kind < map->n_kinds) continue;
        map->kinds[kind] = cell->kind;
        map->lengths[kind] = cell->kind_length;
        map->n_kinds++;
    }
}

static double bits_of(uint64_t bytes, const int64_t *shape)
{
    double elements = 1;
    for (int k = 0; k < MILLET_PLAN_DIMS && shape[k]; k++)
        elements *= (double)shape[k];
    return 8 * (double)bytes / elements;
}

/* The type of a matrix nearest to the bits wanted. */
static const millet_sensitivity_type *near_type(const millet_sensitivity_tensor *tensor)
{
    const millet_sensitivity_type *best = &tensor->types[0];
    for (size_t k = 1; k + 1 < tensor->n_types; k++)
        if (fabs(bits_of(tensor->types[k].bytes, tensor->shape) - WANTED_BITS) <
            fabs(bits_of(best->bytes, tensor->shape) - WANTED_BITS))
            best = &tensor->types[k];
    return best;
}

static bool make_map(const struct compact_report *r, bool of_bits, struct map *map)
{
    size_t n = of_bits ? (size_t)r->plan->n_tensors : r->sensitivity->n_tensors;
    *map = (struct map){.cells = calloc(n ? n : 1, sizeof *map->cells)};
    if (!map->cells) return false;
    for (size_t i = 0; i < n; i++) {
        struct cell cell = {0};
        if (of_bits) {
            const millet_plan_tensor *t = &r->plan->tensors[i];
            if (!t->shape[1]) continue; /* vectors */
            cell = (struct cell){.name = t->name, .type = t->type, .bits = bits_of(t->bytes, t->shape)};
            cell.value = cell.bits;
        } else {
            const millet_sensitivity_tensor *t = &r->sensitivity->tensors[i];
            const millet_sensitivity_type *type = near_type(t);
            cell = (struct cell){.name = t->name, .type = type->type, .bits = bits_of(type->bytes, t->shape)};
            cell.value = type->kl;
        }
        name_cell(&cell);
        map->cells[map->n_cells++] = cell;
    }
    add_kinds(map, true);
    add_kinds(map, false);
    return map->n_kinds > 0;
}

/* From light to dark blue; `part` from 0 to 1. */
static void put_colour(FILE *out, double part)
{
    part = fmin(fmax(part, 0), 1);
    fprintf(out, "fill='rgb(%.0f,%.0f,%.0f)'", 239 - 231 * part, 243 - 195 * part, 255 - 148 * part);
}

static void draw_cells(const struct map *map, bool of_bits, double low, double high, FILE *out)
{
    int columns = map->n_layers ? map->n_layers : 1;
    double width = (double)(WIDTH - LEFT) / columns;
    fprintf(out, "<svg viewBox='0 0 %d %zu' role='img' aria-label='%s'>\n", WIDTH,
            TOP + ROW * map->n_kinds + 4, of_bits ? "bits by tensor" : "sensitivity by tensor");
    for (int layer = 0; layer < map->n_layers; layer += 1 + map->n_layers / 40)
        fprintf(out, "<text x='%.1f' y='14' text-anchor='middle'>%d</text>\n", LEFT + width * (layer + 0.5),
                layer);
    fprintf(out, "<text x='%d' y='14' text-anchor='end'>layer</text>\n", LEFT - 8);
    for (size_t i = 0; i < map->n_kinds; i++) {
        fprintf(out, "<text x='%d' y='%zu' text-anchor='end'>", LEFT - 8, TOP + ROW * i + 17);
        fprintf(out, "%.*s</text>\n", (int)map->lengths[i], map->kinds[i]);
    }
    for (size_t i = 0; i < map->n_cells; i++) {
        const struct cell *cell = &map->cells[i];
        size_t kind = kind_of(map, cell), y = TOP + ROW * kind;
        if (kind == map->n_kinds) continue;
        double x = LEFT + width * (cell->layer < 0 ? 0 : cell->layer),
               part = (cell->value - low) / (high - low);
        double wide = cell->layer < 0 ? fmin(WIDTH - LEFT, fmax(width, 80)) : width;
        fprintf(out, "<rect x='%.1f' y='%zu' width='%.1f' height='%d' ", x + 0.5, y, fmax(wide - 1, 0.5),
                ROW - 1);
        put_colour(out, part);
        fputs("><title>", out);
        compact_put_text(out, cell->name);
        fprintf(out, of_bits ? ": %s, %.2f bits" : ": %s, %.2f bits, %.3g nats", cell->type, cell->bits,
                exp(cell->value));
        fputs("</title></rect>\n", out);
        if (wide < 44) continue;
        fprintf(out, "<text class='%s' x='%.1f' y='%zu' text-anchor='middle'>",
                part > 0.5 ? "onDark" : "onLight", x + wide / 2, y + 17);
        if (of_bits)
            fprintf(out, "%s</text>\n", cell->type);
        else
            fprintf(out, "%.1e</text>\n", exp(cell->value));
    }
    fputs("</svg>\n", out);
}

void compact_draw_bits(const struct compact_report *r, FILE *out)
{
    struct map map;
    if (make_map(r, true, &map)) {
        double low = 1, high = 2;
        for (size_t i = 0; i < map.n_cells; i++) {
            map.cells[i].value = log2(map.cells[i].bits);
            high = fmax(high, fmin(map.cells[i].value, 4));
        }
        draw_cells(&map, true, low, high, out);
    }
    free(map.cells);
}

/* The sum over each layer's matrices, as columns under the map. */
static void draw_bars(const struct map *map, FILE *out)
{
    double *sums = calloc((size_t)map->n_layers + 1, sizeof *sums), most = 0;
    if (!sums) return;
    for (size_t i = 0; i < map->n_cells; i++) {
        if (map->cells[i].layer < 0 || !isfinite(map->cells[i].value)) continue;
        sums[map->cells[i].layer] += exp(map->cells[i].value);
        most = fmax(most, sums[map->cells[i].layer]);
    }
    double width = (double)(WIDTH - LEFT) / (map->n_layers ? map->n_layers : 1);
    fprintf(out, "<svg viewBox='0 0 %d %d' role='img' aria-label='sensitivity by layer'>\n", WIDTH,
            BARS + 30);
    fprintf(out, "<text x='%d' y='%d' text-anchor='end'>all of the layer</text>\n", LEFT - 8, BARS / 2);
    for (int i = 0; i < map->n_layers && most > 0; i++) {
        double height = (BARS - 20) * sums[i] / most;
        fprintf(out,
                "<rect class='bar' x='%.1f' y='%.1f' width='%.1f' height='%.1f'><title>layer %d: %.3g "
                "nats</title></rect>\n",
                LEFT + width * i + 1, BARS - height, fmax(width - 2, 0.5), height, i, sums[i]);
        if (width >= 44)
            fprintf(out, "<text x='%.1f' y='%.1f' text-anchor='middle'>%.1e</text>\n",
                    LEFT + width * (i + 0.5), BARS - height - 5, sums[i]);
        if (i % (1 + map->n_layers / 40) == 0)
            fprintf(out, "<text x='%.1f' y='%d' text-anchor='middle'>%d</text>\n", LEFT + width * (i + 0.5),
                    BARS + 18, i);
    }
    fputs("</svg>\n", out);
    free(sums);
}

void compact_draw_sensitivity(const struct compact_report *r, FILE *out)
{
    struct map map;
    if (make_map(r, false, &map)) {
        double low = INFINITY, high = -INFINITY;
        for (size_t i = 0; i < map.n_cells; i++) {
            map.cells[i].value = log(fmax(map.cells[i].value, 1e-12));
            low = fmin(low, map.cells[i].value);
            high = fmax(high, map.cells[i].value);
        }
        draw_cells(&map, false, low, fmax(high, low + 1e-9), out);
        draw_bars(&map, out);
    }
    free(map.cells);
}
