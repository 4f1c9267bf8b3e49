#!/bin/sh
# The assistant on the command line: from a pipe, as JSON, with a store, its exit codes.
. "$(dirname "$0")/support.sh"
export XDG_DATA_HOME="$PWD/data" TZ=UTC

printf 'set a timer for ten minutes\n\nhow much time is left\n' > lines
INPUT=lines run 0 $MILLET assist
contains out 'The timer is set for 10 minutes.'
contains out 'left on the timer for 10 minutes.'
equal "$(wc -l < out | tr -d ' ')" 2 'lines of replies'
[ -f data/millet/assistant.db ] || fail 'the store is not where it should be'

# It is there still, and as JSON.
run 0 $MILLET assist -p 'cancel the timer' --json
equal "$(json outcome)" done outcome
equal "$(json calls.0.name)" cancel_timer call
equal "$(json language)" en language
run 0 $MILLET assist -p 'set a timer' --json --forget
equal "$(json state.skill)" set_timer 'what is waited for'
equal "$(json state.waits_for)" duration 'what is waited for'

# Not understood, refused: 3.
run 3 $MILLET assist --forget -p 'flibber the gabber'
run 3 $MILLET assist --forget -p 'cancel the timer'
run 3 $MILLET assist --forget --language zh -p 'cancel the timer'
contains out '没有'

# Timers ring while it waits, in the order in which they are due.
printf 'set a timer for 2 seconds called late\nset a timer for 1 second called early' > lines
INPUT=lines run 0 $MILLET assist --wait --store here.db
equal "$(tail -n 2 out)" 'The early timer is done.
The late timer is done.' 'what rang'

# A line that is no text is refused, and the next one is read.
printf '\377\376\nset a timer for 3 minutes\n' > lines
INPUT=lines run 1 $MILLET assist --forget
contains err 'not UTF-8'
contains out 'The timer is set for 3 minutes.'

# Calendars in and out: folded lines, zones, whole days, repetition.
printf 'BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nUID:1@x\r\nDTSTART;TZID=America/New_York:20991231T190000\r\nDURATION:PT90M\r\nSUMMARY:A long\r\n  party\\, with cake\r\nLOCATION:Pier 3\r\nEND:VEVENT\r\n' > in.ics
printf 'BEGIN:VEVENT\nUID:2@x\nDTSTART;VALUE=DATE:20200229\nRRULE:FREQ=YEARLY;COUNT=3\nSUMMARY:Leap\nBEGIN:VALARM\nSUMMARY:no\nEND:VALARM\nEND:VEVENT\nEND:VCALENDAR\n' >> in.ics
run 0 $MILLET assist --store cal.db --import-calendar in.ics
contains err '2 events'
run 0 $MILLET assist --store cal.db --import-calendar in.ics
run 0 $MILLET assist --store cal.db --export-calendar -
tr -d '\r' < out > flat
contains flat 'SUMMARY:A long party\, with cake'
contains flat 'DTSTART:21000101T000000Z'
contains flat 'DTEND:21000101T013000Z'
contains flat 'DTSTART;VALUE=DATE:20200229'
contains flat 'RRULE:FREQ=YEARLY;COUNT=3'
equal "$(grep -c BEGIN:VEVENT flat)" 2 'events after importing twice'
run 0 $MILLET assist --store cal.db -p 'what is in my calendar on 2099-12-31'
contains out 'There is nothing'
run 0 $MILLET assist --store cal.db -p 'what is in my calendar on 2100-01-01'
contains out 'A long party, with cake'
printf 'BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:20261301T000000\nEND:VEVENT\n' > bad.ics
run 1 $MILLET assist --store cal.db --import-calendar bad.ics
contains err 'line 3'

# Messages go to a program as they are; what it says is not trusted, only its code.
printf '#!/bin/sh\nprintf "%%s|" "$@" > sent\n[ "$2" != Nobody ]\n' > messenger
chmod +x messenger
printf 'text Anna saying $(rm -rf x) ; "quoted"\nyes\n' > lines
INPUT=lines run 0 $MILLET assist --forget --messenger ./messenger
equal "$(cat sent)" 'send|Anna|$(rm -rf x) ; "quoted"|' 'what the messenger got'
printf 'call Nobody\nyes\n' > lines
INPUT=lines run 1 $MILLET assist --forget --messenger ./messenger
run 3 $MILLET assist --forget -p "what's the weather"
run 3 $MILLET assist --forget --place Berlin --weather http://127.0.0.1:9/none -p "what's the weather"
contains out 'offline'

run 0 $MILLET assist --tools openai
equal "$(json 0.type)" function 'kind of tool'
run 0 $MILLET assist --tools mcp
contains out '"inputSchema"'
run 2 $MILLET assist operand
run 2 $MILLET assist --language fr
run 1 $MILLET assist --zone Nowhere/At_All -p hello
contains err 'Nowhere'
run 1 $MILLET assist --store /dev/null/x -p hello
tiny plain.gguf || exit 1
run 1 $MILLET assist --forget -m plain.gguf -p hello
finish
