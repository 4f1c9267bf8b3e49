#!/bin/sh
# Unpacks the libraries that a cross build links against, as Debian packages of the target's architecture, into a
# folder of the build tree: the system's own packages, and dpkg's list of architectures, stay as they are. Package
# lists come from the system's own apt sources.
#
# Where a package has a static library, the link to the shared one is left out, so that cross-built programs need
# nothing but libc on the device.
#
# Usage: tools/cross-packages.sh [FOLDER [ARCHITECTURE]]   (default: build/aarch64-sysroot arm64)
# Needs no root. Does nothing where the folder is complete; remove the folder to start anew.
#
# SPDX-License-Identifier: Apache-2.0
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
folder=${1:-$root/build/aarch64-sysroot}
architecture=${2:-arm64}
packages="libpcre2-dev libpcre2-8-0 libjansson-dev libjansson4 zlib1g-dev zlib1g libsqlite3-dev libsqlite3-0 libcmocka-dev libcmocka0"

# The stamp names what was unpacked: a longer list of packages makes an old folder incomplete.
stamp="$folder/.packages"
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$architecture: $packages" ]; then
    exit 0
fi

rm -rf "$folder"
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
work="$folder.apt"
rm -rf "$work"
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/state/lists/partial" "$work/cache/archives/partial" "$work/debs"
: >"$work/status"

apt_private() {
    apt-get -qq \
        -o APT::Architecture="$architecture" -o APT::Architectures="$architecture" \
        -o Dir::State="$work/state" -o Dir::State::status="$work/status" -o Dir::Cache="$work/cache" \
        -o Acquire::Languages=none -o APT::Sandbox::User= "$@"
}

echo "cross-packages: fetching $architecture packages: $packages" >&2
apt_private update
# Word splitting is wanted: one argument a package.
(cd "$work/debs" && apt_private download $packages)
for deb in "$work"/debs/*.deb; do
    dpkg-deb -x "$deb" "$folder"
done

find "$folder" -name 'lib*.a' | while read -r archive; do
    rm -f "${archive%.a}.so"
done
echo "$architecture: $packages" >"$stamp"
