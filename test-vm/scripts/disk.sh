#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# usage: disk.sh OUT REPO REF FSTYPE (in the tools root)
# OUT/disk.raw: a disk as RHEL CoreOS has it (BIOS-BOOT, EFI, boot, root), REF deployed on it, GRUB in front.
set -euo pipefail

out=$1 repo=$2 ref=$3 fstype=$4
disk=$out/disk.raw
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

# What the builder of a CoreOS image labels: this host has no policy, so nothing that ostree wrote has a label.
if [[ -e $deployment/etc/selinux/config ]]; then
  python3 "$here/label.py" "$work/root" root_t "$work/root/ostree" usr_t "$work/boot" boot_t "$deployment/etc" etc_t \
    "$work/root/ostree/deploy/testos/var" var_t "$work/root/ostree/deploy/testos/var/lib" var_lib_t
fi

truncate -s 6G "$disk"
sfdisk --quiet "$disk" <<'LAYOUT'
label: gpt
start=1MiB, size=1MiB, type=21686148-6449-6E6F-744E-656564454649, name=BIOS-BOOT
start=2MiB, size=62MiB, type=uefi, name=EFI-SYSTEM
start=64MiB, size=384MiB, type=linux, name=boot
start=448MiB, type=linux, name=root
LAYOUT
mke2fs -q -t ext4 -L boot -d "$work/boot" -E offset=$((64 << 20)) "$disk" 384M
root_mib=$((6 * 1024 - 448 - 1))
if [[ $fstype == ext4 ]]; then
  mke2fs -q -t ext4 -L root -d "$work/root" -E offset=$((448 << 20)) "$disk" ${root_mib}M
else
  truncate -s ${root_mib}M "$work/root.img"
  mkfs.xfs -q -L root -p "$work/root" "$work/root.img"
  dd if="$work/root.img" of="$disk" bs=1M seek=448 conv=notrunc,sparse status=none
fi

# What grub-bios-setup does, without a block device: core.img lies at sector 2048, boot.img and the first
# sector of core.img name their successors (boot/i386/pc/{boot,diskboot}.S in GRUB's source).
grub-mkimage -O i386-pc -p '(,gpt3)/grub2' -o "$work/core.img" \
  biosdisk part_gpt ext2 normal configfile search search_label blsuki linux serial terminal test echo
cp /usr/lib/grub/i386-pc/boot.img "$work/boot.img"
printf '\x00\x08\0\0\0\0\0\0' | dd of="$work/boot.img" bs=1 seek=$((0x5c)) conv=notrunc status=none
printf '\x01\x08\0\0\0\0\0\0' | dd of="$work/core.img" bs=1 seek=$((0x1f4)) conv=notrunc status=none
dd if="$work/boot.img" of="$disk" bs=1 count=440 conv=notrunc status=none
dd if="$work/core.img" of="$disk" bs=512 seek=2048 conv=notrunc status=none

# A deployment is immutable.
find "$work" -type d -exec chattr -f -i {} +
rm -rf "$work"
