/* Target: tab-separated lines. */
#include "tests/fuzz.h"
#include "tests/fuzz_text.h"

#include <string.h>

static const char *const texts[] = {
    "key\tvalue\nother\\tkey\\n\\x00\t\n\n\t\n",
    "bad\\q\tvalue\nno tab\nlast\tline",
};

static void run(const uint8_t *data, size_t size)
{
    pt_fuzz_text(&pt_text_tsv, data, size);
}

static void seeds(void (*give)(void *context, const void *data, size_t size), void *context)
{
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        give(context, texts[i], strlen(texts[i]));
}

const struct pt_fuzz_target pt_fuzz_tsv = {
    .name = "tsv",
    .sentence = "tab-separated lines give entries or reasons, and come back as written",
    .size_max = PT_FUZZ_TEXT_MAX,
    .run = run,
    .seeds = seeds};
