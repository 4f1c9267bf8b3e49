#!/bin/sh
# millet distil: teacher outputs made, used again and gone on with; students of one teacher and of two, stopped and resumed.
. "$(dirname "$0")/support.sh"
tiny student.gguf || exit 1
tiny teacher.gguf layers=3 seed=5 || exit 1
tiny second.gguf layers=1 seed=6 || exit 1
i=0
while [ $i -lt 60 ]; do
    echo "abc de $i fgh abc de" >> text.txt
    [ $((i % 5)) = 4 ] && echo '<|endoftext|>' >> text.txt
    printf '{"prompt":"abc %d","completion":" de fgh","prefix":true}\n' $i >> pairs.jsonl
    i=$((i + 1))
done
common='-f text.txt=1 -f pairs.jsonl=2 -b 2 -c 24 -t 1 --rate 0.01 --warmup 2 --teacher teacher.gguf'

run 0 $MILLET distil student.gguf $common --memory
contains out 'teacher'
run 0 $MILLET distil student.gguf $common --memory --json
[ "$(json distillation)" -gt 0 ] || fail 'memory of the teacher'

# The files are made once, at the size that was said; then used again.
run 0 $MILLET distil student.gguf $common -o a.gguf --prepare
contains err 'text.txt.teacher: '
contains err '32 tokens at temperature 2'
[ -e a.gguf ] && fail 'trained although only preparing'
[ -s text.txt.teacher ] && [ -s pairs.jsonl.teacher ] || fail 'no teacher outputs'
cp text.txt.teacher kept
run 0 $MILLET distil student.gguf $common -t 2 -o a.gguf -n 12 --holdout 4 --eval-every 6 --json
contains err 'text.txt.teacher: as it was'
contains err 'divergence'
cmp text.txt.teacher kept || fail 'teacher outputs have changed'
equal "$(json steps)" 12 steps
json divergence > /dev/null || fail 'no divergence'
json evaluation_divergence > /dev/null || fail 'no divergence of the evaluation'
equal "$(grep -c '"divergence"' a.gguf.jsonl)" 12 'divergences in the log'
equal "$(grep -c '"evaluation_divergence"' a.gguf.jsonl)" 2 'evaluations in the log'
contains a.gguf.html '<td>training: divergence from the teacher</td>'
contains a.gguf.html '<td>held out: divergence from the teacher</td>'
contains a.gguf.html '<td>held out: loss</td>'
run 0 $MILLET run a.gguf -p abc -n 4
run 0 $MILLET compact teacher.gguf --type Q8_0 -o small.gguf
run 0 $MILLET distil student.gguf $common --teacher small.gguf --teacher second.gguf --top-k 0 --temperature 1.5 --alpha 1 \
    --teacher-length 16 --teacher-dir . -o b.gguf -n 4
contains err 'all 400 tokens at temperature 1.5'

# Killed as soon as a state is there, and gone on with: the same model.
run 0 $MILLET distil student.gguf $common -o whole.gguf -n 30 --save-every 3
$MILLET distil student.gguf $common -o killed.gguf -n 30 --save-every 3 > out 2> err &
pid=$!
i=0
while [ ! -s killed.gguf.state ] && [ $i -lt 6000 ]; do
    sleep 0.01
    i=$((i + 1))
done
kill -KILL $pid
wait $pid
[ -e killed.gguf ] || run 0 $MILLET distil student.gguf $common -t 3 -o killed.gguf -n 30 --save-every 3 --resume
cmp whole.gguf killed.gguf || fail 'another model after being killed'
run 1 $MILLET distil student.gguf $common --alpha 0.5 -o whole.gguf -n 30 --save-every 3 --resume
contains err 'alpha='
run 1 $MILLET train student.gguf -f text.txt=1 -f pairs.jsonl=2 -b 2 -c 24 -t 1 --rate 0.01 --warmup 2 -o whole.gguf -n 30 --resume
contains err 'alpha='

# A new student; data of their own to measure on, which are learnt from as well.
echo '{"architecture":"qwen3","layers":1,"width":32,"heads":2,"feed_forward":64,"context":64}' > shape.json
run 0 $MILLET distil --new shape.json --tokenizer teacher.gguf $common --eval-data text.txt -o c.gguf -n 3 --json
json evaluation_divergence > /dev/null || fail 'no divergence of the evaluation'
run 0 $MILLET run c.gguf -p abc -n 4

