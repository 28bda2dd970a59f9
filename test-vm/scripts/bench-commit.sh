#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# usage: bench-commit.sh TREE REPO REF [OPTION...] (in the tools root)
# The tree becomes a commit; OPTIONs are those of `ostree commit`.
set -euo pipefail

tree=$1 repo=$2 ref=$3
shift 3
ostree init --repo="$repo" --mode=bare
ostree commit --repo="$repo" --branch="$ref" --tree="dir=$tree" --subject="$ref" \
  --timestamp='2026-01-01 00:00:00Z' "$@"
