/* What both ends of a seed have in common. */
#ifndef PEAT_CORE_DB_SEED_H
#define PEAT_CORE_DB_SEED_H

/* Part 0 is a manifest that rules nowhere: its checksum is keyed as that of the first generation. */
#define PT_SEED_GENERATION 1

#endif
