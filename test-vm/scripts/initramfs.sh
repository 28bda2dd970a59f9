#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# usage: initramfs.sh ROOT KERNEL_VERSION OUT MODULES [LIBRARY...]
# ROOT/OUT: an initramfs with these dracut modules, and with these libraries and those that they need.
set -euo pipefail

root=$1 kver=$2 out=$3 modules=$4
shift 4
enter=$(dirname "$0")/enter.sh
extra=()
for file in "$@"; do
  # dracut looks for the libraries that an executable needs, not for those of a library.
  needed=$(bash "$enter" "$root" -- ldd "$file" | grep -o '/[^ ]*' | tr '\n' ' ')
  extra+=(--install "$file $needed")
done
bash "$enter" "$root" -- depmod "$kver"
bash "$enter" "$root" -- dracut --force --no-hostonly --no-hostonly-cmdline --reproducible --zstd \
  --kver "$kver" --add "$modules" --omit "plymouth nfs iscsi multipath crypt lvm mdraid dm btrfs lunmask resume" \
  "${extra[@]}" "/$out"
