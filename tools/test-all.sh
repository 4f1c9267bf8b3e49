#!/bin/sh
# Builds and tests presets one after the other; with no argument those that must be green before anything lands. The
# last one is the release build, whose suite runs once per CPU tier. Stops at the first failure.
set -eu
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- clang asan tsan aarch64 mpi release
if [ -z "${MILLET_DATA:-}" ]; then
    echo "MILLET_DATA is not set: the tests that compare with reference data will be skipped"
else
    MILLET_DATA=$(cd "$MILLET_DATA" && pwd)
    export MILLET_DATA
fi
jobs=$(nproc)
for preset in "$@"; do
    echo "== $preset"
    [ "$preset" != aarch64 ] || tools/cross-packages.sh
    if [ "$preset" = mpi ] && ! { command -v mpicc && command -v mpirun; } > /dev/null; then
        echo "there is no MPI here: training with several processes is not tested"
        continue
    fi
    cmake --preset "$preset" -Wno-dev > /dev/null
    # With MPI nothing differs but training with several processes.
    targets=
    [ "$preset" != mpi ] || targets="--target millet-cli synthetic json_get"
    # shellcheck disable=SC2086
    cmake --build --preset "$preset" -j "$jobs" $targets -- --quiet
    # The sanitizers and the emulator see each test once, on the best tier; CPU tiers are told apart in release.
    tiers=
    [ "$preset" = release ] || tiers="-LE tier"
    [ "$preset" != aarch64 ] || tiers="-LE tier|slow"
    [ "$preset" != mpi ] || tiers="-R ^cli[.]train"
    # shellcheck disable=SC2086
    ctest --test-dir "build/$preset" -j "$jobs" --output-on-failure $tiers > "build/$preset/ctest.log" 2>&1 || {
        grep -v '^ *[0-9]*/[0-9]* Test.*Passed' "build/$preset/ctest.log" || true
        exit 1
    }
    tail -n 20 "build/$preset/ctest.log" | sed -n '/tests passed/,$p'
done
