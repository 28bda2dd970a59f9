#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The boot after a swap: what the status of the swapped boot, which the host has kept, calls a leftover is gone, and so is
# all else that could be of slipstream.
set -xeuo pipefail

# shellcheck disable=SC1091
. "$KOLA_EXT_DATA/commonlib.sh"

jq -e '.outcome == "swapped" and (.leftovers | length > 4)' <<<"$SWAPPED" >/dev/null || fatal "status: $SWAPPED"
[[ $(jq -r '[.leftovers[].kind] | unique | join(" ")' <<<"$SWAPPED") == 'file link mount' ]] || fatal "$SWAPPED"
ostree admin cleanup
while read -r kind path; do
  case $kind in
    # The node image has its own files there: what was mounted over them is gone.
    mount) mounted=$(findmnt --noheadings "$path") && fatal "still mounted: $mounted" ;;
    file | link) [[ ! -e $path && ! -L $path ]] || fatal "$kind $path is still there" ;;
    *) fatal "a leftover of another kind: $kind $path" ;;
  esac
done < <(jq -r '.leftovers[] | "\(.kind) \(.path)"' <<<"$SWAPPED")

# Not only what is in the list.
left=$(find /sysroot/ostree /boot /run -xdev -name '*slipstream*' ! -path '/sysroot/ostree/repo/objects/*' \
  ! -path '/sysroot/ostree/deploy/*/deploy/*')
[[ -z $left ]] || fatal "left: $left"
pinned=$(grep -l 'pinned' /sysroot/ostree/deploy/testos/deploy/*.origin) && fatal "pinned: $pinned"
# The refs that stay are those of the image, as the reference importer has them; testos/next is operations.sh's.
refs=$(ostree refs --repo /sysroot/ostree/repo | grep -Ev '^(ostree/container/(blob|image)/.*|ostree/[01]/[01]/[0-9]+|testos/(bootimage|next))$') &&
  fatal "refs: $refs"
ok "what was left is gone"
