#!/bin/sh
# scalar-build.sh CC OUT: libmillet without any build system: every source file of the engine in one compiler call, then
# a program that says which kernels it got. What a port to a new machine starts from.
set -eu
cc=$1 out=$2
cd "$(dirname "$0")/.."
mkdir -p "$out"
cat > "$out/scalar.c" <<'C'
#include "millet/millet.h"
#include <stdio.h>
#include <string.h>
static bool print(void *context, const millet_piece *piece)
{
    (void)context;
    fwrite(piece->text, 1, piece->length, stdout);
    return true;
}
int main(int argc, char **argv)
{
    millet_model *model = NULL;
    millet_session *session = NULL;
    millet_error err;
    if (strcmp(millet_cpu_tier(), "scalar") != 0) return 1;
    puts(millet_cpu_tier());
    if (argc < 2) return 0;
    millet_generate_options how = millet_generate_options_default();
    how.sampler.temperature = 0;
    how.max_tokens = 16;
    if (millet_model_open(argv[1], NULL, &model, &err) || millet_session_open(model, NULL, &session, &err) ||
        millet_generate(session, "Once", 4, &how, print, NULL, NULL, &err)) {
        fprintf(stderr, "%s: %s\n", err.file, err.message);
        return 1;
    }
    millet_session_close(&session);
    millet_model_close(&model);
    return 0;
}
C
# shellcheck disable=SC2086
$cc -std=c11 -O2 -D_POSIX_C_SOURCE=200809L -D_DEFAULT_SOURCE -ffp-contract=off -Iinclude -Isrc "$out/scalar.c" src/base/*.c \
    src/tensor/*.c src/kernels/*.c src/kernels/scalar/*.c src/format/*.c src/tokenizer/*.c src/model/*.c src/generate/*.c \
    -o "$out/scalar" -lpcre2-8 -lpthread -lm
"$out/scalar" ${3:-}
