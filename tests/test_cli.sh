#!/bin/sh
# The command peat does what its manual says: bytes come out as they went in, bad input is refused
# with its place, every outcome has its exit code, and nothing acknowledged is lost.
#
# Takes the binary from $PEAT (default: ./peat). Writes a line for each sentence; exits 1 if one of
# them does not hold.

peat=${PEAT:-./peat}
case $peat in
*/*) peat=$(cd "$(dirname "$peat")" && pwd)/$(basename "$peat") ;;
esac
source_dir=$(cd "$(dirname "$0")/.." && pwd)
LC_ALL=C
export LC_ALL
umask 077
work=$(mktemp -d "${TMPDIR:-/tmp}/peat-cli.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
cd "$work" || exit 1
failed=0
tab=$(printf '\t')

if ! "$peat" --version >/dev/null; then
    echo "not ok - $peat runs"
    exit 1
fi

# ---- what the tests are written with ---------------------------------------------------------

# ok SENTENCE: by the exit code of the command before it.
ok() {
    if [ $? -eq 0 ]; then
        echo "ok - $1"
    else
        echo "not ok - $1"
        failed=1
    fi
}

skip() {
    echo "ok - $1 # skip $2"
}

# run COMMAND...: peat with its output in out, its complaints in err, its exit code in $code.
run() {
    "$peat" "$@" >out 2>err
    code=$?
}

# exits CODE SENTENCE ARGUMENT...: peat with these arguments ends so. Its input is this one's.
exits() {
    wanted=$1
    sentence=$2
    shift 2
    run "$@"
    if [ "$code" -ne "$wanted" ]; then
        echo "# exit code $code instead of $wanted: $(head -n 3 err)"
    fi
    [ "$code" -eq "$wanted" ]
    ok "$sentence"
}

# prints TEXT SENTENCE ARGUMENT...: peat succeeds and writes TEXT, \-escapes as in printf.
prints() {
    printf -- "$1" >wanted
    sentence=$2
    shift 2
    run "$@"
    if [ "$code" -ne 0 ] || ! cmp -s wanted out; then
        echo "# exit code $code, wrote: $(head -c 300 out | od -c | head -n 5) $(head -n 3 err)"
    fi
    [ "$code" -eq 0 ] && cmp -s wanted out
    ok "$sentence"
}

# refuses LINE WORDS TEXT SENTENCE ARGUMENT...: load stops at TEXT's line LINE with WORDS.
refuses() {
    line=$1
    words=$2
    printf "$3" >bad.txt
    sentence=$4
    shift 4
    rm -f bad.peat
    run load "$@" bad.peat bad.txt
    if [ "$code" -ne 3 ] || ! grep -q "^peat load: bad.txt: line $line: .*$words" err; then
        echo "# exit code $code, said: $(head -n 3 err)"
        false
    fi
    ok "$sentence"
}

# dump_of STORE: all of it, as something to compare.
dump_of() {
    "$peat" dump --format json "$1"
}

# ---- help and usage --------------------------------------------------------------------------

commands="load dump get put delete scan stat check compact backup restore salvage digest history revert diff feed keygen serve follow promote status verify torture help"

prints "peat $("$peat" --version | cut -d' ' -f2)\n" "--version names the version" --version
run help
missing=
for name in $commands; do
    grep -q "^  $name  *[a-z]" out || missing="$missing $name"
done
[ "$code" -eq 0 ] && [ -z "$missing" ]
ok "help lists every command"

wrong=
for name in $commands; do
    "$peat" help "$name" >help1 2>&1 && "$peat" "$name" --help >help2 2>&1 &&
        grep -q "^usage: peat $name" help1 && cmp -s help1 help2 || wrong="$wrong $name"
done
[ -z "$wrong" ]
ok "every command has a help text, by 'help COMMAND' and by --help"

long=$(for name in $commands; do "$peat" help "$name"; done | awk 'length > 100' | wc -l)
[ "$long" -eq 0 ]
ok "no line of the help texts is longer than 100"

exits 2 "no command is wrong usage"
exits 2 "an unknown command is wrong usage" fetch
grep -q "fetch" err
ok "an unknown command is named"
exits 2 "help for an unknown command is wrong usage" help fetch
exits 2 "an unknown option is wrong usage" get --loud s.peat k
grep -q -e "^peat get: no option --loud" err
ok "an unknown option is named"
exits 2 "an unknown letter is wrong usage" get -z s.peat k
exits 2 "an option without its value is wrong usage" get s.peat k --collection
exits 2 "a value for an option that takes none is wrong usage" get --hex=1 s.peat k
exits 2 "a missing key is wrong usage" get s.peat
exits 2 "too many arguments are wrong usage" get s.peat k k2
exits 2 "a limit that is no number is wrong usage" scan --limit ten s.peat
exits 2 "a negative limit is wrong usage" scan --limit -1 s.peat
exits 2 "a batch of no entries is wrong usage" load --batch 0 s.peat
exits 2 "an unknown durability is wrong usage" put --durability forever s.peat k v
exits 2 "an unknown format is wrong usage" scan --format xml s.peat
exits 2 "a format that is only written cannot be loaded" load --format hex s.peat
exits 2 "a format that is only loaded cannot be dumped" dump --format deb822 s.peat
exits 2 "a key that is not hexadecimal is wrong usage" get --hex s.peat xyz
[ ! -e s.peat ]
ok "wrong usage leaves no file behind"

# ---- put, get, delete ------------------------------------------------------------------------

exits 0 "put creates a store" put s.peat apple red
prints 'red' "get writes the value's bytes and nothing else" get s.peat apple
prints 'red\n' "get --newline adds a newline" get --newline s.peat apple
prints '726564\n' "get --hex takes and writes hexadecimal" get --hex s.peat 6170706c65
exits 1 "get of an absent key exits 1" get s.peat pear
grep -q "^peat get: s.peat: no key 'pear'" err
ok "get names the absent key"
exits 0 "an empty value is put" put s.peat empty ''
prints '' "an empty value is a value" get s.peat empty
exits 0 "an empty key is put" put s.peat '' nothing
prints 'nothing' "an empty key is a key" get s.peat ''
exits 0 "options end at --" put -- s.peat -x -y
[ "$("$peat" get -- s.peat -x)" = -y ]
ok "a value may look like an option"
exits 0 "put takes each durability" put --durability disk s.peat apple green
prints 'green' "a second put replaces the value" get s.peat apple

head -c 300000 /dev/urandom >random
"$peat" put s.peat random - <random && "$peat" get s.peat random >random.out && cmp -s random random.out
ok "any bytes go in by standard input and come out the same"
printf 'a\n' | "$peat" put s.peat line - && "$peat" get s.peat line >out && printf 'a\n' | cmp -s - out
ok "a newline at the end of standard input belongs to the value"
exits 0 "a key and a value are put in hexadecimal" put --hex s.peat 00ff 0a00
prints '0a00\n' "a key with a zero byte is found" get --hex s.peat 00fF

exits 0 "delete deletes" delete s.peat apple
exits 1 "a deleted key is not found" get s.peat apple
exits 1 "deleting an absent key exits 1" delete s.peat apple
exits 0 "delete --force takes an absent key" delete --force s.peat apple
"$peat" put s.peat d1 v && "$peat" put s.peat d2 v
exits 1 "delete says that one of its keys was absent" delete s.peat d1 nowhere d2
exits 1 "delete deletes its other keys all the same" get s.peat d2

exits 3 "reading a store that is not there is an error" get none.peat k
grep -q "^peat get: none.peat: no such store" err
ok "a store that is not there is named"
[ ! -e none.peat ]
ok "reading does not create a store"
exits 3 "delete does not create a store" delete none.peat k
head -c 70000 /dev/urandom >alien
cp alien alien.before
exits 3 "a file that is no store is an error" get alien k
exits 3 "a file that is no store is not written to" put alien k v
cmp -s alien alien.before
ok "a file that is no store stays as it was"
exits 3 "a directory is no store" scan .
exits 3 "a store in a directory that is not there is an error" put nowhere/s.peat k v

# ---- collections -----------------------------------------------------------------------------

exits 0 "put creates a nested collection" put -c fruit/red c.peat apple 1
prints '1' "get finds the entry in its collection" get -c fruit/red c.peat apple
exits 1 "the entry is not in the root" get c.peat apple
exits 1 "a collection that is not there exits 1" get -c fruit/blue c.peat apple
grep -q "no collection 'fruit/blue'" err
ok "a collection that is not there is named"
"$peat" put -c 'a\/b' c.peat k slash && "$peat" put -c 'tab\x09' c.peat k tab
prints 'a\\/b\nfruit\nfruit/red\ntab\\x09\n' "stat lists the collections with escapes" \
    stat --collections c.peat
prints 'slash' "a collection's name may hold a slash" get -c 'a\/b' c.peat k
exits 2 "an empty name in a path is wrong usage" get -c 'fruit//red' c.peat k
exits 2 "an unknown escape in a path is wrong usage" get -c 'a\q' c.peat k

# ---- tab-separated ---------------------------------------------------------------------------

printf 'k1\tv1\n\nk\\t2\tv\\n2\\\\\nk3\ta\tb\n\\x00\\xFf\t\n\tv of the empty key\nlast\tline' >in.tsv
exits 0 "tsv is loaded" load t.peat in.tsv
prints 'v1' "tsv: a plain line" get t.peat k1
prints 'v\n2\\' "tsv: escapes" get t.peat "k${tab}2"
prints 'a\tb' "tsv: the value goes on behind further tabs" get t.peat k3
prints '\n' "tsv: bytes by hexadecimal escapes" get --hex t.peat 00ff
prints 'v of the empty key' "tsv: an empty key" get t.peat ''
prints 'line' "tsv: the last line needs no newline" get t.peat last
prints '6\n' "tsv: an empty line is no entry" scan --count t.peat

refuses 2 "no tab" 'a\tb\nno tab here\n' "tsv: a line without a tab is refused" --format tsv
refuses 1 "escape" 'a\\qb\tv\n' "tsv: an unknown escape is refused"
refuses 1 "two hexadecimal" 'a\\x4\tv\n' "tsv: half a hexadecimal escape is refused"
refuses 3 "lone backslash" 'a\tb\nc\td\ne\tf\\\n' "tsv: a lone backslash is refused"
refuses 1 "lone backslash" 'a\tb\\' "tsv: a lone backslash at the end is refused"
refuses 1 "cannot tell the format" 'just words\n' "text of no known format is refused"
refuses 1 "tsv, json, dump or deb822" 'just words\n' "the formats are named then"
prints '0\n' "what stops in its first batch leaves nothing" scan --count bad.peat
exits 3 "a file that is not there is an error" load t.peat none.tsv
grep -q "^peat load: none.tsv: " err
ok "a file that is not there is named"
exits 3 "a directory is no input" load t.peat .

exits 0 "an empty file is loaded" load e.peat /dev/null
prints '0\n' "an empty file holds no entries" scan --count e.peat
printf 'a\t1\n' >a.tsv
printf '{"key":"b","value":"2"}\n' >b.json
exits 0 "several files in several formats are loaded" load m.peat a.tsv b.json
printf 'c\t3\n' | "$peat" load m.peat && printf 'd\t4\n' | "$peat" load m.peat -
prints 'a\t1\nb\t2\nc\t3\nd\t4\n' "standard input is loaded, by - and by default" scan m.peat

# ---- JSON lines ------------------------------------------------------------------------------

cat >in.json <<'J'
{"key":"k1","value":"v1"}
  { "value" : "v2" , "key" : "k2" }

{"key":"esc","value":"\"\\\/\b\f\n\r\t\u0041\u00e9\u20ac\ud83d\ude00"}
{"key64":"AP8=","value64":"/wA="}
{"key64":"AP8B","value64":"\/w=="}
{"key":"","value":""}
{"collection":["a","b/c"],"key":"k","value":"deep"}
{"collection":["hollow"]}
{"collection64":["/w=="],"key":"k","value":"odd"}
{"collection":[],"key":"root","value":"r"}
J
exits 0 "json is loaded" load j.peat in.json
prints 'v2' "json: blanks and the order of members do not matter" get j.peat k2
prints '"\\/\b\f\n\r\tA\303\251\342\202\254\360\237\230\200' "json: escapes" get j.peat esc
prints 'ff00\n' "json: base64" get --hex j.peat 00ff
prints 'ff\n' "json: base64 with an escaped slash" get --hex j.peat 00ff01
prints 'deep' "json: a nested collection" get -c 'a/b\/c' j.peat k
prints 'odd' "json: a collection's name in base64" get -c '\xff' j.peat k
prints '0\n' "json: an object with a collection alone creates it" scan --count -c hollow j.peat
prints 'r' "json: the empty collection path is the root" get j.peat root

json_refuses() {
    refuses 2 "$1" '{"key":"good","value":"entry"}\n'"$2"'\n{"key":"x","value":"y"}\n' "json: $3"
}
json_refuses "'{' is wanted" '["key","value"]' "an array is refused"
json_refuses "ends inside a string" '{"key":"k","value":"v' "a line cut in a string is refused"
json_refuses "the line ends where" '{"key":"k"' "a line cut in an object is refused"
json_refuses "no .value" '{"key":"k"}' "an object without a value is refused"
json_refuses "no .key" '{"value":"v"}' "an object without a key is refused"
json_refuses "no .key" '{}' "an empty object is refused"
json_refuses "to start a string" '{"key":"k","value":7}' "a number as value is refused"
json_refuses "to start a string" '{"key":null,"value":"v"}' "null as key is refused"
json_refuses "comes twice" '{"key":"k","key":"l","value":"v"}' "a member that comes twice is refused"
json_refuses "comes twice" '{"key":"k","key64":"QQ==","value":"v"}' "key beside key64 is refused"
json_refuses "unknown member" '{"key":"k","value":"v","ttl":"1"}' "an unknown member is refused"
json_refuses "unknown member" '{"key\\u0000":"k","value":"v"}' "a member's name with a zero is refused"
json_refuses "not UTF-8" '{"key":"k","value":"\377"}' "bytes that are not UTF-8 are refused"
json_refuses "value64" '{"key":"k","value":"\355\240\200"}' "surrogates in UTF-8 are refused"
json_refuses "not base64" '{"key64":"QQ=","value":"v"}' "base64 with wrong padding is refused"
json_refuses "not base64" '{"key64":"Q*==","value":"v"}' "base64 with wrong digits is refused"
json_refuses "not base64" '{"key64":"QR==","value":"v"}' "base64 with bits left over is refused"
json_refuses "not base64" '{"key64":"QQ==QQ==","value":"v"}' "base64 padded inside is refused"
json_refuses "u escape" '{"key":"\\ud800","value":"v"}' "a lone high surrogate is refused"
json_refuses "u escape" '{"key":"\\ud800\\u0041","value":"v"}' "half a surrogate pair is refused"
json_refuses "u escape" '{"key":"\\udc00","value":"v"}' "a lone low surrogate is refused"
json_refuses "u escape" '{"key":"\\u12g4","value":"v"}' "a bad unicode escape is refused"
json_refuses "unknown escape" '{"key":"\\a","value":"v"}' "an unknown escape is refused"
json_refuses "control character" '{"key":"a\001","value":"v"}' "a bare control character is refused"
json_refuses "follows the object" '{"key":"k","value":"v"} 1' "words behind the object are refused"
json_refuses "'}' is wanted" '{"key":"k" "value":"v"}' "a missing comma is refused"
json_refuses "':' is wanted" '{"key" "k"}' "a missing colon is refused"
json_refuses "to start a member" '{"key":"k","value":"v",}' "a comma at the end is refused"
json_refuses "collection's name" '{"collection":[""],"key":"k","value":"v"}' "an empty name is refused"
json_refuses "collection's name" '{"collection":["a\\u0000"],"key":"k","value":"v"}' \
    "a name with a zero is refused"
json_refuses "array" '{"collection":"a","key":"k","value":"v"}' "a collection that is no array is refused"

# ---- the text of mdb_dump and db_dump --------------------------------------------------------

dump_header='VERSION=3\nformat=%s\ntype=btree\nmapsize=1048576\nHEADER=END\n'
# shellcheck disable=SC2059
{
    printf "$dump_header" bytevalue
    printf ' 6b31\n 7631\n 00fF\n \nDATA=END\n'
    printf 'VERSION=3\nformat=print\ndatabase=names/inner\ntype=btree\ndb_pagesize=4096\nHEADER=END\n'
    printf ' a b\n c\\5cd\\\\e\\00\nDATA=END\n'
    printf 'VERSION=3\nformat=print\ndatabase=hollow\ntype=hash\nHEADER=END\nDATA=END\n'
} >in.dump
exits 0 "a dump is loaded" load d.peat in.dump
prints 'v1' "dump: an entry in hexadecimal" get d.peat k1
prints '\n' "dump: an empty value" get --hex d.peat 00ff
prints 'c\\d\\e\000' "dump: an entry in print form, in its collection" get -c names/inner d.peat 'a b'
prints 'hollow\nnames\nnames/inner\n' "dump: a database without entries is created" \
    stat --collections d.peat

dump_refuses() {
    refuses "$1" "$2" "$(printf "$dump_header" "$3" | sed 's/$/\\n/' | tr -d '\n')$4" "dump: $5"
}
dump_refuses 8 "DATA=END" bytevalue ' 6b\n 76\n' "a text that ends without DATA=END is refused"
dump_refuses 6 "two hexadecimal" bytevalue ' 6b3\n 76\nDATA=END\n' "an odd number of digits is refused"
dump_refuses 7 "hexadecimal" bytevalue ' 6b\n 7x\nDATA=END\n' "a wrong digit is refused"
dump_refuses 6 "without a value" bytevalue ' 6b\nDATA=END\n' "a key without a value is refused"
dump_refuses 6 "without a value" bytevalue ' 6b\n' "a key without a value at the end is refused"
dump_refuses 6 "starts with a space" bytevalue '6b\n 76\nDATA=END\n' "data without its space is refused"
dump_refuses 6 "hexadecimal" print ' a\\zz\n v\nDATA=END\n' "a wrong escape is refused"
dump_refuses 9 "VERSION=3" bytevalue ' 6b\n 76\nDATA=END\nmore\n' "words behind a dump are refused"
refuses 1 "VERSION=3" 'VERSION=2\nHEADER=END\nDATA=END\n' "dump: another version is refused"
refuses 2 "format=" 'VERSION=3\nformat=xml\nHEADER=END\n' "dump: an unknown format is refused"
refuses 3 "without keys" 'VERSION=3\nformat=print\ntype=recno\nHEADER=END\n' "dump: recno is refused"
refuses 3 "ends inside a header" 'VERSION=3\nformat=print\n' "dump: a cut header is refused"
refuses 2 "without '='" 'VERSION=3\nnonsense\nHEADER=END\n' "dump: a wrong header is refused"
refuses 2 "names no collection" 'VERSION=3\ndatabase=a//b\nHEADER=END\n' "dump: a bad name is refused"
printf ' k\n v\n k\n w\nDATA=END\n' >repeated
refuses 9 "second value" \
    "VERSION=3\\nformat=print\\nduplicates=1\\ntype=btree\\nHEADER=END\\n$(cat repeated)" \
    "dump: two values of one key are refused"

if command -v mdb_load >/dev/null && command -v mdb_dump >/dev/null; then
    # No backslash: mdb_dump -p of LMDB 0.9.24 writes it in a way that nobody can read back.
    printf 'k\\x00\tv\\xff\nb\t\nc\t3\n' | "$peat" load lm.peat &&
        "$peat" dump lm.peat >lm.dump && mdb_load -n -f lm.dump lm.mdb &&
        mdb_dump -n lm.mdb >lm1.dump && mdb_dump -n -p lm.mdb >lm2.dump &&
        "$peat" load lm1.peat lm1.dump && "$peat" load lm2.peat lm2.dump &&
        dump_of lm.peat >lm.json && dump_of lm1.peat | cmp -s - lm.json &&
        dump_of lm2.peat | cmp -s - lm.json
    ok "a store goes to LMDB by mdb_load and comes back by mdb_dump, in both forms"
else
    skip "a store goes to LMDB by mdb_load and comes back by mdb_dump, in both forms" "no mdb_load"
fi

# ---- Debian's package lists ------------------------------------------------------------------

{
    printf '\nPackage: bash\nVersion: 5.2-1\nDescription: shell\n and more\n .\n\n\n'
    printf 'package: zsh\nVERSION:  5.9 \n'
} >Packages
exits 0 "a package list is loaded" load p.peat Packages
prints 'Package: bash\nVersion: 5.2-1\nDescription: shell\n and more\n .\n' \
    "deb822: the value is the whole stanza" get p.peat 'bash 5.2-1'
prints 'package: zsh\nVERSION:  5.9 \n' "deb822: field names in any case" get p.peat 'zsh 5.9'
prints '2\n' "deb822: nothing else is loaded" scan --count p.peat
refuses 1 "without Version" 'Package: a\n\nPackage: b\nVersion: 1\n' "deb822: no version is refused"
refuses 4 "without Package" 'Package: a\nVersion: 1\n\nVersion: 1\n' "deb822: no package is refused"
refuses 2 "Field: value" 'Package: a\nnonsense\nVersion: 1\n' "deb822: a line without a colon is refused"
refuses 4 "continuation" 'Package: a\nVersion: 1\n\n b\nPackage: c\n' "deb822: a lone continuation is refused"

# ---- bad records left out --------------------------------------------------------------------

printf 'a\t1\nbad\nb\t2\nc\\q\t3\nd\t4\n' >some.tsv
exits 0 "load --skip-bad goes on" load --skip-bad k.peat some.tsv
[ "$(grep -c 'some.tsv: line [24]: .*skipped' err)" -eq 2 ]
ok "load --skip-bad names what it leaves out"
prints 'a\t1\nb\t2\nd\t4\n' "load --skip-bad loads all that is good" scan k.peat
printf 'VERSION=3\nformat=bytevalue\nHEADER=END\n 61\n 7\n 6\n 62\n 63\n 64\nDATA=END\n' >some.dump
exits 0 "load --skip-bad leaves out pairs of a dump" load --skip-bad k2.peat some.dump
prints 'c\td\n' "a bad key takes its value with it, and a bad value its key" scan k2.peat
printf 'VERSION=3\nformat=bytevalue\nHEADER=END\n 61\n 62\n' >cut.dump
exits 3 "load --skip-bad does not pass over a cut dump" load --skip-bad k3.peat cut.dump

# ---- dump and load are each other's reverse --------------------------------------------------

awk 'BEGIN {
    for (i = 0; i < 256; i++)
        printf "key\\x%02x\\x%02x\tvalue\\x%02x\\n%d\n", i, 255 - i, i, i
}' >all.tsv
"$peat" load r.peat all.tsv && "$peat" load -c one/two r.peat all.tsv &&
    "$peat" load -c 'sl\/ash' r.peat in.tsv && "$peat" load -c 'one/\xfe' r.peat in.json &&
    "$peat" load -c hollow r.peat /dev/null
ok "a store of all bytes and nested collections is loaded"
dump_of r.peat >r.json
for form in "dump" "dump --print" "json"; do
    rm -f r2.peat
    # shellcheck disable=SC2086
    "$peat" dump --format $form r.peat >r.txt && "$peat" load r2.peat r.txt &&
        dump_of r2.peat | cmp -s - r.json
    ok "what is dumped as $form is loaded the same, collections included"
done
rm -f r2.peat
"$peat" dump -c one/two --format tsv r.peat >r.tsv && "$peat" load -c one/two r2.peat r.tsv &&
    "$peat" scan -c one/two --format hex r.peat >r1.hex &&
    "$peat" scan -c one/two --format hex r2.peat >r2.hex && [ -s r1.hex ] && cmp -s r1.hex r2.hex
ok "what is dumped as tsv from one collection is loaded the same"
"$peat" dump -c one --format json r.peat >out &&
    [ ! -s out ]
ok "dump --collection leaves out what is below"
exits 3 "dump refuses tsv for a store with collections" dump --format tsv r.peat
[ ! -s out ]
ok "a dump that is refused has written nothing"
grep -q "use --format json or dump" err
ok "dump says which formats can hold collections"
exits 1 "dump of a collection that is not there exits 1" dump -c none r.peat
"$peat" dump r.peat | tail -n 1 | grep -q '^DATA=END$'
ok "a whole dump ends with DATA=END"

# ---- scan ------------------------------------------------------------------------------------

printf 'a\t1\naa\t2\nab\t3\nb\t4\n\\xff\t5\n\\xff\\xff\t6\n' | "$peat" load n.peat
prints 'a\t1\naa\t2\nab\t3\nb\t4\n\\xff\t5\n\\xff\\xff\t6\n' "scan writes all in key order" scan n.peat
prints '\\xff\\xff\t6\n\\xff\t5\nb\t4\nab\t3\naa\t2\na\t1\n' "scan --reverse turns it round" scan -r n.peat
prints 'aa\t2\nab\t3\n' "scan --low is inclusive, --high exclusive" scan --low aa --high b n.peat
prints 'ab\t3\naa\t2\n' "scan --reverse keeps the bounds" scan --low aa --high b --reverse n.peat
prints 'a\t1\naa\t2\nab\t3\n' "scan --prefix" scan --prefix a n.peat
prints 'ff\t35\nffff\t36\n' "scan --prefix of 0xff goes to the end" scan --hex --prefix ff n.peat
prints 'ab\t3\n' "scan --prefix and --low narrow each other" scan --prefix a --low ab n.peat
prints 'a\t1\n' "scan --prefix and --high narrow each other" scan --prefix a --high aa n.peat
prints '' "bounds the wrong way round hold nothing" scan --low b --high a n.peat
prints '' "nothing is below the empty key" scan --high '' n.peat
prints 'a\t1\naa\t2\n' "scan --limit" scan --limit 2 n.peat
prints '' "scan --limit 0" scan --limit 0 n.peat
prints '\\xff\\xff\n' "scan --keys-only" scan --keys-only --reverse --limit 1 n.peat
prints '3\n' "scan --count with bounds" scan --count --prefix a n.peat
prints '2\n' "scan --count with a limit" scan --count --limit 2 n.peat
prints '61\t31\n' "scan --format hex" scan --format hex --limit 1 n.peat
prints '61\n' "scan --hex takes its bounds in hexadecimal" scan --hex --keys-only --high 6161 n.peat
prints '{"key":"a","value":"1"}\n{"key":"aa","value":"2"}\n' "scan --format json" \
    scan --format json --limit 2 n.peat
prints '{"key64":"/w=="}\n' "scan --format json of keys that are not UTF-8" \
    scan --format json --keys-only --prefix "$(printf '\377')" --limit 1 n.peat
printf 'esc\t\\x1b[2J\\xc2\\x9b\n' | "$peat" load esc.peat
prints 'esc\t\\x1b[2J\\xc2\\x9b\n' "scan lets no control character through to a terminal" scan esc.peat
prints '{"key":"esc","value":"\\u001b[2J\\u009b"}\n' "json lets none through either" \
    scan --format json esc.peat

# ---- batches, reports and large entries ------------------------------------------------------

awk 'BEGIN { for (i = 1; i <= 2500; i++) printf "%06d\tvalue %d\n", i, i }' >many.tsv
prints '1000\n2000\n2500\n' "load --report counts what each commit adds to" load --report b.peat many.tsv
prints '2500\n' "load --batch sets the size of a commit" load --report --batch 5000 b1.peat many.tsv
prints '2500\n' "loading the same again changes nothing" scan --count b.peat
for level in memory os disk; do
    "$peat" load --durability $level --batch 500 l-$level.peat many.tsv &&
        [ "$("$peat" scan --count l-$level.peat)" -eq 2500 ]
    ok "load --durability $level"
done
"$peat" load --verbose v.peat many.tsv 2>err && grep -q "^2,500 entries, " err
ok "load --verbose says how much it was"
"$peat" load v2.peat many.tsv >out 2>err && [ ! -s out ] && [ ! -s err ]
ok "load is silent where nobody asks"
{
    printf 'large\t'
    head -c 6000000 /dev/zero | tr '\0' x
    printf '\nsmall\ty\n'
} >large.tsv
exits 0 "a value of 6 MB on one line is loaded" load large.peat large.tsv
"$peat" get large.peat large | tr -d x | wc -c | grep -q '^ *0$' &&
    [ "$("$peat" get large.peat large | wc -c)" -eq 6000000 ]
ok "a value of 6 MB comes out whole"
"$peat" dump --format json large.peat | "$peat" load large2.peat &&
    "$peat" dump large.peat >large1 && "$peat" dump large2.peat >large2 && [ -s large1 ] &&
    sed '/^mapsize/d' large1 >large1s && sed '/^mapsize/d' large2 | cmp -s - large1s
ok "a value of 6 MB goes through json"

# ---- standard output that fails --------------------------------------------------------------

if [ -c /dev/full ]; then
    "$peat" scan b.peat >/dev/full 2>err
    [ $? -eq 3 ] && grep -q "^peat scan: standard output: No space left" err
    ok "a full disk behind standard output is an error"
    "$peat" get n.peat a >/dev/full 2>err
    [ $? -eq 3 ] && [ -s err ]
    ok "a full disk is noticed for a single byte too"
else
    skip "a full disk behind standard output is an error" "no /dev/full"
fi
{
    "$peat" dump --format json large.peat 2>err
    echo $? >code
} | head -c 1 >/dev/null
[ "$(cat code)" -eq 3 ] && [ ! -s err ]
ok "a reader that goes away ends a dump without words"
"$peat" get n.peat a >&- 2>err
[ $? -eq 3 ] && [ "$("$peat" get n.peat a)" = 1 ] && "$peat" check n.peat >/dev/null
ok "a closed standard output is an error and not the store's file"
"$peat" put n.peat a 2 <&- >&- 2>&- && [ "$("$peat" get n.peat a)" = 2 ] && "$peat" check n.peat >out
ok "put works with all three standard files closed"

# ---- beside a writer, and killed -------------------------------------------------------------

mkfifo input acknowledged
"$peat" put w.peat before 1
"$peat" load --report --batch 2 w.peat <input >acknowledged 2>load.err &
loader=$!
exec 8>input 9<acknowledged
printf 'k1\t1\nk2\t2\nk3\t3\n' >&8
read -r count <&9
[ "$count" = 2 ]
ok "load reports a batch as soon as it is committed, with its input still open"
[ "$("$peat" get w.peat before)" = 1 ] && [ "$("$peat" get w.peat k2)" = 2 ]
ok "get works beside a writer and sees what is committed"
prints '3\n' "scan works beside a writer" scan --count w.peat
exits 0 "stat works beside a writer" stat w.peat
exits 0 "check works beside a writer" check w.peat
exits 1 "an entry of an unfinished batch is not seen" get w.peat k3
exits 3 "a second writer is refused" put w.peat k 1
grep -q "$loader" err
ok "a second writer is told the first one's process"
kill -KILL "$loader"
wait "$loader" 2>/dev/null
exec 8>&- 9<&-
prints 'before\t1\nk1\t1\nk2\t2\n' "after SIGKILL the acknowledged batch is there and no half batch is" \
    scan w.peat
exits 0 "after SIGKILL the store is sound" check w.peat
exits 0 "after SIGKILL the store takes writes" put w.peat after 1

# ---- stat and check --------------------------------------------------------------------------

exits 0 "stat tells about a store" stat b.peat
grep -q '^size of the file ' out && grep -q '^store  *[0-9a-f]\{32\}$' out
ok "stat names the store and its size"
exits 0 "stat --json tells about a store" stat --json b.peat
grep -q '^{"store_id":"[0-9a-f]\{32\}"\(,"[a-z_]*":[0-9][0-9]*\)*,"feeds":\[\]}$' out
ok "stat --json writes one object"
[ "$(sed 's/.*"file_size":\([0-9]*\).*/\1/' out)" -eq "$(wc -c <b.peat)" ]
ok "stat's size is the file's"
exits 0 "check passes a sound store" check b.peat
grep -q '^no damage' out
ok "check says that there is no damage"
prints '' "check --quiet is quiet" check --quiet b.peat

