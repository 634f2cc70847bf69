/* Target: JSON lines. */
#include "tests/fuzz.h"
#include "tests/fuzz_text.h"

#include <string.h>

static const char *const texts[] = {
    "{\"key\":\"a\",\"value\":\"b\"}\n{\"collection\":[\"x\",\"y/z\"]}\n",
    "{ \"key64\" : \"/w==\", \"value\":\"\\u00e9\\ud83d\\ude00\\n\"}\n",
    "{\"key\":\"a\",\"value\":\"\",\"collection64\":[\"gA==\"]}\n",
    "{\"key\":\"a\"}\n\n{\"value\":1}\n{\"key\":\"\\\"\",\"value64\":\"\"}",
};

static void run(const uint8_t *data, size_t size)
{
    pt_fuzz_text(&pt_text_json, data, size);
}

static void seeds(void (*give)(void *context, const void *data, size_t size), void *context)
{
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        give(context, texts[i], strlen(texts[i]));
}

const struct pt_fuzz_target pt_fuzz_jsonl = {
    .name = "jsonl",
    .sentence = "JSON lines give entries or reasons, and come back as written",
    .size_max = PT_FUZZ_TEXT_MAX,
    .run = run,
    .seeds = seeds};
