/* Target: the text of mdb_dump and db_dump. */
#include "tests/fuzz.h"
#include "tests/fuzz_text.h"

#include <string.h>

static const char *const texts[] = {
    "VERSION=3\nformat=bytevalue\ntype=btree\nHEADER=END\n 6b6579\n 00ff\nDATA=END\n",
    "VERSION=3\nformat=print\ndatabase=one/two\\/\nHEADER=END\n a\\b\n \\09\n a\\5cb\n\n",
    "VERSION=3\nduplicates=1\nHEADER=END\n 61\n 62\n 61\n 63\nDATA=END\n",
    "VERSION=3\nformat=print\ntype=hash\nHEADER=END\n key\nDATA=END\nVERSION=3\nHEADER=END\n",
};

static void run(const uint8_t *data, size_t size)
{
    pt_fuzz_text(&pt_text_dump, data, size);
}

static void seeds(void (*give)(void *context, const void *data, size_t size), void *context)
{
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        give(context, texts[i], strlen(texts[i]));
}

const struct pt_fuzz_target pt_fuzz_dump = {
    .name = "dump",
    .sentence = "dump text gives entries or reasons, and comes back as written",
    .size_max = PT_FUZZ_TEXT_MAX,
    .run = run,
    .seeds = seeds};
