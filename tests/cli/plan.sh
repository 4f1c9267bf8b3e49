#!/bin/sh
# compact with plans: shown, written, edited, applied; what is refused.
. "$(dirname "$0")/support.sh"
tiny m.gguf width=256 feed_forward=512 || exit 1

# A plan of a type gives the file of that type.
run 0 $MILLET compact m.gguf -o a.gguf --type Q4_K_M
run 0 $MILLET compact m.gguf --type Q4_K_M --dry-run --write-plan plan.json
contains out 'blk.0.attn_v.weight'
contains out 'bits a weight'
run 0 $MILLET compact m.gguf -o b.gguf --plan plan.json
cmp a.gguf b.gguf || fail 'the plan of a type makes another file'
run 0 $MILLET compact m.gguf --plan plan.json --dry-run --json
equal "$(json file_bytes)" "$(wc -c < a.gguf | tr -d ' ')" 'bytes that are predicted'

# Edited.
sed 's/\("blk.0.attn_q.weight", "type": \)"Q4_K"/\1"Q2_K"/' plan.json > edited.json
cmp -s plan.json edited.json && fail 'nothing was edited'
run 0 $MILLET compact m.gguf -o c.gguf --plan edited.json --write-plan again.json
run 0 $MILLET inspect c.gguf --tensors
contains out 'Q2_K'
run 0 $MILLET compact m.gguf --plan again.json --dry-run --json
equal "$(json file_bytes)" "$(wc -c < c.gguf | tr -d ' ')" 'bytes of the edited plan'
grep -v 'blk.0.attn_q.weight' plan.json > left.json
run 1 $MILLET compact m.gguf -o x.gguf --plan left.json
contains err 'blk.0.attn_q.weight'
contains err 'leaves it out'
sed 's/blk.0.attn_q.weight/blk.9.attn_q.weight/' plan.json > other.json
run 1 $MILLET compact m.gguf -o x.gguf --plan other.json
contains err 'no such tensor'
sed 's/"Q4_K"/"Q4_KM"/' plan.json > other.json
run 1 $MILLET compact m.gguf -o x.gguf --plan other.json
contains err 'Q4_KM'
tiny small.gguf || exit 1
run 1 $MILLET compact small.gguf -o x.gguf --plan plan.json
contains err 'another model'
run 2 $MILLET compact m.gguf -o x.gguf --plan plan.json --type Q8_0
contains err 'no say'
run 1 $MILLET compact m.gguf -o x.gguf --plan none.json
run 1 $MILLET compact m.gguf --dry-run --write-plan no/such/plan.json
[ ! -e x.gguf ] || fail 'a refused run wrote a file'
finish
