#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# usage: dracut-check.sh ROOT STAGED
# Does the dracut module do what it should with the dracut of ROOT? STAGED is what `make install` gave. ROOT is not
# changed: everything happens in an overlay that goes with the mount namespace.
set -euo pipefail

if [[ $1 != --inside ]]; then
  exec unshare --mount -- bash "$0" --inside "$@"
fi
root=$2 staged=$3

mount --make-rprivate /
mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay -o "lowerdir=$root,upperdir=/mnt/upper,workdir=/mnt/work" overlay /mnt/root
cp -a "$staged/." /mnt/root/
for dir in proc sys dev; do
  mount --rbind "/$dir" "/mnt/root/$dir"
done
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8
unset TMPDIR

fatal() {
  echo "fatal: $*" >&2
  exit 1
}
# build IMAGE [OPTION...]
build() {
  chroot /mnt/root dracut --force --no-kernel --no-hostonly --no-hostonly-cmdline "${@:2}" "/tmp/$1" \
    >/mnt/root/tmp/log 2>&1
}
list() {
  chroot /mnt/root lsinitrd "/tmp/$1" >/mnt/root/tmp/list
}
has() {
  grep -Eq "$1" /mnt/root/tmp/list || fatal "the initramfs has no $1"
}

# 059 has an exit status of 1 for it.
echo "this is $(chroot /mnt/root dracut --version)"

build plain --add "ostree systemd" || fatal "building without the module: $(cat /mnt/root/tmp/log)"
list plain
if grep slipstream /mnt/root/tmp/list; then
  fatal "something of slipstream is in an initramfs that has not asked for it"
fi

echo '[slipstream]' >/mnt/root/usr/lib/slipstream.conf
build with --add "ostree systemd slipstream" || fatal "building with the module: $(cat /mnt/root/tmp/log)"
list with
has 'usr/libexec/slipstream-initrd$'
has 'usr/lib/slipstream.conf$'
for unit in slipstream slipstream-emergency slipstream-reboot slipstream-settle slipstream-way-back; do
  has "usr/lib/systemd/system/$unit.service\$"
done
has 'usr/lib/systemd/system-generators/slipstream-generator$'
if grep -E '\.(wants|requires)/slipstream' /mnt/root/tmp/list; then
  fatal "a unit is part of every boot"
fi
has 'usr/lib/ostree/ostree-prepare-root$'
if grep -E 'usr/bin/slipstream$|libostree-1' /mnt/root/tmp/list; then
  fatal "the importer or libostree is in the initramfs"
fi

# The units of a first boot, among all others: no ordering cycle, which systemd would break by leaving a unit out. Without the
# two variables systemd-analyze says nothing of one.
cycles() {
  chroot /mnt/root env SYSTEMD_IN_INITRD=1 SYSTEMD_LOG_LEVEL=debug systemd-analyze verify --root=/tmp/unpacked --man=no \
    initrd.target >/mnt/root/tmp/cycles 2>&1 || :
  grep -ci 'ordering cycle' /mnt/root/tmp/cycles || :
}
unpacked=/mnt/root/tmp/unpacked
mkdir "$unpacked"
chroot /mnt/root sh -c 'cd /tmp/unpacked && lsinitrd --unpack /tmp/with' >/dev/null
units=$unpacked/usr/lib/systemd/system
mkdir -p "$units"/initrd-root-fs.target.wants "$units"/initrd.target.wants "$units"/slipstream.service.d
for unit in slipstream slipstream-emergency slipstream-reboot slipstream-settle; do
  ln -s "../$unit.service" "$units/initrd-root-fs.target.wants/"
done
# A generator makes it.
printf '[Unit]\nDefaultDependencies=no\nBefore=initrd-root-fs.target\n[Mount]\nWhat=/dev/root\nWhere=/sysroot\n' \
  >"$units/sysroot.mount"
ln -s ../slipstream-way-back.service "$units/initrd.target.wants/"
[[ $(cycles) == 0 ]] || fatal "there is an ordering cycle: $(grep -i cycle /mnt/root/tmp/cycles)"
grep -q 'Installed new job slipstream.service/start' /mnt/root/tmp/cycles || fatal "systemd-analyze has not seen the unit"
printf '[Unit]\nAfter=initrd-root-fs.target\n' >"$units/slipstream.service.d/cycle.conf"
[[ $(cycles) != 0 ]] || fatal "a cycle that was made is not found: $(cat /mnt/root/tmp/cycles)"

# As mkdumprd builds it, with the same configuration.
IN_KDUMP=1 build crash --add "systemd slipstream" || fatal "building for a crash kernel: $(cat /mnt/root/tmp/log)"
list crash
if grep -E '(usr|etc)/.*slipstream' /mnt/root/tmp/list; then
  fatal "something of slipstream is in the initramfs of a crash kernel"
fi

for missing in /usr/bin/slipstream /usr/libexec/slipstream-initrd \
  /usr/lib/dracut/modules.d/50slipstream/slipstream-settle.service \
  /usr/lib/dracut/modules.d/50slipstream/slipstream-generator; do
  mv "/mnt/root$missing" /mnt/root/tmp/kept
  if build broken --add "ostree systemd slipstream"; then
    fatal "an initramfs was built without $missing"
  fi
  grep -q slipstream /mnt/root/tmp/log || fatal "without $missing dracut says: $(cat /mnt/root/tmp/log)"
  mv /mnt/root/tmp/kept "/mnt/root$missing"
done
echo "the dracut module works"
