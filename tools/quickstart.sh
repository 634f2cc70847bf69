#!/bin/sh
# From a fresh Debian 12 to a store that has survived SIGKILL: installs what is missing, builds peat
# in build/quickstart, loads the machine's package index, queries it, then kills a second load
# half-way and compares what is left with what was acknowledged. May be run again.
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

# holds COUNT: the killed store holds exactly the first COUNT stanzas, byte for byte.
holds() {
    rm -f "$data/wanted.peat"
    awk -v count="$1" 'BEGIN { RS = ""; ORS = "\n\n" } NR > count { exit } { print }' \
        "$data/Packages" | "$peat" load --format deb822 "$data/wanted.peat"
    "$peat" dump --format tsv "$data/wanted.peat" >"$data/wanted.tsv"
    cmp -s "$data/wanted.tsv" "$data/killed.tsv"
}

# ---- and now ---------------------------------------------------------------------------------

echo "peat quickstart: build, load this machine's Debian package index, query it, kill a load."
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
"$peat" dump --format tsv "$data/killed.peat" >"$data/killed.tsv"
# One batch more may have been committed without the word having got through.
whole=$acknowledged
holds "$whole" || {
    whole=$((acknowledged + batch))
    [ "$whole" -le "$stanzas" ] || whole=$stanzas
    holds "$whole" || fail "the killed store is not the first $acknowledged or $whole stanzas"
}
say "" "it holds the first $(grouped "$whole") stanzas, byte for byte: every acknowledged batch, no half one"
report=$("$peat" check "$data/killed.peat") || fail "peat check: $report"
say check "$report"
rm -rf "$data/acknowledged" "$data"/wanted.* "$data/killed.tsv" "$data"/*.err
say "done" "try: ${peat#"$root"/} help; the stores are in ${data#"$root"/}"
