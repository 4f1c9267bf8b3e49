#!/bin/sh
# tokenizer and corpus: training, both files, caches, what is left out, stopping.
. "$(dirname "$0")/support.sh"

i=0
while [ $i -lt 300 ]; do
    printf 'the quick brown fox %d jumps over the lazy dog\nand the other dog, number %d, sleeps\n<|endoftext|>\n' $i $i
    i=$((i + 1))
done > text.txt

run 0 $MILLET tokenizer train text.txt -v 400 -o bpe.gguf --tokenizer-json tokenizer.json --json -s '<|endoftext|>' -s '<|im_start|>' -s '<|im_end|>'
[ "$(json tokens)" -le 400 ] || fail 'more tokens than asked for'
equal "$(json special)" 3 'special tokens'
json bytes_per_token > /dev/null || fail 'JSON of train'
[ -s tokenizer_config.json ] || fail 'no tokenizer_config.json'
run 0 $MILLET tokenizer train text.txt -k unigram -v 400 -o unigram.gguf -t 2
contains out '400 tokens'

printf 'the quick dog 42\n' > in
INPUT=in run 0 $MILLET tokenize bpe.gguf --ids
cp out ids
INPUT=in run 0 $MILLET tokenize tokenizer.json --ids
cmp out ids || fail 'other tokens from tokenizer.json'
INPUT=ids run 0 $MILLET tokenize bpe.gguf --decode
cmp out in || fail 'the text does not come back'
INPUT=in run 0 $MILLET tokenize unigram.gguf --ids
INPUT=out run 0 $MILLET tokenize unigram.gguf --ids

run 0 $MILLET tokenizer inspect bpe.gguf
contains out BPE
run 0 $MILLET tokenizer inspect unigram.gguf --json
equal "$(json kind)" unigram kind
run 0 $MILLET tokenizer measure bpe.gguf text.txt --json
equal "$(json lost)" 0 'texts that do not come back'
run 0 $MILLET tokenizer measure bpe.gguf text.txt --lines
contains out 'bytes a token'

run 2 $MILLET tokenizer
run 2 $MILLET tokenizer trian text.txt -o x.gguf
contains err 'did you mean millet tokenizer train?'
run 2 $MILLET tokenizer train -o x.gguf
run 2 $MILLET tokenizer train text.txt
contains err '-o FILE is missing'
run 1 $MILLET tokenizer train none.txt -o x.gguf
contains err none.txt
: > empty.txt
run 1 $MILLET tokenizer train empty.txt -o x.gguf
contains err empty
run 1 $MILLET tokenizer train text.txt -v 100 -o x.gguf
contains err vocabulary
run 1 $MILLET tokenizer inspect text.txt
[ -e x.gguf ] && fail 'a failed run left a file'

printf '%s\n' '{"messages":[{"role":"user","content":"the dog"},{"role":"assistant","content":"the fox"}]}' 'broken' \
    '{"prompt":"quick","completion":" brown","prefix":true}' > chat.jsonl
