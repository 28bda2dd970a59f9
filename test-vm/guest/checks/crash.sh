#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Crashes the kernel of the bootimage. The crash kernel's command line is this one, as kdump takes it over, with a request that
# would count there.
set -xeuo pipefail

# shellcheck disable=SC1091
. "$KOLA_EXT_DATA/commonlib.sh"

kernel=(/boot/ostree/*/vmlinuz-*)
bin=$(dirname "$(command -v kexec)")
initrd=$bin/crash.img
cmdline=$(sed 's/crashkernel=[^ ]*//' /proc/cmdline)
LD_LIBRARY_PATH=$bin kexec --load-panic "${kernel[0]}" --initrd="$initrd" --command-line="$cmdline $CRASH_REQUEST irqpoll nr_cpus=1 reset_devices"
[[ $(cat /sys/kernel/kexec_crash_loaded) == 1 ]] || fatal "no crash kernel is loaded"
sync
echo c >/proc/sysrq-trigger
