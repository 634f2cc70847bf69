#!/bin/sh
# Under steady overwriting, and appending with expiry, the file stays below 3.5 times what is live, and
# below 1.6 times at rest; what is deleted is given back. bench/peat-space does the work; 'make
# space-check' is the long form, where the bound is 2.5: with 100 MB live, a log and write buffers of up to
# 64 MB each weigh more than there.
#
#     PEAT_MEGABYTES of live data (default 100), in the directory TMPDIR.

peat_space=${top_builddir:-.}/bench/peat-space
megabytes=${PEAT_MEGABYTES:-100}
work=$(mktemp -d "${TMPDIR:-/tmp}/peat-space.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
failed=0

# holds SENTENCE WORKLOAD TURNS
holds() {
    if "$peat_space" --dir "$work" --megabytes "$megabytes" --only "$2" --turns "$3" \
        --worst 3.5 >"$work/out"; then
        echo "ok - $1"
    else
        sed 's/^/# /' "$work/out"
        echo "not ok - $1"
        failed=1
    fi
}

holds "p6: overwriting keeps the file below 3.5 times what is live, 1.6 at rest" overwrite 3
holds "p6: so does appending with expiry by range delete" series 1
holds "p6: deleting nine of ten gives their space back, once no snapshot shows them" deletion 1
exit $failed
