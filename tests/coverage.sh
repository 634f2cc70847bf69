#!/bin/sh
# Which lines and branches of core and wal do the tests reach? coverage.sh DIRECTORY SECONDS BRANCHES: builds
# the copy of the sources in DIRECTORY/source for gcov, runs tests and campaigns for about so many seconds
# (the tests alone take some minutes), and prints a line for each file and the totals. Exits 1 if fewer than BRANCHES
# per cent of the branches were taken, or a test failed.
#
# What a report holds, in DIRECTORY: table.txt (what is printed), missing.txt (each branch that was not taken, with
# its line), html/index.html. `make coverage` begins with fresh counters; a second build is quick.
#
# How branches are counted: gcc -O0, where each is one of the source's (there are no exceptions in C, hence none that
# the compiler adds). Left out is what stands on a line with PT_ASSERT alone, since no test can, nor should, make an
# assertion fail. Nothing else is left out. Functions that are always inlined are compiled as such that need not
# be, else each place that they are put into would count anew. The library is linked statically, so that there is one
# set of counters in each process. A process that is killed takes its own along.
set -u

directory=$(cd "${1:?the directory}" && pwd) || exit 1
seconds=${2:?the seconds}
bound=${3:?the per cent of branches}
source=$directory/source
build=$directory/build
jobs=$(nproc)
begin=$(date +%s)
LC_ALL=C
export LC_ALL

