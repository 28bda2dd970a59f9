#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# What kola and its kolet do on the machine under test: install each test with its data, run it as a unit, and pass its
# wish for a reboot on. run.sh starts this; a test runs unchanged.
set -uo pipefail

here=$(dirname "$0")
request=/run/kola-reboot acknowledged=/run/kola-reboot-ack rebooting=/run/kola-rebooting

# The test asks, the host has to know the mark, then the test may go down: `reboot`, or in a way of its own.
cat >/tmp/autopkgtest-reboot-prepare <<PREPARE
#!/bin/bash
set -euo pipefail
[[ -p $request ]] || { echo "a test that shares its machine may not reboot it" >&2; exit 1; }
echo "\$1" >$request
read -r _ <$acknowledged
PREPARE
cat >/tmp/autopkgtest-reboot <<'REBOOT'
#!/bin/bash
set -xeuo pipefail
/tmp/autopkgtest-reboot-prepare "$1"
reboot
REBOOT
chmod +x /tmp/autopkgtest-reboot-prepare /tmp/autopkgtest-reboot

# Pass a mark on to the host, which reads it on the port that run.sh holds.
await_reboot() {
  local mark
  read -r mark <"$request"
  touch "$rebooting"
  cat /run/vm-test.log >/dev/virtio-ports/vmjournal
  echo "reboot $mark" >&3
  echo >"$acknowledged"
}

# usage: run_test NAME EXECUTABLE DATA UNIT FOLDER
run_test() {
  local name=$1 executable=$2 data=$3 unit=$4 folder=$5 base
  base=$(basename "$executable")
  install -D -m 0755 "$here/$executable" "/usr/local/bin/kola-runext-$base"
  rm -rf "$folder"
  if [[ $data != - ]]; then
    mkdir -p "$(dirname "$folder")"
    cp -r "$here/$data" "$folder"
  fi
  systemd-run --quiet --wait --pipe --service-type=exec --unit="$unit" \
    --setenv=KOLA_UNIT="$unit.service" --setenv=KOLA_TEST="$name" --setenv=KOLA_TEST_EXE="$base" \
    --setenv=KOLA_EXT_DATA="$folder" --setenv=KOLA_EXT_OSTREE_OCIARCHIVE=/run/injected/node.ociarchive \
    --setenv=AUTOPKGTEST_REBOOT_MARK="$AUTOPKGTEST_REBOOT_MARK" "/usr/local/bin/kola-runext-$base"
}

if [[ -e /dev/disk/by-label/injected ]]; then
  mkdir -p /run/injected
  mount -o ro /dev/disk/by-label/injected /run/injected
fi

failed=0 number=0
while read -r name executable data kind; do
  unit=kola-runext folder=/var/opt/kola/extdata
  if [[ $kind == exclusive ]]; then
    mkfifo "$request" "$acknowledged"
    await_reboot &
  else
    number=$((number + 1))
    unit+=-$number folder+=-$number
  fi
  echo "== $name"
  result=passed
  run_test "$name" "$executable" "$data" "$unit" "$folder" </dev/null || result=failed
  # It has not ended: its unit is stopped because the machine goes down.
  [[ ! -e $rebooting ]] || sleep infinity
  echo "fact kola $name $result" >&3
  [[ $result == passed ]] || failed=1
done <<<"$KOLA_TESTS"
exit "$failed"
