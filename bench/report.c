#include "bench/report.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_MAX = 32 };

struct text {
    char text[TEXT_MAX];
};

void pt_pair_add(struct pt_pair *pair, const struct pt_tally *ours, const struct pt_tally *peers)
{
    size_t at = pair->count;

    if (at == PT_ROUNDS_MAX)
        return;
    pair->rates[at] = (double)ours->count * 1e9 / (double)ours->ns;
    pair->peer_rates[at] = (double)peers->count * 1e9 / (double)peers->ns;
    pair->ratios[at] = pair->rates[at] / pair->peer_rates[at];
    pair->count++;
}

static int compare_double(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(const double *values, size_t count)
{
    double sorted[PT_ROUNDS_MAX];

    memcpy(sorted, values, count * sizeof(*values));
    qsort(sorted, count, sizeof(*sorted), compare_double);
    return (sorted[count / 2] + sorted[(count - 1) / 2]) / 2;
}

/* 3.21 M/s, 45.6 k/s */
static struct text rate_text(double rate)
{
    struct text text;

    if (rate >= 1e6)
        (void)snprintf(text.text, sizeof(text.text), "%.2f M/s", rate / 1e6);
    else if (rate >= 1e3)
        (void)snprintf(text.text, sizeof(text.text), "%.2f k/s", rate / 1e3);
    else
        (void)snprintf(text.text, sizeof(text.text), "%.2f /s", rate);
    return text;
}

/* 312 ns, 4.5 us, 1.2 ms */
static struct text time_text(double ns)
{
    struct text text;

    if (ns < 1e3)
        (void)snprintf(text.text, sizeof(text.text), "%.*f ns", ns < 99.5 ? 1 : 0, ns);
    else if (ns < 1e6)
        (void)snprintf(text.text, sizeof(text.text), "%.2f us", ns / 1e3);
    else
        (void)snprintf(text.text, sizeof(text.text), "%.2f ms", ns / 1e6);
    return text;
}

void pt_report_context(const struct pt_report *report, const char *format, ...)
{
    va_list arguments;
    (void)report;

    (void)fputs("# ", stdout);
    va_start(arguments, format);
    (void)vprintf(format, arguments);
    va_end(arguments);
    (void)putchar('\n');
    (void)fflush(stdout);
}

static void heading(struct pt_report *report)
{
    if (report->started)
        return;
    report->started = true;
    if (report->tsv)
        (void)printf("workload\tentries\tpeer\tpeat_per_s\tpeer_per_s\tratio\tratio_low\t"
                     "ratio_high\trequired_ratio\trequired_per_s\tverdict\n");
    else
        (void)printf("%-22s %9s %12s %12s %7s %9s %-6s %10s %10s  %s\n", "workload", "entries",
                     "peat", "peer", "ratio", "required", "", "peat each", "peer each", "peer");
}

static const char *verdict(struct pt_report *report, double rate, double ratio,
                           struct pt_required required)
{
    if (required.ratio <= 0 && required.rate <= 0)
        return "";
    if (ratio < required.ratio || rate < required.rate) {
        report->below_count++;
        return "BELOW";
    }
    report->met_count++;
    return "ok";
}

static struct text required_text(struct pt_required required)
{
    struct text text = {""};

    if (required.rate > 0)
        return rate_text(required.rate);
    if (required.ratio > 0)
        (void)snprintf(text.text, sizeof(text.text), "%.2f", required.ratio);
    return text;
}

static void extremes(const struct pt_pair *pair, double *low_out, double *high_out)
{
    *low_out = pair->ratios[0];
    *high_out = pair->ratios[0];
    for (size_t i = 1; i < pair->count; i++) {
        *low_out = pair->ratios[i] < *low_out ? pair->ratios[i] : *low_out;
        *high_out = pair->ratios[i] > *high_out ? pair->ratios[i] : *high_out;
    }
}

void pt_report_row(struct pt_report *report, const char *workload, const char *peer,
                   const struct pt_pair *pair, struct pt_required required)
{
    double rate = median(pair->rates, pair->count);
    double peer_rate = median(pair->peer_rates, pair->count);
    double ratio = median(pair->ratios, pair->count);
    const char *word = verdict(report, rate, ratio, required);
    double low, high;

    heading(report);
    extremes(pair, &low, &high);
    if (report->tsv)
        (void)printf("%s\t%" PRIu64 "\t%s\t%.6g\t%.6g\t%.4g\t%.4g\t%.4g\t%g\t%g\t%s\n", workload,
                     report->entry_count, peer, rate, peer_rate, ratio, low, high, required.ratio,
                     required.rate, word);
    else
        (void)printf("%-22s %9" PRIu64 " %12s %12s %7.2f %9s %-6s %10s %10s  %s\n", workload,
                     report->entry_count, rate_text(rate).text, rate_text(peer_rate).text, ratio,
                     required_text(required).text, word, time_text(1e9 / rate).text,
                     time_text(1e9 / peer_rate).text, peer);
    (void)fflush(stdout);
}

void pt_report_figure(struct pt_report *report, const char *workload, const char *name,
                      double value, const char *unit)
{
    if (report->figure_count == PT_FIGURES_MAX)
        return;
    (void)snprintf(report->figures[report->figure_count++], PT_FIGURE_TEXT_MAX,
                   report->tsv ? "figure\t%s\t%s\t%.6g\t%s" : "  %-14s %-46s %10.2f %s", workload,
                   name, value, unit);
}

static const char *bound_verdict(struct pt_report *report, double value, struct pt_bound required)
{
    if (required.value <= 0)
        return "";
    if (required.is_max ? value <= required.value : value >= required.value) {
        report->met_count++;
        return "ok";
    }
    report->below_count++;
    return "MISSED";
}

void pt_report_bound(struct pt_report *report, const char *workload, const char *name, double value,
                     const char *unit, struct pt_bound required)
{
    const char *word = bound_verdict(report, value, required);
    const char *side = required.is_max ? "at most" : "at least";
    struct text bound = {""};

    if (required.value > 0)
        (void)snprintf(bound.text, sizeof(bound.text), "%s %g", side, required.value);
    if (report->tsv)
        (void)printf("%s\t%s\t%.6g\t%s\t%s\t%s\n", workload, name, value, unit, bound.text, word);
    else
        (void)printf("%-22s %-40s %12.*f %-5s %-15s %s\n", workload, name, value < 100 ? 3 : 0,
                     value, unit, bound.text, word);
    (void)fflush(stdout);
}

void pt_report_finish(const struct pt_report *report)
{
    if (report->figure_count > 0 && !report->tsv)
        (void)printf("\nfigures\n");
    for (size_t i = 0; i < report->figure_count; i++)
        (void)puts(report->figures[i]);
    if (report->met_count + report->below_count > 0)
        (void)printf("%s%u of %u requirements met\n", report->tsv ? "# " : "\n", report->met_count,
                     report->met_count + report->below_count);
}
