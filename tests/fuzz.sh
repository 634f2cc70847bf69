#!/bin/sh
# Fuzz with libFuzzer under AddressSanitizer and UndefinedBehaviorSanitizer: fuzz.sh [TARGET...]
# (default: all of them). Ends with one line for each target, and exits 1 if one found something.
#
# From the environment: SECONDS_IN_ALL, shared by the targets (default 600); CLANG (default clang); FLAGS, for
# libFuzzer; CPPFLAGS, LIBS. Works below ./fuzz: what is found is in fuzz/findings, inputs that reach
# something new are in fuzz/corpus/TARGET, from where a second run goes on.
#
#   fuzz.sh --minimize [TARGET...]     make tests/corpus as small as reaches the same, with those
set -u

root=$(cd "$(dirname "$0")/.." && pwd)
work=$PWD/fuzz
: "${CLANG:=clang}" "${CPPFLAGS:=}" "${LIBS:=-lsodium -lcmocka}" "${FLAGS:=}"
: "${SECONDS_IN_ALL:=600}"
sanitize='-fsanitize=address,undefined -fno-sanitize-recover=undefined'
LC_ALL=C top_srcdir=$root
export LC_ALL top_srcdir

readers='source entry_text tsv jsonl dump_text deb822 coding textbuf collection_path json_write'
messages='channel noise message records joint'
helpers='support message_sample segment_image forge thin_file disk trace session feed_look script crash_disk'

minimize=no
if [ "${1:-}" = --minimize ]; then
    minimize=yes
    shift
fi
mkdir -p "$work/objects" "$work/findings" || exit 1

# sources_of: all that is linked, one path a line.
sources_of() {
    cd "$root" || exit 1
    ls core/*/*.c wal/*.c tests/fuzz*.c
    for name in $readers; do
        echo "tools/$name.c"
    done
    for name in $messages; do
        echo "repl/$name.c"
    done
    for name in $helpers; do
        echo "tests/$name.c"
    done
}

# build: the fuzzer, from those objects that are older than their sources or any header.
build() {
    newest=$(cd "$root" && ls -t core/*/*.h core/*.h wal/*.h repl/*.h tools/*.h tests/*.h | head -n 1)
    sources_of | while read -r source; do
        object=$work/objects/$(echo "$source" | tr / _ | sed 's/c$/o/')
        if [ ! "$object" -nt "$root/$source" ] || [ ! "$object" -nt "$root/$newest" ]; then
            echo "$source" "$object"
        fi
    done | xargs -r -L 1 -P "$(nproc)" sh -c 'cd "$1" && exec $2 -c "$3" -o "$4"' sh "$root" \
        "$CLANG -std=gnu17 -D_GNU_SOURCE -I. $CPPFLAGS -O1 -g -pthread -fsanitize=fuzzer-no-link $sanitize" ||
        return 1
    # shellcheck disable=SC2086 # lists
    $CLANG -pthread -fsanitize=fuzzer $sanitize "$work"/objects/*.o $LIBS -o "$work/peat-fuzz"
}

# fuzz TARGET SECONDS: the summary's line.
fuzz() {
    corpus=$work/corpus/$1
    log=$work/$1.log
    mkdir -p "$corpus" "$root/tests/corpus/$1" 2>/dev/null
    # shellcheck disable=SC2086 # FLAGS is a list
    PEAT_FUZZ_TARGET=$1 "$work/peat-fuzz" -max_total_time="$2" -print_final_stats=1 -timeout=300 \
        -rss_limit_mb=2048 -malloc_limit_mb=64 -artifact_prefix="$work/findings/$1-" $FLAGS \
        "$corpus" "$root/tests/corpus/$1" >"$log" 2>&1
    result=$?
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    covered=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
    echo "$1 ${executions:-0} $2 ${covered:-0} $result"
}

# shrink TARGET: what reaches something, smallest first, into a fresh directory that replaces the old one.
shrink() {
    rm -rf "$work/small/$1"
    mkdir -p "$work/small/$1" "$work/corpus/$1"
    PEAT_FUZZ_TARGET=$1 "$work/peat-fuzz" -merge=1 -use_counters=0 "$work/small/$1" "$root/tests/corpus/$1" \
        "$work/corpus/$1" >"$work/$1.merge.log" 2>&1 || return 1
    rm -rf "$root/tests/corpus/$1"
    cp -r "$work/small/$1" "$root/tests/corpus/$1"
    du -sb "$root/tests/corpus/$1"
}

build || exit 1
[ $# -gt 0 ] ||
    # shellcheck disable=SC2046 # a list
    set -- $("$work/peat-fuzz" 2>&1 | sed -n 's/^PEAT_FUZZ_TARGET names no target://p')
if [ $minimize = yes ]; then
    for target in "$@"; do
        shrink "$target" || exit 1
    done
    exit 0
fi
share=$((SECONDS_IN_ALL / $#))
found=0
for target in "$@"; do
    fuzz "$target" $share
done | {
    printf '| %-10s | %12s | %7s | %7s | %8s |\n|---|---|---|---|---|\n' \
        target executions seconds edges findings
    while read -r name executions seconds edges result; do
        if [ "$result" -ne 0 ]; then found=$((found + 1)); fi
        printf '| %-10s | %12d | %7d | %7d | %8s |\n' "$name" "$executions" "$seconds" "$edges" \
            "$([ "$result" -eq 0 ] && echo 0 || echo "1, see fuzz/$name.log")"
    done
    echo "$# targets, $found with findings"
    [ $found -eq 0 ]
}
