#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# usage: enter.sh ROOT [DIR...] -- COMMAND [ARGUMENT...]
# Run COMMAND in a chroot of ROOT, with the DIRs at the same paths as outside. Only exec is used on the way:
# the command keeps our process id, so that the caller can stop it.
set -euo pipefail

if [[ $1 != --entered ]]; then
  exec unshare --mount -- bash "$0" --entered "$@"
fi
shift
root=$1
shift

mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --rbind /sys "$root/sys"
if [[ -e /etc/resolv.conf && -e $root/etc/resolv.conf ]]; then
  mount --bind /etc/resolv.conf "$root/etc/resolv.conf"
fi
while [[ $1 != -- ]]; do
  mkdir -p "$root$1"
  mount --bind "$1" "$root$1"
  shift
done
shift

export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8
unset TMPDIR
exec chroot "$root" "$@"
