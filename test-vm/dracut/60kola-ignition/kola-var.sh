#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The stateroot's /var, with what the deployment's tmpfiles.d has for it.
set -euo pipefail

mount --bind /sysroot/sysroot/ostree/deploy/testos/var /sysroot/var
# One after the other, and any failure is one, as on CoreOS.
for name in home roothome opt srv usrlocal mnt media; do
  [[ -d /sysroot/var/$name ]] || systemd-tmpfiles --root=/sysroot --create --boot --prefix="/var/$name"
done
