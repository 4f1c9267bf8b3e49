#!/bin/sh
# millet prune: cut, measured, run, trained on and quantised; what is refused.
. "$(dirname "$0")/support.sh"
tiny m.gguf || exit 1
i=0
while [ $i -lt 60 ]; do
    echo "abc de $i fgh abc de" >> text.txt
    [ $((i % 5)) = 4 ] && echo '<|endoftext|>' >> text.txt
    i=$((i + 1))
done
data='-f text.txt -b 2 -c 16 -t 1'

# Nothing cut: the same model. What is cut is an ordinary one.
run 0 $MILLET prune m.gguf $data -o same.gguf
contains out 'influence'
contains err 'text.txt.tokens: 12 documents'
run 0 $MILLET logits m.gguf --tokens 5,6,7 -o a.f32
run 0 $MILLET logits same.gguf --tokens 5,6,7 -o b.f32
cmp a.f32 b.f32 || fail 'nothing was cut, and the logits are others'
run 0 $MILLET prune m.gguf $data -o s.gguf --layers 1 --kv-heads 1 --feed-forward 96 --width 48 --vocabulary-min-count 1 --json
equal "$(json after.layers)" 1 layers
equal "$(json after.heads)" 2 heads
equal "$(json after.kv_heads)" 1 'key heads'
equal "$(json after.head_size)" 16 'size of a head'
equal "$(json after.feed_forward)" 96 feed-forward
equal "$(json after.width)" 48 width
equal "$(json before.width)" 64 'width before'
[ "$(json after.vocabulary)" -lt "$(json before.vocabulary)" ] || fail 'no token was dropped'
[ "$(json after.parameters)" -lt "$(json before.parameters)" ] || fail 'not smaller'
json loss_after > /dev/null || fail 'no loss'
equal "$(json file_bytes)" "$(wc -c < s.gguf | tr -d ' ')" 'bytes of the file'
run 0 $MILLET inspect s.gguf --json
run 0 $MILLET run s.gguf -p 'abc de' -n 4
run 0 $MILLET train s.gguf -f text.txt --cache-dir . -b 2 -c 16 -t 1 -n 2 -o healed.gguf
run 0 $MILLET compact healed.gguf -o q.gguf --type Q8_0
# A quantised model is cut too, and replaced.
run 0 $MILLET compact m.gguf -o q.gguf --type Q8_0
run 0 $MILLET prune q.gguf $data -o q.gguf --layers 1
run 0 $MILLET inspect q.gguf
contains out 'F16'
run 0 $MILLET prune m.gguf $data -o bf.gguf --storage bf16 --heads 2
run 0 $MILLET inspect bf.gguf
contains out 'BF16'

# A number of parameters instead.
run 0 $MILLET prune m.gguf $data --dry-run --parameters 60000 --width 64 --vocabulary-min-count 1 --json
[ "$(json after.parameters)" -le 60000 ] || fail 'more parameters than wanted'
equal "$(json after.width)" 64 'the width that was given'
run 1 $MILLET prune m.gguf $data --dry-run --parameters 100
contains err 'cannot be met'

# The same for every number of threads; nothing is written in a dry run.
run 0 $MILLET prune m.gguf -f text.txt -b 2 -c 16 -t 1 --dry-run --feed-forward 64 --json
cp out one.json
run 0 $MILLET prune m.gguf -f text.txt -b 2 -c 16 -t 3 --dry-run --feed-forward 64 --json
cmp out one.json || fail 'another result with three threads'
run 0 $MILLET prune m.gguf $data --dry-run --feed-forward 64 --random 7
mkdir empty
run 0 $MILLET prune m.gguf $data --cache-dir . -o empty/x.gguf --dry-run
[ -z "$(ls empty)" ] || fail 'a dry run wrote a file'

# What cannot be.
run 2 $MILLET prune m.gguf -o x.gguf
contains err '--data'
run 2 $MILLET prune m.gguf $data
contains err '--dry-run'
run 2 $MILLET prune m.gguf $data -o x.gguf --layers 0
run 1 $MILLET prune m.gguf $data -o x.gguf --layers 3
contains err 'the model has 2'
run 1 $MILLET prune m.gguf $data -o x.gguf --heads 3
contains err 'a multiple of 2'
run 1 $MILLET prune m.gguf $data -o x.gguf --width 65
run 1 $MILLET prune m.gguf $data -o x.gguf -c 4096
contains err 'context'
run 1 $MILLET prune m.gguf $data -o no/such/x.gguf --layers 1 --cache-dir .
tiny other.gguf vocabulary=300 || exit 1
run 1 $MILLET prune other.gguf -f text.txt.tokens -o x.gguf
contains err 'another tokenizer'
[ ! -e x.gguf ] || fail 'a refused run wrote a file'
finish
