#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The guest's part: run the scripts that the host named, answer on the port "vmtest", go away. Kola's external tests
# run unchanged: they find their data and the program that reboots where kola puts them.
set -uo pipefail

exec 3>/dev/virtio-ports/vmtest
here=$(dirname "$0")
# shellcheck disable=SC1091  # written by the host
. "$here/env"
export KOLA_EXT_DATA=$here/kola/prestaged/data PATH=$PATH:$here/bin

cat >/tmp/autopkgtest-reboot <<'REBOOT'
#!/bin/bash
cat /run/vm-test.all /run/vm-test.log >/dev/virtio-ports/vmjournal 2>&1
echo "reboot $1" >&3
systemctl reboot
sleep infinity
REBOOT
# /tmp may be mounted noexec elsewhere; here it is not.
chmod +x /tmp/autopkgtest-reboot

echo "state $(systemctl is-system-running --wait)" >&3
echo "up $(($(systemctl show --property=FinishTimestampMonotonic --value) / 1000))" >&3
# The host holds it against its schema, whatever the test is about.
if [[ -e /run/slipstream/status.json ]]; then
  echo "fact status $(jq --compact-output . /run/slipstream/status.json)" >&3
fi

status=0
: >/run/vm-test.all
for script in $VM_TEST_SCRIPTS; do
  echo "script $script" >&3
  bash "$here/$script" >/run/vm-test.log 2>&1
  status=$?
  cat /run/vm-test.log >>/run/vm-test.all
  if [[ $status != 0 ]]; then
    break
  fi
done

if [[ $status == 0 ]]; then
  echo pass >&3
  cat /run/vm-test.all >/dev/virtio-ports/vmjournal
else
  echo "fail $script: exit status $status" >&3
  {
    journalctl --boot --no-hostname --output=short-monotonic
    cat /run/slipstream/status.json
    echo "== $script"
    cat /run/vm-test.log
  } >/dev/virtio-ports/vmjournal 2>&1
fi
sync
systemctl poweroff --force --force
