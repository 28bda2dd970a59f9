#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The start of the dump goes to the boot partition, if nothing of slipstream has run.
set -euo pipefail

if [[ -e /run/slipstream ]] || systemctl --quiet is-active slipstream.service; then
  echo "slipstream has run in the crash kernel"
  systemctl poweroff --force --force
fi
mkdir /run/dump
mount LABEL=boot /run/dump
head --bytes=65536 /proc/vmcore >/run/dump/vmcore
sync
umount /run/dump
echo "the crash dump is saved"
systemctl poweroff --force --force
