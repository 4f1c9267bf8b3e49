#!/bin/sh
# build.sh OUT [STAGE...]: the models that Millet ships, from a folder of public data ($MILLET_DATA) to models/*.gguf's bytes in
# OUT. Stages, each of which goes on where it was stopped; without any, all but the last, one after the other:
#   data       records and texts, soft labels of n-gram classifiers        minutes
#   tokenizer  byte-level BPE with the control tokens                      seconds
#   teacher    from new weights                                            an hour on two cores
#   prune      the teacher, cut to the nano model's shape and vocabulary   a minute
#   distil     the nano model learns from teacher and classifiers          an hour
#   quantise   both as they are shipped, and their scores
#   scratch    the nano model's shape from new weights, on the same number of tokens, to compare with
# MILLET: the program; THREADS: 0 for all CPUs; PYTHON: with yaml, scipy and scikit-learn.
set -eu
out=${1:?"build.sh OUT [STAGE...]"}
shift
[ $# -gt 0 ] || set -- data tokenizer teacher prune distil quantise
here=$(cd "$(dirname "$0")" && pwd)
millet=${MILLET:-millet}
threads=${THREADS:-0}
python=${PYTHON:-python3}
: "${MILLET_DATA:?"set MILLET_DATA to the folder of the data"}"
mkdir -p "$out/cache"
cd "$out"
nlu="hwu64 clinc150 snips massive banking77"
train=train

# options NAME=WEIGHT[@LOSS]...: the -f options of a mixture.
options() {
    for source in "$@"; do echo "-f $train/${source%%=*}.jsonl=${source#*=}"; done
}
# go_on FILE: --resume where a state of FILE is there.
go_on() {
    if [ -f "$1.state" ]; then echo --resume; fi
}

teacher_mix=$(options hwu64=6 hwu64_changed=3 clinc150=9 clinc150_changed=4 snips=6 snips_changed=3 massive=7 massive_changed=3 \
    banking77=9 banking77_changed=4 home_en=6 home_zh=3 sgd=8 act=3 sgd_chat=9@0.15 chats=1@0.3 novels=5@0.15 prose=1@0.15 \
    articles=3@0.15 recipes=0.5@0.15 tldr=1@0.15 trivia=2@0.15 poetry_zh=1@0.15 bfcl=0.5@0.15 device_calls=1@0.3)
nano_mix=$(options hwu64=8 hwu64_changed=3 hwu64_pool=4 clinc150=11 clinc150_pool=3 snips=6 snips_changed=4 snips_pool=1 massive=9 \
    massive_pool=3 banking77=11 banking77_pool=2 home_en=8 home_zh=4 sgd=8 act_part=2 chats=2@0.3 device_calls=1@0.3 talk=10@0.15)
common="--cache-dir cache --special --optimizer muon --schedule wsd -b 16 -c 256 --tag-weight 0.2 -t $threads --save-every 100"
commands="$(for name in $nlu home_en home_zh sgd act chats device_calls; do echo "-f $train/$name.jsonl"; done) \
    --cache-dir cache --special -b 16 -c 256 -t $threads"
noise="--mask 0.15 --mask-predict --dropout 0.1"

run_data() {
    for program in nlu ha sgd texts augment specials ngram_teacher pool; do
        echo "== $program" >&2
        "$python" "$here/$program.py" .
    done
    cat teacher/*.jsonl > labels.jsonl
    # What the teacher is asked about, a part of what it has learnt from: it takes its time over every token.
    awk 'NR % 3 == 0' train/act.jsonl > train/act_part.jsonl
    { awk 'NR % 20 == 0' train/sgd_chat.jsonl && awk 'NR % 20 == 0' train/articles.jsonl; } > train/talk.jsonl
}

run_tokenizer() {
    head -n 6000 train/poetry_zh.jsonl > poems.jsonl
    # shellcheck disable=SC2046 # words
    "$millet" tokenizer train $(for name in $nlu home_en home_zh sgd act trivia chats prose recipes sgd_chat articles; do
        echo "train/$name.jsonl"; done) poems.jsonl -v 8192 --special-file specials.txt --eos '<|endoftext|>' \
        --chat-template "$here/chatml.jinja" -o tokenizer.gguf
}

# shellcheck disable=SC2086 # words
run_teacher() {
    [ -f teacher.gguf ] || "$millet" train --new "$here/teacher.json" --tokenizer tokenizer.gguf $teacher_mix $common $noise \
        --rate 0.003 --warmup 100 -n 1400 --decay-steps 500 -o teacher.gguf $(go_on teacher.gguf)
}

# The tokens that stay are those of commands and short talk: the same for the teacher that is asked later on, whose other parts
# stay as they are, so that it says to the bit what it said.
# shellcheck disable=SC2086 # words
run_prune() {
    "$millet" prune teacher.gguf $commands --vocabulary-min-count 5 -o teacher_v.gguf
    "$millet" prune teacher.gguf $commands --vocabulary-min-count 5 --layers 4 --width 192 --kv-heads 3 --feed-forward 448 -o pruned.gguf
}

# shellcheck disable=SC2086
run_distil() {
    mkdir -p nano_cache
    [ -f distilled.gguf ] || "$millet" distil pruned.gguf --teacher teacher_v.gguf --labels labels.jsonl --labels-weight 0.5 \
        --alpha 0.8 --temperature 2 --top-k 32 $nano_mix $common --cache-dir nano_cache --dropout 0.1 \
        --rate 0.003 --warmup 100 -n 2600 --decay-steps 900 -o distilled.gguf $(go_on distilled.gguf)
    # Rare tokens go at the end: nano has 4.9 times fewer parameters than the teacher.
    "$millet" prune distilled.gguf $commands --vocabulary-min-count 9 --positions 4096 -o nano.gguf
}

# shellcheck disable=SC2086
run_scratch() {
    [ -f scratch.gguf ] || "$millet" train --new "$here/nano.json" --tokenizer pruned.gguf $nano_mix $common --cache-dir nano_cache \
        $noise --rate 0.003 --warmup 100 -n 2600 --decay-steps 900 -o scratch.gguf $(go_on scratch.gguf)
    scores scratch.gguf
}

scores() { # scores MODEL
    for name in $nlu; do
        file=$name
        [ $name != massive ] || file=massive_en
        "$millet" eval nlu "$1" "$MILLET_DATA/nlu/${file}_dev.jsonl" --set $name
    done
}

run_quantise() {
    for model in teacher nano; do
        "$millet" compact $model.gguf -o $model-q8_0.gguf --type Q8_0
        scores $model-q8_0.gguf
    done
}

for stage in "$@"; do "run_$stage"; done
