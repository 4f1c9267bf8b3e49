#!/bin/sh
# compact: types, what stays, refusals, and that an old file survives a failure.
. "$(dirname "$0")/support.sh"
tiny m.gguf width=256 feed_forward=512 || exit 1

run 0 $MILLET compact --type list
for type in $(tr -d , < out); do
    run 0 $MILLET compact m.gguf -o $type.gguf --type $type --json
    json error > /dev/null || fail "JSON of compact to $type"
    run 0 $MILLET logits $type.gguf --tokens 1,5,7 -o $type.logits
    equal "$(wc -c < $type.logits | tr -d ' ')" 4800 "logits of $type"
done
cmp F32.gguf m.gguf > /dev/null || {
    run 0 $MILLET logits m.gguf --tokens 1,5,7 -o m.logits
    cmp F32.logits m.logits || fail 'F32 of F32 is not the same model'
}
[ "$(wc -c < Q4_0.gguf)" -lt "$(wc -c < Q8_0.gguf)" ] || fail 'Q4_0 is not smaller than Q8_0'

run 0 $MILLET compact m.gguf -o kept.gguf --type Q8_0 --keep 'blk.0.*' --tensors
run 0 $MILLET inspect kept.gguf --json
equal "$(json dtypes.F32.tensors)" 12 'tensors kept in F32'

run 1 $MILLET compact Q4_0.gguf -o again.gguf --type Q8_0
contains err 'quantised already'
[ -e again.gguf ] && fail 'a refused run left a file'
run 0 $MILLET compact Q4_0.gguf -o again.gguf --type Q8_0 --allow-requantize
run 1 $MILLET compact m.gguf -o x.gguf --type Q3
contains err Q3
run 1 $MILLET compact m.gguf -o . --type Q8_0
run 1 $MILLET compact none.gguf -o x.gguf

# A disk that is full, as a limit on the size of files: an error, and the old file is whole.
cp Q8_0.gguf old.gguf
(
    ulimit -f 64
    trap '' XFSZ
    $MILLET compact m.gguf -o old.gguf --type F16 > out 2> err
)
code=$?
equal $code 1 'exit code with a full disk'
contains err 'old.gguf'
cmp old.gguf Q8_0.gguf || fail 'a full disk destroyed the old file'
ls -A | grep -q '\.tmp$' && fail "a temporary file was left: $(ls -A | grep '\.tmp$')"

# Over itself: the input is mapped while it is replaced.
cp m.gguf self.gguf
run 0 $MILLET compact self.gguf -o self.gguf --type Q8_0
cmp self.gguf Q8_0.gguf || fail 'compacting a file over itself'
finish
