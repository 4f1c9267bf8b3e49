#!/bin/sh
# Who may include whom (docs/architecture.md): every #include "room/file.h" of a file in src/ must name a room of its
# list; apps/ include public headers only. Prints each offence as file:line and fails if there is one.
set -eu
cd "$(dirname "$0")/.."
find src apps -name '*.c' -o -name '*.h' | sort | xargs awk '
BEGIN {
    may["base"] = ""
    may["tensor"] = may["net"] = "base"
    may["kernels"] = may["format"] = may["tokenizer"] = "base tensor"
    may["import"] = "base tensor format"
    may["corpus"] = "base tensor format tokenizer import"
    may["model"] = "base tensor kernels format tokenizer"
    engine = may["model"] " model"
    may["generate"] = may["speech"] = engine
    may["train"] = engine " import corpus"
    may["compact"] = engine " import train corpus generate"
    may["eval"] = engine " generate corpus import"
    may["measure"] = engine " generate"
    may["cloud"] = may["serve"] = "base net generate"
    may["assistant"] = "base"
    may["apps"] = ""
}
/^[ \t]*#[ \t]*include[ \t]*"/ {
    room = FILENAME; sub(/^src\//, "", room); sub(/\/.*/, "", room)
    split($0, part, "\""); target = part[2]
    if (target ~ /^millet\//) next
    if (target !~ /\//) { # beside the file: only the command line keeps its headers there
        if (room != "apps") { print FILENAME ":" FNR ": write #include \"room/" target "\""; bad = 1 }
        next
    }
    sub(/\/.*/, "", target)
    if (target == room) next
    if (!(room in may)) { print FILENAME ":" FNR ": the room " room " has no row in this script"; bad = 1; next }
    if (index(" " may[room] " ", " " target " ") == 0) {
        if (room == "assistant" && $0 ~ /generate\/backend\.h/) next
        if (room == "corpus" && $0 ~ /model\/vocabulary\.h/) next
        print FILENAME ":" FNR ": " room " may not include " target; bad = 1
    }
}
END { exit bad }'
