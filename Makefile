# SPDX-License-Identifier: Apache-2.0 OR MIT
# The two commands: `make demo` and `make check`. Both install what they need (as root, or with sudo).

PREFIX ?= /usr
CARGO ?= cargo
# What `install` takes its binaries from.
TARGET_DIR ?= target
DRACUT_DIR = $(DESTDIR)$(PREFIX)/lib/dracut/modules.d/50slipstream
MAN_DIR = $(DESTDIR)$(PREFIX)/share/man/man8

.PHONY: all
all:
	$(CARGO) build --release --locked --package slipstream

# Installs into the image that is being built; `add_dracutmodules+=" slipstream "` then puts it into its initramfs.
.PHONY: install
install:
	install -D -m 0755 $(TARGET_DIR)/release/slipstream $(DESTDIR)$(PREFIX)/bin/slipstream
	install -D -m 0755 $(TARGET_DIR)/release/slipstream-initrd $(DESTDIR)$(PREFIX)/libexec/slipstream-initrd
	install -D -m 0755 -t $(DRACUT_DIR) dracut/50slipstream/module-setup.sh
	install -D -m 0644 -t $(DRACUT_DIR) dracut/50slipstream/*.service
