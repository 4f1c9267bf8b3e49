#!/bin/sh
# Every verb on a small random model: what it prints, and that results go to stdout and talk to stderr.
. "$(dirname "$0")/support.sh"
tiny m.gguf || exit 1

run 0 $MILLET inspect m.gguf --metadata --tensors
contains out '2 layers, 64 wide'
contains out 'blk.1.ffn_down.weight'
contains out 'llama.context_length'
run 0 $MILLET inspect m.gguf --json --ctx 64
equal "$(json architecture)" llama architecture
equal "$(json shape.vocabulary)" 400 vocabulary
equal "$(json memory.context)" 64 'context in the estimate'
equal "$(json dtypes.F32.tensors)" 21 'number of tensors'

printf 'bcd' > text
INPUT=text run 0 $MILLET tokenize m.gguf --ids
ids=$(cat out)
[ -n "$ids" ] || fail 'no ids'
equal "$(wc -l < out | tr -d ' ')" 1 'lines of ids'
echo "$ids" > ids
INPUT=ids run 0 $MILLET tokenize m.gguf --decode
contains out 'bcd'
INPUT=text run 0 $MILLET tokenize m.gguf --ids --bos
equal "$(cat out)" "1 $ids" 'ids with BOS'
INPUT=text run 0 $MILLET tokenize m.gguf --json
json 0.id > /dev/null || fail 'JSON of tokenize'
echo 99999 > ids
INPUT=ids run 2 $MILLET tokenize m.gguf --decode

run 0 $MILLET logits m.gguf --tokens 1,5,7,300 -o together
run 0 $MILLET logits m.gguf --tokens '1 5 7 300' --one-by-one -o apart -t 2
run 0 $MILLET logits m.gguf --tokens 1,5,7,300 -o scalar --cpu scalar
cmp together apart || fail 'tokens together and apart'
cmp together scalar || fail 'scalar and the best CPU tier'
equal "$(wc -c < together | tr -d ' ')" 6400 'bytes of logits'
run 2 $MILLET logits m.gguf --tokens 1,400 -o x
run 1 $MILLET logits m.gguf --tokens 1 -o no/such/folder
run 1 $MILLET logits m.gguf --tokens 1,2,3 -c 2 -o x
[ -e x ] && fail 'a file was left behind'

run 0 $MILLET run m.gguf -p abc -n 12 --seed 5
cp out first
run 0 $MILLET run m.gguf -p abc -n 12 --seed 5 -t 1
cmp out first || fail 'the same seed gave another text'
printf abc > prompt
INPUT=prompt run 0 $MILLET run m.gguf -n 12 --seed 5
cmp out first || fail 'a prompt from stdin gave another text'
run 0 $MILLET run m.gguf -p abc -n 4 --n-best 3 --json --ignore-end
equal "$(json generated_tokens)" 4 'tokens generated'
json tokens.3.best.2.logprob > /dev/null || fail 'n-best'
equal "$(json finish)" length finish

printf 'root ::= "yes" | "no" " "? [a-f]{3}\n' > grammar
for seed in 1 2 3 4; do
    run 0 $MILLET run m.gguf -p abc --seed $seed --grammar grammar
    grep -qE '^(yes|no ?[a-f]{3})$' out || fail "the grammar does not allow: $(cat out)"
done
printf 'root ::= "yes"\n  | missing\n' > grammar
run 1 $MILLET run m.gguf -p abc --grammar grammar
contains err 'grammar: line 2, column 5: the rule missing is missing'
run 1 $MILLET run m.gguf -p abc --grammar no/such/file
echo '{"type": "object", "properties": {"n": {"type": "integer", "minimum": 3, "maximum": 17}}, "required": ["n"]}' > schema
run 0 $MILLET run m.gguf -p abc --seed 1 --json-schema schema
[ "$(json n)" -ge 3 ] && [ "$(json n)" -le 17 ] || fail "JSON by the schema: $(cat out)"
echo '{"type": "string", "pattern": "a+"}' > schema
run 1 $MILLET run m.gguf -p abc --json-schema schema
contains err 'schema: #/pattern: '
run 2 $MILLET run m.gguf -p abc --json-schema schema --grammar grammar

for guess in --lookup '--draft m.gguf' '--lookup --draft m.gguf --draft-tokens 3 --draft-always'; do
    run 0 $MILLET run m.gguf -p abc -n 12 --seed 5 --speed $guess
    cmp out first || fail "another text with $guess"
done
contains err 'guesses'
run 0 $MILLET run m.gguf -p abc -n 8 --ignore-end --draft m.gguf --draft-always --json
equal "$(json accepted_tokens)" "$(json drafted_tokens)" 'guesses of the model itself that were right'
run 2 $MILLET run m.gguf -p abc --draft-tokens 3
contains err '--lookup'
run 1 $MILLET run m.gguf -p abc --draft no/such/file
tiny fewer.gguf vocabulary=300 || exit 1 # the same tokens, as far as they go
run 0 $MILLET run m.gguf -p abc -n 12 --seed 5 --draft fewer.gguf --draft-always
cmp out first || fail 'another text with a smaller vocabulary'

printf 'abc\n/clear\nbcd\n/quit\nnot reached\n' > turns
INPUT=turns run 0 $MILLET chat m.gguf --template chatml -n 8 --seed 1 -s 'be kind'
equal "$(wc -l < out | tr -d ' ')" "$(tr -cd '\n' < out | wc -c | tr -d ' ')" 'lines of chat'
cp out first
INPUT=turns run 0 $MILLET chat m.gguf --template chatml -n 8 --seed 1 -s 'be kind' --lookup --draft m.gguf
cmp out first || fail 'another conversation with guesses'
printf 'root ::= "it is " [a-z]{2,6}\n' > grammar
INPUT=turns run 0 $MILLET chat m.gguf --template chatml --seed 1 --grammar grammar
equal "$(grep -cE '^it is [a-z]{2,6}$' out)" 2 'answers by the grammar'
INPUT=turns run 1 $MILLET chat m.gguf
contains err '--template'
run 0 $MILLET chat m.gguf --template list
contains out chatml

i=0
while [ $i -lt 60 ]; do
    printf 'bcd efg hij klm %d ' $i
    i=$((i + 1))
done > long
run 0 $MILLET eval m.gguf --text long
contains out perplexity
run 0 $MILLET eval m.gguf --text long --base m.gguf --json
equal "$(json agreement.value)" 1.0 'agreement of a model with itself'
equal "$(json kl.mean.value)" 0.0 'divergence of a model from itself'

run 0 $MILLET bench m.gguf -p 16 -n 8 -r 2 --json
json generate.median > /dev/null || fail 'JSON of bench'
json machine.read_bytes_per_second > /dev/null || fail 'machine of bench'
printf 'abc abc abc' > prompt
run 0 $MILLET bench m.gguf --text prompt --text prompt --lookup --draft m.gguf --draft-always -n 20 -r 2 --json
equal "$(json texts)" 2 'texts of bench'
[ "$(json accepted_tokens)" -gt 0 ] || fail 'no guess was right'
run 0 $MILLET bench m.gguf --text prompt --lookup -n 20 -r 1 --temperature 1
contains out 'tokens a step'
run 2 $MILLET bench m.gguf --text prompt
run 2 $MILLET bench m.gguf --lookup
run 1 $MILLET bench m.gguf --text no/such/file --lookup
run 1 $MILLET bench m.gguf -p 4096
contains err 'trained for'
finish
