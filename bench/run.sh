#!/bin/bash
# run.sh MILLET [MODEL]: speed, start and memory, ours and, where they are named, other engines', in alternating rounds.
#
# Without MODEL a synthetic model of 1.5 billion parameters is made in build/bench and compacted to each of TYPES. Settings, from the
# environment, with their defaults:
#   TYPES="Q4_0 Q4_K_M Q8_0"  THREADS="1 2"  ROUNDS=5  PROMPT=512  GENERATE=128
#   PEERS="name=path/to/llama-bench ..."    programs that take llama-bench's options and print its JSON (-o json)
#   STARTERS="name=command ..."             commands for the start to the first token; MODEL and THREADS are put in for
#                                           the words @model and @threads, and _ stands for a blank
set -euo pipefail
millet=$(realpath "$1") model=${2:-}
here=$(cd "$(dirname "$0")/.." && pwd)
tools=$(dirname "$millet")/../../bench
out=$here/build/bench
mkdir -p "$out"
types=${TYPES:-Q4_0 Q4_K_M Q8_0} threads=${THREADS:-1 2} rounds=${ROUNDS:-5} prompt=${PROMPT:-512} generate=${GENERATE:-128}

if [ -n "$model" ]; then
    types=given
    ln -sf "$(realpath "$model")" "$out/given.gguf"
else
    if [ ! -f "$out/synthetic.gguf" ]; then
        echo "making a synthetic model (3 GB) in $out"
        "$tools/synthetic" "$out/synthetic.gguf"
    fi
    for type in $types; do
        [ -f "$out/$type.gguf" ] || "$millet" compact "$out/synthetic.gguf" -o "$out/$type.gguf" --type "$type"
    done
fi

# median FILE COLUMN
median() {
    awk -v c="$2" '{ print $c }' "$1" | sort -g | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}

# The two numbers of one round, "prompt generation" in tokens a second.
ours() {
    "$millet" bench "$1" -t "$2" -p "$prompt" -n "$generate" -r 1 --json |
        awk '/^ "prompt": /{w="p"} /^ "generate": /{w="g"} /"median"/{gsub(/[^0-9.e+-]/, "", $2); v[w]=$2} END { print v["p"], v["g"] }'
}
theirs() {
    "$3" -m "$1" -t "$2" -p "$prompt" -n "$generate" -r 1 -o json 2> /dev/null |
        awk '/"n_gen"/{gsub(/[^0-9]/, "", $2); n=$2} /"avg_ts"/{gsub(/[^0-9.e+-]/, "", $2); v[n > 0 ? "g" : "p"]=$2} END { print v["p"], v["g"] }'
}

echo "prompt $prompt, generation $generate, tokens/s: medians of $rounds alternating rounds"
printf '%-8s %-8s %-16s %10s %10s %8s %8s\n' type threads engine prompt generate 'p ratio' 'g ratio'
for type in $types; do
    for t in $threads; do
        rm -f "$out"/rate-*
        for ((i = 0; i < rounds; i++)); do
            ours "$out/$type.gguf" "$t" >> "$out/rate-millet"
            for peer in ${PEERS:-}; do
                theirs "$out/$type.gguf" "$t" "${peer#*=}" >> "$out/rate-${peer%%=*}"
            done
        done
        mp=$(median "$out/rate-millet" 1) mg=$(median "$out/rate-millet" 2)
        for file in "$out"/rate-millet $(ls "$out"/rate-* | grep -v rate-millet || true); do
            p=$(median "$file" 1) g=$(median "$file" 2)
            awk -v type="$type" -v t="$t" -v e="${file##*rate-}" -v p="$p" -v g="$g" -v mp="$mp" -v mg="$mg" \
                'BEGIN { printf "%-8s %-8s %-16s %10.1f %10.1f %8.2f %8.2f\n", type, t, e, p, g, mp / p, mg / g }'
        done
    done
done

echo
echo "start to the first token of a warm file, and peak resident memory with a context of 512: medians of $rounds rounds"
printf '%-8s %-16s %10s %12s %12s\n' type engine seconds 'MiB in all' 'MiB of file'
for type in $types; do
    file=$out/$type.gguf size=$(($(stat -L -c %s "$out/$type.gguf") / 1048576))
    cat "$file" > /dev/null
    rm -f "$out"/start-*
    for ((i = 0; i < rounds; i++)); do
        "$tools/launch" "$millet" run "$file" -p a -n 1 -c 512 --temperature 0 -t "${threads##* }" >> "$out/start-millet"
        for starter in ${STARTERS:-}; do
            command=${starter#*=} command=${command//_/ } command=${command//@threads/${threads##* }}
            # shellcheck disable=SC2086
            "$tools/launch" ${command//@model/$file} >> "$out/start-${starter%%=*}"
        done
    done
    for s in "$out"/start-*; do
        printf '%-8s %-16s %10.3f %12.0f %12d\n' "$type" "${s##*start-}" "$(median "$s" 1)" "$(median "$s" 2)" "$size"
    done
done
