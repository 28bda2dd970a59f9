#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 OR MIT
"""usage: label.py DIR TYPE [DIR TYPE]...

Give each DIR that has no SELinux label this type, and what is below it the label of its directory, as a kernel with a
policy does it. What has a label keeps it, and so do the repository's content objects: their attributes are part of
their checksums. Later DIRs may lie in earlier ones.
"""

import os
import stat
import sys

NAME = "security.selinux"


def label_of(path):
    try:
        return os.getxattr(path, NAME, follow_symlinks=False)
    except OSError:
        return None


def label(path, wanted):
    """Returns the label that the path has then."""
    found = label_of(path)
    if found or path.endswith(".file"):
        return found
    mode = os.lstat(path)
    if not stat.S_ISDIR(mode.st_mode) and mode.st_nlink > 1:
        return None
    os.setxattr(path, NAME, wanted, follow_symlinks=False)
    return wanted


def tree(top, wanted):
    own = label(top, wanted) or wanted
    for entry in os.scandir(top):
        if entry.is_dir(follow_symlinks=False):
            tree(entry.path, own)
        else:
            label(entry.path, own)


if __name__ == "__main__":
    # The innermost first: the outer ones then find them labelled.
    for at in range(len(sys.argv) - 2, 0, -2):
        tree(sys.argv[at], f"system_u:object_r:{sys.argv[at + 1]}:s0\0".encode())
