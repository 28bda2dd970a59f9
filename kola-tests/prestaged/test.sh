#!/bin/bash
## kola:
##   # additional disks and the injected archive are qemu's
##   platforms: qemu
##   # the node image: the OS's own, so that no registry is needed
##   injectContainer: true
##   # where it is staged
##   additionalDisks: ["5G"]
##   # the disk holds the bootimage and the node image
##   minDisk: 20
##   # one import of a full image, three boots
##   timeoutMin: 30
##   description: Verify that a pre-staged node image is deployed and booted without a reboot in between.
#
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The main promise: a machine that is told to boots the node image, and ostree itself says so. The image is staged on
# a disk with the label "nodeimage", as an administrator would; the next boot swaps; the one after it is a plain one.
set -xeuo pipefail

# shellcheck disable=SC1091
. "$KOLA_EXT_DATA/commonlib.sh"

stage_image() {
  local disk=/dev/disk/by-id/virtio-disk1 digest
  mkfs.ext4 -L nodeimage "$disk"
  mount "$disk" /mnt
  skopeo copy --preserve-digests "oci-archive:$KOLA_EXT_OSTREE_OCIARCHIVE" oci:/mnt/node
  digest=$(jq -er '.manifests[0].digest' /mnt/node/index.json)
  umount /mnt
  rpm-ostree kargs --append="slipstream.image=example.com/os/node@$digest" \
    --append="slipstream.source=oci:LABEL=nodeimage:/node"
}

# The node image is booted, and everyone who asks is told so.
assert_node_image_booted() {
  local image commit
  image=$(status_of .request.image.value)
  commit=$(status_of .node_image.commit)
  [[ $(booted_path) == */"$commit".* ]] || fatal "booted is $(booted_path), not commit $commit"
  grep -Fxq "container-image-reference=ostree-unverified-registry:$image" "$(booted_path).origin" ||
    fatal "origin: $(cat "$(booted_path).origin")"
  # A composefs root is made of the deployment's image, and ostree has no other way to say which one that is.
  if [[ $(findmnt --noheadings --output FSTYPE /) == overlay ]]; then
    [[ -s $(booted_path)/.ostree.cfs ]] || fatal "the booted deployment has no composefs image"
  else
    [[ /usr -ef $(booted_path)/usr ]] || fatal "/usr is not the booted deployment's"
  fi
  findmnt --noheadings --output OPTIONS --target /usr | grep -Eq '(^|,)ro(,|$)' || fatal "/usr can be written"
  ok "the node image $commit is booted, with the origin $image"
}

assert_running_kernel_works() {
  local kernel
  kernel=$(status_of .node_image.kernel)
  [[ $(uname -r) == "$(status_of .bootimage.kernel)" ]] || fatal "running $(uname -r)"
  [[ -e /usr/lib/modules/$kernel/modules.dep ]] || fatal "the modules of $kernel are not there"
  modinfo --set-version="$kernel" dummy >/dev/null || fatal "no module dummy of $kernel"
  load_fresh_module
}

case "${AUTOPKGTEST_REBOOT_MARK:-}" in
  "")
    stage_image
    /tmp/autopkgtest-reboot swapped
    ;;
  swapped)
    status_is '.version == 1 and .outcome == "swapped" and .reboot.avoided'
    assert_node_image_booted
    assert_running_kernel_works
    assert_no_mount_left
    assert_no_failed_unit
    /tmp/autopkgtest-reboot rebooted
    ;;
  rebooted)
    # shellcheck disable=SC2010  # the names of kernels
    [[ $(ls /usr/lib/modules) == "$(uname -r)" ]] || fatal "modules of another kernel: $(ls /usr/lib/modules)"
    grep -q container-image-reference=ostree-unverified-registry: "$(booted_path).origin" || fatal "not the node image"
    if [[ $(findmnt --noheadings --output FSTYPE --target /usr/lib/modules) == overlay ]]; then
      fatal "modules of another kernel are mounted"
    fi
    if pgrep --list-full slipstream; then
      fatal "something of ours runs"
    fi
    load_fresh_module
    assert_no_mount_left
    assert_no_failed_unit
    ok "the boot after it is a plain boot of the node image"
    ;;
  *) fatal "unexpected mark: ${AUTOPKGTEST_REBOOT_MARK}" ;;
esac
