#!/bin/sh
# Installs the Debian packages that Millet is built and tested with and that are missing. Quiet when there is nothing
# to do; elsewhere than on Debian and its kin it only says what is needed.
set -eu
packages="gcc g++ libc6-dev make cmake ninja-build clang clang-format libclang-rt-14-dev
libpcre2-dev libjansson-dev libsqlite3-dev libcurl4-openssl-dev zlib1g-dev libcmocka-dev libedit-dev mandoc python3-yaml openmpi-bin libopenmpi-dev
gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static valgrind"

if ! command -v dpkg-query > /dev/null; then
    echo "This is no Debian system; what is needed, by Debian's names: $packages" | tr '\n' ' '
    echo
    exit 0
fi
missing=
for package in $packages; do
    dpkg-query -W -f '${Status}' "$package" 2> /dev/null | grep -q 'ok installed' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
echo "installing:$missing"
root=
[ "$(id -u)" = 0 ] || root=sudo
$root apt-get update -qq
# shellcheck disable=SC2086 # a list of words
$root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing > /dev/null