# ---- compact ---------------------------------------------------------------------------------

awk 'BEGIN { for (i = 0; i < 20000; i++) printf "%06d\t%0100d\n", i, i }' >many.tsv
"$peat" load k.peat many.tsv 2>/dev/null && "$peat" put -c names k.peat a 1
seq -f %06g 100 5000 | xargs "$peat" delete k.peat
dump_of k.peat >before
exits 0 "compact merges a store" compact k.peat
grep -q '^[0-9.]* [kMG]*B of disk before, [0-9.]* [kMG]*B now$' out
ok "compact tells the size before and after"
dump_of k.peat | cmp -s - before
ok "compact changes nothing that can be read"
exits 0 "check passes a compacted store" check k.peat
prints '' "compact --quiet is quiet" compact --quiet k.peat
exits 0 "compact takes bounds and a collection" compact -q -l a -h b -c names k.peat
exits 0 "compact takes bounds in hexadecimal" compact -q -x -l 3030 k.peat
dump_of k.peat | cmp -s - before
ok "compacting a part changes nothing that can be read"
exits 2 "compact refuses bounds that are not hexadecimal" compact -x -l zz k.peat
exits 1 "compact of a collection that is not there exits 1" compact -c none k.peat
exits 3 "compact of a store that is not there exits 3" compact none.peat
exits 2 "compact without a store is wrong usage" compact