# Teachers beside the student, hidden states and attention.
run 0 $MILLET distil student.gguf $common --online -o e.gguf -n 3
contains err 'divergence'
[ -e e.teacher ] && fail 'a file although --online'
run 0 $MILLET distil student.gguf $common --hidden 1:2 --hidden 2:3 --hidden-weight 0.5 -o f.gguf -n 3 --json
json hidden > /dev/null || fail 'no error of hidden states'
contains f.gguf.html '<td>training: error of hidden states</td>'
equal "$(grep -c '<h2>' f.gguf.html)" 2 'pictures of a distillation with hidden states'
run 0 $MILLET distil student.gguf $common --hidden 1:2 --memory --json
[ "$(json distillation)" -gt 100000 ] || fail 'memory of a teacher beside the student'
run 0 $MILLET inspect f.gguf --tensors
grep -q train.map out && fail 'maps in the output'
run 0 $MILLET inspect f.gguf.state --tensors
contains out 'train.map.hidden.1'
run 1 $MILLET distil student.gguf $common --hidden 3:1 -o x.gguf -n 3
contains err 'layer 3 of the student'
run 2 $MILLET distil student.gguf $common --hidden 3 -o x.gguf -n 3
run 2 $MILLET distil student.gguf $common --hidden 1:2x -o x.gguf -n 3
run 2 $MILLET distil student.gguf $common --online --prepare -o x.gguf
run 0 $MILLET distil student.gguf $common --attention 1:2 --attention-heads 2 -o g.gguf -n 3 --json
json attention > /dev/null || fail 'no divergence of attention'
run 1 $MILLET distil student.gguf $common --attention 0:1 -o x.gguf -n 3
contains err 'layer 0 of the student'
run 2 $MILLET distil student.gguf $common --attention 1 -o x.gguf -n 3

# A damaged file is made again, what is no such file too.
printf 'x' | dd of=text.txt.teacher bs=1 seek=400 conv=notrunc 2> /dev/null
run 0 $MILLET distil student.gguf $common -o a.gguf --prepare
cmp text.txt.teacher kept || fail 'a damaged file was not made again'
echo nothing > text.txt.teacher
run 0 $MILLET distil student.gguf $common -o a.gguf --prepare
cmp text.txt.teacher kept || fail 'another file was not made again'

tiny other.gguf vocabulary=300 || exit 1
run 1 $MILLET distil student.gguf -f text.txt -b 2 -c 24 --teacher other.gguf -o x.gguf -n 3
contains err 'another tokenizer'
run 1 $MILLET distil student.gguf -f text.txt -b 2 -c 24 --teacher nothing.gguf -o x.gguf -n 3
contains err nothing.gguf
run 2 $MILLET distil student.gguf -f text.txt -o x.gguf -n 3
contains err '--teacher'
run 2 $MILLET distil student.gguf $common --alpha 2 -o x.gguf -n 3
run 2 $MILLET distil student.gguf $common --temperature 0 -o x.gguf -n 3
run 2 $MILLET distil student.gguf $common --top-k -1 -o x.gguf -n 3
run 2 $MILLET distil student.gguf $common --teacher-length 1 -o x.gguf -n 3
run 2 $MILLET distil student.gguf $common -n 3
[ -e x.gguf ] && fail 'a file was left behind'
# What a classifier knows is one more teacher.
token=$(printf 'd' | $MILLET tokenize student.gguf | awk 'END { print $2 }')
sed "s/\"completion\":.*/\"probabilities\":{\"$token\":0.5}}/" pairs.jsonl > labels.jsonl
run 0 $MILLET distil student.gguf -f pairs.jsonl -b 2 -c 24 -t 1 --teacher teacher.gguf --labels labels.jsonl --labels-weight 0.75 \
    -o labelled.gguf --restart -n 2
run 1 $MILLET distil student.gguf -f pairs.jsonl -b 2 -c 24 -t 1 --teacher teacher.gguf --labels missing -o x.gguf --restart -n 2
finish
