#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# usage: ignition-initramfs.sh ROOT KERNEL_VERSION OUT MODULE [OTHER_MODULES]
# ROOT/OUT: an initramfs with slipstream, and with Ignition as MODULE has it: fetch-ignition or kola-ignition.
set -euo pipefail

root=$1 kver=$2 out=$3 module=$4 others=${5-}
here=$(dirname "$0")
modules=$root/usr/lib/dracut/modules.d

# dracut would take the module as it is into every initramfs.
mv "$modules/30ignition" "$modules/60$module"
cp "$here/../dracut/60$module"/* "$modules/60$module/"

# As in tree.sh: every MB of the initramfs costs time in emulation.
(
  cd "$root/usr/lib/modules/$kver/kernel"
  rm -rf drivers/{ata,comedi,infiniband,md,net/ethernet,nvme,target} fs/{btrfs,ceph,nfs,nfsd,smb} \
    net/{netfilter,sched,sctp,sunrpc}
)
bash "$here/initramfs.sh" "$root" "$kver" "$out" "ostree systemd $others $module slipstream"
