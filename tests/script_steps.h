/* Steps of script.h as the tables of scripts spell them. Each has a seed of its own. */
#ifndef PEAT_TESTS_SCRIPT_STEPS_H
#define PEAT_TESTS_SCRIPT_STEPS_H

#include "tests/script.h"

#define PUT(key_, size_, level_)                                                \
    {                                                                           \
        .kind = PT_STEP_PUT, .key = (key_), .size = (size_), .level = (level_), \
        .seed = __COUNTER__ + 1                                                 \
    }
#define STEP(kind_)             \
    {                           \
        .kind = PT_STEP_##kind_ \
    }
#define BATCH(size_, level_)                                                       \
    {                                                                              \
        .kind = PT_STEP_BATCH, .size = (size_), .level = (level_), .nested = true, \
        .seed = __COUNTER__ + 1                                                    \
    }

#endif
