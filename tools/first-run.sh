#!/bin/sh
# first-run.sh MILLET [MODEL]: what `make run` shows: a checkpoint is inspected, made compact, compared with its origin,
# and tells a story in each size. Without MODEL: the small real checkpoint of $MILLET_DATA/models.
set -eu
millet=$1 model=${2:-}
here=$(cd "$(dirname "$0")/.." && pwd)
if [ -z "$model" ]; then
    model=${MILLET_DATA:+$MILLET_DATA/models/stories260K.bin}
    if [ -z "$model" ] || [ ! -f "$model" ]; then
        echo "There is no model at hand. Give one: make run MODEL=path/to/model.gguf" >&2
        echo "(or set MILLET_DATA to a folder whose models/ holds stories260K.bin and tok512.bin)" >&2
        exit 2
    fi
fi
out=$here/build/first-run
mkdir -p "$out"

# A text to compare on: the one given as TEXT=, else what the model itself says, with a seed, at temperature 1.
text=${TEXT:-}
if [ -z "$text" ]; then
    text=$out/text.txt
    : > "$text"
    for seed in 1 2 3 4 5 6; do
        "$millet" run "$model" -p '' -n 400 --temperature 1 --top-k 0 --top-p 1 --min-p 0 --seed $seed >> "$text"
    done
fi

echo "== What it is"
"$millet" inspect "$model"

echo
echo "== Made compact"
"$millet" compact "$model" -o "$out/origin.gguf" --type F32 > /dev/null
for type in Q8_0 Q4_0; do
    "$millet" compact "$model" -o "$out/$type.gguf" --type $type
done

number() { # number FILE KEY: the first value of a key in JSON that millet printed, one key a line
    sed -n "s/.*\"$2\": *\([-0-9.e+]*\).*/\1/p" "$1" | head -n 1
}
section() { # section FILE KEY: the lines from a key on
    sed -n "/\"$2\"/,\$p" "$1"
}

echo
echo "== Compared with its origin (on $(wc -c < "$text") bytes of text)"
printf '%-8s %10s %12s %12s %12s %10s %14s %14s\n' type size perplexity 'mean KL' '99% KL' agreement 'prompt tok/s' 'generate tok/s'
for type in origin Q8_0 Q4_0; do
    file=$out/$type.gguf
    "$millet" eval "$file" --base "$out/origin.gguf" --text "$text" --json > "$out/eval.json"
    "$millet" bench "$file" --prompt-tokens 128 --generate-tokens 64 --rounds 3 --json > "$out/bench.json"
    section "$out/eval.json" model > "$out/model.json"
    section "$out/eval.json" kl > "$out/kl.json"
    section "$out/eval.json" agreement > "$out/agreement.json"
    sed -n '/^ "prompt": /,$p' "$out/bench.json" > "$out/prompt.json"
    sed -n '/^ "generate": /,$p' "$out/bench.json" > "$out/generate.json"
    printf '%-8s %10s %12.4f %12.6f %12.6f %9.2f%% %14.0f %14.0f\n' $type "$(wc -c < "$file")" \
        "$(number "$out/model.json" value)" "$(number "$out/kl.json" value)" "$(number "$out/kl.json" q99)" \
        "$(awk "BEGIN { print 100 * $(number "$out/agreement.json" value) }")" \
        "$(number "$out/prompt.json" median)" "$(number "$out/generate.json" median)"
done

for type in origin Q8_0 Q4_0; do
    echo
    echo "== A story from $type"
    "$millet" run "$out/$type.gguf" -p "${PROMPT:-Once upon a time}" --echo -n 120 --temperature 0.7 --seed 7 --speed
done
