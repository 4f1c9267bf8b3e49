#!/bin/sh
# millet train by mpirun: the same losses with 1, 2 and 4 processes, a process that is killed or fails, and going on with
# other numbers of processes.
. "$(dirname "$0")/support.sh"
[ -n "${MPI:-}" ] && command -v mpirun > /dev/null || {
    echo 'skipped: this is no build with MPI, or there is no mpirun'
    exit 77
}
# More processes than CPUs, as root too, without system calls that containers forbid.
MPIRUN='mpirun --oversubscribe --allow-run-as-root --mca btl_vader_single_copy_mechanism none'
# shellcheck disable=SC2086 # a command and its options
timeout 60 $MPIRUN -n 2 true > out 2> err || {
    echo 'skipped: mpirun does not start processes here:'
    head -n 5 err
    exit 77
}
tiny m.gguf || exit 1
i=0
while [ $i -lt 300 ]; do
    echo "abc de $i fgh abc de"
    [ $((i % 5)) = 4 ] && echo '<|endoftext|>'
    i=$((i + 1))
done > text.txt
common='-f text.txt -b 4 -c 32 -t 1 --rate 0.001 --warmup 2 --holdout 10 --eval-every 10 --save-every 4 -n 40'

losses() { # step, losses and norm: the newest line of each step
    sed -n 's/.*"step":\([0-9]*\).*"loss":\([^,]*\),"z":\([^,]*\),"gradient_norm":\([^,]*\),.*/\1 \2 \3 \4/p' "$1" |
        awk '{ line[$1] = $0 } END { for (i = 1; i <= 40; i++) if (i in line) print line[i] }'
}
evaluations() {
    sed -n 's/.*"evaluation_loss":\([^,}]*\).*/\1/p' "$1"
}
near() { # near FILE FILE COLUMN TOLERANCE: numbers of a column, relative
    paste "$1" "$2" | awk -v c="$3" -v t="$4" '
        { a = $c; b = $(c + NF / 2); d = a > b ? a - b : b - a; if (NF % 2 || d > t * b) bad = 1 }
        END { exit bad || NR == 0 }' || fail "$1 and $2 differ in column $3"
}
child() { # child PID N: the N-th process that it has started
    for stat in /proc/[0-9]*/stat; do
        sed 's/.*) //' "$stat" 2> /dev/null | awk -v parent="$1" -v stat="$stat" '
            $2 == parent { split(stat, part, "/"); print part[3] }'
    done | sort -n | sed -n "$2p"
}
once() { # once FILE TEXT
    equal "$(grep -c -F -e "$2" "$1")" 1 "lines with \"$2\""
}

# As one process, within rounding; again, to the bit.
run 0 $MILLET train m.gguf $common -o one.gguf
losses one.gguf.jsonl > one
evaluations one.gguf.jsonl > one.evaluations
equal "$(grep -c . one)" 40 'steps in the log'
for n in 2 4; do
    run 0 $MPIRUN -n $n $MILLET train m.gguf $common -o many.gguf --restart
    contains err "$n processes train together"
    once err 'step 40/40'
    once out '40 steps'
    losses many.gguf.jsonl > many
    evaluations many.gguf.jsonl > many.evaluations
    near many one 2 1e-5
    near many one 4 1e-3
    near many.evaluations one.evaluations 1 1e-5
done
run 0 $MPIRUN -n 4 $MILLET train m.gguf $common -o again.gguf
losses again.gguf.jsonl | cmp - many || fail 'other losses on the second run of four processes'
cmp again.gguf many.gguf || fail 'another model on the second run of four processes'
# The state has the same form, whoever wrote it.
equal "$(wc -c < many.gguf.state)" "$(wc -c < one.gguf.state)" 'bytes of the state'
for n in 1 3; do
    run 0 $MPIRUN -n $n $MILLET train m.gguf $common --optimizer muon --storage bf16 -o muon$n.gguf
    losses muon$n.gguf.jsonl > muon$n
done
near muon3 muon1 2 1e-3

