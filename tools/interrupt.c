#include "tools/interrupt.h"

#include <signal.h>
#include <stddef.h>

static volatile sig_atomic_t came; /* the signal; 0: none */

static void note(int number)
{
    came = number;
}

void pt_interrupt_catch(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction action = {.sa_handler = note};
    struct sigaction before;

    (void)sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        if (sigaction(numbers[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
            (void)sigaction(numbers[i], &action, NULL);
    }
}

bool pt_interrupt_came(void)
{
    return came != 0;
}

void pt_interrupt_obey(void)
{
    int number = came;

    if (number == 0)
        return;
    (void)signal(number, SIG_DFL);
    (void)raise(number);
}
