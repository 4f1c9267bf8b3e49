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
# A plan for a budget.
i=0
while [ $i -lt 40 ]; do
    echo "abc de $i fgh abc de"
    i=$((i + 1))
done > text.txt
budget='--calibrate text.txt --calibration-tokens 48 -t 1'
run 0 $MILLET compact m.gguf -o d.gguf --budget file=700kB $budget --sensitivity s.json --write-plan budget.json
[ "$(wc -c < d.gguf)" -le 700000 ] || fail 'more than the budget'
[ "$(wc -c < d.gguf)" -ge 696500 ] || fail "the budget is not filled: $(wc -c < d.gguf)"
contains err 'types measured'
run 0 $MILLET compact m.gguf -o e.gguf --plan budget.json
cmp d.gguf e.gguf || fail 'the plan that was written makes another file'
run 0 $MILLET run d.gguf -p 'abc de' -n 4
run 0 $MILLET compact m.gguf --dry-run --budget file=0.7MB $budget --sensitivity s.json --json
equal "$(json file_bytes)" "$(wc -c < d.gguf | tr -d ' ')" 'bytes of the same plan'
json kl > /dev/null || fail 'no divergence'
run 0 $MILLET compact m.gguf --dry-run --budget ram=12MiB@64,file=1MiB $budget --sensitivity s.json --json
equal "$(json memory_ctx)" 64 context
[ "$(json memory_bytes)" -le 12582912 ] || fail 'more memory than the budget'
run 1 $MILLET compact m.gguf -o x.gguf --budget file=20kB $budget --sensitivity s.json
contains err 'the smallest that would do is file='
least=$(sed -n 's/.*file=\([0-9]*\).*/\1/p' err)
run 0 $MILLET compact m.gguf -o f.gguf --budget file=$least $budget --sensitivity s.json
equal "$(wc -c < f.gguf | tr -d ' ')" "$least" 'bytes of the smallest'
run 1 $MILLET compact m.gguf -o x.gguf --budget ram=1MB@64 $budget --sensitivity s.json
contains err 'the smallest that would do is ram='
run 0 $MILLET compact m.gguf --dry-run --budget file=700kB $budget --types 'Q2_K,Q8_0' --measure 1
echo other > other.txt
run 1 $MILLET compact m.gguf --dry-run --budget file=700kB --calibrate other.txt
contains err 'at least 16'
run 1 $MILLET compact m.gguf --dry-run --budget file=700kB --calibrate text.txt --sensitivity s.json
contains err 'another'
for wrong in file ram=3@ size=3MB file=-1 file=3MX 'file=3MB;ram=2' file=3MB, ''; do
    run 2 $MILLET compact m.gguf --dry-run --budget "$wrong" $budget
    contains err 'is no budget'
done
run 2 $MILLET compact m.gguf --dry-run --budget file=1MB
contains err '--calibrate'
run 2 $MILLET compact m.gguf --dry-run --budget file=1MB $budget --plan plan.json
run 2 $MILLET compact m.gguf --dry-run --budget file=1MB $budget --type Q8_0
run 2 $MILLET compact m.gguf --dry-run --sensitivity s.json
# A report: what was lost, as JSON and as a page that needs nothing from elsewhere.
run 0 $MILLET compact m.gguf -o r.gguf --budget file=700kB $budget --sensitivity s.json --evaluate text.txt --report rep
contains out 'KL divergence, mean'
[ "$($JSON_GET file_bytes < rep/report.json)" = "$(wc -c < r.gguf | tr -d ' ')" ] || fail 'bytes in the report'
for key in before.perplexity.value after.perplexity.high kl.mean.value kl.q99 agreement.low predicted_kl points.0.kl; do
    $JSON_GET $key < rep/report.json > /dev/null || fail "$key is not in the report"
done
contains rep/index.html '<svg'
contains rep/index.html 'divergence by size'
contains rep/index.html 'sensitivity by layer'
contains rep/index.html '</html>'
grep -q -E 'http|<script|src=' rep/index.html && fail 'the page asks for more than itself'
run 0 $MILLET compact m.gguf -o t.gguf --type Q4_0 --evaluate text.txt --evaluation-tokens 60 --report one.html
contains one.html 'bits by tensor'
$JSON_GET after.weight_bytes < one.json > /dev/null || fail 'no JSON beside the page'
# Of a model that was made from another, beside that.
run 0 $MILLET prune m.gguf -f text.txt -b 2 -c 16 -t 1 -o cut.gguf --layers 1
run 0 $MILLET compact cut.gguf -o t.gguf --type Q8_0 --evaluate text.txt --report cut --base m.gguf
equal "$($JSON_GET before.path < cut/report.json)" m.gguf 'the base'
equal "$($JSON_GET after.path < cut/report.json)" t.gguf 'the output'
run 2 $MILLET compact cut.gguf -o t.gguf --type Q8_0 --base m.gguf
run 1 $MILLET compact m.gguf -o t.gguf --type Q4_0 --evaluate text.txt --report no/such/place
run 2 $MILLET compact m.gguf -o t.gguf --type Q4_0 --report rep
contains err '--evaluate'
run 2 $MILLET compact m.gguf -o m.gguf --type Q4_0 --evaluate text.txt --report rep
run 2 $MILLET compact m.gguf -o t.gguf --type Q4_0 --evaluate text.txt
run 2 $MILLET compact m.gguf --type Q4_0 --evaluate text.txt --report rep --dry-run

# Speed, by a profile of a device.
run 2 $MILLET bench
run 2 $MILLET bench m.gguf --device-profile p.json
costs=$(awk 'BEGIN { for (i = 0; i < 27; i++) printf "%s1e-11", i ? ", " : "" }')
types=
for type in F32 F16 Q8_0 Q6_K Q5_K Q4_K IQ4_XS Q3_K Q2_K IQ1_S IQ1_M IQ2_XXS IQ2_XS IQ2_S IQ3_XXS IQ3_S; do
    types="$types${types:+, }\"$type\": [$costs]"
done
echo "{\"version\": 1, \"threads\": 1, \"seconds_per_layer\": 1e-6, \"seconds_per_channel\": 0, \"types\": {$types}}" > p.json
run 0 $MILLET compact m.gguf --dry-run --budget 'file=700kB,speed=1000tok/s' --profile p.json $budget --sensitivity s.json --json
json tokens_per_second > /dev/null || fail 'no prediction of speed'
run 1 $MILLET compact m.gguf --dry-run --budget speed=1e8 --profile p.json $budget --sensitivity s.json
contains err 'the most that would do is speed='
run 1 $MILLET compact m.gguf --dry-run --budget speed=3 --profile none.json $budget --sensitivity s.json
run 2 $MILLET compact m.gguf --dry-run --budget speed=fast $budget

[ ! -e x.gguf ] || fail 'a refused run wrote a file'
finish
