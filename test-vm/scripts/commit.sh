#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# usage: commit.sh TREE REPO REF VERSION (in the tools root)
# The tree becomes a bootable commit, labelled by its own SELinux policy if it has one; it is consumed.
set -euo pipefail

labels=()
if [[ -e $1/usr/etc/selinux/config ]]; then
  labels=("--selinux-policy=$1")
fi
ostree init --repo="$2" --mode=bare
ostree commit --repo="$2" --branch="$3" --tree="dir=$1" --consume --bootable "${labels[@]}" \
  --subject="Test OS $4" --timestamp='2026-01-01 00:00:00Z' --add-metadata-string="version=$4"
