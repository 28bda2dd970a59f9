#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# What slipstream saves: the bootimage boots, deploys the node image there with the reference importer, and reboots.
set -xeuo pipefail

# The bootimage has no skopeo; this one brought the libraries and the loader of the suite that it is from.
mkdir -p /run/bin /etc/containers /run/nodeimage
cat >/run/bin/skopeo <<'SKOPEO'
#!/bin/sh
exec /run/vm-test/bin/ld-linux-x86-64.so.2 --library-path /run/vm-test/bin /run/vm-test/bin/skopeo "$@"
SKOPEO
chmod +x /run/bin/skopeo
export PATH=/run/bin:$PATH
echo '{"default": [{"type": "insecureAcceptAnything"}]}' >/etc/containers/policy.json
mount -o ro /dev/disk/by-label/nodeimage /run/nodeimage
mount -o remount,rw /sysroot

# As from a terminal: in a service it would start skopeo as nobody, who may not read what is mounted here.
unset INVOCATION_ID
started=$SECONDS
ostree-ext-cli container image deploy --sysroot / --stateroot testos \
  --imgref ostree-unverified-image:oci:/run/nodeimage/node --target-imgref "ostree-unverified-registry:$NODE_IMAGE"
echo "fact deploy-seconds $((SECONDS - started))" >&3
/tmp/autopkgtest-reboot deployed
