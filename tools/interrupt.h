/* A wish to stop (SIGINT, SIGTERM, SIGHUP): for commands that clean up before they end. */
#ifndef PEAT_TOOLS_INTERRUPT_H
#define PEAT_TOOLS_INTERRUPT_H

#include <stdbool.h>

/* From here on such a signal is noted, and the process goes on. One that is ignored stays ignored. */
void pt_interrupt_catch(void);
/* Whether one came. */
bool pt_interrupt_came(void);
/* End the process by the signal that came, as it would have ended without pt_interrupt_catch(); the
 * clean-up is done. Returns if none came. */
void pt_interrupt_obey(void);

#endif
