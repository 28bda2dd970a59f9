# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Staging the image that kola injects, on the first additional disk, and asking for it; sourced. It is an OCI archive,
# which is the OCI layout as a tar: tar is all that this takes.

# The name under which it is asked for. No registry is there: the bytes come from the disk.
REPOSITORY=example.com/os/node

# The digest of the injected image's manifest.
injected_digest() {
  tar --extract --to-stdout --file "$KOLA_EXT_OSTREE_OCIARCHIVE" --wildcards --no-anchored index.json |
    jq -er '.manifests[0].digest'
}

# Make the disk, with the label that an administrator would give it, and mount it on /mnt.
mount_staging() {
  mkfs.ext4 -q -L nodeimage /dev/disk/by-id/virtio-disk1
  mount /dev/disk/by-id/virtio-disk1 /mnt
}

stage_archive() {
  mount_staging
  cp "$KOLA_EXT_OSTREE_OCIARCHIVE" /mnt/node.ociarchive
  umount /mnt
}

# Kernel arguments for the next boot. rpm-ostree makes a deployment with them; where there is none, ostree edits the
# boot loader's entries.
append_kargs() {
  if command -v rpm-ostree; then
    rpm-ostree kargs "${@/#/--append-if-missing=}"
  else
    ostree admin kargs edit-in-place "${@/#/--append-if-missing=}"
  fi
}

# Ask for the injected image, with these settings beside. The machine has had its first boot.
request_archive() {
  append_kargs "slipstream.image=$REPOSITORY@$(injected_digest)" \
    slipstream.source=oci-archive:LABEL=nodeimage:/node.ociarchive slipstream.when=once "$@"
}
