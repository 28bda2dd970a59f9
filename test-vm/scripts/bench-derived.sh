#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# usage: bench-derived.sh ROOT OUT
# OUT/layer.tar and layer.tar.gz: 200 MB of programs that the base does not have, as a kubelet and its like are on top
# of RHEL CoreOS, small files, a changed file and a whiteout.
set -euo pipefail

root=$1 out=$2
layer=$out/layer
mkdir -p "$layer/usr/bin" "$layer/usr/share/bench/small" "$layer/etc"

# A real program, turned by a MiB: it packs as well as it did, and is no object of the base.
for program in buildah containerd dockerd podman skopeo; do
  tail -c +1048577 "$root/usr/bin/$program" >"$layer/usr/bin/turned-$program" 2>/dev/null ||
    tail -c +1048577 "$root/usr/sbin/$program" >"$layer/usr/bin/turned-$program"
  chmod 0755 "$layer/usr/bin/turned-$program"
done
for ((n = 0; n < 600; n++)); do
  seq --separator=' small file ' "$n" $((n + 400)) >"$layer/usr/share/bench/small/$n"
done
echo 'changed by the derived layer' >"$layer/etc/issue"
# A whiteout: https://github.com/opencontainers/image-spec/blob/main/layer.md#whiteouts
: >"$layer/etc/.wh.motd"

tar --create --directory="$layer" --sort=name --owner=0 --group=0 --numeric-owner --mtime='2026-02-01 00:00:00Z' \
  --file="$out/layer.tar" usr etc
gzip --no-name --keep "$out/layer.tar"
rm -r "$layer"
