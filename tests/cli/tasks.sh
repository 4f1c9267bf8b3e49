#!/bin/sh
# Tasks of `millet eval`: multiple choice, last words, sums in words.
. "$(dirname "$0")/support.sh"

tiny m.gguf context=512 || exit 1
tiny base.gguf context=512 seed=2 || exit 1
for i in 1 2 3 4; do
    echo "{\"question\": \"the cat $i\", \"choices\": [\"a hen\", \"the rain\", \"in\"], \"answer\": $((i % 3)), \"subject\": \"farm\"}"
    echo "{\"question\": \"the hen $i\", \"A\": \"a\", \"B\": \"b\", \"answer\": \"B\", \"subject\": \"yard\"}"
done > q.jsonl

run 0 $MILLET eval choice m.gguf q.jsonl -t 1
contains out 'farm                                 4   33.33'
contains out 'yard                                 4   50.00'
contains out 'all                                  8   41.67'
contains out 'template en letters, 0 shots; '
equal "$(wc -l < out | tr -d ' ')" 6 'lines of the table'
run 0 $MILLET eval choice m.gguf q.jsonl -t 1 --no-subjects --language zh --scored texts --shots 2 --base base.gguf
contains out 'template zh texts, 2 shots'
contains out 'difference from the base'
equal "$(wc -l < out | tr -d ' ')" 5 'lines of the short table'

run 0 $MILLET eval choice m.gguf q.jsonl q.jsonl -t 1 --base m.gguf --answers a.jsonl --json
equal "$(json all.questions)" 16 questions
equal "$(json subjects.1.subject)" yard 'the second subject'
equal "$(json all.sum.agreement.value | cut -c1)" 1 'agreement with itself'
equal "$(json all.sum.difference.value | cut -c1-3)" 0.0 'difference from itself'
equal "$(wc -l < a.jsonl | tr -d ' ')" 16 'lines of answers'
run 0 $MILLET eval choice m.gguf q.jsonl -t 1 --limit 1 --json
equal "$(json all.questions)" 2 'questions with a limit'

printf '[question]\n{question}?\n[answer]\n {choice}\n' > t.txt
run 0 $MILLET eval choice m.gguf q.jsonl -t 1 --template t.txt --shots 1 --shots-file q.jsonl
contains out 'template t.txt, 1 shots'
run 2 $MILLET eval choice m.gguf q.jsonl --template t.txt --language zh
printf '[question]\n{topic}?\n[answer]\n {choice}\n' > bad.txt
run 1 $MILLET eval choice m.gguf q.jsonl --template bad.txt
contains err 'line 2'
(cat q.jsonl; echo '{"question": "q", "choices": ["a", "b"], "answer": "C"}') > bad.jsonl
run 1 $MILLET eval choice m.gguf bad.jsonl
contains err 'bad.jsonl'
contains err 'line 9'
run 2 $MILLET eval choice m.gguf
run 1 $MILLET eval choice m.gguf missing.jsonl
: > empty.jsonl
run 1 $MILLET eval choice m.gguf empty.jsonl
printf '{"text": "the cat and the hen"}\n{"text": "a name and a tale"}\n' > p.jsonl
run 0 $MILLET eval lambada m.gguf p.jsonl -t 1 --base base.gguf
contains out '2 passages; '
contains out 'perplexity per word'
contains out '  ratio'
run 0 $MILLET eval lambada m.gguf p.jsonl -t 1 --limit 1 --json
equal "$(json records)" 1 'passages with a limit'
run 2 $MILLET eval lambada m.gguf p.jsonl --shots 1
echo '{"text": "word"}' >> p.jsonl
run 1 $MILLET eval lambada m.gguf p.jsonl
contains err 'line 3'

for i in 1 2 3; do
    echo "{\"question\": \"the hen $i\", \"answer\": \"#### $i\"}"
done > s.jsonl
run 0 $MILLET eval gsm8k m.gguf s.jsonl -t 1 --shots 2 -n 8 --base m.gguf
contains out '3 questions, 2 shots'
contains out 'the same           100.00'
run 0 $MILLET eval gsm8k m.gguf s.jsonl -t 1 -n 8 --answers said.jsonl --json
equal "$(json records)" 3 sums
equal "$(json max_tokens)" 8 'tokens of an answer'
equal "$(wc -l < said.jsonl | tr -d ' ')" 3 'lines of what was said'
run 1 $MILLET eval gsm8k m.gguf q.jsonl
contains err 'line 1'
run 2 $MILLET eval gsm8k m.gguf
finish
