/* The page of a report on compacting. SPDX-License-Identifier: Apache-2.0 */
#include "compact_pictures.h"

#include <math.h>
#include <string.h>

void compact_put_text(FILE *out, const char *text)
{
    for (; *text; text++) {
        switch (*text) {
        case '<': fputs("&lt;", out); break;
        case '>': fputs("&gt;", out); break;
        case '&': fputs("&amp;", out); break;
        case '\'': fputs("&#39;", out); break;
        case '"': fputs("&quot;", out); break;
        default: fputc(*text, out);
        }
    }
}

static const char head[] =
    "<style>\n"
    "body{font:15px/1.5 system-ui,sans-serif;margin:0 auto;padding:24px;max-width:1000px;color:#1c2530;"
    "background:#fff}\n"
    "h1{font-size:22px;margin:0 0 4px;overflow-wrap:anywhere}h2{font-size:17px;margin:34px 0 6px}\n"
    "p{margin:4px 0 10px;color:#4a5563}\n"
    ".tiles{display:flex;flex-wrap:wrap;gap:12px;margin:18px 0}\n"
    ".tile{flex:1 1 150px;border:1px solid #d9dee5;border-radius:8px;padding:10px 14px}\n"
    ".tile b{display:block;font-size:22px}.tile span{color:#4a5563;font-size:13px}\n"
    "table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}\n"
    "th,td{text-align:right;padding:5px 10px;border-bottom:1px solid #e6eaef}\n"
    "th:first-child,td:first-child{text-align:left}th{color:#4a5563;font-weight:600}\n"
    "svg{width:100%;height:auto;display:block}text{font:12px system-ui,sans-serif;fill:#4a5563}\n"
    ".grid{stroke:#e3e8ee}.front{fill:none;stroke:#08306b;stroke-width:2}.plan{fill:#08306b}\n"
    ".type{fill:#9aa5b1}.chosen{fill:none;stroke:#d1491b;stroke-width:3}.measured{fill:#d1491b}\n"
    ".bar{fill:#3f78b5}.onDark{fill:#fff}.onLight{fill:#1c2530}\n"
    ".key{display:inline-block;width:11px;height:11px;border-radius:6px;margin:0 5px 0 14px}\n"
    "summary{cursor:pointer;margin-top:30px;font-weight:600}\n"
    "</style></head><body>\n";

static void put_tile(FILE *out, const char *value, const char *label)
{
    fprintf(out, "<div class='tile'><b>%s</b><span>%s</span></div>\n", value, label);
}

static double bits_of_all(const millet_plan *plan)
{
    double bits = 0, elements = 0;
    for (uint64_t i = 0; i < plan->n_tensors; i++) {
        double n = 1;
        for (int k = 0; k < MILLET_PLAN_DIMS && plan->tensors[i].shape[k]; k++)
            n *= (double)plan->tensors[i].shape[k];
        bits += 8 * (double)plan->tensors[i].bytes;
        elements += n;
    }
    return elements > 0 ? bits / elements : 0;
}

static void put_tiles(const struct compact_report *r, FILE *out)
{
    char text[64];
    const millet_divergence *d = &r->divergence;
    fputs("<div class='tiles'>\n", out);
    put_tile(out, cli_bytes(r->file_bytes), "size of the file");
    snprintf(text, sizeof text, "%.2f", bits_of_all(r->plan));
    put_tile(out, text, "bits a weight");
    snprintf(text, sizeof text, "%.4g", d->kl.value);
    put_tile(out, text, "mean KL divergence, nats");
    snprintf(text, sizeof text, "%.1f%%", 100 * d->agreement.value);
    put_tile(out, text, "same most probable token");
    snprintf(text, sizeof text, "%+.2f%%", 100 * (d->perplexity_ratio.value - 1));
    put_tile(out, text, "perplexity");
    fputs("</div>\n", out);
}

static void put_row(FILE *out, const char *label, const char *before, const char *after, const char *interval)
{
    fprintf(out, "<tr><td>%s</td><td>%s</td><td>%s</td><td>%s</td></tr>\n", label, before, after, interval);
}

