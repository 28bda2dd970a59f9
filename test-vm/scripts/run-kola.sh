#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# usage: run-kola.sh OUT WORKDIR [PATTERN...]
# Run kola-tests/ with the kola on PATH, on the build in WORKDIR; OUT gets its logs. $KOLA_ARGS: more options of `kola run`.
set -euo pipefail

source=$(realpath "$(dirname "$0")/../..")
out=$(realpath --canonicalize-missing "$1") workdir=$2
shift 2
if [[ $# == 0 ]]; then
  set -- 'ext.slipstream.*'
fi

# kola looks for DIR/tests/kola, says nothing if there is none, and names the tests after DIR.
mkdir -p "$out/slipstream/tests"
ln -sfn "$source/kola-tests" "$out/slipstream/tests/kola"
rm -f "$out/tap"

status=0
# shellcheck disable=SC2086  # words
kola run --platform qemu --workdir "$workdir" --exttest "$out/slipstream" --output-dir "$out/output" \
  --tapfile "$out/tap" ${KOLA_ARGS:-} "$@" || status=$?
# Not the TAP file: tests that share a machine are there by the machine's name only.
if ! grep -Eqs '"name":"[^"]*ext[.]slipstream[.]' "$out/output/reports/report.json"; then
  echo "make kola: kola ran no test of ours" >&2
  exit 1
fi
exit "$status"
