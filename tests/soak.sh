#!/bin/sh
# The soak: for so many seconds, test programs with threads, processes, kills, damage, backups and random
# options in turns, each with a seed of its own, while one store is tortured from the first second to the
# last (peat torture: writers and readers that are killed, recovery, checks). Prints a line for each turn,
# what was counted, and last "N turns, M failed". Exits 1 if anything failed; its log stays.
#
#   soak.sh SECONDS     in a build directory, with `make check TESTS=` done
set -u

seconds=${1:-600}
turn_seconds=${SOAK_TURN:-20}
logs=$PWD/soak
mkdir -p "$logs/store" || exit 1
begin=$(date +%s)
end=$((begin + seconds))
turns=0
failed=0

# What one turn does, by its number: the programs that take a time take turn_seconds.
program_of() {
    set -- test_model test_threads test_kills test_processes test_model test_kill test_threads \
        test_power_cut test_history_crash test_model test_backup_chain test_faults test_copy test_large
    shift $(($1 % $#))
    echo "$1"
}

"$PWD/peat" torture --seconds "$seconds" "$logs/store" >"$logs/torture.log" 2>&1 &
torture=$!
trap 'kill $torture 2>/dev/null; exit 1' HUP INT TERM

while [ "$(date +%s)" -lt $end ]; do
    program=$(program_of $turns)
    seed=$((begin * 1000 + turns))
    log=$logs/$turns-$program.log
    if PEAT_SEED=$seed PEAT_SECONDS=$turn_seconds PEAT_KILLS=300 PEAT_ROUNDS=60 PEAT_STEPS=6000 \
        PEAT_COPIES=40 PEAT_MEGABYTES=40 "tests/$program" >"$log" 2>&1; then
        # What it counted stands in its comments.
        echo "turn $turns: $program: $(sed -n 's/^# //p' "$log" | grep -v PEAT_SEED | paste -sd ';' -)"
        rm -f "$log"
    else
        failed=$((failed + 1))
        echo "turn $turns: $program FAILED: $log; repeat: PEAT_SEED=$seed PEAT_SECONDS=$turn_seconds tests/$program"
    fi
    turns=$((turns + 1))
done

turns=$((turns + 1))
if wait $torture; then
    sed -n 's/^\(processes killed\|acknowledged batches\|others\)  */# \1: /p; $p' "$logs/torture.log"
    rm -f "$logs/torture.log"
else
    failed=$((failed + 1))
    cat "$logs/torture.log"
fi
rmdir "$logs/store" "$logs" 2>/dev/null
echo "$turns turns, $failed failed, in $(($(date +%s) - begin)) s"
[ $failed -eq 0 ]
