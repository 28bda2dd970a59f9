#!/bin/bash
## kola:
##   # it only looks
##   exclusive: false
##   # kola gives a test that shares its machine one minute, which is little for an emulated one
##   timeoutMin: 5
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

# Ask, with the kernel arguments $1: the answer and the exit code. It looks for the boot partition below the physical root.
check() {
  echo "root=UUID=0 $1" >"$dir/cmdline"
  code=0
  # shellcheck disable=SC2016  # for the shell in the namespace
  answer=$(unshare --mount sh -c 'mount --bind /boot /sysroot/boot && exec slipstream check "$@"' - \
    --ignition "$dir/config.ign" --cmdline "$dir/cmdline" --root / --json) || code=$?
}

image=example.com/os/node@sha256:$(printf '%064d' 1)
check ""
[[ $code == 3 && $(jq -r .verdict <<<"$answer") == not-requested ]] || fatal "without a request: $code, $answer"
check "slipstream.image=$image"
[[ $code == 3 && $(jq -r .verdict <<<"$answer") == unknown ]] || fatal "without a MachineConfig: $code, $answer"
[[ $(jq -r .image <<<"$answer") == "$image" ]] || fatal "another image: $answer"
check "slipstream.image=$image slipstream.no-such-key=1"
[[ $code == 1 && -z $answer ]] || fatal "with an unknown key: $code, $answer"
[[ ! -e $STATUS ]] || fatal "it has written a status"
ok "check answers and writes nothing"
