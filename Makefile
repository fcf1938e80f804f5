# Two commands do everything on a fresh Debian 12 machine with root: `make up` and `make test`.

VENV := .venv
PYTHON := /usr/bin/python3.11
PIP := $(VENV)/bin/pip install --quiet --disable-pip-version-check
RUN_PACKAGES := openvswitch-switch nftables iproute2 iputils-ping python3 python3-venv
TEST_PACKAGES := $(RUN_PACKAGES) postgresql chromium fonts-dejavu-core tcpdump containernetworking-plugins docker.io podman runc busybox-static golang-go
# OVN is a peer that benchmarks run with databases and switches of its own. Its packages bring services: none is started
# while installing, and what systemd would start at the next boot `systemctl disable ovn-central ovn-host` keeps from it.
BENCH_PACKAGES := $(TEST_PACKAGES) ovn-central ovn-host dnsperf dnsmasq-base iperf3
BENCHMARKS := $(filter-out __init__,$(basename $(notdir $(wildcard benchmarks/*.py))))

.PHONY: up down test lint bench pins run-packages test-packages bench-packages

## Install what is missing, start a lab of three hosts and two tenants, prove isolation with packets.
up: run-packages $(VENV)/.run
	@./warren lab demo

## Leave no process, namespace, device or socket of the lab behind.
down:
	@if [ -x $(VENV)/bin/python ]; then ./warren lab down; else echo "Nothing was ever started here."; fi

## Install what is missing, start what is needed, run every test. TESTS=tests/pure runs some of them.
test: test-packages $(VENV)/.dev build/cnitool
	@$(VENV)/bin/pytest -v -n 3 $(TESTS)

lint: $(VENV)/.dev
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check --quiet .
	@$(VENV)/bin/mypy

## Each prints its own numbers and its peer's from the same run.
bench: bench-packages $(VENV)/.dev
	@for name in $(BENCHMARKS); do echo; $(VENV)/bin/python -m benchmarks.$$name || exit 1; done

## Raise the pinned versions to the newest that fit; run `make lint test` afterwards and commit.
pins: $(VENV)/.dev
	@requirements/pin --upgrade

run-packages:
	@requirements/packages $(RUN_PACKAGES)

test-packages:
	@requirements/packages $(TEST_PACKAGES)

bench-packages:
	@requirements/packages $(BENCH_PACKAGES)

build/cnitool: requirements/cnitool | test-packages
	@requirements/cnitool $@

$(VENV)/bin/python:
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.run: requirements/server.txt requirements/agent.txt | run-packages $(VENV)/bin/python
	@echo "Installing Python packages into $(VENV)"
	@$(PIP) -r requirements/server.txt -r requirements/agent.txt
	@touch $@

$(VENV)/.dev: requirements/dev.txt | test-packages $(VENV)/bin/python
	@echo "Installing Python packages into $(VENV)"
	@$(PIP) -r requirements/dev.txt
	@touch $@ $(VENV)/.run
