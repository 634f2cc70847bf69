#!/bin/sh
# The include lines follow the layers of the design: each folder includes itself and what lies below
# it, by paths from the root; and no two source files have the same name. Takes the tree's root as
# its argument (default: from $top_srcdir, or from where this script lies).

root=${1:-${top_srcdir:-$(dirname "$0")/..}}
cd "$root" || exit 1
LC_ALL=C
export LC_ALL
failed=0
folders=
for folder in core wal repl tools tests bench; do
    if [ -d "$folder" ]; then folders="$folders $folder"; fi
done

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

# shellcheck disable=SC2086 # folders is a list
sources=$(find $folders -name '*.[ch]' -type f | sort)
# FILE:LINE INCLUDED, for every line that includes one of ours.
# shellcheck disable=SC2086
includes=$(grep -n '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' $sources |
    sed 's/^\([^:]*\):\([0-9]*\):[^"]*"\([^"]*\)".*/\1:\2 \3/')

verdict 'there are sources and include lines to look at' \
    "$([ -n "$sources" ] && [ -n "$includes" ] || echo 'none found')"

verdict 'every include names a file by its path from the root' "$(
    echo "$includes" | while read -r place included; do
        case $included in
        */*) if [ ! -f "$included" ]; then echo "$place: no file $included"; fi ;;
        *) echo "$place: $included is not a path from the root" ;;
        esac
    done)"

verdict 'includes point down the layers' "$(echo "$includes" | awk '
    # The folders that a file of the folder may include; a name with a dot is a single header.
    BEGIN {
        allowed["core/base"] = "core/peat.h core/base"
        allowed["core/arena"] = allowed["core/base"] " core/arena"
        allowed["core/segment"] = allowed["core/arena"] " core/segment"
        allowed["wal"] = allowed["core/arena"] " wal"
        allowed["core/db"] = allowed["core/segment"] " wal core/db"
        allowed["core"] = ""
        allowed["repl"] = "core/peat.h repl"
        allowed["tools"] = "core/peat.h repl/peat_repl.h tools"
        allowed["bench"] = "core/peat.h repl bench" # a follower that applies nothing is made of its parts
        allowed["tests"] = "core wal repl tools tests"
    }
    function folder_of(path) {
        sub(/\/[^\/]*$/, "", path)
        return path
    }
    function is_allowed(from, to, names, count, i) {
        count = split(allowed[from], names, " ")
        for (i = 1; i <= count; i++)
            if (names[i] == to || index(to, names[i] "/") == 1)
                return 1
        return 0
    }
    {
        place = $1
        path = place
        sub(/:[0-9]*$/, "", path)
        from = folder_of(path)
        if (!(from in allowed))
            print place ": folder " from " has no place in the layers"
        else if (!is_allowed(from, $2))
            print place ": " from " must not include " $2
    }')"

# shellcheck disable=SC2086
verdict 'no two source files have the same name' \
    "$(for source in $sources; do basename "$source"; done | sort | uniq -d)"

exit $failed
