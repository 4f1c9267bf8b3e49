#!/bin/sh
# millet calibrate, and compact with what it measured.
. "$(dirname "$0")/support.sh"
tiny m.gguf || exit 1
i=0
while [ $i -lt 60 ]; do
    printf 'bcd efg hij klm %d ' $i
    i=$((i + 1))
done > text

run 0 $MILLET calibrate m.gguf -f text -o m.imatrix
contains out '15 matrices, 9 inputs with all pairs of channels'
cp m.imatrix first
INPUT=text run 0 $MILLET calibrate m.gguf -o m.imatrix --json -t 1
equal "$(json matrices)" 15 matrices
equal "$(json grams)" 9 grams
json perplexity > /dev/null || fail 'perplexity'

run 0 $MILLET compact m.gguf -o plain.gguf --type Q4_0 --uniform
run 0 $MILLET compact m.gguf -o fed.gguf --type Q4_0 --uniform --importance first --tensors
contains out 'with feedback'
run 0 $MILLET compact m.gguf -o weighted.gguf --type Q4_0 --uniform --importance first --no-feedback
cmp -s plain.gguf fed.gguf && fail 'feedback changed nothing'
cmp -s weighted.gguf fed.gguf && fail 'feedback did what weights alone do'
equal "$(wc -c < plain.gguf)" "$(wc -c < fed.gguf)" 'bytes of the file'
run 0 $MILLET eval plain.gguf --base m.gguf -f text --json
plain=$(json kl.mean.value)
run 0 $MILLET eval fed.gguf --base m.gguf -f text --json
awk "BEGIN { exit !($(json kl.mean.value) < 0.8 * $plain) }" || fail "divergence $(json kl.mean.value) with feedback, $plain without"

run 0 $MILLET calibrate m.gguf -f text -o m.dat --diagonal --legacy
run 0 $MILLET compact m.gguf -o old.gguf --type Q4_0 --uniform --importance m.dat
cmp weighted.gguf old.gguf || fail 'the old form says something else'

run 2 $MILLET calibrate m.gguf -f text
run 2 $MILLET calibrate m.gguf -f text -o x --legacy
printf a > short
run 0 $MILLET calibrate m.gguf -f short -o few
contains err 'few for inputs of 128 channels'
: > short
run 1 $MILLET calibrate m.gguf -f short -o x
contains err 'at least 2'
[ -e x ] && fail 'a file was left behind'
run 1 $MILLET calibrate m.gguf -f text -o no/such/folder
run 1 $MILLET compact m.gguf -o x --importance m.gguf
contains err 'no importance file'
run 1 $MILLET compact m.gguf -o x --importance no/such/file
tiny other.gguf width=128 || exit 1
run 1 $MILLET compact other.gguf -o x --importance m.dat
contains err 'measured on another model'
[ -e x ] && fail 'a file was left behind'
finish
