#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The stateroot's /var, with what the deployment's tmpfiles.d has for it.
set -euo pipefail

mount --bind /sysroot/sysroot/ostree/deploy/testos/var /sysroot/var
systemd-tmpfiles --root=/sysroot --create --boot --prefix=/var/home --prefix=/var/roothome --prefix=/var/usrlocal \
  --prefix=/var/opt
