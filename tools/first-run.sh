#!/bin/sh
# first-run.sh MILLET [MODEL]: what `make run` shows: a checkpoint is inspected, made compact and compared with its origin. Without
# MODEL it is the teacher of models/, beside the nano model that was made of it, and both understand commands; with one, it
# tells something in each size.
set -eu
millet=$1 model=${2:-}
here=$(cd "$(dirname "$0")/.." && pwd)
out=$here/build/first-run
mkdir -p "$out"

number() { # number FILE KEY: the first value of a key in JSON that millet printed, one key a line
    sed -n "s/.*\"$2\": *\([-0-9.e+]*\).*/\1/p" "$1" | head -n 1
}
section() { # section FILE KEY: the lines from a key on
    sed -n "/\"$2\"/,\$p" "$1"
}
value() { # value FILE SECTION KEY
    section "$1" "$2" > "$out/section"
    number "$out/section" "$3"
}
percent() {
    awk "BEGIN { printf \"%.1f%%\", 100 * $1 }"
}
title() {
    echo
    echo "== $1"
}

# What a file is like beside its origin, on a text: sets size, perplexity, kl, kl99, agreement, prompt, generate.
measure() { # measure FILE ORIGIN TEXT
    "$millet" eval "$1" --base "$2" --text "$3" --json > "$out/eval.json"
    "$millet" bench "$1" --prompt-tokens 128 --generate-tokens 64 --rounds 3 --json > "$out/bench.json"
    size=$(wc -c < "$1")
    perplexity=$(value "$out/eval.json" model value)
    kl=$(value "$out/eval.json" kl value)
    kl99=$(value "$out/eval.json" kl q99)
    agreement=$(percent "$(value "$out/eval.json" agreement value)")
    prompt=$(value "$out/bench.json" prompt median)
    generate=$(value "$out/bench.json" generate median)
}

given_model() {
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
    title "Made compact"
    "$millet" compact "$model" -o "$out/origin.gguf" --type F32 > /dev/null
    for type in Q8_0 Q4_0; do
        "$millet" compact "$model" -o "$out/$type.gguf" --type $type
    done
    title "Compared with its origin (on $(wc -c < "$text") bytes of text)"
    printf '%-8s %10s %12s %12s %12s %10s %14s %14s\n' type size perplexity 'mean KL' '99% KL' agreement 'prompt tok/s' \
        'generate tok/s'
    for type in origin Q8_0 Q4_0; do
        measure "$out/$type.gguf" "$out/origin.gguf" "$text"
        printf '%-8s %10s %12.4f %12.6f %12.6f %10s %14.0f %14.0f\n' $type "$size" "$perplexity" "$kl" "$kl99" "$agreement" \
            "$prompt" "$generate"
    done
    for type in origin Q8_0 Q4_0; do
        title "What $type says"
        "$millet" run "$out/$type.gguf" -p "${PROMPT:-Once upon a time}" --echo -n 120 --temperature 0.7 --seed 7 --speed
    done
}

shipped_models() {
    teacher=$here/models/teacher-q8_0.gguf nano=$here/models/nano-q8_0.gguf
    commands="$here/models/commands_home.jsonl $here/models/commands_hwu64.jsonl"
    echo "== The teacher"
    "$millet" inspect "$teacher"
    title "Made compact"
    for type in Q5_0 Q4_0; do
        "$millet" compact "$teacher" -o "$out/$type.gguf" --type $type --allow-requantize
    done
    title "Compared: divergence on $(wc -c < "$here/README.md") bytes of text, understanding on two sets of commands"
    printf '%-16s %10s %12s %10s %10s %10s %10s %14s %14s\n' file size 'mean KL' agreement home 'slot F1' hwu64 'prompt tok/s' \
        'generate tok/s'
    for file in "$teacher" "$out/Q5_0.gguf" "$out/Q4_0.gguf" "$nano"; do
        # shellcheck disable=SC2086 # two files
        "$millet" eval nlu "$file" $commands --json > "$out/nlu.json"
        section "$out/nlu.json" hwu64 > "$out/second.json"
        # The nano model has fewer tokens, so that its probabilities cannot be compared token by token.
        if [ "$file" = "$nano" ]; then base=$nano; else base=$teacher; fi
        measure "$file" "$base" "$here/README.md"
        if [ "$file" = "$nano" ]; then kl=- agreement=-; else kl=$(printf '%.5f' "$kl"); fi
        printf '%-16s %10s %12s %10s %10s %10s %10s %14.0f %14.0f\n' "$(basename "$file" .gguf)" "$size" "$kl" "$agreement" \
            "$(percent "$(value "$out/nlu.json" intent value)")" "$(percent "$(number "$out/nlu.json" slot_f1)")" \
            "$(percent "$(value "$out/second.json" intent value)")" "$prompt" "$generate"
    done
    title "The nano model understands"
    for command in 'Switch on the reading lamp in the study.' 'set a timer for 12 minutes called pasta' '把客厅的灯关掉' \
        'what happened to the dinosaurs'; do
        echo "> $command"
        "$millet" understand "$nano" --set home -p "$command"
    done
    for command in 'wake me up at half past six on saturday' 'will i need an umbrella in lisbon this weekend'; do
        echo "> $command"
        "$millet" understand "$nano" --set hwu64 -p "$command"
    done
    for file in "$teacher" "$nano"; do
        title "Text of $(basename "$file" .gguf)"
        "$millet" run "$file" -p "${PROMPT:-The old man looked at the sea and}" --echo -n 60 --temperature 0.7 --seed 7 --speed
    done
}

if [ -n "$model" ]; then
    given_model
else
    shipped_models
fi
