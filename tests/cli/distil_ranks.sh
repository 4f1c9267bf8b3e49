#!/bin/sh
# millet distil by mpirun: the same losses with 1, 2 and 3 processes, from teacher outputs that one of them makes and with
# teachers beside the student; --prepare.
. "$(dirname "$0")/support.sh"
[ -n "${MPI:-}" ] && command -v mpirun > /dev/null || {
    echo 'skipped: this is no build with MPI, or there is no mpirun'
    exit 77
}
MPIRUN='mpirun --oversubscribe --allow-run-as-root --mca btl_vader_single_copy_mechanism none'
# shellcheck disable=SC2086 # a command and its options
timeout 60 $MPIRUN -n 2 true > out 2> err || {
    echo 'skipped: mpirun does not start processes here:'
    head -n 5 err
    exit 77
}
tiny student.gguf || exit 1
tiny teacher.gguf layers=3 width=96 feed_forward=192 seed=3 || exit 1
i=0
while [ $i -lt 200 ]; do
    echo "abc de $i fgh abc de"
    [ $((i % 5)) = 4 ] && echo '<|endoftext|>'
    i=$((i + 1))
done > text.txt
common='--teacher teacher.gguf -f text.txt -b 4 -c 32 -t 1 --rate 0.001 --warmup 2 --holdout 10 --eval-every 8 --save-every 4 -n 16'

numbers() { # numbers FILE KEY: of each step that has it
    sed -n "s/.*\"$2\":\\([^,}]*\\).*/\\1/p" "$1"
}
same() { # same LOG KEY COUNT: as in one.gguf.jsonl but for rounding
    numbers one.gguf.jsonl "$2" > a
    numbers "$1" "$2" > b
    equal "$(grep -c . b)" "$3" "numbers of $2"
    paste a b | awk '{ d = $1 > $2 ? $1 - $2 : $2 - $1; if (NF != 2 || d > 1e-5 * ($1 > 0 ? $1 : -$1)) bad = 1 }
        END { exit bad || NR == 0 }' || fail "$1: $2 differs from that of one process"
}

# What the teacher says, made by the first process for all.
run 0 $MILLET distil student.gguf $common -o one.gguf
cp text.txt.teacher kept
for n in 2 3; do
    rm -f text.txt.teacher
    run 0 $MPIRUN -n $n $MILLET distil student.gguf $common -o many.gguf --restart
    contains err "$n processes train together"
    equal "$(grep -c -F 'text.txt.teacher: ' err)" 1 'processes that speak of the teacher'
    cmp text.txt.teacher kept || fail "what the teacher says differs with $n processes"
    for key in loss divergence gradient_norm; do
        same many.gguf.jsonl $key 16
    done
    same many.gguf.jsonl evaluation_loss 2
    same many.gguf.jsonl evaluation_divergence 2
done
rm -f text.txt.teacher
run 0 $MPIRUN -n 2 $MILLET distil student.gguf $common -o x.gguf --prepare
cmp text.txt.teacher kept || fail 'what the teacher says differs with --prepare'
[ -e x.gguf ] && fail 'a model although --prepare'

# Teachers beside the student: every process has them.
beside='--hidden 1:2 --hidden 2:3 --hidden-weight 0.5 --attention 2:3'
run 0 $MILLET distil student.gguf $common $beside -o one.gguf --restart
run 0 $MPIRUN -n 2 $MILLET distil student.gguf $common $beside -o beside.gguf
for key in loss divergence hidden attention gradient_norm; do
    same beside.gguf.jsonl $key 16
done
for key in evaluation_loss evaluation_divergence evaluation_hidden evaluation_attention; do
    same beside.gguf.jsonl $key 2
done

# What fails on the way is said once.
run 1 $MPIRUN -n 2 $MILLET distil student.gguf $common --teacher missing.gguf -o x.gguf
equal "$(grep -c -F 'missing.gguf' err)" 1 'lines about the missing teacher'
finish
