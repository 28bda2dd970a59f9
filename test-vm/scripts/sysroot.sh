#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# usage: sysroot.sh OUT REPO REF FSTYPE (in the tools root)
# OUT/work/root and OUT/work/boot: what disk.sh puts on a disk's two file systems, REF deployed as on RHEL CoreOS.
set -euo pipefail

out=$1 repo=$2 ref=$3 fstype=$4
work=$out/work
here=$(dirname "$0")
mkdir -p "$work/root"

ostree admin init-fs --modern "$work/root"
sysrepo=$work/root/ostree/repo
ostree config --repo="$sysrepo" set sysroot.bootloader none
ostree config --repo="$sysrepo" set sysroot.readonly true
ostree admin stateroot-init testos --sysroot="$work/root"
ostree pull-local --repo="$sysrepo" "$repo" "$ref"
# As on RHEL CoreOS: the word $ignition_firstboot is GRUB's to expand, at every boot.
ostree admin deploy --sysroot="$work/root" --os=testos --karg=console=ttyS0 --karg=rw --karg=root=LABEL=root \
  --karg="rootfstype=$fstype" --karg="\$ignition_firstboot" --karg=ignition.platform.id=qemu "$ref"

# What must outlive the swap. The disk with xfs has an /etc as the image made it.
deployment=$(echo "$work"/root/ostree/deploy/testos/deploy/*.0)
if [[ $fstype == ext4 ]]; then
  echo 'changed on this machine' >"$deployment/etc/local-change"
fi
mkdir -p "$work/root/ostree/deploy/testos/var/lib"
echo 'kept' >"$work/root/ostree/deploy/testos/var/lib/kept"

# A partition of its own: what ostree has linked there from the repository becomes a copy, without its attributes.
cp -R --preserve=mode,ownership,timestamps "$work/root/boot" "$work/boot"
rm -r "$work/root/boot"
mkdir "$work/root/boot"
mkdir "$work/boot/grub2"
cp "$here/../guest/grub.cfg" "$work/boot/grub2/grub.cfg"
