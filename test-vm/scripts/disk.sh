#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# usage: disk.sh OUT FSTYPE (in the tools root)
# OUT/disk.raw: a disk as RHEL CoreOS has it (BIOS-BOOT, EFI, boot, root), with what sysroot.sh left in OUT/work, GRUB in
# front. OUT/work is consumed.
set -euo pipefail

out=$1 fstype=$2
disk=$out/disk.raw
work=$out/work

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