# Damage: every copy of a value that stands in the file.
"$peat" put x.peat marked 'a value to be found in the file' && "$peat" put x.peat other value
for offset in $(grep -abo 'a value to be found' x.peat | cut -d: -f1); do
    printf 'X' | dd of=x.peat bs=1 seek="$offset" conv=notrunc 2>/dev/null
done
exits 4 "check finds damage" check x.peat
[ -s out ] && grep -q '^offset [0-9]*: ' out
ok "check says where the damage is"
grep -q '^  lost: root: keys' out
ok "check says which keys are lost"
exits 4 "check --json finds damage" check --json x.peat
grep -q '^{"findings":\[{"offset":[0-9]*,"what":".*"lost":\[{"number":1,"collection":\[\]' out
ok "check --json says which keys are lost"
exits 4 "get reports damage instead of a wrong value" get x.peat marked
[ ! -s out ] && grep -q "peat check" err
ok "get writes nothing of a damaged value and names a remedy"
exits 4 "scan reports damage" scan x.peat
exits 4 "salvage says that something is lost" salvage x.peat salvaged.peat
grep -q '^lost: root: keys' out
ok "salvage says which keys are lost"
exits 0 "what salvage wrote is sound" check salvaged.peat
exits 3 "salvage overwrites nothing" salvage b.peat salvaged.peat
exits 0 "salvage of a sound store loses nothing" salvage --json b.peat whole.peat
grep -q '^{"lost":\[\],"lost_count":0,' out && [ "$("$peat" scan b.peat)" = "$("$peat" scan whole.peat)" ]
ok "salvage --json says so, and the new store holds the same"
exits 4 "dump reports damage" dump x.peat
grep -q 'DATA=END' out
[ $? -ne 0 ]
ok "a dump that met damage has no end"

