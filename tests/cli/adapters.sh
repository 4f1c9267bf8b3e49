#!/bin/sh
# Low-rank adapters: trained, used in run, eval, logits and chat, merged; and training for quantised files.
. "$(dirname "$0")/support.sh"
tiny m.gguf || exit 1
i=0
while [ $i -lt 60 ]; do
    echo "abc de $i fgh abc de" >> text.txt
    [ $((i % 5)) = 4 ] && echo '<|endoftext|>' >> text.txt
    i=$((i + 1))
done
common='-f text.txt -b 2 -c 16 -t 1 --rate 0.01'
cp m.gguf kept.gguf

run 0 $MILLET train m.gguf $common --memory --json
all=$(json total)
run 0 $MILLET train m.gguf $common --lora 4 --memory --json
[ "$(json parameters)" -lt 20000 ] || fail 'parameters of an adapter'
[ "$(json total)" -lt "$all" ] || fail 'training an adapter takes as much memory as training the model'
run 0 $MILLET train m.gguf $common -o a.gguf --lora 4 -n 12 --holdout 4 --json
json evaluation_loss > /dev/null || fail 'no evaluation'
run 0 $MILLET train m.gguf $common -o b.gguf --lora 2 --lora-alpha 2 --lora-targets q,v,down --storage bf16 -n 3
cmp m.gguf kept.gguf || fail 'training an adapter changed the model'
[ "$(wc -c < b.gguf)" -lt "$(wc -c < a.gguf)" ] || fail 'a smaller rank in half the bits is not smaller'

# Stopped and gone on with: the same file.
run 0 $MILLET train m.gguf $common -o half.gguf --lora 4 -n 12 --holdout 4 --save-every 5
cmp a.gguf half.gguf || fail 'two runs gave different adapters'
$MILLET train m.gguf $common -o c.gguf -n 100000 --lora 4 --save-every 5 > out 2> err &
pid=$!
i=0
while [ ! -s c.gguf.state ] && [ $i -lt 600 ]; do
    sleep 0.1
    i=$((i + 1))
done
kill -INT $pid
wait $pid
equal $? 1 'exit code of an interrupted training'
run 1 $MILLET train m.gguf $common -o c.gguf -n 100000 --lora 4 --lora-targets q --resume
contains err 'lora_targets='
run 0 $MILLET run m.gguf --lora c.gguf.state -p abc -n 3

# In use.
run 0 $MILLET logits m.gguf --tokens 1,5,7 -o plain
run 0 $MILLET logits m.gguf --lora a.gguf=0 --tokens 1,5,7 -o zero
cmp plain zero || fail 'a scale of 0 changes logits'
run 0 $MILLET logits m.gguf --lora a.gguf --tokens 1,5,7 -o with
cmp -s plain with && fail 'an adapter changes nothing'
run 0 $MILLET logits m.gguf --lora a.gguf --lora b.gguf=-0.5 --tokens 1,5,7 -o both
run 0 $MILLET logits m.gguf --lora a.gguf --lora b.gguf=-0.5 --tokens 1,5,7 -o alone --one-by-one
cmp both alone || fail 'tokens computed alone have other logits'
run 0 $MILLET run m.gguf --lora a.gguf=0.5 -p abc -n 4
run 0 $MILLET eval m.gguf --text text.txt --json
before=$(json nll.value)
run 0 $MILLET eval m.gguf --lora a.gguf --text text.txt --json
after=$(json nll.value)
awk "BEGIN { exit !($after < $before) }" || fail "the adapter made the text worse: $before, $after"
run 0 $MILLET eval m.gguf --lora a.gguf --base m.gguf --text text.txt --json
[ "$(json kl.mean.value)" != 0.0 ] || fail 'no divergence from the model without the adapter'
run 0 $MILLET eval m.gguf --lora a.gguf=0 --base m.gguf --text text.txt --json
equal "$(json kl.mean.value)" 0.0 'divergence with a scale of 0'
echo 'abc de' > turns
INPUT=turns run 0 $MILLET chat m.gguf --lora a.gguf --template chatml -n 4 --seed 1
INPUT=turns run 1 $MILLET chat m.gguf --lora m.gguf --template chatml -n 4

# Merged: a model of its own, which is the same as model and adapter.
run 0 $MILLET compact m.gguf --lora a.gguf=0.75 --lora b.gguf -o merged.gguf --type F32
run 0 $MILLET eval merged.gguf --text text.txt --json
merged=$(json nll.value)
run 0 $MILLET eval m.gguf --lora a.gguf=0.75 --lora b.gguf --text text.txt --json
beside=$(json nll.value)
equal "$(printf %.4f "$merged")" "$(printf %.4f "$beside")" 'losses of the merged model and of both'
run 0 $MILLET compact m.gguf --lora a.gguf -o merged8.gguf --type Q8_0
run 0 $MILLET run merged8.gguf -p abc -n 4

# A quantised model as the base: adapters are trained for it and used with it.
run 0 $MILLET compact m.gguf -o q.gguf --type Q4_0
run 0 $MILLET train q.gguf $common -o qa.gguf --lora 3 -n 5
run 0 $MILLET run q.gguf --lora qa.gguf -p abc -n 4
run 0 $MILLET compact q.gguf --lora qa.gguf -o qm.gguf --type Q4_0

# What is wrong.
run 1 $MILLET run m.gguf --lora m.gguf -p abc -n 4
contains err 'this is no adapter'
run 1 $MILLET run m.gguf --lora nothing.gguf -p abc -n 4
contains err nothing.gguf
run 2 $MILLET run m.gguf --lora a.gguf=much -p abc -n 4
contains err scale
tiny other.gguf width=128 || exit 1
run 1 $MILLET run other.gguf --lora a.gguf -p abc -n 4
contains err 'blk.0'
run 1 $MILLET compact other.gguf --lora a.gguf -o x.gguf
head -c 3000 a.gguf > cut.gguf
run 1 $MILLET run m.gguf --lora cut.gguf -p abc -n 4
contains err cut.gguf
run 2 $MILLET train m.gguf $common -o x.gguf -n 3 --lora-alpha 3
run 2 $MILLET train --new shape.json --tokenizer m.gguf $common -o x.gguf -n 3 --lora 4
run 1 $MILLET train m.gguf $common -o x.gguf -n 3 --lora 4 --lora-targets q,z
contains err '"z"'
run 1 $MILLET train m.gguf $common -o x.gguf -n 3 --lora 4 --storage q4_0
[ -e x.gguf ] && fail 'a refused run left a file'

# Quantisation-aware training.
tiny w.gguf width=256 feed_forward=256 || exit 1
for type in q8_0 q4_0 tq2_0; do
    run 0 $MILLET train w.gguf $common -o $type.gguf -n 4 --storage $type --quantize-after 2
    run 0 $MILLET inspect $type.gguf
    contains out "$(echo $type | tr a-z A-Z)"
    run 0 $MILLET run $type.gguf -p abc -n 4
done
[ "$(wc -c < tq2_0.gguf)" -lt "$(wc -c < q4_0.gguf)" ] || fail 'TQ2_0 is not smaller than Q4_0'
finish
