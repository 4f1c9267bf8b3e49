#!/bin/sh
# The layout of the code: clang-format, and what the compiler does not see.
set -eu
cd "$(dirname "$0")/.."
files=$(git ls-files '*.c' '*.h')
# shellcheck disable=SC2086
clang-format --dry-run --Werror $files
tools/check-layers.sh
tools/check-names.sh
echo "clean"
