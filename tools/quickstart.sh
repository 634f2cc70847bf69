#!/bin/sh
# From a fresh Debian 12 to a store that has survived SIGKILL: installs what is missing, builds peat
# in build/quickstart, loads the machine's package index, queries it, then kills a second load
# half-way and compares what is left with what was acknowledged. Then a primary and its follower:
# either is killed, the follower is promoted, and the old primary rejoins. May be run again.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
build=$root/build/quickstart
data=$build/data
LC_ALL=C
export LC_ALL

say() {
    printf '%-9s %s\n' "$1" "$2"
}

fail() {
    say FAILED "$1" >&2
    exit 1
}

# Nothing goes on when this ends.
primary=
follower=
trap 'kill $primary $follower 2>/dev/null || :' EXIT

# 1234567 as 1,234,567.
grouped() {
    echo "$1" | sed -e ':a' -e 's/^\([0-9]*[0-9]\)\([0-9]\{3\}\)/\1,\2/' -e ta
}

# Bytes as megabytes.
megabytes() {
    awk -v size="$1" 'BEGIN { printf "%.1f MB", size / 1000000 }'
}

milliseconds() {
    echo $(($(date +%s%N) / 1000000))
}

# ---- install ---------------------------------------------------------------------------------

missing_packages() {
    command -v autoreconf >/dev/null || echo autoconf
    command -v automake >/dev/null || echo automake
    command -v libtoolize >/dev/null || echo libtool
    command -v pkg-config >/dev/null || echo pkg-config
    command -v gcc >/dev/null || echo gcc
    command -v make >/dev/null || echo make
    [ -e /usr/include/stdio.h ] || echo libc6-dev
    [ -e /usr/include/sodium.h ] || echo libsodium-dev
    [ -e /usr/include/nng/nng.h ] || echo libnng-dev
}

as_root() {
    [ "$(id -u)" -eq 0 ] || fail "this needs root: $*"
    DEBIAN_FRONTEND=noninteractive "$@" >>"$build/install.log" 2>&1
}

package_lists() {
    find /var/lib/apt/lists -maxdepth 1 -name '*Packages*' -type f 2>/dev/null | sort
}

update_lists() {
    as_root apt-get update || fail "apt-get update, see $build/install.log"
}

install() {
    # shellcheck disable=SC2086
    as_root apt-get install -y --no-install-recommends $1
}

# Lists that are there may be too old to name files that still exist: then once more with new ones.
install_missing() {
    missing=$(missing_packages | tr '\n' ' ')
    [ -n "$missing" ] || return 0
    say install "$missing"
    [ -n "$(package_lists)" ] || update_lists
    install "$missing" && return 0
    update_lists
    install "$missing" || fail "apt-get install, see $build/install.log"
}

# ---- build -----------------------------------------------------------------------------------

build_peat() {
    [ -e "$root/configure" ] || (cd "$root" && autoreconf -fi) || return 1
    # Automake refuses a second place when the sources' own folder is configured.
    if [ -e "$root/config.status" ]; then
        tree=$root
    else
        [ -e "$tree/config.status" ] || (cd "$tree" && ../../configure) || return 1
    fi
    make -C "$tree" -j "$(getconf _NPROCESSORS_ONLN)" peat
}

# ---- the killed load -------------------------------------------------------------------------

# Start a load, read what it acknowledges, kill it half-way. Sets acknowledged; false: it was done
# before the kill reached it.
killed_load() {
    rm -f "$data/killed.peat" "$data/acknowledged"
    mkfifo "$data/acknowledged"
    "$peat" load --report --batch "$batch" "$data/killed.peat" "$data/Packages" \
        >"$data/acknowledged" 2>"$data/killed.err" &
    loader=$!
    acknowledged=0
    is_killed=no
    while read -r count; do
        acknowledged=$count
        if [ $is_killed = no ] && [ "$count" -ge $((stanzas / 2)) ]; then
            kill -KILL "$loader" 2>/dev/null || :
            is_killed=yes
        fi
    done <"$data/acknowledged"
    code=0
    wait "$loader" 2>/dev/null || code=$?
    [ "$code" -eq 137 ]
}

