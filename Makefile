# The front door: `make demo` and `make test` on a fresh Debian or Ubuntu machine, as root or with sudo.
# They install and start what is missing (Rust, a Docker engine); everything else is `cargo xtask --help`.

SHELL := /bin/bash
# Rust may have been installed a moment ago, and sbin is where Debian keeps dockerd and nft.
export PATH := $(PATH):$(or $(CARGO_HOME),$(HOME)/.cargo)/bin:/usr/local/sbin:/usr/sbin:/sbin

.DEFAULT_GOAL := help
.PHONY: help demo test build lint fmt microvm-setup kernel rust engine tools
# The steps print what they do, one at a time.
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

help: ## Show this
	@echo 'usage: make TARGET'
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo 'demo: DEMO_PORT=8081 and DEMO_PORTAL_PORT=3001 take other ports, DEMO_SEATS=10 makes a larger class, DEMO_ONCE=1 does not wait'
	@echo 'microvm-setup: STATE_DIR=/srv/seats prepares another state folder, KERNEL=FILE takes another kernel, such as that of make kernel'

demo: rust engine ## Start the service and a class of three seats; Ctrl-C removes all of it
	@cargo xtask demo

test: rust tools ## Run every test that can run here
	@scripts/ensure-docker.sh || echo 'note: no Docker engine, so the tests that need one will be counted as skipped' >&2
	@cargo xtask test

build: rust ## Build the service: target/debug/orchestrator
	@cargo build --bin orchestrator

lint: rust tools ## Check format, clippy and the shell scripts
	@cargo xtask lint

fmt: rust ## Format the Rust code
	@cargo xtask fmt

microvm-setup: rust ## Prepare this host for seats as microVMs: QEMU, nft, a kernel, the guest agent
	@scripts/microvm-setup.sh $(if $(STATE_DIR),--state-dir '$(STATE_DIR)') $(if $(KERNEL),--kernel '$(KERNEL)')

kernel: ## Build a guest kernel of our own, optional: minutes, into ~/.cache/clarateach/kernel
	@images/kernel/build.sh

rust:
	@scripts/ensure-rust.sh

engine:
	@scripts/ensure-docker.sh

tools:
	@scripts/ensure-test-tools.sh
