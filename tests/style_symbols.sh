#!/bin/sh
# Each shared library exports what its public header declares, and nothing that does not start with
# peat_. Takes the build directory as its argument (default: from $top_builddir, or here).

build=${1:-${top_builddir:-.}}
source_dir=${top_srcdir:-$(dirname "$0")/..}
LC_ALL=C
export LC_ALL
failed=0

# verdict SENTENCE FINDINGS: it holds if there are none.
verdict() {
    if [ -z "$2" ]; then
        echo "ok - $1"
    else
        echo "$2" | sed 's/^/# /'
        echo "not ok - $1"
        failed=1
    fi
}

# library_check NAME HEADER: lib$1.so exports what HEADER declares.
library_check() {
    library=$build/.libs/lib$1.so
    verdict "lib$1 has been built" "$([ -e "$library" ] || echo "no $library")"
    exported=$(nm -D --defined-only "$library" | awk '{ print $3 }' | sort -u)
    declared=$(tr '\n' ' ' <"$source_dir/$2" |
        sed 's,/\*[^*]*\*\+\([^/*][^*]*\*\+\)*/,,g' | tr ';' '\n' | grep PEAT_API |
        grep -o 'peat_[a-z0-9_]*(' | tr -d '(' | sort -u)

    # Sanitizers and coverage add names of their own, with underscores in front.
    verdict "every symbol that lib$1 exports starts with peat_" \
        "$(echo "$exported" | grep -v -e '^peat_' -e '^__' -e '^_init$' -e '^_fini$')"

    verdict "every call that $2 declares is exported" "$(
        for name in $declared; do
            echo "$exported" | grep -qx "$name" || echo "missing: $name"
        done)"

    verdict "$2 declares some" "$([ -n "$declared" ] || echo none)"
}

library_check peat core/peat.h
library_check peat_repl repl/peat_repl.h

exit $failed
