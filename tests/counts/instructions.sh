#!/bin/sh
# instructions.sh TIER: fails where a token of a small model takes over 25% more instructions than when this table was
# made, in generation or in a prompt; one model for each family of kernels. Where code has become better, and where a
# compiler other than gcc 12 needs other numbers, the table is written anew with what the test prints.
#
# SPDX-License-Identifier: Apache-2.0
set -eu
tier=$1
MILLET_CPU=$tier
export MILLET_CPU
dir=$(mktemp -d "${TMPDIR:-/tmp}/millet-counts-XXXXXX")
trap 'rm -rf "$dir"' EXIT

# tier, type, thousands of instructions a token in generation and in a prompt
table='
scalar Q4_0 31225 3220
scalar Q4_K 31193 3386
scalar Q6_K 25927 2014
scalar F16 36646 9171
avx2 Q4_0 452 59
avx2 Q8_0 546 71
avx2 Q4_K 449 55
avx2 Q6_K 646 57
avx2 F16 524 102
'

failures=0
# compare WHAT COUNTED RECORDED
compare() {
    echo "$tier $type $1: $(($2 / 1000)) thousand, recorded $3"
    if [ "$2" -gt $(($3 * 1250)) ]; then
        echo "FAILED: $tier $type $1 takes $2 instructions a token, over 125% of $3 thousand"
        failures=$((failures + 1))
    fi
}

rows=$(echo "$table" | sed -n "s/^$tier //p")
[ -n "$rows" ] || {
    echo "FAILED: the table has no row for $tier"
    exit 1
}
while read -r type generation prompt; do
    "$SYNTHETIC" "$dir/$type.gguf" layers=1 width=256 heads=4 kv_heads=4 feed_forward=512 vocabulary=512 \
        context=64 "type=$type"
    code=0
    counts=$("$COUNT" "$dir/$type.gguf" 8 2) || code=$?
    [ $code = 0 ] || exit $code
    compare generation "$(echo "$counts" | sed -n 's/^generation //p')" "$generation"
    compare prompt "$(echo "$counts" | sed -n 's/^prompt //p')" "$prompt"
done <<EOF
$rows
EOF
[ $failures = 0 ]
