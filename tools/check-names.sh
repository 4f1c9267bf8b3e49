#!/bin/sh
# Names of files are unique in the tree, so that "where is forward.c" has one answer.
set -eu
cd "$(dirname "$0")/.."
twice=$(git ls-files '*.c' '*.h' | sed 's|.*/||' | sort | uniq -d)
[ -z "$twice" ] || { echo "these file names occur twice: $twice"; exit 1; }
