#!/bin/sh
# millet train: a model from texts and dialogues, stopped, killed and resumed, its log and its picture.
. "$(dirname "$0")/support.sh"
tiny m.gguf || exit 1
i=0
while [ $i -lt 60 ]; do
    echo "abc de $i fgh abc de" >> text.txt
    [ $((i % 5)) = 4 ] && echo '<|endoftext|>' >> text.txt
    i=$((i + 1))
done
common='-f text.txt -b 2 -c 16 -t 1 --rate 0.01 --warmup 2'

run 0 $MILLET train m.gguf $common --memory
contains out 'activations'
run 0 $MILLET train m.gguf $common --memory --json
json total > /dev/null || fail 'JSON of the memory'

run 0 $MILLET train m.gguf $common -o a.gguf -n 8 --holdout 4 --json
equal "$(json steps)" 8 steps
json evaluation_loss > /dev/null || fail 'no evaluation'
contains err 'step 8/8'
contains err 'text.txt.tokens: 12 documents'
equal "$(wc -l < a.gguf.jsonl | tr -d ' ')" 8 'lines of the log'
contains a.gguf.html '<svg'
grep -q 'http' a.gguf.html && fail 'the picture asks a network'
run 0 $MILLET run a.gguf -p abc -n 4
run 0 $MILLET run a.gguf.state -p abc -n 4

# The same in two halves: stopped by a signal, gone on with another number of threads.
cp a.gguf.jsonl kept.jsonl
run 1 $MILLET train m.gguf $common -o a.gguf -n 8
contains err 'restart'
contains err 'as it was'
cmp kept.jsonl a.gguf.jsonl || fail 'a refused run destroyed the log'
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
run 0 $MILLET train m.gguf -f text.txt -b 2 -c 16 -t 2 --rate 0.01 --warmup 2 -o c.gguf -n 8 --optimizer muon --schedule wsd \
    --storage bf16 --recompute --accumulate 2 --log c.log --plot c.page --save-every 3
contains out '8 steps'
[ -s c.log ] && [ -s c.page ] || fail 'log and picture under their own names'
run 0 $MILLET inspect c.gguf
contains out 'BF16'

# A mixture of two sources with weights, compressed and with what cannot be used; killed, and gone on with: the same losses
# to the bit, and the same file.
mkdir data caches
i=0
while [ $i -lt 90 ]; do
    printf '{"prompt":"abc %d","completion":" de fgh","prefix":true}\n' $i
    i=$((i + 1))
done > data/pairs.jsonl
echo broken >> data/pairs.jsonl
gzip data/pairs.jsonl
mixture='-f text.txt=1 -f data/pairs.jsonl.gz=3 --cache-dir caches --holdout 10 --eval-every 10 -b 2 -c 24 --rate 0.01 --save-every 4'
run 0 $MILLET train m.gguf $mixture -t 1 -o whole.gguf -n 40
contains err 'caches/pairs.jsonl.gz.tokens: 90 documents'
contains err 'left out: 1 (no JSON object)'
contains err 'trained on, with prefixes'
contains err 'evaluation'
contains err 'epoch'
[ -s caches/text.txt.tokens ] || fail 'no cache in its folder'
equal "$(grep -c evaluation_loss whole.gguf.jsonl)" 4 'evaluations in the log'
contains whole.gguf.html circle
contains whole.gguf.html '<td>held out: loss</td>'
contains whole.gguf.html '<td>training: loss</td>'
grep -q teacher whole.gguf.html && fail 'a teacher in the picture of a training without'
# Killed as soon as a state is there, wherever it is then.
$MILLET train m.gguf $mixture -t 2 -o killed.gguf -n 40 > out 2> err &
pid=$!
i=0
while [ ! -s killed.gguf.state ] && [ $i -lt 6000 ]; do
    sleep 0.01
    i=$((i + 1))
done
kill -KILL $pid
wait $pid
if [ ! -e killed.gguf ]; then # it may have been quicker
    run 0 $MILLET train m.gguf $mixture -t 3 -o killed.gguf -n 40 --resume
    contains err 'as it was'
fi
cmp whole.gguf killed.gguf || fail 'another model after being killed'
losses() { # of each line: step and losses
    sed -n 's/.*"step":\([0-9]*\).*"loss":\([^,]*\),"z":\([^,]*\),"gradient_norm":\([^,]*\),.*/\1 \2 \3 \4/p' "$1"
}
losses whole.gguf.jsonl > a
losses killed.gguf.jsonl > b
equal "$(grep -c . a)" 40 'steps in the log'
# The line of the step that was saved last may be missing: killed between both.
[ "$(grep -c . b)" -ge 39 ] || fail 'steps are missing in the log'
[ "$(grep -c -F -x -f a b)" = "$(grep -c . b)" ] || fail 'other losses after being killed'
equal "$(sort -u b | grep -c .)" "$(grep -c . b)" 'different lines of the log: no step stands twice'

# Another corpus, other weights, another part held out: refused, and said what it is.
run 1 $MILLET train m.gguf -f text.txt=1 -f data/pairs.jsonl.gz=2 --cache-dir caches --holdout 10 -b 2 -c 24 --rate 0.01 \
    -o killed.gguf -n 40 --resume
contains err 'the data are not those'
contains err 'weight 3'
run 1 $MILLET train m.gguf $mixture --holdout 9 -o killed.gguf -n 40 --resume
contains err 'holdout=9'
cp text.txt kept.txt
echo 'one more line' >> text.txt
run 1 $MILLET train m.gguf $mixture -o killed.gguf -n 40 --resume
contains err 'the data are not those'
contains err 'data 1='
cp kept.txt text.txt
run 0 $MILLET train m.gguf $mixture -o killed.gguf -n 40 --resume

