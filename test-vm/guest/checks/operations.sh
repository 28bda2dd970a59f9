#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# After the swap the machine is one like any other to ostree: the MCO's operations work, and the running kernel's
# modules outlive the bootimage's deployment. The reference importer knows the image. Operators are told of two kernels.
set -xeuo pipefail

# shellcheck disable=SC1091
. "$KOLA_EXT_DATA/commonlib.sh"

booted=$(booted_path)

# Which kernel runs, and which is the node image's: for programs, for node labels, for who logs in.
status_is ".kernel == {running: \"$BOOT_KERNEL\", node_image: \"$NODE_KERNEL\", differs: true}"
status_is '.leftovers | any(.kind == "file" and .path == "/run/motd.d/50-slipstream" and .until == "reboot")'
cat /run/slipstream/node-features /run/motd.d/50-slipstream
legal='[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?'
grep -Evx "feature\\.node\\.kubernetes\\.io/$legal=$legal" /run/slipstream/node-features && fatal "no label for a node"
grep -qx 'feature.node.kubernetes.io/slipstream.kernel-differs=true' /run/slipstream/node-features ||
  fatal "node features: $(cat /run/slipstream/node-features)"
grep -q '^feature.node.kubernetes.io/slipstream.kernel-node-image=.' /run/slipstream/node-features || fatal "no kernel label"
[[ $(wc -l </run/motd.d/50-slipstream) -le 3 ]] || fatal "a long message of the day"
grep -Fq "kernel $BOOT_KERNEL." /run/motd.d/50-slipstream || fatal "the message of the day lacks $BOOT_KERNEL"

# By the name under which it would have been pulled.
ostree-ext-cli container image list --repo /sysroot/ostree/repo | tee /run/images
grep -Fq "$NODE_IMAGE" /run/images || fatal "the reference importer does not know $NODE_IMAGE"

ostree fsck --repo /sysroot/ostree/repo --quiet || fatal "fsck"

# Undeploy the bootimage, as `rpm-ostree cleanup -r` does minutes after the boot. It is the one that is not booted. What
# has to hold: its deployment and its kernel are gone from the disk, the modules of both kernels are there, and load.
bootimage=/sysroot/$(status_of .bootimage.deployment)
[[ -d $bootimage ]] || fatal "$bootimage is gone before its time"
index=$(ostree admin status | awk '/testos [0-9a-f]+[.][0-9]/ { if ($1 != "*") { print n + 0; exit } n++ }')
if [[ -n $index ]]; then
  ostree admin undeploy "$index"
fi
ostree admin cleanup
[[ $(ostree admin status | grep -c 'testos [0-9a-f]*[.][0-9]') == 1 ]] || fatal "deployments: $(ostree admin status)"
[[ ! -e $bootimage ]] || fatal "$bootimage is still there"
[[ $(find /boot/ostree -name 'vmlinuz-*' -printf '%f\n') == "vmlinuz-$NODE_KERNEL" ]] ||
  fatal "kernels in /boot: $(find /boot/ostree -name 'vmlinuz-*')"
for kernel in "$BOOT_KERNEL" "$NODE_KERNEL"; do
  [[ -s /usr/lib/modules/$kernel/modules.dep ]] || fatal "modules of $kernel: $(ls /usr/lib/modules)"
done
load_fresh_module
ok "rpm-ostree cleanup -r takes the running kernel's files, and not its modules"

# A further commit, on top of what is booted; then away with it.
mkdir -p /var/tmp/next/usr/share/vm-test
echo next >/var/tmp/next/usr/share/vm-test/next
# Of this mount alone: the file system under it is in use for writing by /etc and /var.
mount -o remount,bind,rw /sysroot
ostree commit --repo /sysroot/ostree/repo --branch=testos/next --bootable --orphan \
  --tree="ref=$(basename "$booted" | cut -d. -f1)" --tree=dir=/var/tmp/next >/run/next
mount -o remount,bind,ro /sysroot
ostree admin deploy --os=testos "$(cat /run/next)"
ostree admin status
ostree admin status --is-default | grep -qx not-default || fatal "the further commit is not the default"
[[ $(booted_path) == "$booted" ]] || fatal "another deployment is booted now"
load_fresh_module
ostree admin undeploy 0
ostree admin cleanup
ostree admin status --is-default | grep -qx default || fatal "the node image is not the default any more"
ostree fsck --repo /sysroot/ostree/repo --quiet || fatal "fsck after it"
ok "ostree's operations work"
