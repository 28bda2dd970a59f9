#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The boot after a swap, when kola-tests/prestaged has shown that what the status of the swapped boot calls a leftover is
# gone: the host has kept that status, and nothing else of slipstream is there either.
set -xeuo pipefail

# shellcheck disable=SC1091
. "$KOLA_EXT_DATA/commonlib.sh"

jq -e '.outcome == "swapped" and (.leftovers | length > 4)' <<<"$SWAPPED" >/dev/null || fatal "status: $SWAPPED"
[[ $(jq -r '[.leftovers[].kind] | unique | join(" ")' <<<"$SWAPPED") == 'file link mount' ]] || fatal "$SWAPPED"
left=$(find /sysroot/ostree /boot /run -xdev -name '*slipstream*' ! -path '/sysroot/ostree/repo/objects/*' \
  ! -path '/sysroot/ostree/deploy/*/deploy/*')
[[ -z $left ]] || fatal "left: $left"
origins=$(cat /sysroot/ostree/deploy/testos/deploy/*.origin)
[[ $origins != *pinned* ]] || fatal "pinned: $origins"
# The refs that stay are those of the image, as the reference importer has them; testos/next is operations.sh's.
refs=$(ostree refs --repo /sysroot/ostree/repo)
[[ -n $refs ]] || fatal "there is no ref"
if grep -Ev '^(ostree/container/(blob|image)/.*|ostree/[01]/[01]/[0-9]+|testos/(bootimage|next))$' <<<"$refs"; then
  fatal "refs: $refs"
fi
ok "what was left is gone"
