#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# usage: kernels.sh OUT BOOT_SUITE NODE_SUITE (in the tools root)
# Two kernels as they lie in /usr/lib/modules: OUT/boot and OUT/node. They are not installed but unpacked:
# a kernel package's scripts would build an initramfs and look for a boot loader.
set -euo pipefail

out=$1

# The suite's own lists, apart from the ones of the root we are in.
apt_of() {
  local suite=$1 dir=$2
  shift 2
  mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial"
  sed -n "s/^\(deb [^ ]* \)[^ ]* main.*/\1$suite main/p;T;q" /etc/apt/sources.list >"$dir/sources"
  "$1" -q -o Acquire::Languages=none -o Dir::Etc::SourceList="$dir/sources" -o Dir::Etc::SourceParts=- \
    -o Dir::State::Lists="$dir/lists" -o Dir::Cache="$dir/cache" -o Dir::State::status=/dev/null \
    -o Acquire::Check-Valid-Until=false "${@:2}"
}

unpack() {
  local suite=$1 dest=$2
  local dir=$out/.apt-$suite kver names deb
  mkdir -p "$dest"
  apt_of "$suite" "$dir" apt-get update
  # The cloud flavour: virtio and no firmware, a third of the size.
  names=$(apt_of "$suite" "$dir" apt-cache depends --recurse --important linux-image-cloud-amd64 |
    grep -E '^linux-(image|binary|modules|base)-[0-9]' | sort -u)
  mkdir -p "$dir/debs"
  # shellcheck disable=SC2086  # names of packages, one word each
  (cd "$dir/debs" && apt_of "$suite" "$dir" apt-get download $names)
  for deb in "$dir"/debs/*.deb; do
    dpkg-deb -x "$deb" "$dest"
    basename "$deb" >>"$out/versions"
  done
  if [[ -d $dest/lib && ! -L $dest/lib ]]; then
    mkdir -p "$dest/usr"
    cp -a "$dest/lib" "$dest/usr/"
    rm -r "${dest:?}/lib"
  fi
  kver=$(ls "$dest/usr/lib/modules")
  if [[ ! -e $dest/usr/lib/modules/$kver/vmlinuz ]]; then
    mv "$dest/boot/vmlinuz-$kver" "$dest/usr/lib/modules/$kver/vmlinuz"
  fi
  rm -rf "${dest:?}/boot" "${dest:?}/usr/share" "${dest:?}/etc" "$dir"
}

unpack "$2" "$out/boot"
unpack "$3" "$out/node"
