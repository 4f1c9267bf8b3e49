#!/bin/sh
# fuzz-all.sh [SECONDS]: runs every fuzz target for so long (60), on one core each after the other, from the saved corpus.
# New inputs go to build/fuzz-corpus; a finding stops the run and is left in build/fuzz-findings.
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-60}
cmake --preset fuzz -Wno-dev > /dev/null
cmake --build --preset fuzz
for target in build/fuzz/fuzz/fuzz_*; do
    [ -x "$target" ] && [ -f "$target" ] || continue
    name=${target##*/fuzz_}
    mkdir -p "build/fuzz-corpus/$name" build/fuzz-findings
    echo "== $name"
    "$target" -max_total_time="$seconds" -timeout=5 -rss_limit_mb=1024 -print_final_stats=1 \
        -artifact_prefix="build/fuzz-findings/$name-" "build/fuzz-corpus/$name" "fuzz/corpus/$name" 2> "build/fuzz-$name.log" || {
        tail -n 40 "build/fuzz-$name.log"
        exit 1
    }
    grep -E 'number_of_executed_units|new_units_added' "build/fuzz-$name.log"
done
