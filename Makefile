# SPDX-License-Identifier: Apache-2.0 OR MIT
# The two commands: `make demo` and `make check`. Both install what they need but Rust, with sudo if they are not run as
# root.

PREFIX ?= /usr
CARGO ?= cargo
# What `install` takes its binaries from.
TARGET_DIR ?= target
DRACUT_DIR = $(DESTDIR)$(PREFIX)/lib/dracut/modules.d/50slipstream
MAN_DIR = $(DESTDIR)$(PREFIX)/share/man/man8
SHELL_FILES = .ci/run .ci/check-rust .ci/install-packages dracut/50slipstream/slipstream-generator test-vm/guest/vm-test-agent test-vm/guest/kola-machine/rpm \
	$(shell git ls-files '*.sh')

# Real disks are made of files with owners and xattrs, in namespaces: as root, with sudo otherwise.
SUDO = $(if $(filter 0,$(shell id -u)),,sudo -E env PATH="$$PATH")
TEST_VM = $(SUDO) $(TARGET_DIR)/release/test-vm

.PHONY: all
all:
	$(CARGO) build --release --locked --workspace
	@# Every library that the initramfs program needs is copied into every initramfs, with all that it needs in turn.
	@needed=$$(readelf --dynamic $(TARGET_DIR)/release/slipstream-initrd) && \
		! echo "$$needed" | grep -E 'NEEDED.*(libcurl|libcrypto|libostree)'
	@# Without libcurl's headers the crate curl-sys builds a libcurl of its own, without TLS.
	@needed=$$(readelf --dynamic $(TARGET_DIR)/release/slipstream) && \
		echo "$$needed" | grep -q 'NEEDED.*libcurl[-a-z]*\.so' || { \
		echo 'make: slipstream is not linked with the libcurl of the system. Install its headers' >&2; \
		echo '(Debian: libcurl4-openssl-dev; Fedora, CentOS Stream: libcurl-devel), then: cargo clean -p curl-sys' >&2; exit 1; }

# Installs into the image that is being built; `add_dracutmodules+=" slipstream "` then puts it into its initramfs.
.PHONY: install
install:
	install -D -m 0755 $(TARGET_DIR)/release/slipstream $(DESTDIR)$(PREFIX)/bin/slipstream
	install -D -m 0755 $(TARGET_DIR)/release/slipstream-initrd $(DESTDIR)$(PREFIX)/libexec/slipstream-initrd
	install -D -m 0755 -t $(DRACUT_DIR) dracut/50slipstream/module-setup.sh
	install -D -m 0755 -t $(DRACUT_DIR) dracut/50slipstream/slipstream-generator
	install -D -m 0644 -t $(DRACUT_DIR) dracut/50slipstream/*.service
	install -D -m 0644 -t $(MAN_DIR) docs/man/*.8
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/lib/systemd/catalog systemd/slipstream.catalog

# Builds disks and images and boots them: the first boot ends on the node image.
.PHONY: demo
demo: deps all
	$(TEST_VM) demo

# All tests. The slow rest is run by hand: see docs/testing.md.
.PHONY: check
check: deps lint unit differential vm

.PHONY: deps
deps:
	CARGO="$(CARGO)" .ci/check-rust
	.ci/install-packages .ci/packages.txt test-vm/host-packages.txt

.PHONY: lint
lint: all
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	@# "All" are those that `cargo test` runs by itself.
	$(CARGO) clippy --locked --package slipstream --test differential -- -D warnings
	@# Where git fails, most of them are missing.
	@[ $(words $(SHELL_FILES)) -ge 20 ] || { echo 'make lint: git ls-files has not named the scripts' >&2; exit 1; }
	shellcheck --external-sources $(SHELL_FILES)
	rm -rf $(TARGET_DIR)/lint && mkdir -p $(TARGET_DIR)/lint/etc/systemd
	$(MAKE) --no-print-directory install DESTDIR=$(TARGET_DIR)/lint >/dev/null
	cp -r $(TARGET_DIR)/lint/usr/lib/dracut/modules.d/50slipstream $(TARGET_DIR)/lint/etc/systemd/system
	systemd-analyze verify --root=$(TARGET_DIR)/lint --recursive-errors=no --man=no \
		slipstream.service slipstream-emergency.service slipstream-reboot.service slipstream-settle.service slipstream-way-back.service
	journalctl --quiet --root=$(TARGET_DIR)/lint --update-catalog

# All that needs neither a VM nor what `differential` makes. What cannot run here is ignored, with the reason.
.PHONY: unit
unit:
	$(CARGO) test --locked --workspace
	$(CARGO) test --locked --package slipstream --features failpoints --test boot -- boot::failpoints

# Pulls from real servers, in a network namespace; a part of `unit`. `make servers CASES=proxies` chooses by name.
.PHONY: servers
servers:
	$(CARGO) test --locked --package slipstream --test servers -- --nocapture $(CASES)

# The importer against ostree-ext, image by image. `make differential CASES=selinux` chooses by name.
.PHONY: differential
differential: all
	$(TEST_VM) differential $(CASES)

# Real boots, and some of the states that a power cut leaves.
.PHONY: vm
vm: all
	$(TEST_VM) test
	$(TEST_VM) power-cuts --once --states 30 --run-every 10

# The tests of kola-tests/ with the real kola, which is part of coreos-assembler: on a disk of ours, or on a CoreOS that has
# slipstream: `make kola IMAGE=coreos.qcow2 ARCHIVE=coreos.ociarchive`. `TESTS='ext.slipstream.prestaged'` chooses.
.PHONY: kola
kola: kola-on-path all
	mkdir -p $(TARGET_DIR)/kola
	$(TEST_VM) kola-image $(if $(IMAGE),--disk $(IMAGE)) $(if $(ARCHIVE),--archive $(ARCHIVE)) >$(TARGET_DIR)/kola/workdir
	test-vm/scripts/run-kola.sh $(TARGET_DIR)/kola "$$(cat $(TARGET_DIR)/kola/workdir)" $(TESTS)

.PHONY: kola-on-path
kola-on-path:
	@command -v kola >/dev/null || { echo 'make kola: no program kola is on PATH; coreos-assembler has it (mantle/)' >&2; exit 1; }

# What is too slow for `check`: an hour or more. The figures in docs/reliability.md.
.PHONY: vm-full
vm-full: deps vm
	@# That bad states are found at all: of a disk that ignores flushes.
	$(TEST_VM) power-cuts --fstype xfs --states 16 --run-every 16 --lying-disk
	$(TEST_VM) power-cuts --states 0 --every-set 8 --run-every 50
	$(TEST_VM) power-cuts --once --states 200 --run-every 20
	$(TEST_VM) power-cuts --states 1000 --run-every 20 --boots 12

# The figures in docs/timing.md.
.PHONY: timing
timing: all
	$(TEST_VM) timing

# The figures in docs/performance.md. Half an hour, and nothing else should run meanwhile. `make bench BENCH='--rounds 1'`
# is quicker; `BENCH='--parts inflate'` compares libraries and needs cmake, nasm, autoconf, automake and libtool.
.PHONY: bench
bench: deps all
	$(TEST_VM) bench $(BENCH)

# Each fuzz target for FUZZ_SECONDS: docs/fuzzing.md. Not part of `check`.
FUZZ_SECONDS ?= 60

.PHONY: fuzz
fuzz:
	fuzz/run.sh $(FUZZ_SECONDS)
