#!/bin/sh
# From records to understanding: a tokenizer with control tokens from a file, a training, scores of `millet eval nlu`.
. "$(dirname "$0")/support.sh"

# Utterances of two intents, told apart by one word; rooms and things, which are slots, come in every combination but some
# that are kept.
printf '%s\n' '<|end|>' '<|call|>' '<|O|>' '<|mask|>' '<|home|>' '<|call:home/on|>' '<|call:home/off|>' \
    '<|B:home/room|>' '<|I:home/room|>' '<|B:home/thing|>' '<|I:home/thing|>' > special.txt
slot() { # slot NAME WORD SHIFT: where the word stands in $text, moved by SHIFT bytes
    before=${text%%"$2"*}
    echo "{\"name\": \"$1\", \"start\": $((${#before} + $3)), \"end\": $((${#before} + ${#2} + $3))}"
}
for verb in on off; do
    for thing in lamp fan radio heater blind; do
        for room in kitchen bath hall attic garage; do
            for form in 1 2 3; do
                case $form in
                1) text="turn $verb the $thing in the $room" ;;
                2) text="$thing $verb in the $room please" ;;
                3) text="in the $room the $thing should be $verb" ;;
                esac
                echo " $text" >> text.txt
                case $thing-$room in
                lamp-hall | fan-bath | radio-attic)
                    echo "{\"text\": \"$text\", \"intent\": \"$verb\", \"set\": \"home\", \"slots\":" \
                        "[$(slot thing $thing 0), $(slot room $room 0)]}" >> dev.jsonl
                    ;;
                *)
                    echo "{\"prompt\": \"<|home|> $text<|call|>\", \"completion\": \"<|call:home/$verb|>\", \"prefix\": true," \
                        "\"tags\": [$(slot home/thing $thing 9), $(slot home/room $room 9)]}" >> train.jsonl
                    ;;
                esac
            done
        done
    done
done
echo '{"text": " Turn ON the LAMP in the hall!", "intent": "on", "set": "home", "slots": [
    {"name": "thing", "start": 13, "end": 17}, {"name": "room", "start": 25, "end": 29}]}' | tr -d '\n' >> dev.jsonl
echo >> dev.jsonl
echo '{"architecture": "llama", "layers": 2, "width": 48, "heads": 2, "feed_forward": 96, "context": 128}' > shape.json

run 0 $MILLET tokenizer train text.txt -v 400 --special-file special.txt --eos '<|end|>' --separator '' -o tok.gguf --json
equal "$(json special)" 11 'control tokens'
run 1 $MILLET tokenizer train text.txt -v 400 --special-file missing.txt -o x.gguf
run 0 $MILLET train --new shape.json --tokenizer tok.gguf -f train.jsonl --special -o nano.gguf -n 120 --rate 0.01 -b 4 -c 128 \
    --optimizer muon --warmup 5 --mask 0.1 --mask-predict --dropout 0.05 --tag-weight 0.5 -t 1

run 0 $MILLET eval nlu nano.gguf dev.jsonl -t 1 --predictions got.jsonl --json
equal "$(json 0.set)" home set
equal "$(json 0.records)" 19 records
equal "$(json 0.inside)" 19 inside
[ "$(json 0.intent.value | cut -c1)" = 1 ] || fail "not all intents are right: $(json 0.intent.value)"
equal "$(json 0.slots)" 38 slots
[ "$(json 0.slot_f1 | cut -c1)" = 1 ] || fail "not all slots are right: $(json 0.slot_f1)"
equal "$(wc -l < got.jsonl | tr -d ' ')" 19 predictions
contains got.jsonl '"understood":{"intent":"o'
run 0 $MILLET eval nlu nano.gguf dev.jsonl dev.jsonl
contains out 'home                  19  100.00'
contains out '100.00  100.00'
equal "$(wc -l < out | tr -d ' ')" 3 'lines of the table'

# Calls on the terminal and as JSON.
run 0 $MILLET understand nano.gguf -p 'Turn OFF the fan in the hall!'
contains out 'off(thing="fan", room="hall") '
printf 'turn on the lamp in the bath\n\nlamp off in the hall please\n' > lines
INPUT=lines run 0 $MILLET understand nano.gguf --set home --best 2
equal "$(wc -l < out | tr -d ' ')" 4 'lines for two utterances, two intents each'
contains out 'on(thing="lamp", room="bath") '
INPUT=lines run 0 $MILLET understand nano.gguf --json
equal "$(json 0.intents.0.name)" on 'the first intent'
equal "$(json 1.slots.1.value)" hall 'the second slot of the second text'
equal "$(json 1.text)" 'lamp off in the hall please' 'the second text'
equal "$(json 1.understood)" true understood
run 0 $MILLET understand nano.gguf --sets
contains out 'home/off'
run 0 $MILLET understand nano.gguf -p 'turn on' --threshold 1
run 1 $MILLET understand nano.gguf -p ' ?'
contains err 'no word'
run 1 $MILLET understand nano.gguf -p x --set garden

# Quantised it still understands.
run 0 $MILLET compact nano.gguf -o small.gguf --type Q8_0
run 0 $MILLET eval nlu small.gguf dev.jsonl --json
[ "$(json 0.intent.value | cut -c1)" = 1 ] || fail "in Q8_0 not all intents are right: $(json 0.intent.value)"

run 2 $MILLET eval nlu nano.gguf
run 2 $MILLET eval nlu nano.gguf dev.jsonl dev.jsonl --predictions x
run 2 $MILLET eval nano.gguf dev.jsonl
run 1 $MILLET eval nlu nano.gguf missing.jsonl
run 1 $MILLET eval nlu nano.gguf dev.jsonl --set garden
contains err 'it has home'
tiny plain.gguf || exit 1
run 1 $MILLET eval nlu plain.gguf dev.jsonl
contains err 'understand commands'
echo '{"text": 5}' > bad.jsonl
run 1 $MILLET eval nlu nano.gguf bad.jsonl --predictions kept
contains err 'line 1'
[ -e kept ] && fail 'predictions of a failed run'
finish
