#!/bin/sh
# Wrong commands say what to type instead and exit with 2; what fails exits with 1; help and manual pages are whole.
. "$(dirname "$0")/support.sh"
verbs="inspect run chat understand compact prune train distil eval bench tokenize tokenizer corpus logits completion"

run 2 $MILLET
contains err "millet VERB"
run 0 $MILLET --help
for verb in $verbs; do contains out "  $verb "; done
run 0 $MILLET --version
contains out "millet 0."
run 2 $MILLET inspct model.gguf
contains err 'did you mean millet inspect?'
run 2 $MILLET zzzzzz
contains err 'millet --help'
run 2 $MILLET inspect
contains err 'MODEL is missing'
run 2 $MILLET inspect a b
contains err 'one word too many'
run 2 $MILLET run m.gguf --temprature 1
contains err 'did you mean --temperature?'
run 2 $MILLET run m.gguf --top-k many
contains err 'a whole number from 0'
run 2 $MILLET run m.gguf --top-p 1.5
contains err 'a number from'
run 2 $MILLET run m.gguf -n
contains err 'needs a value'
run 2 $MILLET run m.gguf --cache q7
contains err 'f16|f32'
run 2 $MILLET logits m.gguf -o x
contains err '--tokens 1,5,7'
run 2 $MILLET compact m.gguf
contains err '-o FILE is missing'
run 2 $MILLET completion tcsh
contains err 'bash, zsh, fish'
run 1 $MILLET inspect none.gguf
contains err 'none.gguf'
echo 'this is no model' > text.gguf
run 1 $MILLET inspect text.gguf
contains err 'text.gguf'
[ -s out ] && fail 'an error printed to stdout'

for verb in $verbs; do
    run 0 $MILLET $verb --help
    contains out "millet $verb"
    run 0 $MILLET help $verb
    run 0 $MILLET $verb --man
    contains out ".SH OPTIONS"
    if command -v mandoc > /dev/null; then
        mandoc -T lint -W error < out > lint || {
            fail "the manual page of $verb"
            head -n 3 lint
        }
    fi
done
for shell in bash zsh fish; do
    run 0 $MILLET completion $shell
    for verb in $verbs; do contains out "$verb"; done
    contains out "temperature"
done
$MILLET completion bash > completion.bash
if command -v bash > /dev/null; then
    words=$(bash -c '. ./completion.bash; COMP_WORDS=(millet in); COMP_CWORD=1; _millet; echo "${COMPREPLY[*]}"')
    equal "$words" inspect 'completion of "in"'
    words=$(bash -c '. ./completion.bash; COMP_WORDS=(millet run --cache ""); COMP_CWORD=3; _millet; echo "${COMPREPLY[*]}"')
    equal "$words" 'f16 f32 q8_0 q4' 'completion of --cache'
fi
finish
