#!/bin/sh
# Do the campaigns notice anything? Builds the library with each planted bug of core/base/bug.h in turn, and
# runs the campaigns on it until one of them fails. Prints a table; exits 1 if a bug was not caught, or if number 0,
# the library without a bug, was: then a campaign fails for some other reason, and its word is worth nothing.
#
#   controls.sh [NUMBER...]     all bugs and 0, or these
#
# From the environment: CC, CFLAGS, CPPFLAGS, LIBS; CONTROL_SECONDS, for one bug in all (default 120).
# Works below ./controls, where the objects that have no bug are kept.
set -u

root=$(cd "$(dirname "$0")/.." && pwd)
work=$PWD/controls
: "${CC:=gcc}" "${CFLAGS:=-O2 -g}" "${CPPFLAGS:=}" "${LIBS:=-lsodium -lcmocka}"
: "${CONTROL_SECONDS:=120}"
TMPDIR=$work/kept
export TMPDIR
mkdir -p "$work/objects" "$TMPDIR" || exit 1
cd "$root" || exit 1

# compile SOURCE OBJECT ARGUMENT...
compile() {
    source=$1 object=$2
    shift 2
    # shellcheck disable=SC2086
    $CC -std=gnu17 -D_GNU_SOURCE -I. $CPPFLAGS $CFLAGS -pthread "$@" -c "$source" -o "$object"
}

# name_of NUMBER: as it stands in the list.
name_of() {
    grep -o '^ *PT_BUG_[A-Z_]*' core/base/bug.h | sed -n "$(($1 + 1))s/.*PT_BUG_//p"
}

helpers='trace disk crash_disk script session feed_look power_cut faults damage damage_base kills tracer campaign support'
for source in core/*/*.c wal/*.c; do
    compile "$source" "$work/objects/$(basename "$source" .c).o" || exit 1
done
for name in $helpers torture log_harness test_log_crash test_faults test_power_cut test_processes \
    test_apply test_file test_superblock reader_process oracle compare pair; do
    compile "tests/$name.c" "$work/objects/tests_$name.o" || exit 1
done

# build NUMBER: the campaigns with that bug.
build() {
    mkdir -p "$work/$1"
    rm -f "$work/$1"/*
    library=
    for source in $(grep -l "PT_BUG($(name_of "$1"))" core/*/*.c wal/*.c); do
        compile "$source" "$work/$1/$(basename "$source" .c).o" "-DPEAT_BUG=$1" || return 1
    done
    for object in "$work"/objects/*.o; do
        case $object in
        */tests_*) ;;
        *) if [ -f "$work/$1/$(basename "$object")" ]; then
            library="$library $work/$1/$(basename "$object")"
        else
            library="$library $object"
        fi ;;
        esac
    done
    together "$1" torture "$helpers" && together "$1" test_log_crash 'log_harness support' &&
        together "$1" test_faults "$helpers" && together "$1" test_power_cut "$helpers" &&
        together "$1" test_apply 'pair support' && together "$1" test_file support &&
        together "$1" test_superblock support &&
        together "$1" test_processes 'reader_process oracle compare support'
}

# together NUMBER PROGRAM HELPERS: of tests, with the library of build().
together() {
    objects=$work/objects/tests_$2.o
    for name in $3; do
        objects="$objects $work/objects/tests_$name.o"
    done
    # shellcheck disable=SC2086 # lists
    $CC $CFLAGS -pthread $objects $library $LIBS -o "$work/$1/$2"
}

# caught NUMBER: runs the campaigns one after the other; the table's line.
caught() {
    share=$((CONTROL_SECONDS / 8))
    begin=$(date +%s)
    for campaign in test_superblock test_file test_apply all test_faults damage test_log_crash \
        test_power_cut kills test_processes; do
        log=$work/$1/$campaign.log
        case $campaign in
        test_superblock | test_file) PEAT_TIMEOUT=30 "$work/$1/$campaign" ;; # they take no time
        test_faults) "$work/$1/$campaign" $share ;;
        test_power_cut) PEAT_STATES=500 "$work/$1/$campaign" ;;
        test_*) PEAT_ROUNDS=4 "$work/$1/$campaign" ;;
        *) "$work/$1/torture" --scripts $campaign --seconds $share --failures 1 ;;
        esac >"$log" 2>&1 && continue
        end=$(date +%s)
        case $campaign in
        all) what='power cuts' after=$(tail -n 1 "$log") ;;
        test_faults) what=$campaign after=$(grep -o '[0-9]* fault runs' "$log") ;;
        kills) what=kills after=$(tail -n 1 "$log") ;;
        damage) what=damage after=$(grep -o '[0-9]* damaged opens' "$log") ;;
        *) what=$campaign after= ;;
        esac
        printf '| %2d | %-22s | %-14s | %-18s | %3d s |\n' "$1" "$(name_of "$1")" "$what" \
            "${after%%,*}" $((end - begin))
        return 0
    done
    printf '| %2d | %-22s | NOT CAUGHT\n' "$1" "$(name_of "$1")"
    return 1
}

last=$(($(grep -c '^ *PT_BUG_[A-Z_]*,\|^ *PT_BUG_COUNT' core/base/bug.h) - 2))
[ $# -gt 0 ] || set -- $(seq 0 "$last")
planted=0 missed=0 false_alarms=0
printf '|  # | %-22s | caught by      | after              |  time |\n' 'planted bug'
printf '|---|---|---|---|---|\n'
for number in "$@"; do
    build "$number" || exit 1
    if [ "$number" -eq 0 ]; then
        caught 0 && false_alarms=1
        continue
    fi
    planted=$((planted + 1))
    caught "$number" || missed=$((missed + 1))
done
echo "$planted planted bugs, $missed not caught"
[ $false_alarms -eq 0 ] || echo "a campaign fails without a bug: see controls/0"
[ $((missed + false_alarms)) -eq 0 ]