# Ready caches, data of their own to measure on, epochs; sources of one name do not share a cache.
run 0 $MILLET corpus build text.txt data/pairs.jsonl.gz -m m.gguf -o caches
mkdir other
sed 's/abc/de/' text.txt > other/text.txt
run 0 $MILLET train m.gguf -f caches/pairs.jsonl.gz.tokens -f text.txt -f other/text.txt --eval-data text.txt -b 2 -c 24 -t 1 \
    -o e.gguf --epochs 2 --packing sequential --eval-rows 4 --json
[ "$(json steps)" -gt 10 ] || fail 'too few steps for two epochs'
json evaluation_loss > /dev/null || fail 'no evaluation on data of their own'
[ -s text.txt.2.tokens ] || fail 'two sources of one name share a cache'

echo '{"architecture":"qwen3","layers":2,"width":32,"heads":4,"feed_forward":64,"context":64}' > shape.json
run 0 $MILLET train --new shape.json --tokenizer m.gguf $common -o d.gguf -n 3
run 0 $MILLET run d.gguf -p abc -n 4

# Tagged records, masked tokens, dropout; stopped and gone on with only under the same settings.
run 0 $MILLET tokenizer train text.txt -v 300 -o tags.gguf -s '<|endoftext|>' -s '<|call|>' -s '<|intent|>' -s '<|mask|>' \
    -s '<|O|>' -s '<|B:word|>' -s '<|I:word|>'
i=0
while [ $i -lt 40 ]; do
    printf '{"prompt":"abc %d fgh<|call|>","completion":"<|intent|>","prefix":true,"tags":[{"start":4,"end":%d,"name":"word"}]}\n' \
        $i $((i < 10 ? 5 : 6))
    i=$((i + 1))
done > tags.jsonl
tagged='--new shape.json --tokenizer tags.gguf -f tags.jsonl --special -b 2 -c 24 -t 1 -n 6 --holdout 4 --tag-weight 0.5 --dropout 0.1'
run 0 $MILLET train $tagged --mask 0.2 -o tagged.gguf --json
json evaluation_tag_loss > /dev/null || fail 'no evaluation of tags'
json evaluation_token_loss > /dev/null || fail 'no evaluation of tokens'
contains err '(tags '
contains err ' labels'
equal "$(grep -c '"tag_loss"' tagged.gguf.jsonl)" 6 'losses of tags in the log'
run 1 $MILLET train $tagged --mask 0.3 -o tagged.gguf --resume
contains err 'mask='
run 0 $MILLET train $tagged --mask 0.2 -o tagged.gguf --resume
run 1 $MILLET train m.gguf $common -o x.gguf -n 3 --mask 0.1
contains err '<|mask|>'
run 2 $MILLET train m.gguf $common -o x.gguf -n 3 --dropout 1

run 2 $MILLET train $common -o x.gguf -n 3
run 2 $MILLET train m.gguf --new shape.json $common -o x.gguf -n 3
run 2 $MILLET train --new shape.json $common -o x.gguf -n 3
run 2 $MILLET train m.gguf -o x.gguf -n 3
run 2 $MILLET train m.gguf -f text.txt -n 3
run 2 $MILLET train m.gguf -f text.txt -o x.gguf
run 2 $MILLET train m.gguf $common -o x.gguf -n 3 --epochs 1
run 2 $MILLET train m.gguf $common -o x.gguf -n 3 --holdout 3 --eval-data text.txt
run 2 $MILLET train m.gguf -f text.txt=0 -o x.gguf -n 3
contains err 'weight'
run 2 $MILLET train m.gguf -f text.txt=a -o x.gguf -n 3
run 2 $MILLET train m.gguf -f text.txt=1 -f text.txt -o x.gguf -n 3
contains err 'either each file has a weight or none'
run 2 $MILLET train m.gguf $common -o x.gguf -n 3 --optimizer sgd
run 1 $MILLET train m.gguf -f nothing -o x.gguf -n 3
contains err nothing
: > empty.txt
run 1 $MILLET train m.gguf -f empty.txt -o x.gguf -n 3
contains err 'empty'
printf 'no records\n' > broken.jsonl
run 1 $MILLET train m.gguf -f broken.jsonl -o x.gguf -n 3
contains err '1 no JSON object'
echo 'abc de' > short.txt
run 1 $MILLET train m.gguf -f short.txt -o x.gguf -n 3 -c 16
contains err 'too few for a batch of 8'
run 1 $MILLET train m.gguf -f short.txt -o x.gguf -n 3 -b 1 -c 8 --holdout 5
contains err 'has 1 documents'
tiny other.gguf vocabulary=300 || exit 1
run 0 $MILLET corpus build text.txt -m other.gguf -o .
mv text.txt.tokens other.tokens
run 1 $MILLET train m.gguf -f other.tokens -o x.gguf -n 3
contains err 'another tokenizer'
if [ -z "${MPI:-}" ]; then # a build without MPI says so, and only the first process does
    run 1 env OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_RANK=0 $MILLET train m.gguf $common -o x.gguf -n 3
    contains err 'MILLET_MPI=ON'
    run 1 env OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_RANK=1 $MILLET train m.gguf $common -o x.gguf -n 3
    [ -s err ] && fail 'the second process spoke'
fi
run 0 $MILLET train --chat-template list
contains out chatml
run 1 $MILLET train nothing.gguf $common -o x.gguf -n 3
[ -e x.gguf ] && fail 'a file was left behind'
finish
