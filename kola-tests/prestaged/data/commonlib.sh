# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# What the tests share; sourced.

# The hand-off, docs/status.md.
STATUS=/run/slipstream/status.json
# Of the event at the end of every request, docs/usage.md.
EVENT=b3ee8e6d15e3474c9c1a8b8d46ca758f

ok() {
  echo "ok: $*"
}

fatal() {
  echo "fatal: $*" >&2
  exit 1
}

# Assert a jq expression on the status file; options of jq may follow. jq -e alone is content with an empty file.
status_is() {
  [[ $(jq "${@:2}" "$1" "$STATUS") == true ]] || fatal "status is not $1: $(cat "$STATUS")"
}

# Print a string of the status file.
status_of() {
  jq -er "$1" "$STATUS" || fatal "status has no $1"
}

# The events of this boot, as a JSON array.
events() {
  journalctl --boot --output=json MESSAGE_ID="$EVENT" | jq --slurp .
}

# STATEROOT CHECKSUM.SERIAL of the deployment that ostree names as booted.
booted_deployment() {
  ostree admin status | awk '$1 == "*" { print $2, $3 }'
}

# The path of the booted deployment.
booted_path() {
  local stateroot deployment
  read -r stateroot deployment <<<"$(booted_deployment)"
  [[ -n $deployment ]] || fatal "no deployment is booted"
  echo "/sysroot/ostree/deploy/$stateroot/deploy/$deployment"
}

# The file of the boot loader entry that boots next.
default_entry() {
  grep --with-filename '^version ' /boot/loader/entries/*.conf | sort --key=2 --numeric-sort | tail -n 1 | cut -d: -f1
}

# Everyone who asks for the booted deployment is told that it is the node image that was asked for.
assert_node_image_booted() {
  local image commit
  image=$(status_of .request.image.value)
  commit=$(status_of .node_image.commit)
  [[ $(booted_path) == */"$commit".* ]] || fatal "booted is $(booted_path), not commit $commit"
  grep -Fxq "container-image-reference=ostree-unverified-registry:$image" "$(booted_path).origin" ||
    fatal "origin: $(cat "$(booted_path).origin")"
  # A composefs root is made of the deployment's image, and ostree has no other way to say which one that is.
  if [[ $(findmnt --noheadings --output FSTYPE /) == overlay ]]; then
    [[ -s $(booted_path)/.ostree.cfs ]] || fatal "the booted deployment has no composefs image"
  else
    [[ /usr -ef $(booted_path)/usr ]] || fatal "/usr is not the booted deployment's"
  fi
  findmnt --noheadings --output OPTIONS --target /usr | grep -Eq '(^|,)ro(,|$)' || fatal "/usr can be written"
  ok "the node image $commit is booted, with the origin $image"
}

# A module of the running kernel that is not loaded: finding it needs modules.dep, loading it the file.
fresh_module() {
  local module
  for module in dummy veth bonding macvlan tun nbd; do
    if [[ ! -e /sys/module/$module ]] && modinfo "$module" >/dev/null 2>&1; then
      echo "$module"
      return
    fi
  done
  fatal "every module that could be loaded is loaded, or none is found for $(uname -r)"
}

load_fresh_module() {
  local module
  module=$(fresh_module)
  modprobe "$module" || fatal "module $module of $(uname -r) does not load"
  [[ -e /sys/module/$module ]] || fatal "module $module is not loaded"
  ok "module $module of $(uname -r) loads"
}

assert_no_failed_unit() {
  local failed
  failed=$(systemctl --failed --no-legend --plain)
  [[ -z $failed ]] || fatal "failed units: $failed"
  ok "no unit has failed"
}

# Mounts of ours, the modules apart: there must be none.
assert_no_mount_left() {
  if findmnt --noheadings /proc/cmdline; then
    fatal "something is mounted on /proc/cmdline"
  fi
  if findmnt --noheadings --source LABEL=nodeimage; then
    fatal "the staging device is still mounted"
  fi
  if findmnt --raw --noheadings --output TARGET | grep slipstream; then
    fatal "a mount of slipstream's is left"
  fi
  ok "no mount is left"
}

# What the status in file $1 calls a leftover is gone, where the jq expression $2 is true of it. There is some of it.
assert_gone() {
  local leftovers kind path
  leftovers=$(jq -r ".leftovers[] | select($2) | \"\\(.kind) \\(.path)\"" "$1")
  [[ -n $leftovers ]] || fatal "no leftover with $2 is named: $(cat "$1")"
  while read -r kind path; do
    if [[ $kind == mount ]]; then
      ! mountpoint --quiet "$path" || fatal "left from the swap: mount $path"
    else
      [[ ! -e $path && ! -L $path ]] || fatal "left from the swap: $kind $path"
    fi
  done <<<"$leftovers"
  ok "of $(wc -l <<<"$leftovers") leftovers with $2 none is left"
}
