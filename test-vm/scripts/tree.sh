#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# usage: tree.sh TREE ROLE VERSION DRACUT_MODULES
# TREE has a Debian base, one kernel and maybe slipstream: make a tree of it that ostree can deploy.
set -euo pipefail

tree=$1 role=$2 version=$3 modules=$4
here=$(dirname "$0")
guest=$here/../guest
kver=$(ls "$tree/usr/lib/modules")

install -D -m 0644 "$guest/vm-test.service" "$tree/usr/lib/systemd/system/vm-test.service"
install -D -m 0755 "$guest/vm-test-agent" "$tree/usr/libexec/vm-test-agent"
install -D -m 0644 "$guest/vm-test.preset" "$tree/usr/lib/systemd/system-preset/00-vm-test.preset"
install -D -m 0644 "$guest/vm-test.conf" "$tree/usr/lib/tmpfiles.d/vm-test.conf"
mkdir -p "$tree/usr/lib/systemd/system/multi-user.target.wants"
ln -s ../vm-test.service "$tree/usr/lib/systemd/system/multi-user.target.wants/vm-test.service"
echo 'LABEL=boot /boot ext4 rw,nodev,nosuid 0 0' >"$tree/etc/fstab"

sed -i '/^\(VERSION_ID\|PRETTY_NAME\|OSTREE_VERSION\|VARIANT_ID\)=/d' "$tree/usr/lib/os-release"
printf '%s\n' "VERSION_ID=\"${version%%.*}\"" "OSTREE_VERSION='$version'" VARIANT_ID=coreos \
  "PRETTY_NAME=\"Test OS $version ($role)\"" >>"$tree/usr/lib/os-release"

# What tells the two userspaces apart: a file with another content, and one that only this one has.
mkdir -p "$tree/usr/share/vm-test" "$tree/etc/vm-test"
echo "$version" >"$tree/usr/share/vm-test/version"
echo "$role" >"$tree/usr/share/vm-test/only-in-$role"
echo "$role" >"$tree/etc/vm-test/role"
echo "default of $role" >"$tree/etc/vm-test/only-in-$role.conf"
# For the node image's derived layer.
echo 'of the base' >"$tree/usr/share/vm-test/changed-by-layer"
echo 'of the base' >"$tree/usr/share/vm-test/removed-by-layer"

# Not needed for any check, and seconds each in emulation.
systemctl --quiet --root="$tree" mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
  e2scrub_all.timer e2scrub_reap.service fstrim.timer ldconfig.service systemd-hwdb-update.service \
  systemd-journal-catalog-update.service systemd-update-done.service

# No check needs them, and the emulated machine has to hash every byte: a third of the tree.
(
  cd "$tree/usr"
  rm -rf bin/{apt,perl,python3,sqv}* lib/{apt,python3}* lib/udev/hwdb.* lib/x86_64-linux-gnu/{gconv,libapt-pkg*,perl-base} \
    sbin/xfs_db share/{i18n,perl*,zoneinfo,zsh} src
  cd "lib/modules/$kver/kernel"
  rm -rf drivers/{ata,comedi,infiniband,md,net/ethernet,nvme,target} fs/{btrfs,ceph,nfs,nfsd,smb} \
    net/{sched,sctp,sunrpc}
  # ip_tables needs this one, and systemd wants ip_tables.
  find net/netfilter -type f ! -name 'x_tables.ko*' -delete
)

mkdir -p "$tree/var/roothome" "$tree/var/tmp"
bash "$here/enter.sh" "$tree" -- depmod "$kver"
bash "$here/enter.sh" "$tree" -- dracut --force --no-hostonly --no-hostonly-cmdline --reproducible --zstd \
  --kver "$kver" --add "$modules" --add-drivers "virtio_blk virtio_console virtio_net overlay erofs xfs ext4 loop" \
  --omit "plymouth nfs iscsi multipath crypt lvm mdraid dm btrfs network network-manager lunmask resume" \
  "/usr/lib/modules/$kver/initramfs.img"

# The layout: https://ostreedev.github.io/ostree/adapting-existing/
cd "$tree"
rm -rf var boot run tmp dev proc sys home root srv opt mnt media usr/local etc/machine-id etc/resolv.conf
mkdir -m 0755 var boot run dev proc sys sysroot
mkdir -m 1777 tmp
ln -s var/home home
ln -s var/roothome root
ln -s var/srv srv
ln -s var/opt opt
ln -s var/mnt mnt
ln -s run/media media
ln -s ../var/usrlocal usr/local
ln -s sysroot/ostree ostree
mv etc usr/etc
