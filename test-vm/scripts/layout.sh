#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# usage: layout.sh DIR (in the tools root)
# DIR/built is the image as it was built: copy it as an administrator would who stages it.
set -euo pipefail

dir=$1
mkdir "$dir/stage"
skopeo --insecure-policy copy --quiet --preserve-digests "oci:$dir/built" "oci:$dir/stage/node"
skopeo --insecure-policy copy --quiet --preserve-digests "oci:$dir/built" "oci-archive:$dir/stage/node.tar"
rm -r "$dir/built"
