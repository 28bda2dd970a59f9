#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# After the swap: the userspace is the node image's file by file, and what the machine had is kept.
set -xeuo pipefail

# shellcheck disable=SC1091
. "$KOLA_EXT_DATA/commonlib.sh"

has() {
  [[ $(cat "$1") == "$2" ]] || fatal "$1: $(cat "$1"), not $2"
}
gone() {
  [[ ! -e $1 ]] || fatal "$1 is there"
}

# /usr: the chunks and the derived layer.
has /usr/share/vm-test/version "$NODE_VERSION"
has /usr/share/vm-test/only-in-node node
gone /usr/share/vm-test/only-in-bootimage
[[ $(/usr/bin/derived-program) == derived ]] || fatal "the derived layer's program"
has /usr/share/vm-test/changed-by-layer 'changed by the derived layer'
gone /usr/share/vm-test/removed-by-layer
echo '1 + 1' | bc | grep -qx 2 || fatal "a program of the node image alone"
grep -qx "OSTREE_VERSION='$NODE_VERSION'" /etc/os-release || fatal "os-release: $(cat /etc/os-release)"

# /etc: the node image's defaults.
has /etc/vm-test/role node
has /etc/vm-test/only-in-node.conf 'default of node'
has /etc/vm-test/derived.conf 'default of the derived layer'
gone /etc/vm-test/only-in-bootimage.conf
# Local changes are merged; without any, Ignition finds the node image's /etc as the image has it.
if [[ $FSTYPE == ext4 ]]; then
  has /etc/local-change 'changed on this machine'
  status_is .node_image.etc_merged
else
  gone /etc/local-change
  status_is '.node_image.etc_merged == false'
  diff -r /etc/vm-test /usr/etc/vm-test || fatal "/etc is not the node image's"
fi

# /var: the stateroot's.
has /var/lib/kept kept
[[ /var -ef /sysroot/ostree/deploy/testos/var ]] || fatal "/var is not the stateroot's"

# The machine of this test: the request and what became of it.
[[ $(uname -r) == "$BOOT_KERNEL" ]] || fatal "running $(uname -r)"
[[ $(status_of .node_image.kernel) == "$NODE_KERNEL" ]] || fatal "another node kernel"
[[ $(status_of .request.image.value) == "$NODE_IMAGE" ]] || fatal "another image"
status_is '.request.image.from == "karg"'
[[ $(status_of .node_image.image) == *"$NODE_IMAGE" ]] || fatal "another node image"
[[ $(status_of .node_image.manifest_digest) == "${NODE_IMAGE#*@}" ]] || fatal "another manifest"
[[ $(findmnt --noheadings --output FSTYPE /sysroot) == "$FSTYPE" ]] || fatal "root is not $FSTYPE"

# The truth about the boot: what was asked for, and the boot link that it names is there.
grep -Fq "slipstream.image=$NODE_IMAGE" /proc/cmdline || fatal "/proc/cmdline: $(cat /proc/cmdline)"
link=$(sed -n 's/.* ostree=\([^ ]*\).*/\1/p' /proc/cmdline)
echo "ostree=$link"
# The new BLS entry has the old one's arguments. One is a literal word, GRUB's to expand at every boot.
options=$(sed -n 's/^options \(.*\) ostree=[^ ]*$/\1/p' /boot/loader/entries/*.conf)
[[ $(wc -l <<<"$options") == 2 && $(sort -u <<<"$options" | wc -l) == 1 ]] || fatal "BLS options: $options"
# shellcheck disable=SC2016
[[ $options == *' $ignition_firstboot '* ]] || fatal "BLS options: $options"
# What Ignition's own service does at the end of a first boot.
rm -f /boot/ignition.firstboot
