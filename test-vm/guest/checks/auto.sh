#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# A node of OpenShift after its first boot: the Ignition config alone said what to boot. The node image is booted, the
# MCO's daemon would find nothing to do, and no password has got out.
set -xeuo pipefail

# shellcheck disable=SC1091
. "$KOLA_EXT_DATA/commonlib.sh"

# Ignition itself has written the config (this is its message that it has fetched one), and no argument names an image.
journalctl --boot --quiet --output=cat MESSAGE_ID=57124006b5c94805b77ce473e92a8aeb | grep 'config from "qemu"' ||
  fatal "Ignition has fetched no config"
jq -e '.ignition.version and (.storage.files | length > 4)' /run/ignition.json >/dev/null || fatal "/run/ignition.json"
if grep slipstream /proc/cmdline; then
  fatal "the request is in the kernel's arguments"
fi
status_is '.version == 1 and .outcome == "swapped" and .reason == null'
status_is '.request == {image: {value: "auto", from: "ignition"}}'

# The node image runs, under the name that the MachineConfig has for it.
[[ $(cat /usr/share/vm-test/version) == "$NODE_VERSION" ]] || fatal "version $(cat /usr/share/vm-test/version)"
[[ $(/usr/bin/derived-program) == derived ]] || fatal "the derived layer's program"
[[ $(cat /etc/local-change) == 'changed on this machine' ]] || fatal "a local change is lost"
[[ $(uname -r) == "$BOOT_KERNEL" ]] || fatal "running $(uname -r)"
status_is ".node_image.image == \"$NODE_IMAGE\" and .node_image.version == \"$NODE_VERSION\""
origin=$(cat "$(booted_path).origin")
grep -Fxq "container-image-reference=ostree-unverified-registry:$NODE_IMAGE" <<<"$origin" || fatal "origin: $origin"

# It is signed, which the policy demands: the tag or digest of the signed name does not matter.
repository=${NODE_IMAGE%@*}
status_is ".node_image.signatures | length == 1 and .[0].requirement == \"sigstoreSigned by keyData\" and
  .[0].identity == \"$repository:4.22\" and .[0].digest == \"${NODE_IMAGE#*@}\" and .[0].endpoint == \"$repository\""

# The mirror has been asked first, and has nothing.
status_is ".endpoints | map(.source) == [\"registry\", \"${repository/os/mirror/os}\", \"$repository\"]"
status_is '.endpoints | map(.error) | .[0] == null and (.[1] | contains("404")) and .[2] == null'

# What the daemon compares: the arguments are in the new entry, in the MachineConfig's order, and wait for the next boot.
deferred=(systemd.unified_cgroup_hierarchy=1 'cgroup_no_v1="all"')
status_is '.reboot.avoided and .reboot.mco == "nothing-to-do" and .reboot.reasons == []'
[[ $(status_of '.reboot.deferred_kargs | join(" ")') == "${deferred[*]}" ]] || fatal "deferred: $(status_of .reboot)"
options_of() {
  sed -n 's/^options \(.*\) ostree=[^ ]*$/\1/p' "/boot/loader/entries/$1.conf"
}
[[ $(options_of ostree-2) == "$(options_of ostree-1) ${deferred[*]}" ]] || fatal "new entry: $(options_of ostree-2)"
if grep cgroup_no_v1 /proc/cmdline; then
  fatal "an argument is there too early"
fi

# No secret in any file that we leave, nor in the journal. It is a file here because grep --quiet ends before a pipe does.
journalctl --boot --all --output=export >/run/vm-test.export
grep --quiet --fixed-strings 'slipstream.service' /run/vm-test.export || fatal "the journal of slipstream is missing"
while read -r secret; do
  if grep --recursive --fixed-strings --files-with-matches -- "$secret" /run/slipstream /run/vm-test.export; then
    fatal "a secret is told"
  fi
done <<<"$SECRETS"

assert_no_mount_left
assert_no_failed_unit
load_fresh_module
ostree fsck --repo /sysroot/ostree/repo --quiet || fatal "fsck"
ok "the node image came from the registry, and the MCO has nothing to do"
