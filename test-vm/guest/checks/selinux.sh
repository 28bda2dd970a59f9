#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# SELinux is enforced, every file has a label, ours have the policy's, and the machine works. What was denied is told to
# the host, which compares boots.
set -xeuo pipefail

# shellcheck disable=SC1091
. "$KOLA_EXT_DATA/commonlib.sh"

[[ $(getenforce) == Enforcing ]] || fatal "SELinux is $(getenforce)"
systemctl is-active multi-user.target
assert_no_failed_unit
[[ $(cat /etc/local-change) == 'changed on this machine' ]] || fatal "a local change is lost"

# Started by name it would be in a domain that Debian's policy does not let read the journal.
/lib64/ld-linux-x86-64.so.2 /usr/bin/journalctl --boot --no-hostname --output=cat >/run/vm-test.journal
[[ -s /run/vm-test.journal ]] || fatal "the journal is empty"
# No denial in it means something only if denials get there: audit has told that the policy was loaded (MAC_POLICY_LOAD),
# and the kernel has kept nothing back.
grep -F 'audit: type=1403 ' /run/vm-test.journal || fatal "audit does not tell that a policy was loaded"
if grep -E 'kauditd_printk_skb: .*suppressed|audit: (audit_lost=|backlog limit exceeded)' /run/vm-test.journal; then
  fatal "messages of audit are missing"
fi
denied=$(sed -nE 's/.*avc: +denied +\{ ([^}]*) \}.* scontext=[^:]*:[^:]*:([^: ]*).* tcontext=[^:]*:[^:]*:([^: ]*).* tclass=([a-z_0-9]+).*/\2 \3 \4 \1/p' \
  /run/vm-test.journal | sort -u)
grep -E 'avc: +denied' /run/vm-test.journal || true
while read -r line; do
  echo "fact denied $line" >&3
done < <(grep . <<<"$denied")
echo "fact denials $(grep -c . <<<"$denied")" >&3
if grep -E 'Unable to fix SELinux|Failed to .*(SELinux|label)' /run/vm-test.journal; then
  fatal "systemd could not label something"
fi

if [[ ${LABELS:-} == any ]]; then
  ok "what is denied anyway is told"
  exit
fi

# A file without a label is unlabeled_t to the kernel. Each file system is searched once, the physical root from its top:
# what is mounted out of it is on the same device. The disk with the tests has no labels.
declare -A seen=()
for place in /sysroot / /boot /run /dev/shm $(findmnt --noheadings --list --output TARGET | grep '^/usr/'); do
  device=$(stat --format=%d "$place")
  [[ -z ${seen[$device]:-} ]] || continue
  seen[$device]=$place
  find "$place" -xdev -name lost+found -prune -o -context '*:unlabeled_t:*' -print >>/run/vm-test.unlabelled
done
if grep -Fxv /run/vm-test /run/vm-test.unlabelled; then
  fatal "files without a label"
fi

# What the policy says, file by file. /etc and /boot have what was made in the initramfs.
# Through a pipe: setfiles_t may not write our files, and would say nothing.
restorecon -n -v -r /etc /usr /boot | cat >/run/vm-test.relabel
cat /run/vm-test.relabel
if grep -v 'lost+found' /run/vm-test.relabel | grep -E ' /(boot|usr/lib/modules|etc/(selinux|local-change|vm-test))'; then
  fatal "the policy has other labels"
fi

load_fresh_module
if [[ -n ${EXPECT_OUTCOME:-} ]]; then
  status_is '.outcome == "swapped"'
  jq -r '.stages[] | "\(.name) \(.seconds)"' /run/slipstream/status.json
fi
ok "every file is labelled"