# ---- backup, restore, digest -----------------------------------------------------------------

# digest_of STORE: its digest alone.
digest_of() {
    "$peat" digest "$1" | cut -d' ' -f1
}

"$peat" load bk.peat - <<END
$(seq 1 3000 | sed 's/.*/key&\tvalue&/')
END
digest=$(digest_of bk.peat)
prints "$digest  full.peat\n" "backup writes a file and its digest" backup bk.peat full.peat
grep -q '^commit [0-9]*$' err && grep -q 'MB/s\|kB/s\|GB/s' err
ok "backup tells the commit and the rate on standard error"
[ "$(digest_of full.peat)" = "$digest" ] && [ "$("$peat" get full.peat key7)" = value7 ]
ok "a backup is a store with the same digest"
exits 3 "backup replaces no file by itself" backup bk.peat full.peat
"$peat" put bk.peat key7 changed && "$peat" delete bk.peat key8
[ "$(digest_of bk.peat)" != "$digest" ]
ok "the digest tells that the store changed"
prints "$(digest_of bk.peat)  inc1.peat\n" "backup --since writes an increment" \
    backup --quiet --since full.peat bk.peat inc1.peat
[ ! -s err ]
ok "backup --quiet is quiet"
exits 3 "an increment is no store" get inc1.peat key7
grep -q 'peat restore' err
ok "and the message says what to do with it"
"$peat" put bk.peat "later" 1
exits 0 "backup --json writes one object" backup -j -s full.peat -s inc1.peat bk.peat inc2.peat
grep -q '^{"kind":"increment",.*"put_count":1,"delete_count":0,"file_size":[0-9]*}$' out
ok "backup --json tells what is in the increment"
digest=$(digest_of bk.peat)
prints "$digest  out.peat\n" "restore makes a store of a backup and its increments" \
    restore out.peat full.peat inc1.peat inc2.peat
