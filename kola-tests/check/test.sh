#!/bin/bash
## kola:
##   # it only looks
##   exclusive: false
##   description: Verify what slipstream check answers, and that it only looks.
#
# SPDX-License-Identifier: Apache-2.0 OR MIT
# An administrator asks before a pool is scaled. Nothing is downloaded, no source is opened; the answer is the exit code.
set -xeuo pipefail

# shellcheck disable=SC1091
. "$KOLA_EXT_DATA/commonlib.sh"

dir=$(mktemp -d)
trap 'rm -r "$dir"' EXIT
echo '{"ignition": {"version": "3.3.0"}}' >"$dir/config.ign"

# The arguments are $1; prints the answer, returns the exit code.
check() {
  echo "root=UUID=0 $1" >"$dir/cmdline"
  slipstream check --ignition "$dir/config.ign" --cmdline "$dir/cmdline" --root / --json
}

image=example.com/os/node@sha256:$(printf '%064d' 1)
answer=$(check "") && fatal "no request, and still: $answer"
jq -e '.verdict == "not-requested"' <<<"$answer" || fatal "without a request: $answer"
answer=$(check "slipstream.image=$image") && fatal "no MachineConfig, and still: $answer"
jq -e --arg image "$image" '.verdict == "unknown" and .image == $image' <<<"$answer" || fatal "with an image: $answer"
if check "slipstream.image=$image slipstream.no-such-key=1"; then
  fatal "an unknown key is accepted"
fi
[[ ! -e $STATUS ]] || fatal "it has written a status"
ok "check answers and writes nothing"
