#!/bin/bash -eu
# Builds every fuzz target the way OSS-Fuzz and ClusterFuzzLite call it: binaries go to $OUT, each with its seeds
# (NAME_seed_corpus.zip), its options (NAME.options) and, where there is one, its dictionary (NAME.dict).
# `cargo xtask fuzz engines` runs this script as those engines do.
cd "$SRC/touchstone"

targets=()
for file in fuzz/fuzz_targets/*.rs; do
    targets+=("$(basename "$file" .rs)")
done

# Where cargo builds to; the engines leave it to cargo.
folder=${CARGO_TARGET_DIR:-$PWD/target}
case ${SANITIZER:-address} in
    coverage)
        # RUSTFLAGS asks for the instrumentation.
        bins=()
        for target in "${targets[@]}"; do
            bins+=(--bin "$target")
        done
        cargo build --release --target x86_64-unknown-linux-gnu --package fuzz --features libfuzzer "${bins[@]}"
        ;;
    *)
        for target in "${targets[@]}"; do
            cargo fuzz build --release --debug-assertions --features libfuzzer --target x86_64-unknown-linux-gnu \
                --target-dir "$folder" --codegen-units 16 --sanitizer "${SANITIZER:-address}" "$target"
        done
        ;;
esac

# The seeds come from the tree and from the suite's cases; what makes them runs here and wants no instrumentation, and
# its dev build is done in half the time.
env -u RUSTFLAGS cargo build --target-dir "$folder/seeds" --package fuzz --bin fuzzer
seeds=$(mktemp -d)
for target in "${targets[@]}"; do
    cp "$folder/x86_64-unknown-linux-gnu/release/$target" "$OUT/"
    "$folder/seeds/debug/fuzzer" seeds "$target" "$seeds/$target"
    rm -f "$OUT/${target}_seed_corpus.zip"
    zip -q -j -r "$OUT/${target}_seed_corpus.zip" "$seeds/$target"
    # As long as programs may be, and as long as the longest seed: libFuzzer cuts what is longer.
    longest=$( (echo 2048; stat -c %s "$seeds/$target"/*) | sort -n | tail -n 1)
    printf '[libfuzzer]\nmax_len = %d\ntimeout = 10\n' "$longest" >"$OUT/$target.options"
    if [ -f "fuzz/dictionaries/$target.dict" ]; then
        cp "fuzz/dictionaries/$target.dict" "$OUT/"
    fi
done
rm -r "$seeds"
