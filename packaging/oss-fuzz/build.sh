#!/bin/bash -eu
# SPDX-License-Identifier: MIT
#
# What OSS-Fuzz runs in the project's folder: builds every target of tests/fuzz with the compiler,
# flags and engine that it is given, and puts targets, first inputs and libraries into $OUT. The
# engine's main replaces tests/fuzz/main.c, because SAN names a fuzzer.
make -j"$(nproc)" BUILD=build-oss-fuzz CC="$CC" CFLAGS="$CFLAGS" SAN=fuzzer-no-link \
    FUZZ_LINK="$LIB_FUZZING_ENGINE" BPF_CC=none fuzz-targets

mkdir -p "$OUT/lib"
for target in build-oss-fuzz/fuzz/*; do
    name=$(basename "$target")
    [ -x "$target" ] || continue
    cp "$target" "$OUT/$name"
    # The machines that run it have none of the libraries.
    ldd "$target" | awk '$3 ~ /^\// && $1 !~ /^(libc|libm|libpthread|libdl|librt)\.so/ { print $3 }' |
        xargs -r -I{} cp {} "$OUT/lib/"
    if command -v patchelf > /dev/null; then
        patchelf --force-rpath --set-rpath "\$ORIGIN/lib" "$OUT/$name"
    fi
    if [ -d "tests/fuzz/corpus/$name" ]; then
        (cd "tests/fuzz/corpus/$name" && python3 -m zipfile -c "$OUT/${name}_seed_corpus.zip" ./*)
    fi
done
