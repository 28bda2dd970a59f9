#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# usage: ignition-initramfs.sh ROOT KERNEL_VERSION OUT
# ROOT/OUT: an initramfs with slipstream, in which NetworkManager runs and Ignition fetches the config.
set -euo pipefail

root=$1 kver=$2 out=$3
here=$(dirname "$0")
modules=$root/usr/lib/dracut/modules.d

# dracut would take the module as it is into every initramfs.
mv "$modules/30ignition" "$modules/60fetch-ignition"
cp "$here"/../dracut/60fetch-ignition/* "$modules/60fetch-ignition/"

# As in tree.sh: every MB of the initramfs costs time in emulation.
(
  cd "$root/usr/lib/modules/$kver/kernel"
  rm -rf drivers/{ata,comedi,infiniband,md,net/ethernet,nvme,target} fs/{btrfs,ceph,nfs,nfsd,smb} \
    net/{netfilter,sched,sctp,sunrpc}
)
bash "$here/initramfs.sh" "$root" "$kver" "$out" "ostree systemd network-manager fetch-ignition slipstream"