# holds COUNT: what is in left.tsv is exactly the first COUNT stanzas, byte for byte.
holds() {
    rm -f "$data/wanted.peat"
    awk -v count="$1" 'BEGIN { RS = ""; ORS = "\n\n" } NR > count { exit } { print }' \
        "$data/Packages" | "$peat" load --format deb822 "$data/wanted.peat"
    "$peat" dump --format tsv "$data/wanted.peat" >"$data/wanted.tsv"
    cmp -s "$data/wanted.tsv" "$data/left.tsv"
}

# left STORE BATCH: it holds what was acknowledged, or one batch more, which may have been committed
# without the word having got through. Sets whole: how many stanzas that is.
left() {
    "$peat" dump --format tsv "$1" >"$data/left.tsv"
    whole=$acknowledged
    holds "$whole" && return 0
    whole=$((acknowledged + $2))
    [ "$whole" -le "$stanzas" ] || whole=$stanzas
    holds "$whole" || fail "$1 is not the first $acknowledged or $whole stanzas"
}

# ---- a primary and a follower ----------------------------------------------------------------

# follow NAME OPTION...: the store NAME follows what listens at $port. Sets follower.
follow() {
    name=$1
    shift
    "$peat" follow --from "tcp://127.0.0.1:$port" --key "$data/key" --name "$name" "$@" \
        "$data/$name.peat" >>"$data/$name.out" 2>&1 &
    follower=$!
}

# serve NAME INPUT: offer the store NAME, and load INPUT, each batch onto the follower's disk, too. It
# reports through the pipe "reports". Sets primary.
serve() {
    rm -f "$data/reports"
    mkfifo "$data/reports"
    "$peat" serve --listen tcp://127.0.0.1:0 --key "$data/key" --durability replicas \
        --format deb822 --report "$data/$1.peat" <"$2" >"$data/reports" 2>>"$data/$1.out" &
    primary=$!
}

killed() {
    kill -KILL "$1" 2>/dev/null || :
    wait "$1" 2>/dev/null || :
}

ended() {
    kill "$1" 2>/dev/null || :
    wait "$1" 2>/dev/null || :
}

# The first store is loaded while the second follows. That one is killed at a quarter and comes back;
# the first is killed half-way. Sets acknowledged.
lose_primary() {
    serve one "$data/Packages"
    acknowledged=0
    deaths=0
    while read -r word rest; do
        case $word in
        listening) ;;
        port)
            port=$rest
            follow two
            ;;
        *)
            acknowledged=$word
            if [ $deaths -eq 0 ] && [ "$acknowledged" -ge $((stanzas / 4)) ]; then
                deaths=1
                killed "$follower"
                follow two
            elif [ $deaths -eq 1 ] && [ "$acknowledged" -ge $((stanzas / 2)) ]; then
                deaths=2
                kill -KILL "$primary" 2>/dev/null || :
            elif [ "$acknowledged" -eq "$stanzas" ]; then
                kill -KILL "$primary" 2>/dev/null || :
            fi
            ;;
        esac
    done <"$data/reports"
    wait "$primary" 2>/dev/null || :
    [ $deaths -eq 2 ] || fail "the primary ended at $acknowledged stanzas: $(cat "$data/one.out")"
    ended "$follower"
}

# What is missing is loaded into the second store, which the first has rejoined.
go_on() {
    awk -v count="$whole" 'BEGIN { RS = ""; ORS = "\n\n" } NR > count { print }' \
        "$data/Packages" >"$data/rest"
    serve two "$data/rest"
    while read -r word rest; do
        case $word in
        listening) ;;
        port)
            port=$rest
            "$peat" follow --from "tcp://127.0.0.1:$port" --key "$data/key" --name one \
                "$data/one.peat" >"$data/refused" 2>&1 && fail "the old primary was not refused"
            grep -q -e --rejoin "$data/refused" || fail "$(cat "$data/refused")"
            follow one --rejoin
            [ -s "$data/rest" ] || break
            ;;
        *) [ "$word" -lt $((stanzas - whole)) ] || break ;;
        esac
    done <"$data/reports"
}

# Whether both stores, which are in use, show what a store that was loaded in one go does.
agree() {
    digest=$("$peat" digest "$store" | cut -d ' ' -f 1)
    for name in one two; do
        [ "$("$peat" digest "$data/$name.peat" | cut -d ' ' -f 1)" = "$digest" ] || return 1
    done
}

