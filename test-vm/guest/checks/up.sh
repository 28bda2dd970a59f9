#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The node image has come up; when it did, run.sh has said.
set -xeuo pipefail

[[ $(cat /usr/share/vm-test/version) == "$NODE_VERSION" ]]
[[ $(uname -r) == "$NODE_KERNEL" ]]
