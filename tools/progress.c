#include "tools/progress.h"

#include "tools/human.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const uint64_t interval_ns = 100000000;
static bool
    shown; /* the terminal's last line is ours; guarded by the lock of stderr: other threads complain */

static uint64_t now_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static double seconds_since(uint64_t start_ns)
{
    double seconds = (double)(now_ns() - start_ns) / 1e9;
    return seconds < 1e-6 ? 1e-6 : seconds;
}

void pt_progress_init(struct pt_progress *progress, const char *noun, uint64_t size_expected)
{
    memset(progress, 0, sizeof(*progress));
    progress->noun = noun;
    progress->size_expected = size_expected;
    progress->start_ns = now_ns();
    progress->enabled = isatty(STDERR_FILENO) == 1;
}

void pt_progress_wipe(void)
{
    flockfile(stderr);
    if (shown)
        (void)fputs("\r\033[K", stderr);
    shown = false;
    funlockfile(stderr);
}

void pt_progress_show(struct pt_progress *progress, uint64_t count, uint64_t size)
{
    double seconds;

    if (!progress->enabled || now_ns() - progress->shown_ns < interval_ns)
        return;
    progress->shown_ns = now_ns();
    seconds = seconds_since(progress->start_ns);
    flockfile(stderr);
    pt_progress_wipe();
    shown = true;
    if (progress->noun != NULL)
        (void)fprintf(stderr, "%s %s, ", pt_human_count(count).text, progress->noun);
    (void)fprintf(stderr, "%s, %s/s", pt_human_size(size).text,
                  pt_human_size((uint64_t)((double)size / seconds)).text);
    if (progress->size_expected > 0)
        (void)fprintf(stderr, ", %.0f %%", 100.0 * (double)size / (double)progress->size_expected);
    (void)fflush(stderr);
    funlockfile(stderr);
}

void pt_progress_finish(struct pt_progress *progress, uint64_t count, uint64_t size, bool always)
{
    double seconds = seconds_since(progress->start_ns);

    pt_progress_wipe();
    if (!progress->enabled && !always)
        return;
    if (progress->noun != NULL)
        (void)fprintf(stderr, "%s %s, ", pt_human_count(count).text, progress->noun);
    (void)fprintf(stderr, "%s in %.2f s (", pt_human_size(size).text, seconds);
    if (progress->noun != NULL)
        (void)fprintf(stderr, "%s %s/s, ", pt_human_count((uint64_t)((double)count / seconds)).text,
                      progress->noun);
    (void)fprintf(stderr, "%s/s)\n", pt_human_size((uint64_t)((double)size / seconds)).text);
}
