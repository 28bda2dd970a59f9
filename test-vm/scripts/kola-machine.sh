#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# usage: kola-machine.sh TREE
# TREE is a Debian root with the packages of kola.txt: make it a machine that kola can work with. Before tree.sh.
set -euo pipefail

tree=$1
here=$(dirname "$0")
guest=$here/../guest/kola-machine
modules=$tree/usr/lib/dracut/modules.d
units=$tree/usr/lib/systemd/system

# dracut would take Debian's module as it is into every initramfs.
mv "$modules/30ignition" "$modules/60kola-ignition"
cp "$here"/../dracut/60kola-ignition/* "$modules/60kola-ignition/"

install -D -m 0644 "$guest/40-core.conf" "$tree/etc/ssh/sshd_config.d/40-core.conf"
install -D -m 0644 "$guest/80-dhcp.network" "$tree/usr/lib/systemd/network/80-dhcp.network"
install -D -m 0644 "$guest/kola-machine.preset" "$tree/usr/lib/systemd/system-preset/00-kola-machine.preset"
install -D -m 0644 "$guest/kola-machine.conf" "$tree/usr/lib/tmpfiles.d/kola-machine.conf"
install -D -m 0644 -t "$units" "$guest"/*.service
install -D -m 0755 "$guest/rpm" "$tree/usr/bin/rpm"
# CoreOS's name of the unit, which kola stops before a reboot.
ln -s ssh.service "$units/sshd.service"
# Each machine makes its own: sshd-keygen.service.
rm -f "$tree"/etc/ssh/ssh_host_*
# It fails where there is no vsock, and kola takes a generator's failure for one of the test.
rm "$tree/usr/lib/systemd/system-generators/systemd-ssh-generator"

chroot "$tree" groupadd wheel
chroot "$tree" useradd --create-home --home-dir /var/home/core --shell /bin/bash --groups adm,sudo,systemd-journal,wheel core
install -d -m 0750 "$tree/etc/sudoers.d"
echo 'core ALL=(ALL) NOPASSWD: ALL' >"$tree/etc/sudoers.d/core"
chmod 0440 "$tree/etc/sudoers.d/core"
