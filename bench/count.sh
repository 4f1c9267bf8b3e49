#!/bin/sh
# Instructions that a token takes, counted by valgrind (callgrind) with one thread: exact and the same on a busy machine.
# What opening a model takes falls out, since two runs that differ only in their number of tokens are subtracted.
#
#     bench/count.sh MODEL [PROMPT [GENERATE]]     (default: 64 4)
#
# prints "generation N" and "prompt N": instructions a token of GENERATE tokens after a prompt of PROMPT, and of the
# second half of a prompt of twice PROMPT. MILLET_CPU chooses the tier; valgrind has AVX2 but not AVX-512. Where
# functions matter: valgrind --tool=callgrind build/release/bench/compute_tokens ..., then callgrind_annotate.
#
# For another architecture the same differences are taken from what its emulator counts of the same program,
# compute_tokens: with qemu-user, a plugin that adds up the instructions of the blocks that are executed.
#
# COMPUTE_TOKENS: the program (default build/release/bench/compute_tokens). Exit code 77: valgrind is missing.
#
# SPDX-License-Identifier: Apache-2.0
set -eu
[ $# -ge 1 ] || {
    sed -n '5s/^# *//p' "$0" >&2
    exit 2
}
command -v valgrind > /dev/null || {
    echo "count.sh: skipped: valgrind is not installed (tools/install-packages.sh has it)" >&2
    exit 77
}
root=$(cd "$(dirname "$0")/.." && pwd)
program=${COMPUTE_TOKENS:-$root/build/release/bench/compute_tokens}
model=$1
prompt=${2:-64}
generate=${3:-4}

# count PROMPT GENERATE
count() {
    if ! said=$(valgrind --tool=callgrind --callgrind-out-file=/dev/null "$program" "$model" "prompt=$1" \
        "generate=$2" 2>&1); then
        echo "$said" >&2
        return 1
    fi
    echo "$said" | sed -n 's/.*Collected : \([0-9]*\).*/\1/p'
}

once=$(count "$prompt" "$generate")
more=$(count "$prompt" $((2 * generate)))
longer=$(count $((2 * prompt)) "$generate")
echo "generation $(((more - once) / generate))"
echo "prompt $(((longer - once) / prompt))"
