#!/bin/sh
# From a fresh Debian 12 to all tests run: installs what is missing, builds in build/tests, runs
# `make check`, and adds up the single tests. The last line is `N passed, N failed`. May be run
# again. Its logs are in build/tests: install.log, build.log, and tests/*.log of each test.
set -u

root=$(cd "$(dirname "$0")/.." && pwd)
build=$root/build/tests
jobs=$(nproc)
LC_ALL=C
export LC_ALL

# give_up WORDS LOG: the end of the log and a verdict.
give_up() {
    tail -n 40 "$2" >&2
    echo "$1, see $2"
    echo '0 passed, 1 failed'
    exit 1
}

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
    [ -e /usr/include/cmocka.h ] || echo libcmocka-dev
    [ -e /sbin/ip ] || echo iproute2 # for tests/test_network
    [ -e /usr/sbin/iptables ] || echo iptables
}

install_missing() {
    packages=$(missing_packages)
    [ -n "$packages" ] || return 0
    echo "installing" "$(echo "$packages" | tr "\n" " ")"
    {
        apt-get update
        # shellcheck disable=SC2086 # a list
        DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $packages
    } >"$build/install.log" 2>&1
    [ -z "$(missing_packages)" ]
}

build_all() {
    {
        # A tree that was configured in place would be used instead of this build directory.
        if [ -e "$root/config.status" ]; then make -C "$root" distclean; fi
        (cd "$root" && autoreconf -fi) &&
            cd "$build" && ../../configure && make -j "$jobs" && make -j "$jobs" check TESTS=
    } >"$build/build.log" 2>&1
}

mkdir -p "$build"
install_missing || give_up 'the packages could not be installed' "$build/install.log"
echo "building in $build"
build_all || give_up 'the build failed' "$build/build.log"
cd "$build" || exit 1
echo 'testing'
rm -f tests/*.trs
make -k -j "$jobs" check >check.log 2>&1
check=$?
for result in tests/*.trs; do
    if grep -q '^:global-test-result: \(FAIL\|ERROR\)' "$result"; then
        echo "---- ${result%.trs}.log"
        tail -n 40 "${result%.trs}.log"
    fi
done
totals=$(sh "$root/tests/totals.sh" "$build")
status=$?
if [ $check -ne 0 ] && [ $status -eq 0 ]; then
    tail -n 40 check.log >&2
    totals="make check failed, see $build/check.log
$(echo "$totals" | sed '$s/0 failed$/1 failed/')"
    status=1
fi
echo "$totals"
exit $status
