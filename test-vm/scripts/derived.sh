#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# usage: derived.sh OUT
# OUT/layer.tar and layer.tar.gz: what a container build on top of the node image leaves. It adds a program,
# changes a file of the base, removes one, and adds a default to /etc.
set -euo pipefail

out=$1
layer=$out/layer
mkdir -p "$layer/usr/bin" "$layer/usr/share/vm-test" "$layer/etc/vm-test"

printf '#!/bin/sh\necho derived\n' >"$layer/usr/bin/derived-program"
chmod 0755 "$layer/usr/bin/derived-program"
echo 'changed by the derived layer' >"$layer/usr/share/vm-test/changed-by-layer"
# A whiteout: https://github.com/opencontainers/image-spec/blob/main/layer.md#whiteouts
: >"$layer/usr/share/vm-test/.wh.removed-by-layer"
echo 'default of the derived layer' >"$layer/etc/vm-test/derived.conf"

tar --create --directory="$layer" --sort=name --owner=0 --group=0 --numeric-owner --mtime='2026-02-01 00:00:00Z' \
  --file="$out/layer.tar" usr etc
gzip --no-name --keep "$out/layer.tar"
rm -r "$layer"
