#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# usage: filesystem.sh DIR IMAGE LABEL (in the tools root)
# An ext4 image of DIR, with some room.
set -euo pipefail

size=$(du --summarize --block-size=1M "$1" | cut -f1)
rm -f "$2"
truncate --size="$((size + size / 10 + 16))M" "$2"
mke2fs -q -t ext4 -m 0 -L "$3" -d "$1" "$2"
