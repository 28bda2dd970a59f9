#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# usage: policy.sh ROOT MODULE.cil
# ROOT has Debian's policy: put it where an ostree system has it, switched on, with a module more.
set -euo pipefail

root=$1 module=$2
etc=$root/etc/selinux

# As on RHEL CoreOS, the policy's modules are in /etc: /var is the machine's, and a merge of /etc rebuilds the policy.
mv "$root/var/lib/selinux/default/"* "$etc/default/"
echo 'store-root = /etc/selinux' >>"$etc/semanage.conf"
# On a first boot /var is empty. Whether systemd-tmpfiles makes a directory of a service's, or the service did before it, is
# a race, and only with this may it. What setsebool would write; it does not run where SELinux does not.
echo 'systemd_tmpfiles_manage_all=1' >"$etc/default/active/booleans.local"
cp "$module" "$root/tmp/"
bash "$(dirname "$0")/enter.sh" "$root" -- semodule --noreload --store=default --install="/tmp/$(basename "$module")"
rm "$root/tmp/$(basename "$module")"
# No program reads them again: the compiled form of each is next to it.
find "$etc/default/active/modules" -name hll -delete
rm -r "$root/usr/share/selinux"
sed -i 's/^SELINUX=.*/SELINUX=enforcing/' "$etc/config"
# The commit is labelled with /usr/etc in it. One line does not lead to another.
printf '%s\n' '/usr/etc/init.d /etc/rc.d/init.d' '/usr/etc/systemd/system /usr/lib/systemd/system' \
  '/usr/etc/systemd/user /usr/lib/systemd/user' '/usr/etc /etc' >>"$etc/default/contexts/files/file_contexts.subs_dist"