gzip -k text.txt
mkdir cache
run 0 $MILLET corpus build text.txt text.txt.gz -m bpe.gguf -o cache
contains out '300 documents'
equal "$(wc -l < out | tr -d ' ')" 2 'lines for two sources'
run 0 $MILLET corpus build text.txt -m bpe.gguf -o cache
contains out 'as it was'
run 1 $MILLET corpus build chat.jsonl -m bpe.gguf -o cache
contains err 'chat template'
run 0 $MILLET corpus build chat.jsonl -m bpe.gguf -o cache --chat-template chatml --json
equal "$(json 0.documents)" 2 documents
equal "$(json '0.skipped.no JSON object')" 1 'lines left out'
equal "$(json 0.prefixes)" true prefixes
run 0 $MILLET corpus inspect cache/*.tokens
contains out 'trained on'
run 0 $MILLET corpus show cache/chat.jsonl.tokens -m bpe.gguf -d 1
contains out '+'
contains out '<'
run 1 $MILLET corpus show cache/chat.jsonl.tokens -m bpe.gguf -d 2
run 1 $MILLET corpus show cache/chat.jsonl.tokens -m unigram.gguf
contains err 'another tokenizer'
run 2 $MILLET corpus build text.txt
contains err '-m MODEL is missing'

# Tagged records: labels in the cache, what cannot be used is counted by reason.
run 0 $MILLET tokenizer train text.txt -v 420 -o tags.gguf -s '<|endoftext|>' -s '<|call|>' -s '<|intent|>' -s '<|O|>' \
    -s '<|B:animal|>' -s '<|I:animal|>'
printf '%s\n' '{"prompt":"the brown fox<|call|>","completion":"<|intent|>","prefix":true,"tags":[{"start":4,"end":13,"name":"animal"}]}' \
    '{"prompt":"the dog<|call|>","completion":"<|intent|>","prefix":true,"tags":[{"start":4,"end":7,"name":"plant"}]}' \
    '{"prompt":"the dog<|call|>","completion":"<|intent|>","prefix":true,"tags":[{"start":4,"end":70,"name":"animal"}]}' \
    '{"prompt":"the dog","completion":"<|intent|>","prefix":true,"tags":[]}' > tags.jsonl
run 0 $MILLET corpus build tags.jsonl -m tags.gguf -o cache --special
contains out '1 documents'
contains out '3 labels'
contains err 'left out: 1 (tags that the vocabulary has no control tokens for)'
contains err 'left out: 1 (tags without a prefix, overlapping, outside the prompt or on no token)'
contains err 'left out: 1 (tags in a prompt that does not end with a control token)'
run 0 $MILLET corpus inspect cache/tags.jsonl.tokens --json
equal "$(json 0.labels)" 3 labels
run 0 $MILLET corpus show cache/tags.jsonl.tokens -m tags.gguf
contains out 'the  <|O|>'
contains out 'brown  <|B:animal|>'
contains out 'fox  <|I:animal|>'
run 0 $MILLET corpus show cache/tags.jsonl.tokens -m tags.gguf --json
equal "$(json 1.label)" '<|B:animal|>' 'label in JSON'
# One of an earlier version is made anew.
printf '\001' | dd of=cache/tags.jsonl.tokens bs=1 seek=8 conv=notrunc 2> /dev/null
run 1 $MILLET corpus inspect cache/tags.jsonl.tokens
contains err 'version 1'
run 0 $MILLET corpus build tags.jsonl -m tags.gguf -o cache --special
contains out '3 labels'
run 2 $MILLET corpus bild text.txt
contains err 'did you mean millet corpus build?'
run 0 $MILLET corpus build --chat-template list
contains out chatml

# A cache that was damaged is refused when it is looked at, and made anew when it is built.
printf 'x' | dd of=cache/text.txt.tokens bs=1 seek=100 conv=notrunc 2> /dev/null
run 1 $MILLET corpus inspect cache/text.txt.tokens
contains err checksum
run 0 $MILLET corpus build text.txt -m bpe.gguf -o cache
run 0 $MILLET corpus inspect cache/text.txt.tokens

# A disk that is full, as a limit on the size of files: an error, and the old files are whole.
cp cache/text.txt.tokens old.tokens
cp bpe.gguf old.gguf
(
    ulimit -f 8
    trap '' XFSZ
    $MILLET corpus build text.txt -m bpe.gguf -o cache --rebuild > out 2> err
    echo $? > code
    $MILLET tokenizer train text.txt -v 2000 --pattern '.+' -o bpe.gguf > out2 2> err2
    echo $? >> code
)
equal "$(tr '\n' ' ' < code)" '1 1 ' 'exit codes with a full disk'
cmp old.tokens cache/text.txt.tokens || fail 'a full disk destroyed the old cache'
cmp old.gguf bpe.gguf || fail 'a full disk destroyed the old tokenizer'
ls -A . cache | grep -q '\.tmp$' && fail 'a temporary file was left'

# Ctrl-C while much is read: everything stays as it was.
i=0
while [ $i -lt 9 ]; do
    cat text.txt text.txt text.txt text.txt text.txt text.txt text.txt text.txt > more.txt
    mv more.txt text.txt
    [ "$(wc -c < text.txt)" -gt 60000000 ] && break
    i=$((i + 1))
done
# A shell's background processes ignore SIGINT; a job of its own does not, and env sets it right where that is not so.
if env --default-signal=INT true 2> /dev/null; then
    env --default-signal=INT $MILLET corpus build text.txt -m bpe.gguf -o cache > out 2> err &
    pid=$!
    sleep 0.2
    kill -INT $pid
    wait $pid
    code=$?
    if [ $code != 0 ]; then # it may have been quicker
        equal $code 1 'exit code of a run that was stopped'
        contains err interrupted
        cmp old.tokens cache/text.txt.tokens || fail 'a run that was stopped destroyed the old cache'
    fi
fi
ls -A . cache | grep -q '\.tmp$' && fail 'a temporary file was left'
finish
