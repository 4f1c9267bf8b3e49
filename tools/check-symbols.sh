#!/bin/sh
# check-symbols.sh LIBRARY...: every symbol that a static library defines for others begins with millet_ or mlt_.
set -eu
bad=$(nm --defined-only --extern-only -P "$@" | awk 'NF >= 2 && $1 !~ /^(millet_|mlt_)/ && $1 !~ /:$/ && $2 ~ /[A-TV-Z]/ { print $1 }' | sort -u)
[ -z "$bad" ] || { echo "unprefixed symbols: $bad"; exit 1; }
