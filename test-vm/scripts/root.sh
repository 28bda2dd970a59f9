#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# usage: root.sh SUITE OUT PACKAGE...
# A Debian tree as a directory. No mirror is named: mmdebstrap's default, or what the host's apt knows.
set -euo pipefail

suite=$1 out=$2
shift 2
packages=$(
  IFS=,
  echo "$*"
)

# A suite's Release file may be older than its Valid-Until when the mirror lags: it is signed all the same.
mmdebstrap --mode=root --variant=minbase --format=directory \
  --aptopt='Acquire::Check-Valid-Until "false"' \
  --aptopt='APT::Install-Recommends "false"' \
  --dpkgopt='path-exclude=/usr/share/man/*' \
  --dpkgopt='path-exclude=/usr/share/locale/*' \
  --dpkgopt='path-exclude=/usr/share/doc/*' \
  --dpkgopt='path-exclude=/usr/share/info/*' \
  --include="$packages" "$suite" "$out"
