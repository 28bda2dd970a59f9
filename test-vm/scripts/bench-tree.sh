#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# usage: bench-tree.sh ROOT TREE
# TREE becomes what ostree wants of the Debian root ROOT: https://ostreedev.github.io/ostree/adapting-existing/
set -euo pipefail

root=$1 tree=$2
cp -a "$root" "$tree"
cd "$tree"

kver=$(ls usr/lib/modules)
mv "boot/vmlinuz-$kver" "usr/lib/modules/$kver/vmlinuz"
# As large as RHEL CoreOS's, and as hard to compress. head stops when it has enough, and that is no failure.
(
  set +o pipefail
  find "usr/lib/modules/$kver/kernel" -name '*.ko.xz' -print0 | sort -z | xargs -0 cat 2>/dev/null | head -c $((64 << 20)) \
    >"usr/lib/modules/$kver/initramfs.img"
)

printf 'SELINUX=enforcing\nSELINUXTYPE=default\n' >etc/selinux/config
echo '/usr/etc /etc' >>etc/selinux/default/contexts/files/file_contexts.subs_dist

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
