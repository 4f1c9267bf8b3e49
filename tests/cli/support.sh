# For the tests of the command line: MILLET, SYNTHETIC and JSON_GET are commands; a folder of its own is made, entered and
# removed. SPDX-License-Identifier: Apache-2.0
set -u
dir=$(mktemp -d "${TMPDIR:-/tmp}/millet-cli-XXXXXX")
trap 'chmod -R u+w "$dir" 2> /dev/null; rm -rf "$dir"' EXIT
cd "$dir" || exit 1
failures=0

fail() {
    echo "FAILED: $*"
    failures=$((failures + 1))
}

# run CODE COMMAND...: runs it with stdout to out and stderr to err; the exit code must be CODE
run() {
    expected=$1
    shift
    "$@" > out 2> err < "${INPUT:-/dev/null}"
    code=$?
    [ $code = "$expected" ] || {
        fail "$* exited with $code, not $expected"
        head -n 5 err
    }
}

# contains FILE TEXT
contains() {
    grep -q -F -e "$2" "$1" || {
        fail "$1 does not contain \"$2\":"
        head -n 5 "$1"
    }
}

# equal A B WHAT
equal() {
    [ "$1" = "$2" ] || fail "$3: \"$1\" is not \"$2\""
}

json() { # json PATH: of out
    $JSON_GET "$1" < out
}

finish() {
    [ $failures = 0 ] || exit 1
    exit 0
}

tiny() { # tiny FILE [key=value...]: a small random model
    file=$1
    shift
    $SYNTHETIC "$file" layers=2 width=64 heads=4 kv_heads=2 feed_forward=128 vocabulary=400 context=128 type=F32 "$@"
}