# Stopped by what mpirun passes on, gone on with another number, killed, gone on with one: the losses of one process.
wait_for_state() { # wait_for_state FILE PID: until it is there, and newer than before.stamp
    i=0
    while [ $i -lt 1200 ] && kill -0 "$2" 2> /dev/null && ! [ "$1" -nt before.stamp ]; do
        sleep 0.05
        i=$((i + 1))
    done
}
touch -d '1 minute ago' before.stamp
$MPIRUN -n 2 $MILLET train m.gguf $common -n 40 -o elastic.gguf > out 2> err &
pid=$!
wait_for_state elastic.gguf.state $pid
kill -USR1 $pid
wait $pid
if [ ! -e elastic.gguf ]; then # it may have been quicker
    once err '--resume goes on'
    touch before.stamp
    sleep 0.01
    $MPIRUN -n 4 $MILLET train m.gguf $common -o elastic.gguf --resume > out 2> err &
    pid=$!
    wait_for_state elastic.gguf.state $pid
    victim=$(child $pid 3)
    [ -z "$victim" ] || kill -KILL "$victim" 2> /dev/null
    wait $pid
    if [ ! -e elastic.gguf ]; then # it too
        contains err "rank 2"
        run 0 $MILLET train m.gguf $common -o elastic.gguf --resume
    fi
fi
losses elastic.gguf.jsonl > elastic
near elastic one 2 1e-5

# The others say who is missing, and from where to go on.
for victim in 1 2; do
    rm -f killed.gguf.state
    touch -d '1 minute ago' before.stamp
    # With time for last words; mpirun waits that long in any case.
    $MPIRUN --mca odls_base_sigkill_timeout 6 -n 2 $MILLET train m.gguf $common -n 100000 -o killed.gguf > out 2> err &
    pid=$!
    wait_for_state killed.gguf.state $pid
    kill -KILL "$(child $pid $victim)"
    wait $pid
    [ $? != 0 ] || fail 'a process was killed, and mpirun was content'
    contains err "rank $((victim - 1)) of 2"
    contains err 'has died; the state of step'
    contains err 'resume goes on'
    [ -e killed.gguf ] && fail 'a model was written although a process was killed'
    run 0 $MILLET inspect killed.gguf.state
done

# What fails is said once.
run 1 $MPIRUN -n 2 $MILLET train m.gguf $common -o x.gguf --state nowhere/x.state
once err 'nowhere'
run 1 $MPIRUN -n 2 $MILLET train m.gguf -f text.txt -b 4 -c 32 -t 1 --rate 1000 --weight-decay 1000 --clip 0 -n 40 -o x.gguf
once err 'a lower rate'
run 1 $MPIRUN -n 2 $MILLET train m.gguf -f nothing.txt -n 3 -o x.gguf
once err 'nothing.txt'
run 1 $MPIRUN -n 2 $MILLET train m.gguf -f text.txt -b 1 -c 32 -n 3 -o x.gguf
once err 'cannot be shared by 2 ranks'
run 2 $MPIRUN -n 2 $MILLET train m.gguf -f text.txt -n 3
once err '-o FILE is missing'
[ -e x.gguf ] && fail 'a file was left behind'
ls -A | grep -q '^\.x\.gguf' && fail 'a temporary file was left behind'

# Each process keeps its part of the optimiser's state.
run 0 $MILLET train m.gguf -b 4 -c 32 -t 1 --memory --json
whole=$(json optimizer)
run 0 $MPIRUN -n 2 $MILLET train m.gguf -b 4 -c 32 -t 1 --memory --json
[ $((2 * $(json optimizer))) -le $((whole + 4096)) ] || fail "two halves of $whole: $(json optimizer)"
half=$(json total)
run 0 $MILLET train m.gguf -b 4 -c 32 -t 1 --memory --ranks 2 --json
equal "$(json total)" "$half" 'memory of one of two processes'
run 2 $MILLET train m.gguf $common -o x.gguf --ranks 2
contains err 'mpirun -n 2'
finish