# give_up WORDS [LOG]
give_up() {
    [ $# -lt 2 ] || tail -n 40 "$2" >&2
    echo "coverage: $1${2:+, see $2}" >&2
    exit 1
}

# Debian 12 has gcovr 5.2.
install_missing() {
    command -v gcovr >/dev/null && return 0
    [ "$(id -u)" = 0 ] || give_up 'gcovr is missing: apt-get install gcovr'
    {
        apt-get update
        DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends gcovr
    } >"$directory/install.log" 2>&1
    command -v gcovr >/dev/null || give_up 'gcovr could not be installed' "$directory/install.log"
}

# Counters are updated atomically: what threads lose makes gcov's sums wrong.
build_all() {
    [ "$build/Makefile" -nt "$source/tests/coverage.sh" ] || rm -rf "$build" # other flags, perhaps
    mkdir -p "$build" && cd "$build" || return 1
    {
        [ -e Makefile ] ||
            ../source/configure CC=gcc CPPFLAGS='-DPEAT_COVERAGE -Dalways_inline=unused' LDFLAGS=--coverage \
                CFLAGS='-O0 -g --coverage -fprofile-update=atomic' --enable-static --disable-shared
    } >"$directory/build.log" 2>&1 &&
        make -j "$jobs" >>"$directory/build.log" 2>&1 &&
        make -j "$jobs" check TESTS= >>"$directory/build.log" 2>&1
}

# run PROGRAM...: those tests; those that fail are named, and counted.
failed=0
run() {
    rm -f tests/*.trs
    make -k -j "$jobs" check TESTS="$*" >>"$directory/check.log" 2>&1
    for result in tests/*.trs; do
        grep -q '^:global-test-result: \(FAIL\|ERROR\)' "$result" || continue
        failed=$((failed + 1))
        cp "${result%.trs}.log" "$directory"
        echo "FAILED: ${result%.trs}, see $directory/$(basename "${result%.trs}").log"
    done
}

campaigns='tests/test_faults tests/test_damage_sweep tests/test_power_cut tests/test_kills'

# The programs of the makefile's list that are no campaign: no style, and no amounts of data for bounds of space, either.
programs() {
    sed -n 's/^check_PROGRAMS += \(.*\)/\1/p' "$source/Makefile.am" | while read -r program; do
        case " $campaigns " in
        *" $program "*) ;;
        *) echo "$program" ;;
        esac
    done
    echo tests/test_cli.sh
}

run_all() {
    rm -f "$directory"/test_*.log "$directory/check.log"
    find . -name '*.gcda' -exec rm -f {} +
    # shellcheck disable=SC2046 # a list
    PEAT_SECONDS=2 PEAT_STEPS=4000 PEAT_ROUNDS=30 PEAT_FLIPS=400 PEAT_TRIALS=100 PEAT_COPIES=20 PEAT_POSITIONS=48 \
        PEAT_MEGABYTES=16 PEAT_WORLDS=300 PEAT_CYCLES=40 run $(programs)
    # What is left, for the campaigns, two of which run at a time; the kills go by number.
    share=$(((seconds - $(date +%s) + begin) / 2))
    [ $share -ge 20 ] || share=20
    # shellcheck disable=SC2086 # a list
    PEAT_SECONDS=$share PEAT_KILLS=$((share * 4)) run $campaigns
}

# report FORMAT...: with gcovr, from what one run of it has read.
report() {
    gcovr --root "$source" --add-tracefile "$directory/coverage.json" --sort-percentage "$@"
}

report_all() {
    gcovr --root "$source" --object-directory "$build" --filter "$source/core/" --filter "$source/wal/" \
        --exclude-branches-by-pattern '.*PT_ASSERT\(.*' --json "$directory/coverage.json" "$build/core" "$build/wal" \
        >"$directory/gcovr.log" 2>&1 || give_up 'gcovr failed' "$directory/gcovr.log"
    mkdir -p "$directory/html"
    report --html-details "$directory/html/index.html" && report --csv "$directory/files.csv" &&
        report --xml-pretty --xml "$directory/cobertura.xml" || give_up 'gcovr failed'
    missing >"$directory/missing.txt"
}

# FILE:LINE (TAKEN/BRANCHES) TEXT for each line of which a branch was not taken, FILE:LINE TEXT for any other that
# was not reached.
missing() {
    awk -v source="$source" '
        function attribute(name) {
            if (!match($0, name "=\"[^\"]*"))
                return ""
            return substr($0, RSTART + length(name) + 2, RLENGTH - length(name) - 2)
        }
        /<class / {
            file = attribute("filename")
            count = 0
            while ((getline text[++count] < (source "/" file)) > 0) { }
            close(source "/" file)
        }
        /<\/methods>|<methods\/>/ { inside = 1 }
        /<\/class>/ { inside = 0 }
        inside && /<line / {
            number = attribute("number")
            taken = attribute("condition-coverage")
            if (taken != "" && taken !~ /^100/) {
                sub(/.*\(/, "(", taken)
                print file ":" number " " taken " " text[number]
            } else if (attribute("hits") == 0)
                print file ":" number " " text[number]
        }' "$directory/cobertura.xml"
}

# One line for each file, those of core and wal in all, and everything.
table() {
    awk -F, '
        function line(name, lines, lines_taken, branches, taken) {
            printf "%-34s %6d %6.1f %% %9d %6.1f %%\n", name, lines,
                lines == 0 ? 100 : 100 * lines_taken / lines, branches,
                branches == 0 ? 100 : 100 * taken / branches
        }
        NR == 1 {
            printf "%-34s %6s %8s %9s %8s\n", "file", "lines", "reached", "branches", "taken"
            next
        }
        {
            line($1, $2, $3, $5, $6)
            part = substr($1, 1, index($1, "/") - 1)
            for (i = 2; i <= 6; i++) {
                sum[part, i] += $i
                sum["core and wal", i] += $i
            }
        }
        END {
            split("core,wal,core and wal", parts)
            for (i = 1; i <= 3; i++)
                line("in all: " parts[i], sum[parts[i], 2], sum[parts[i], 3], sum[parts[i], 5], sum[parts[i], 6])
        }' "$directory/files.csv"
}

[ -e "$source/configure" ] || give_up "there are no sources in $source: use make coverage"
install_missing
build_all || give_up 'the build failed' "$directory/build.log"
run_all
report_all
table | tee "$directory/table.txt"
[ $failed -eq 0 ] || give_up "$failed tests failed"
tail -n 1 "$directory/table.txt" | awk -v bound="$bound" '{ exit !($(NF - 1) >= bound) }' ||
    give_up "fewer than $bound % of the branches were taken, see $directory/missing.txt"