dump_of bk.peat >wanted
dump_of out.peat | cmp -s - wanted
ok "what was restored is what was backed up"
exits 3 "restore replaces no file" restore out.peat full.peat
exits 3 "restore refuses increments in the wrong order" restore o.peat full.peat inc2.peat inc1.peat
grep -q 'inc2.peat is based on' err && [ ! -e o.peat ]
ok "and names the first that does not fit"
exits 3 "restore refuses an increment alone" restore o.peat inc1.peat
exits 3 "restore refuses a store that is no backup" restore o.peat bk.peat
exits 0 "backup --replace replaces the file" backup --replace bk.peat full.peat
[ "$(digest_of full.peat)" = "$digest" ] && [ -z "$(find . -name "*.partial*")" ]
ok "and leaves nothing beside it"
"$peat" backup -q bk.peat - | cat >piped.peat
[ "$(digest_of piped.peat)" = "$digest" ] && "$peat" check -q piped.peat
ok "a backup through a pipe is the same store"
exits 2 "backup writes no JSON where the backup goes" backup --json bk.peat -
if [ -e /dev/full ]; then
    "$peat" backup -q bk.peat - >/dev/full 2>err
    [ $? -eq 3 ] && [ -s err ]
    ok "backup says that standard output is full"
else
    skip "backup says that standard output is full" "no /dev/full"
fi
for offset in $(grep -abo 'value2999' full.peat | cut -d: -f1); do
    printf 'X' | dd of=full.peat bs=1 seek="$offset" conv=notrunc 2>/dev/null
done
exits 4 "restore finds damage in a backup" restore o.peat full.peat
[ ! -e o.peat ] && [ -z "$(find . -name "*.partial*")" ]
ok "and leaves no file"
exits 4 "backup finds damage in a store" backup full.peat o.peat
exits 4 "digest finds damage" digest full.peat
exits 0 "digest --json writes one object" digest --json out.peat
grep -q '^{"digest":"[0-9a-f]\{64\}","commit":[0-9]*,"entry_count":3000}$' out
ok "digest --json tells commit and entries"
# ---- history ---------------------------------------------------------------------------------

printf 'a\t1\nb\t1\nc\t1\n' | "$peat" load h.peat
"$peat" put -c inner h.peat k old
exits 0 "history --persist keeps the present state" history --persist good h.peat
exits 3 "a name that is taken is refused" history --persist good h.peat
grep -q "^peat history: h.peat: .*'good'" err
ok "the taken name is told"
exits 3 "an empty name is refused" history --persist '' h.peat
"$peat" delete h.peat a && "$peat" put h.peat b 2 && "$peat" put h.peat d 'x	y' &&
    "$peat" put -c inner h.peat k new
exits 0 "history lists the kept states" history h.peat
[ "$(wc -l <out)" -eq 2 ] && [ "$(cut -f6,7 out | tr '\t\n' '  ')" = "kept good newest  " ]
ok "they are the one with the name and the newest"
number=$(head -n 1 out | cut -f1)
commit=$(head -n 1 out | cut -f2)
cut -f3 out | grep -qv '^20[0-9][0-9]-[01][0-9]-[0-3][0-9]T[0-9:]*Z$'
[ $? -ne 0 ]
ok "history tells when they were made"
exits 0 "history --json lists objects" history --json h.peat
[ "$(grep -c '^{"generation":[0-9]*,"commit":[0-9]*,.*"name":"[a-z]*"}$' out)" -eq 2 ]
ok "each on a line"
prints 'a\t1\nb\t1\nc\t1\n' "scan --at shows what was" scan --at good h.peat
run digest --at good h.peat
digest=$(cut -d' ' -f1 out)
prints "$digest  good.peat\n" "backup --at writes a kept state" backup --at good h.peat good.peat
exits 0 "its increment leads to what is now" backup -q -s good.peat h.peat now.inc
run restore -q now.peat good.peat now.inc
[ "$(cut -d' ' -f1 out)" = "$(digest_of h.peat)" ] && [ "$(digest_of good.peat)" = "$digest" ]
ok "and both restore to what they were"
prints '1' "get --at takes a name" get --at good h.peat a
prints '1' "get --at takes a number" get --at "$number" h.peat b
prints '1' "get --at takes a commit" get --at "$commit" h.peat b
prints 'old' "get --at reads collections as they were" get --at good -c inner h.peat k
exits 1 "an unknown state exits 1" get --at bad h.peat a
grep -q "^peat get: h.peat: no kept state 'bad'" err
ok "the unknown state is named"
exits 0 "dump --at writes all that was" dump --at good --format json h.peat
cp out good.json
prints '{"key":"a","value":"1"}\n{"key":"b","value":"1"}\n{"key":"c","value":"1"}\n{"collection":["inner"]}\n{"collection":["inner"],"key":"k","value":"old"}\n' \
    "it is what was loaded" dump --at good --format json h.peat
prints 'inner\n' "stat --collections --at lists those there were" stat --collections --at good h.peat
exits 2 "stat --at without --collections is wrong usage" stat --at good h.peat
"$peat" stat h.peat | grep -q '^kept states  *1$'
ok "stat tells how many states are kept"
prints '-a\t1\n-b\t1\n+b\t2\n+d\tx\\ty\n@inner\n-k\told\n+k\tnew\n' \
    "diff tells what has changed since" diff h.peat good
