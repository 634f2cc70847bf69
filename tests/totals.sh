#!/bin/sh
# Add up the single tests in the logs of `make check`: totals.sh BUILD_DIRECTORY [NAME]. One line
# for each program, then the last: `N passed, N failed`. Exits 1 if one failed or none was run.
#
# In the logs cmocka's programs write "[ RUN      ] name" and "[       OK ] name" for each test, the
# scripts "ok - sentence" or "not ok - sentence". A test that was begun and did not come to its end
# has failed, and so has a program that failed without saying in which test.

build=${1:?the build directory}
LC_ALL=C
export LC_ALL

for result in "$build"/tests/*.trs; do
    [ -e "$result" ] || continue
    name=$(basename "$result" .trs)
    awk -v name="$name" '
        /^\[ RUN      \] / { begun++ }
        /^\[       OK \] / { passed++ }
        /^\[  SKIPPED \] / && !/test\(s\)/ && !counted_skip[$0]++ { skipped++ }
        /^ok - .*# skip/ { begun++; skipped++; next }
        /^ok - / { begun++; passed++ }
        /^not ok - / { begun++ }
        /^:global-test-result: (FAIL|ERROR)/ { broken = 1 }
        END {
            failed = begun - passed - skipped
            if (broken && failed <= 0)
                failed = 1
            printf "%s %d %d %d\n", name, passed, failed, skipped
        }' "${result%.trs}.log" "$result"
done | awk '
    {
        line = sprintf("%-28s %4d passed", $1, $2)
        if ($3 > 0)
            line = line sprintf(", %d FAILED", $3)
        if ($4 > 0)
            line = line sprintf(", %d skipped", $4)
        print line
        passed += $2
        failed += $3
    }
    END {
        if (NR == 0) {
            print "no results"
            failed = 1
        }
        printf "%d passed, %d failed\n", passed, failed
        exit failed > 0
    }'