static void put_table(const struct compact_report *r, FILE *out)
{
    char a[64], b[64], c[96], label[64];
    const millet_divergence *d = &r->divergence;
    fputs("<h2>Before and after</h2>\n<table><tr><th></th><th>before</th><th>after</th><th>95% "
          "interval</th></tr>\n",
          out);
    put_row(out, "weights", cli_bytes(r->before.weight_bytes), cli_bytes(r->after.weight_bytes), "");
    snprintf(label, sizeof label, "memory with a context of %d", r->memory_ctx);
    put_row(out, label, cli_bytes(r->before.memory_bytes), cli_bytes(r->after.memory_bytes), "");
    if (isfinite(r->before.tokens_per_second) && isfinite(r->after.tokens_per_second)) {
        snprintf(a, sizeof a, "%.1f", r->before.tokens_per_second);
        snprintf(b, sizeof b, "%.1f", r->after.tokens_per_second);
        put_row(out, "tokens a second, generated", a, b, "");
    }
    snprintf(a, sizeof a, "%.4f", r->before.perplexity.value);
    snprintf(b, sizeof b, "%.4f", r->after.perplexity.value);
    snprintf(c, sizeof c, "%.4f to %.4f", r->after.perplexity.low, r->after.perplexity.high);
    put_row(out, "perplexity", a, b, c);
    snprintf(b, sizeof b, "%.5f", d->perplexity_ratio.value);
    snprintf(c, sizeof c, "%.5f to %.5f", d->perplexity_ratio.low, d->perplexity_ratio.high);
    put_row(out, "ratio of perplexities", "", b, c);
    snprintf(b, sizeof b, "%.6f", d->kl.value);
    snprintf(c, sizeof c, "%.6f to %.6f", d->kl.low, d->kl.high);
    put_row(out, "KL divergence, mean", "", b, c);
    snprintf(b, sizeof b, "%.6f", d->kl_median);
    put_row(out, "KL divergence, median", "", b, "");
    snprintf(b, sizeof b, "%.6f", d->kl_99);
    put_row(out, "KL divergence, 99%", "", b, "");
    snprintf(b, sizeof b, "%.2f%%", 100 * d->agreement.value);
    snprintf(c, sizeof c, "%.2f%% to %.2f%%", 100 * d->agreement.low, 100 * d->agreement.high);
    put_row(out, "same most probable token", "", b, c);
    fputs("</table>\n<p>Measured on ", out);
    fprintf(out, "%lld tokens of ", (long long)d->other.n_scored);
    compact_put_text(out, r->text);
    fputs(r->same_text ? ", the text that sensitivity was measured on: other text would say more.</p>\n"
                       : ".</p>\n",
          out);
}

static void put_front(const struct compact_report *r, FILE *out)
{
    fputs("<h2>Size against divergence</h2>\n<p><span class='key' style='background:#08306b'></span>the best "
          "plan of each size<span class='key' style='background:#9aa5b1'></span>types with a name<span "
          "class='key' style='background:#fff;border:3px solid #d1491b;box-sizing:border-box'></span>this "
          "file, "
          "sum over its tensors<span class='key' style='background:#d1491b'></span>this file, measured</p>\n"
          "<p>All but the last are sums of what rounding each matrix alone does.</p>\n",
          out);
    compact_draw_front(r, out);
}

static void put_sensitivity(const struct compact_report *r, FILE *out)
{
    const millet_sensitivity *s = r->sensitivity;
    fprintf(
        out,
        "<h2>Sensitivity by layer</h2>\n<p>Divergence in nats when one matrix alone is rounded to about 4.5 "
        "bits; %zu types of %zu matrices were measured on %lld tokens, %zu estimated from those.</p>\n",
        s->n_measured, s->n_tensors, (long long)s->n_tokens, s->n_estimated);
    compact_draw_sensitivity(r, out);
}

static void put_tensors(const struct compact_report *r, FILE *out)
{
    fputs("<details><summary>All tensors</summary>\n<table><tr><th>tensor</th><th>type</th><th>bytes</th>"
          "<th>divergence</th></tr>\n",
          out);
    for (uint64_t i = 0; i < r->plan->n_tensors; i++) {
        const millet_plan_tensor *t = &r->plan->tensors[i];
        fputs("<tr><td>", out);
        compact_put_text(out, t->name);
        fprintf(out, "</td><td>%s</td><td>%llu</td><td>", t->type, (unsigned long long)t->bytes);
        if (isfinite(t->kl)) fprintf(out, "%.3g", t->kl);
        fputs("</td></tr>\n", out);
    }
    fputs("</table></details>\n", out);
}

bool cli_compact_page(const struct compact_report *r, FILE *out)
{
    fputs("<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'><meta name='viewport' "
          "content='width=device-width'><title>millet compact</title>\n",
          out);
    fputs(head, out);
    fputs("<h1>", out);
    compact_put_text(out, r->after.path);
    fputs("</h1>\n<p>made by millet compact from ", out);
    compact_put_text(out, r->before.path);
    fputs("</p>\n", out);
    put_tiles(r, out);
    put_table(r, out);
    if (r->sensitivity) put_front(r, out);
    fputs("<h2>Bits by tensor</h2>\n<p>The darker, the more bits.</p>\n", out);
    compact_draw_bits(r, out);
    if (r->sensitivity) put_sensitivity(r, out);
    put_tensors(r, out);
    fputs("</body></html>\n", out);
    return !ferror(out);
}