prints '+a\t1\n-b\t2\n+b\t1\n-d\tx\\ty\n@inner\n-k\tnew\n+k\told\n' \
    "diff takes two states" diff h.peat "$("$peat" history h.peat | tail -n 1 | cut -f1)" good
prints '{"key":"a","from":"1"}\n{"key":"b","from":"1","to":"2"}\n{"key":"d","to":"x\\ty"}\n' \
    "diff --collection compares one, diff --format json writes objects" \
    diff --collection / --format json h.peat good
prints '@inner\n-6b\t6f6c64\n+6b\t6e6577\n' "diff --format hex writes hexadecimal" \
    diff -c inner -f hex h.peat good
exits 1 "diff of a collection that never was exits 1" diff -c outer h.peat good
exits 2 "diff of no state is wrong usage" diff h.peat
exits 2 "an unknown format of diff is wrong usage" diff --format xml h.peat good
exits 0 "revert goes back" revert h.peat good
dump_of h.peat | cmp -s - good.json
ok "the store is what it was"
before=$("$peat" history h.peat | grep before-revert | cut -f1)
exits 0 "a revert can be undone" revert h.peat "$before"
prints '2' "after that the store is what it was before" get h.peat b
exits 1 "a revert to an unknown state exits 1" revert h.peat bad
exits 0 "history --drop lets a state go" history --drop good h.peat
exits 1 "it is gone" get --at good h.peat a
exits 0 "history --drop and --persist give a name anew" history --persist now h.peat
exits 0 "dropping comes first" history --drop now --persist now h.peat
exits 2 "history --json with a change is wrong usage" history --json --drop now h.peat

# ---- a store that may not grow ---------------------------------------------------------------

quota=2097152
awk 'BEGIN { for (i = 0; i < 4000; i++) printf "key %05d\t%0900d\n", i, i }' >large.tsv
head -n 300 large.tsv >half.tsv
exits 0 "some of it fits below --file-size-max" load --batch 50 --file-size-max "$quota" q.peat half.tsv
exits 0 "history --file-size-max keeps a state there" history --file-size-max "$quota" --persist first q.peat
exits 3 "load --file-size-max fails when the store is full" \
    load --batch 50 --file-size-max "$quota" q.peat large.tsv
grep -q 'file_size_max is 2097152' err
ok "and says what stands against it"
[ "$(wc -c <q.peat)" -le "$quota" ]
ok "the file has not grown beyond it"
exits 0 "history --file-size-max lets a state go when the store is full" \
    history --file-size-max "$quota" --drop first --persist second q.peat
exits 0 "delete --file-size-max works there" delete --file-size-max "$quota" q.peat 'key 00001'
exits 0 "revert --file-size-max goes back when the store is full" \
    revert --file-size-max "$quota" q.peat second
