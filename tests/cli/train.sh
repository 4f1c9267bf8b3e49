#!/bin/sh
# millet train: a model from text, stopped and resumed, its log and its picture.
. "$(dirname "$0")/support.sh"
tiny m.gguf || exit 1
i=0
while [ $i -lt 60 ]; do
    echo "abc de $i fgh abc de" >> text
    [ $((i % 20)) = 19 ] && echo '<|endoftext|>' >> text
    i=$((i + 1))
done
common='-f text -b 2 -c 16 -t 1 --rate 0.01 --warmup 2'

run 0 $MILLET train m.gguf $common --memory
contains out 'activations'
run 0 $MILLET train m.gguf $common --memory --json
json total > /dev/null || fail 'JSON of the memory'

run 0 $MILLET train m.gguf $common -o a.gguf -n 8 --eval-text text --json
equal "$(json steps)" 8 steps
json evaluation_loss > /dev/null || fail 'no evaluation'
contains err 'step 8/8'
equal "$(wc -l < a.gguf.jsonl | tr -d ' ')" 8 'lines of the log'
contains a.gguf.html '<svg'
grep -q 'http' a.gguf.html && fail 'the picture asks a network'
run 0 $MILLET run a.gguf -p abc -n 4
run 0 $MILLET run a.gguf.state -p abc -n 4

# The same in two halves: stopped by a signal, gone on with another number of threads.
run 1 $MILLET train m.gguf $common -o a.gguf -n 8
contains err 'restart'
$MILLET train m.gguf $common -o b.gguf -n 200000 --save-every 5 > out 2> err &
pid=$!
i=0
while [ ! -s b.gguf.state ] && [ $i -lt 600 ]; do
    sleep 0.1
    i=$((i + 1))
done
kill -INT $pid
wait $pid
equal $? 1 'exit code of an interrupted training'
contains err '--resume goes on'
run 1 $MILLET train m.gguf $common -o b.gguf -n 201000 --resume
contains err 'steps='
run 0 $MILLET train m.gguf -f text -b 2 -c 16 -t 2 --rate 0.01 --warmup 2 -o c.gguf -n 8 --optimizer muon --schedule wsd \
    --storage bf16 --recompute --accumulate 2 --log c.log --plot c.page --save-every 3
contains out '8 steps'
[ -s c.log ] && [ -s c.page ] || fail 'log and picture under their own names'
run 0 $MILLET inspect c.gguf
contains out 'BF16'

echo '{"architecture":"qwen3","layers":2,"width":32,"heads":4,"feed_forward":64,"context":64}' > shape.json
run 0 $MILLET train --new shape.json --tokenizer m.gguf $common -o d.gguf -n 3
run 0 $MILLET run d.gguf -p abc -n 4

run 2 $MILLET train $common -o x.gguf -n 3
run 2 $MILLET train m.gguf --new shape.json $common -o x.gguf -n 3
run 2 $MILLET train --new shape.json $common -o x.gguf -n 3
run 2 $MILLET train m.gguf -o x.gguf -n 3
run 2 $MILLET train m.gguf -f text -n 3
run 2 $MILLET train m.gguf -f text -o x.gguf
run 2 $MILLET train m.gguf $common -o x.gguf -n 3 --optimizer sgd
run 1 $MILLET train m.gguf -f nothing -o x.gguf -n 3
run 1 $MILLET train nothing.gguf $common -o x.gguf -n 3
[ -e x.gguf ] && fail 'a file was left behind'
finish