replicate() {
    "$peat" keygen "$data/key" >/dev/null
    lose_primary
    say replicas "one.peat loaded, two.peat following on loopback; two killed at a quarter, one half-way"
    say promote "two.peat is $("$peat" promote "$data/two.peat")"
    left "$data/two.peat" 1000
    say "" "it holds the first $(grouped "$whole") stanzas, byte for byte; $(grouped "$acknowledged") were acknowledged"
    "$peat" put "$data/one.peat" quickstart 'a commit that the old primary alone has'
    go_on
    say rejoin "one.peat had a commit of its own, and was refused; with --rejoin it follows two.peat"
    for fork in "$data"/one.peat.forked-*; do
        say "" "what it had: ${fork#"$root"/}"
    done
    looks=0
    until agree; do
        looks=$((looks + 1))
        [ $looks -le 600 ] || fail "the stores do not agree: $(tail -n 3 "$data/one.out" "$data/two.out")"
        sleep 0.1
    done
    ended "$follower"
    ended "$primary"
    primary='' follower=''
    say digest "of one.peat, two.peat and packages.peat: $(echo "$digest" | cut -c 1-32)..."
}

# ---- and now ---------------------------------------------------------------------------------

echo "peat quickstart: build, load this machine's Debian package index, query it, kill a load, then primaries and followers."
mkdir -p "$build"
: >"$build/install.log"
install_missing

tree=$build
build_peat >"$build/build.log" 2>&1 || {
    tail -n 20 "$build/build.log" >&2
    fail "the build, see $build/build.log"
}
peat=$tree/peat
say build "${peat#"$root"/} ($("$peat" --version))"

if [ -z "$(package_lists)" ]; then
    say install "package lists (apt-get update)"
    update_lists
fi
rm -rf "$data"
mkdir -p "$data"
package_lists | while read -r list; do
    /usr/lib/apt/apt-helper cat-file "$list"
    echo
done >"$data/Packages"
stanzas=$(grep -c '^Package:' "$data/Packages") || fail "no package lists in /var/lib/apt/lists"
size=$(wc -c <"$data/Packages")
say input "$(grouped "$stanzas") stanzas, $(megabytes "$size") of text from /var/lib/apt/lists"

store=$data/packages.peat
"$peat" load --verbose "$store" "$data/Packages" 2>"$data/load.err" ||
    fail "$(cat "$data/load.err")"
say load "$(cat "$data/load.err")"
keys=$("$peat" scan --count "$store")
say "" "$(grouped "$keys") different keys in ${store#"$root"/}, $(megabytes "$(($(stat -c '%b * %B' "$store")))") on disk"

key=$("$peat" scan --prefix 'bash ' --keys-only --limit 1 "$store")
[ -n "$key" ] || key=$("$peat" scan --keys-only --limit 1 "$store")
say query "scan --prefix 'bash ' --keys-only: $key"
say "" "get '$key': $("$peat" get "$store" "$key" | grep -m 1 '^Description:')"
say "" "scan --prefix lib --count: $(grouped "$("$peat" scan --prefix lib --count "$store")")"

batch=100
tries=1
until killed_load; do
    [ "$code" -eq 0 ] || fail "$(cat "$data/killed.err")"
    tries=$((tries + 1))
    [ $tries -le 5 ] || fail "the load always ended before it was killed"
done
say kill "a second load by SIGKILL: $(grouped "$acknowledged") entries in batches of $batch acknowledged"

start=$(milliseconds)
"$peat" load "$data/killed.peat" /dev/null # opens it for writing, and adds nothing
say reopen "for writing, the log replayed, and closed: $(($(milliseconds) - start)) ms"
left "$data/killed.peat" "$batch"
say "" "it holds the first $(grouped "$whole") stanzas, byte for byte: every acknowledged batch, no half one"
report=$("$peat" check "$data/killed.peat") || fail "peat check: $report"
say check "$report"

replicate
rm -rf "$data/acknowledged" "$data/reports" "$data/rest" "$data/refused" "$data"/wanted.* "$data/left.tsv" \
    "$data"/*.err "$data"/*.out
say "done" "try: ${peat#"$root"/} help; the stores are in ${data#"$root"/}"