exits 0 "the deleted entry is there again" get q.peat 'key 00001'
[ "$(wc -c <q.peat)" -le "$quota" ]
ok "none of them has let the file grow beyond it"
for command in 'load q.peat large.tsv' 'put q.peat k v' 'delete q.peat k' 'compact q.peat' \
    'history --drop second q.peat' 'revert q.peat second'; do
    name=${command%% *}
    exits 2 "$name takes no --file-size-max below a MiB" "$name" --file-size-max 1048575 ${command#* }
done
exits 0 "check passes a store with a history" check h.peat

# ---- feed ------------------------------------------------------------------------------------

"$peat" put f.peat a 1
prints '' "a store at rest has no log to feed from" feed f.peat
prints '' "feed --name begins" feed --name copy f.peat
"$peat" put f.peat b '"2"' && "$peat" put -c inner/most f.peat c 3 && "$peat" delete f.peat a
run feed --name copy --keep f.peat
sed 's/"commit":[0-9]*,"time_us":[0-9]*,//' out >told
printf '%s\n' '{"op":"put","key":"b","value":"\"2\"","last":true}' \
    '{"op":"create","collection":["inner"],"last":true}' \
    '{"op":"create","collection":["inner","most"],"last":true}' \
    '{"op":"put","collection":["inner","most"],"key":"c","value":"3","last":true}' \
    '{"op":"delete","key":"a","last":true}' >wanted
[ "$code" -eq 0 ] && cmp -s wanted told
ok "feed --name writes what was committed since"
[ "$(grep -o '"commit":[0-9]*' out | tr '\n' ' ')" = \
    '"commit":2 "commit":3 "commit":4 "commit":5 "commit":6 ' ]
ok "each with its commit"
cp out all
exits 0 "feed --keep leaves it to be written again" feed --name copy --keep f.peat
cmp -s all out
ok "and it is"
exits 0 "feed --from begins where it is told to" feed --from 4 f.peat
tail -n 3 all | cmp -s - out
ok "with that commit"
exits 0 "feed --limit stops" feed --name copy --limit 2 f.peat
head -n 2 all | cmp -s - out
ok "after so many commits"
exits 0 "feed --name goes on behind them" feed --name copy f.peat
tail -n 3 all | cmp -s - out
ok "with the next"
prints '' "then there is nothing more" feed --name copy f.peat
exits 3 "feed --from beyond what was committed is an error" feed --from 100 f.peat
exits 3 "feed --from what is gone is an error" feed --from 1 f.peat
exits 2 "feed --from no commit is wrong usage" feed --from nowhere f.peat
exits 2 "feed --keep without a name is wrong usage" feed --keep f.peat
exits 2 "feed --drop with a name is wrong usage" feed --drop copy --name copy f.peat
"$peat" stat f.peat | grep -q "^feed  *copy	acknowledged 6, [0-9]* bytes kept\$"
ok "stat lists feeds"
"$peat" stat --json f.peat | grep -q '"feeds":\[{"name":"copy","acknowledged":6,"held_size":[0-9]*,"is_gone":false}\]}$'
ok "stat --json lists them too"
"$peat" feed --follow --from next f.peat >followed 2>err &
feed=$!
tries=0
while [ ! -s followed ] && [ $tries -lt 200 ]; do # each put is one commit; it sees those after it began
    "$peat" put f.peat followed x
    tries=$((tries + 1))
done
grep -q '"op":"put","key":"followed","value":"x","last":true}$' followed
ok "feed --follow goes on as another process commits"
kill -TERM "$feed" # a shell has what runs beside it ignore SIGINT
wait "$feed"
[ $? -eq 0 ] && [ ! -s err ]
ok "being stopped ends it in order"
exits 0 "feed --drop forgets a name" feed --drop copy f.peat
exits 1 "a name that is not there exits 1" feed --drop copy f.peat
"$peat" stat f.peat | grep -q '^feeds with a name  *0$'
ok "stat tells that there is none"
exits 0 "check passes a store that had feeds" check f.peat

# ---- torture ---------------------------------------------------------------------------------

mkdir torture
exits 0 "torture finds nothing wrong" torture --seconds 3 --seed 7 torture
grep -q '^torture of a store in torture, seed 7$' out && grep -q '^[1-9][0-9]* kills, 0 failed$' out
ok "its report ends with the number of kills"
[ -z "$(ls torture)" ]
ok "it leaves nothing behind"
exits 0 "torture --json writes an object" torture --json --seconds 2 torture
grep -q '^{"directory":"torture",.*"kills":[1-9].*"failed":0,.*"sync_is_plausible":[a-z]*}$' out
ok "with what the report says"
"$peat" torture --keep --seconds 2 torture >out 2>err && "$peat" check --quiet torture/*.peat
ok "torture --keep leaves a store that is whole"
rm -f torture/*
exits 3 "torture in no directory is an error" torture nowhere
exits 3 "torture in a file is an error" torture h.peat
exits 2 "torture for no time is wrong usage" torture --seconds 0 torture
exits 2 "two phases at once are wrong usage" torture --prepare --verify torture
exits 2 "numbers without --verify are wrong usage" torture --acknowledged numbers torture
exits 3 "torture --verify without a store is an error" torture --verify torture
exits 0 "torture --prepare commits" torture --prepare --seconds 1 torture
cp out numbers
[ "$(head -n 1 numbers)" = 1 ] && [ -e torture/peat-torture-power.peat ]
ok "it numbers what it commits"
exits 0 "torture --prepare goes on" torture --prepare --seconds 1 torture
[ "$(head -n 1 out)" -eq $(($(tail -n 1 numbers) + 1)) ]
ok "where it left off"
last=$(tail -n 1 out)
echo $((last + 1)) >more
exits 4 "a commit that was acknowledged and is not there is damage" \
    torture --verify --acknowledged more torture
grep -q "batch $((last + 1)) was acknowledged; the store ends with $last" out
ok "which one it is, is said"
printf '%s' "${last}9" >>numbers
exits 0 "a torn number does not count, and --keep leaves the store" \
    torture --verify --keep --acknowledged - torture <numbers
"$peat" put torture/peat-torture-power.peat --collection torture 'slot 000001' wrong
exits 4 "a value that is not what was committed is damage" torture --json --verify torture
grep -q '"failed":1,"finding":".*slot 0' out
ok "which one it is, is in the object"

# ---- keygen ----------------------------------------------------------------------------------

exits 0 "keygen makes a key file" keygen k.key
id=$(sed -n 's/^key \([0-9a-f]\{32\}\)$/\1/p' out)
[ -n "$id" ] && [ "$(wc -l <out)" -eq 1 ] && grep -qx "peat-key 1 $id [0-9a-f]\{64\}" k.key &&
    [ "$(wc -lc <k.key | tr -s ' ')" = " 1 109" ]
ok "it holds one line with the id that was written, and a secret that was not"
[ "$(stat -c %a k.key)" = 600 ]
ok "nobody but its owner can read it"
(umask 0 && "$peat" keygen open.key >out) && [ "$(stat -c %a open.key)" = 600 ]
ok "whatever the umask is"
cp k.key before.key
exits 3 "a file that is there is left alone" keygen k.key
grep -q '^peat keygen: k.key: ' err && cmp -s k.key before.key
ok "and named"
exits 0 "another key is another one" keygen other.key
! grep -q "$id" other.key && [ "$(cut -d ' ' -f 4 k.key)" != "$(cut -d ' ' -f 4 other.key)" ]
ok "with an id and a secret of its own"
exits 3 "a key file in a directory that is not there is an error" keygen absent/k.key
exits 2 "keygen without a file is wrong usage" keygen

# ---- serve and follow ------------------------------------------------------------------------

# The primary's data comes through a pipe that stays open; what it listens on is where nobody else is.
url=ipc://$PWD/serve.socket
mkfifo serve.in
"$peat" serve --listen "$url" --key k.key --format tsv serve.db <serve.in >serve.out 2>serve.err &
server=$!
exec 7>serve.in
"$peat" follow --from "$url" --key k.key --name one --until 1 follow.db >follow.out 2>follow.err 7>&- &
follower=$!
printf 'a\t1\nb\t2\n' >&7
exec 7>&-
wait "$follower"
[ $? -eq 0 ] && grep -q '^following at commit' follow.out && [ ! -s follow.err ]
ok "a store follows until it has a commit, and says what it does"
"$peat" dump serve.db >served 2>err && "$peat" dump follow.db >followed && cmp -s served followed
ok "then it has what the primary has"
"$peat" follow --from "$url" --key k.key --name one follow.db >again.out 2>again.err &
follower=$!
until [ -s again.out ] || ! kill -0 "$follower"; do sleep 0.1; done
"$peat" put serve.db c 3 2>/dev/null
[ $? -eq 3 ]
ok "a store that is served has its one writer"
kill "$follower"
wait "$follower"
code=$?
[ "$code" -eq 0 ] || sed "s/^/# exit code $code: /" again.out again.err
[ "$code" -eq 0 ]
ok "following ends when it is asked to"
kill "$server"
wait "$server"
[ $? -eq 0 ]
ok "serving ends when it is asked to"
grep -qx "listening on $url" serve.out
ok "and has said where it listened"
grep -q '^peat serve: serve.db: follower one connected, at commit 0$' serve.err &&
    grep -q '^peat serve: serve.db: follower one disconnected, at commit [0-9]*: the peer says: ' serve.err &&
    ! grep -qv '^peat serve: serve.db: follower one ' serve.err
ok "and who came and went"
"$peat" serve --listen "$url" --key k.key --format tsv --report --durability replicas serve.db \
    <<END >report.out 2>report.err &
d${tab}4
END
server=$!
until grep -q 'not on a follower' report.err || ! kill -0 "$server"; do sleep 0.1; done
[ "$(grep -c '^1$' report.out)" -eq 0 ]
ok "at level replicas a commit that no follower has is not counted, and it says so"
"$peat" follow --from "$url" --key k.key --name one follow.db >again.out 2>again.err &
follower=$!
until grep -q '^1$' report.out || ! kill -0 "$server"; do sleep 0.1; done
kill -9 "$follower"
wait "$follower" 2>/dev/null
[ "$("$peat" get follow.db d)" = 4 ]
ok "and one that is counted is in the follower, though that is killed"
kill "$server"
wait "$server"
[ $? -eq 0 ]
ok "serving ends as before"

# What the processes know they write into files, each second; what the file knows 'status' writes beside them.
"$peat" serve --listen "$url" --key k.key --status primary.prom serve.db </dev/null >serve.out 2>serve.err &
server=$!
"$peat" follow --from "$url" --key k.key --name one --status 'status of "f".json' follow.db >again.out 2>again.err &
follower=$!
until { grep -q '^peat_primary_followers{store="serve.db"} 1$' primary.prom &&
    grep -q '"state":"following"' 'status of "f".json'; } 2>/dev/null ||
    ! kill -0 "$server" || ! kill -0 "$follower"; do sleep 0.1; done
[ "$(tail -n 1 primary.prom)" = '# EOF' ]
ok "a process that serves says in a file who follows, and one that follows how"
run status serve.db
[ "$code" -eq 0 ] && grep -q '^role  *primary$' out && grep -q '^feed  *one$' out
ok "status works beside the process that serves"
run status --json follow.db
[ "$code" -eq 0 ] && grep -q '^{"store":"follow.db",.*"role":"follower",.*}$' out
ok "and beside the one that follows, in JSON"
run status -o serve.db
[ "$code" -eq 0 ] && [ "$(tail -n 1 out)" = '# EOF' ] &&
    grep -q '^peat_feed_lag_commits{store="serve.db",feed="one"} 0$' out
ok "and in OpenMetrics"
kill "$follower" "$server"
wait "$follower"
wait "$server"
[ ! -e primary.prom ] && [ ! -e 'status of "f".json' ] && [ ! -e primary.prom.new ]
ok "what is over is said by no file any more"
run status follow.db
[ "$code" -eq 0 ] && grep -q '^role  *follower$' out
ok "status of a store at rest"
exits 3 "there is no status of a store that is not there" status absent.db
exits 2 "status has one format" status --json --openmetrics follow.db
exits 2 "status takes one store" status follow.db serve.db
"$peat" serve --listen "$url" --key k.key --status absent/p.prom serve.db </dev/null >serve.out 2>absent.err &
server=$!
until grep -qs '^peat serve: absent/p.prom: the status cannot be written' absent.err || ! kill -0 "$server"; do sleep 0.1; done
kill "$server"
wait "$server"
[ $? -eq 0 ]
ok "a status that cannot be written is complained about, and serving goes on"
before=$("$peat" digest serve.db)
exits 3 "the store itself is no place for its status" serve --listen "$url" --key k.key --status serve.db serve.db </dev/null
grep -q 'no status of this format' err && [ "$("$peat" digest serve.db)" = "$before" ]
ok "and is left as it is"
exits 3 "nor is one that is being made" follow --from "$url" --key k.key --status new.db new.db
[ "$("$peat" status new.db | head -n 1)" = 'store                           new.db' ]
ok "which is left as it is, too"
cp new.db 'status of all.new'
exits 3 "nor is a file in the way of the next one" serve --listen "$url" --key k.key --status 'status of all' serve.db </dev/null
grep -q 'status of all.new: .*no status of this format' err && cmp -s new.db 'status of all.new'
ok "that is left as it is as well"
printf 'a\t1\nb\t2\n' | "$peat" load --format tsv differs.db 2>err && "$peat" put differs.db d 5
"$peat" serve --listen "$url" --key k.key --format tsv serve.db <serve.in >verify.out 2>verify.err &
server=$!
exec 7>serve.in
"$peat" follow --from "$url" --key k.key --name one --until 2 follow.db >again.out 2>again.err 7>&-
exits 0 "a store and its follower are equal" verify --peer "$url" --key k.key follow.db
grep -qx 'equal at commit 2: 3 entries' out
ok "and it says at which commit"
exits 1 "a store that is not the same is told from it" \
    verify --peer "$url" --key k.key --wait 1 differs.db
grep -qx 'from root "d" to before the end: 1 entry here, 1 there' out
ok "and what differs"
exits 1 "verify writes JSON" verify --peer "$url" --key k.key --json differs.db
grep -q '"entries_here":1,"entries_there":1.*"equal":false,"commit":2,' out
ok "with what differs"
exits 1 "verify is quiet" verify --peer "$url" --key k.key --quiet differs.db
[ ! -s out ] && [ ! -s err ]
ok "when asked to be"
exits 3 "without the key nothing is compared" verify --peer "$url" --wait 1 follow.db
newest=$("$peat" status serve.db | sed -n 's/^newest commit *\([0-9]*\),.*/\1/p')
exec 7>&-
kill "$server"
wait "$server"
cp serve.db healed.db
"$peat" feed --drop one healed.db && "$peat" compact healed.db >out 2>err
"$peat" serve --listen "$url" --key k.key healed.db </dev/null >heal.out 2>heal.err &
server=$!
until [ -s heal.out ] || ! kill -0 "$server"; do sleep 0.1; done
run follow --from "$url" --key k.key --name heal --until "$newest" heal.db
run follow --from "$url" --key k.key --name heal --heal --until "$newest" heal.db
[ "$code" -eq 0 ] && ! grep -q 'seeding\|damaged' out
ok "where nothing is damaged nothing is taken anew"
footer=$(LC_ALL=C grep -abo PEATSEG1 heal.db | tail -n 1 | cut -d: -f1)
printf X | dd of=heal.db bs=1 seek=$((footer + 20)) conv=notrunc 2>/dev/null
exits 4 "a follower's segment is damaged" check heal.db
run follow --from "$url" --key k.key --name heal --heal --until "$newest" heal.db
[ "$code" -eq 0 ] && grep -q 'damaged: segment .*keys "' out && grep -q 'damaged segments: 1, all healed' out
ok "with --heal that is told, and taken anew"
exits 0 "and then it is whole" check heal.db
kill "$server"
wait "$server"
exits 3 "nobody to compare with is an error" verify --peer "$url" --key k.key --wait 0 follow.db
exits 2 "verify wants a peer" verify follow.db
exits 2 "no follower waits for replicas" follow --from "$url" --durability replicas follow.db
"$peat" put own.db a 1
exits 3 "with an address that cannot be nothing follows" follow --from bogus own.db
exits 3 "nor with a key that is not there" follow --from "$url" --key none.key own.db
[ ! -s out ] && "$peat" put own.db a 2
ok "and a store that should have is no follower for that"
exits 3 "a store that follows is not written to" put follow.db c 3
grep -q 'peat promote' err
ok "and the remedy is told"
exits 3 "a store that follows nobody is not promoted" promote serve.db
grep -q 'follows no other store' err && "$peat" put serve.db e 5
ok "and is as before"
exits 3 "a store that is not there is not promoted" promote nowhere.db
exits 2 "promote takes one store" promote follow.db serve.db
run promote follow.db
[ "$code" -eq 0 ] && grep -q '^promoted: epoch 2 begins after commit [0-9]' out && "$peat" put follow.db c 3
ok "a store that followed is promoted, and written to"
cp out promoted
exits 3 "once is enough" promote follow.db
newest=$(($(sed 's/.*after commit \([0-9]*\).*/\1/' promoted) + 1))
"$peat" delete serve.db a && "$peat" scan serve.db >forked
cp serve.db gone.db
"$peat" feed --drop one gone.db && "$peat" compact gone.db >out 2>err # so that the log is gone
"$peat" serve --listen "$url" --key k.key follow.db </dev/null >serve.out 2>serve.err &
server=$!
until [ -s serve.out ] || ! kill -0 "$server"; do sleep 0.1; done
exits 3 "an old primary with commits of its own does not follow" \
    follow --from "$url" --key k.key --name back serve.db
grep -q "parted behind commit $((newest - 1)): commit $((newest + 1)) of epoch 1 is here, commit $newest of epoch 2" err &&
    grep -q -e --rejoin err && [ "$("$peat" get serve.db e)" = 5 ]
ok "both positions, the fork and the remedy are told, and it is as before"
saved=serve.db.forked-1-$((newest + 1))
echo something else >"$saved.jsonl"
cp serve.db copy.db
"$peat" feed --from "$newest" copy.db >"copy.db.forked-1-$((newest + 1)).jsonl" 2>err # as one that died then leaves it
run follow --from "$url" --key k.key --name copy --rejoin --until "$newest" copy.db
[ "$code" -eq 0 ] && "$peat" dump copy.db >served 2>err && "$peat" dump follow.db >followed && cmp -s served followed
ok "what was saved before it died does not keep it from rejoining"
for again in first again; do
    cp gone.db gone-$again.db
    [ "$again" = first ] || cp "gone-first.db.forked-1-$((newest + 1)).backup" "gone-again.db.forked-1-$((newest + 1)).backup"
    run follow --from "$url" --key k.key --name gone --rejoin --until "$newest" gone-$again.db
    [ "$code" -eq 0 ] && "$peat" dump gone-$again.db >served 2>err && cmp -s served followed &&
        ! ls gone-$again.db.forked-*.jsonl* >/dev/null 2>&1 &&
        "$peat" restore restored-$again.db "gone-$again.db.forked-1-$((newest + 1)).backup" >out 2>err &&
        "$peat" scan restored-$again.db >kept && cmp -s kept forked
    ok "where the log is gone all of it is saved as a backup, $again"
done
exits 3 "a file that is in the way is not written to" \
    follow --from "$url" --key k.key --name back --rejoin serve.db
grep -q 'move it away' err && [ "$(cat "$saved.jsonl")" = 'something else' ] && [ "$("$peat" get serve.db e)" = 5 ]
ok "and the store is as before"
rm "$saved.jsonl"
echo mine >mine.txt
ln -s mine.txt "$saved.jsonl.part"
run follow --from "$url" --key k.key --name back --rejoin --until "$newest" serve.db
[ "$code" -eq 0 ] && grep -q '^following at commit' out
ok "with --rejoin it follows"
[ "$(cat mine.txt)" = mine ]
ok "and writes to no file that a link leads to"
"$peat" dump serve.db >served 2>err && "$peat" dump follow.db >followed && cmp -s served followed
ok "then it has what the new primary has"
sed 's/"time_us":[0-9]*,//' "$saved.jsonl" >lines
[ "$(cat lines)" = "{\"commit\":$newest,\"op\":\"put\",\"key\":\"e\",\"value\":\"5\",\"last\":true}
{\"commit\":$((newest + 1)),\"op\":\"delete\",\"key\":\"a\",\"last\":true}" ] && [ ! -e "$saved.jsonl.part" ]
ok "what it had committed beyond the fork is in a file beside it, operation by operation"
"$peat" scan --at "forked-1-$((newest + 1))" serve.db >kept && cmp -s kept forked
ok "and kept in the store, under the same name"
kill "$server"
wait "$server"
[ $? -eq 0 ]
ok "serving ends here, too"
run promote serve.db
[ "$code" -eq 0 ] && grep -q '^promoted: epoch 3 ' out
ok "it can be promoted in its turn"
exits 2 "serve without an address is wrong usage" serve serve.db
exits 2 "follow without an address is wrong usage" follow follow.db
exits 3 "without a key only this machine is served" serve --listen tcp://0.0.0.0:0 serve.db
grep -q 'peat keygen' err
ok "and the remedy is told"
chmod 644 k.key
exits 3 "a key that others can read is refused" serve --listen "$url" --key k.key serve.db
grep -q 'chmod 600' err
ok "and it says what to do"
exits 3 "an address of another kind is refused" follow --from udp://here:1 follow.db

# ---- manual pages ----------------------------------------------------------------------------

for page in peat.1 peat-text.5; do
    if command -v man >/dev/null && [ -e "$source_dir/tools/$page" ]; then
        man --warnings -l "$source_dir/tools/$page" >page 2>err
        [ $? -eq 0 ] && [ -s page ] && [ ! -s err ]
        ok "the manual page $page is formatted without warnings"
    else
        skip "the manual page $page is formatted without warnings" "no man"
    fi
done
missing=
for name in $commands; do
    for option in $("$peat" help "$name" | sed -n 's/^  -., --\([a-z-]*\).*/\1/p'); do
        sed 's/\\-/-/g' "$source_dir/tools/peat.1" | grep -q -e "-$option" || missing="$missing $name:$option"
    done
done
[ -z "$missing" ]
ok "every option of every command is in the manual"

exit $failed
