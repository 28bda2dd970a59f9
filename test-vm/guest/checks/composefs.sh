#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The node image's root is composefs (COMPOSEFS=yes) or the deployment itself (no), and the image that composefs mounts
# is the one that libostree makes of the commit; MUST_COMPARE=yes if the node image's libostree can make one.
set -xeuo pipefail

# shellcheck disable=SC1091
. "$KOLA_EXT_DATA/commonlib.sh"

booted=$(booted_path)
root=$(findmnt --noheadings --output FSTYPE,SOURCE /)
if [[ $COMPOSEFS == yes ]]; then
  [[ $root == overlay*composefs* || $root == overlay*cfsroot* ]] || fatal "/ is $root"
  grep -aq composefs /run/ostree-booted || fatal "ostree does not know that / is composefs"
  # / is read-only as a whole, not only /usr.
  if touch /written; then
    fatal "/ can be written"
  fi
else
  [[ $root != overlay* ]] || fatal "/ is $root"
  [[ /usr -ef $booted/usr ]] || fatal "/usr is not the booted deployment's"
fi
# /etc is the deployment's in either case.
[[ /etc -ef $booted/etc ]] || fatal "/etc is not the booted deployment's"
touch /etc/written
[[ -e $booted/etc/written ]] || fatal "/etc is not the booted deployment's"
rm /etc/written

# No file system here has fs-verity enabled: it is in no image. Only a libostree with composefs can make one. Its answer
# is taken first: grep --quiet ends before it does.
features=$(ostree --version)
if grep -q ' - composefs$' <<<"$features"; then
  for deployment in /sysroot/ostree/deploy/testos/deploy/*.0; do
    commit=$(basename "$deployment" .0)
    # The image is first made without a name, in the directory that one is in.
    (cd /run && ostree checkout --repo=/sysroot/ostree/repo --composefs-noverity "$commit" "$commit.cfs")
    cmp "/run/$commit.cfs" "$deployment/.ostree.cfs" || fatal "$deployment/.ostree.cfs is not the commit's"
  done
elif [[ $MUST_COMPARE == yes ]]; then
  fatal "this libostree makes no composefs images: $features"
fi
ok "the root is right: $root"
