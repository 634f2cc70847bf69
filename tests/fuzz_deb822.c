/* Target: stanzas of Debian's package lists. */
#include "tests/fuzz.h"
#include "tests/fuzz_text.h"

#include <string.h>

static const char *const texts[] = {
    "Package: moss\nVersion: 1.0-1\nDescription: green\n soft\n\nPackage: peat\nVersion: 2\n",
    " leads\nPackage: x\n\nPackage:\nversion:\t1 \nno colon\n\n: x\n",
};

static void run(const uint8_t *data, size_t size)
{
    pt_fuzz_text(&pt_text_deb822, data, size);
}

static void seeds(void (*give)(void *context, const void *data, size_t size), void *context)
{
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        give(context, texts[i], strlen(texts[i]));
}

const struct pt_fuzz_target pt_fuzz_deb822 = {.name = "deb822",
                                              .sentence = "stanzas give entries or reasons",
                                              .size_max = PT_FUZZ_TEXT_MAX,
                                              .run = run,
                                              .seeds = seeds};
