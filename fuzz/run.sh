#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Runs fuzz targets one after another: `fuzz/run.sh SECONDS [TARGET...]`, all of them by default. Called by `make fuzz`.
set -euo pipefail
cd "$(dirname "$0")"

# cargo-fuzz wants the flags of nightly; a stable compiler takes them too when it is told to.
export RUSTC_BOOTSTRAP=1
# Where cargo-fuzz installs itself, and what it builds.
export PATH=${PATH}:${CARGO_HOME:-${HOME}/.cargo}/bin
work=${CARGO_TARGET_DIR:-${PWD}/target}
export CARGO_TARGET_DIR=${work}

seconds=$1
shift
if [[ $# -gt 0 ]]; then
    targets=("$@")
else
    targets=()
    for file in fuzz_targets/*.rs; do
        file=${file##*/}
        targets+=("${file%.rs}")
    done
fi

command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz
# What is not text is written by the kit of the tests; what is, lies in seeds/.
cargo run --quiet --locked --manifest-path ../Cargo.toml --package slipstream-testkit --example fuzz-seeds "${work}/seeds"
cargo fuzz build
failed=0
for target in "${targets[@]}"; do
    mkdir -p "${work}/corpus/${target}" "${work}/artifacts/${target}"
    seeds=${work}/seeds/${target}
    [[ -d ${seeds} ]] || seeds=seeds/${target}
    log=${work}/${target}.log
    # A thread that has been joined may still be taking its thread-locals down: that is no leak.
    leaks=1
    [[ ${target} != layer_stream ]] || leaks=0
    # An input may be 64 KiB; what it costs may not grow with what it claims.
    if ! cargo fuzz run "${target}" "${work}/corpus/${target}" "${seeds}" -- \
        -max_total_time="${seconds}" -max_len=65536 -timeout=10 -detect_leaks="${leaks}" -rss_limit_mb=1024 -malloc_limit_mb=256 \
        -artifact_prefix="${work}/artifacts/${target}/" -print_final_stats=1 >"${log}" 2>&1; then
        tail -n 40 "${log}"
        failed=1
    fi
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "${log}")
    peak=$(sed -n 's/^stat::peak_rss_mb: *//p' "${log}")
    echo "${target}: ${runs:-0} runs, ${peak:-?} MiB"
done
exit "${failed}"
