# Everything a developer or CI runs. `make` alone lists the targets; every target that needs the environment makes it first.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/.stamps
# Files that ruff checks; mypy's are in pyproject.toml.
SOURCES := protocol runtime sidecar relay sink operator client cli tests bench examples scripts charts

# What is in C, and what compiles it.
NATIVE := scripts/build_native.py protocol/meterfabric_protocol/_merkle.c sidecar/meterfabric_sidecar/_places.c

# How long or how much, for the targets that say so.
SECONDS ?= 60
N ?= 100000
DEMO_DIR ?= demo
# Where `make demo` runs: own, or current for the cluster of the current context, which pulls images from REGISTRY; TAG
# is that of images that are there already.
CLUSTER ?= own
REGISTRY ?=
TAG ?=
BENCH ?=
# Of a test cluster: the version of Kubernetes, how many nodes.
KUBERNETES ?= 1.37.2
NODES ?= 1
MATRIX ?= 1.36.3 1.35.4
# Clusters that e2e has at a time.
AT_ONCE ?= 2
# Of bench-cluster.
FABRICS ?= 1000
# Of soak-cluster: minutes of faults, what they are drawn from (a number; drawn anew where it is empty), the report's folder.
MINUTES ?= 20
SEED ?=
AFTERNOON ?= afternoon

# Go comes from the machine, or, where it has none, from the wheel that `setup` installs. It fetches no other toolchain.
export PATH := $(PATH):$(abspath $(BIN))
export GOTOOLCHAIN ?= local

PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
PYTEST := $(BIN)/python -m pytest

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-22s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo "  variables: PYTHON=$(PYTHON) VENV=$(VENV) SECONDS=$(SECONDS) N=$(N) DEMO_DIR=$(DEMO_DIR) BENCH=$(BENCH) KUBERNETES=$(KUBERNETES) NODES=$(NODES) FABRICS=$(FABRICS) MINUTES=$(MINUTES)"

# ---------------------------------------------------------------------------------------------------------- environment

.PHONY: setup
setup: $(STAMPS)/debian $(STAMPS)/python $(STAMPS)/interop $(STAMPS)/go ## make the environment (nothing to do when it is up to date)
	@:

$(STAMPS)/venv:
	@scripts/debian.sh $(PYTHON):python3 "$(PYTHON) -c 'import venv, ensurepip'":python3-venv
	@echo "setup: a virtual environment in $(VENV)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make setup PYTHON=…")'
	@$(PYTHON) -m venv $(VENV)
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/debian: scripts/debian.sh Makefile | $(STAMPS)/venv
	@scripts/debian.sh cc:gcc 'test -e /usr/include/stdio.h':libc6-dev 'test -e /usr/include/openssl/evp.h':libssl-dev \
	  '$(PYTHON)-config --includes':python3-dev \
	  jq:jq ip:iproute2 psql:postgresql-client 'ls /usr/lib/postgresql/*/bin/initdb':postgresql
	@touch $@

$(STAMPS)/python: requirements-dev.lock pyproject.toml $(NATIVE) | $(STAMPS)/venv $(STAMPS)/debian
	@echo "setup: the packages of requirements-dev.lock, each held to its hash"
	@$(PIP) install --require-hashes --no-deps -r requirements-dev.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(STAMPS)/interop: requirements-interop.lock $(STAMPS)/python
	@echo "setup: the independent implementation that tests compare with"
	@$(PIP) install --require-hashes --no-deps --ignore-requires-python -r requirements-interop.lock
	@touch $@

$(STAMPS)/go: requirements-go.lock $(STAMPS)/python
	@command -v go >/dev/null || { echo "setup: a Go toolchain from a wheel"; $(PIP) install --require-hashes --no-deps -r requirements-go.lock; }
	@touch $@

$(STAMPS)/bench: bench/requirements.lock $(STAMPS)/python $(STAMPS)/go
	@echo "setup: the peer that bench measures beside us"
	@$(PIP) install --require-hashes --no-deps -r bench/requirements.lock
	@touch $@

.PHONY: lock
lock: setup ## resolve the dependencies again and write the lock files
	scripts/lock.sh $(BIN)/uv

.PHONY: clean
clean: ## remove what the targets made: environment, caches, demo
	rm -f protocol/meterfabric_protocol/*.so sidecar/meterfabric_sidecar/*.so
	rm -rf $(VENV) .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache dist build $(DEMO_DIR)
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --------------------------------------------------------------------------------------------------------------- checks

.PHONY: check
check: lint types layers unit ## what must hold before every commit, in two minutes

.PHONY: test
test: check simulation integration kubernetes ## everything but the faults on a real Kubernetes, which are e2e's; as root, CI runs this

.PHONY: lint
lint: setup ## style: ruff's checks and its format
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)

.PHONY: format
format: setup ## rewrite the sources in the project's format
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

.PHONY: types
types: setup ## mypy, strict
	$(BIN)/mypy

.PHONY: layers
layers: setup ## who may import whom
	$(BIN)/lint-imports

.PHONY: unit
unit: setup ## tests without other processes
	$(PYTEST) -n 2 -m "not integration and not fault and not cluster" --ignore=tests/simulation tests

.PHONY: simulation
simulation: setup ## seeded histories of whole fabrics, the books checked after each
	$(PYTEST) -n 2 tests/simulation

.PHONY: integration
integration: setup ## real processes, sockets, databases; kills, full disks
	$(PYTEST) -m "(integration or fault) and not cluster" --ignore=tests/simulation tests

$(STAMPS)/cluster: scripts/debian.sh $(STAMPS)/python $(STAMPS)/go
	@scripts/debian.sh runc:runc 'test -x /usr/lib/cni/bridge -o -x /opt/cni/bin/bridge':containernetworking-plugins \
	  iptables:iptables conntrack:conntrack ip:iproute2
	@touch $@

.PHONY: charts
charts: setup ## write what of the charts is derived from the operator's code
	$(BIN)/python scripts/chart_policies.py

.PHONY: cluster-build
cluster-build: $(STAMPS)/cluster ## build Kubernetes KUBERNETES for test clusters, once; a quarter of an hour on 2 cores
	$(BIN)/python -m tests.cluster build --version $(KUBERNETES)

.PHONY: cluster-up
cluster-up: $(STAMPS)/cluster ## a Kubernetes of NODES nodes on this machine, as root; says where its kubeconfig is
	$(BIN)/python -m tests.cluster up --version $(KUBERNETES) --nodes $(NODES)

.PHONY: cluster-down
cluster-down: $(STAMPS)/cluster ## remove it, with all that it made
	$(BIN)/python -m tests.cluster down

$(STAMPS)/images: scripts/debian.sh $(STAMPS)/python
	@scripts/debian.sh buildah:buildah mmdebstrap:mmdebstrap
	@touch $@

.PHONY: images
images: $(STAMPS)/images ## build the Dockerfile's images, as root, without a daemon; say where their archives are
	$(BIN)/python -m tests.cluster image

# What e2e runs of tests/kubernetes, and what of that breaks nothing: the kinds, a fabric's whole way, injection, who isn't let in.
E2E ?= tests/kubernetes
CALM := kinds fabric injection cli_k8s_cluster not_admitted

.PHONY: e2e
e2e: $(STAMPS)/cluster $(STAMPS)/images ## the product on a real Kubernetes KUBERNETES of the tests' own, as root; built before the first
	$(BIN)/python -m tests.cluster build --version $(KUBERNETES)
	@# Mostly waits, so several clusters at a time; the tests of a file share one.
	KUBERNETES=$(KUBERNETES) $(PYTEST) -m cluster --durations=10 -n $(AT_ONCE) --dist loadfile tests/charts tests/cluster
	KUBERNETES=$(KUBERNETES) $(PYTEST) -v -m cluster --durations=20 -n $(AT_ONCE) --dist loadfile --no-loadscope-reorder $(E2E)

.PHONY: kubernetes
kubernetes: ## the part of e2e in which nothing is broken
	$(MAKE) e2e E2E="$(CALM:%=tests/kubernetes/test_%.py)"

.PHONY: matrix
matrix: $(STAMPS)/cluster $(STAMPS)/images ## the same on the older ones: MATRIX
	for version in $(MATRIX); do $(MAKE) e2e KUBERNETES=$$version; done

.PHONY: fuzz
fuzz: setup ## coverage-guided fuzzing of the decoders for SECONDS each
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS)

.PHONY: soak
soak: setup ## N histories more
	$(BIN)/python -m tests.simulation.soak --histories $(N)

.PHONY: soak-cluster
soak-cluster: $(STAMPS)/cluster $(STAMPS)/images ## MINUTES of faults on three nodes, drawn from SEED, as root; report in AFTERNOON
	$(BIN)/python -m tests.cluster build --version $(KUBERNETES)
	$(BIN)/python -m tests.e2e --version $(KUBERNETES) --minutes $(MINUTES) $(if $(SEED),--seed $(SEED)) --out $(AFTERNOON)

# ---------------------------------------------------------------------------------------------------- to see and measure

DEMO := $(BIN)/python examples/kube-usage/demo.py --dir $(DEMO_DIR)/kubernetes --cluster $(CLUSTER)

.PHONY: demo
demo: setup ## meter a Kubernetes made here, or with CLUSTER=current REGISTRY=… yours: kill a relay, audit, prove, bill
	@$(DEMO) check
	@$(MAKE) $(if $(filter own,$(CLUSTER)),$(STAMPS)/cluster) $(if $(TAG),,$(STAMPS)/images)
	@$(DEMO) --registry "$(REGISTRY)" --tag "$(TAG)" up

.PHONY: demo-down
demo-down: setup ## remove what it made; CLUSTER=current where it ran there
	@$(DEMO) down

.PHONY: demo-local
demo-local: setup ## meter this machine through a fabric of local processes, without Kubernetes and without root
	$(BIN)/python examples/machine-meter/demo.py --dir $(DEMO_DIR)/local

.PHONY: bench
bench: setup $(STAMPS)/bench ## measure this machine, beside NATS JetStream; BENCH="whole_way memory" picks
	$(BIN)/python -m bench.run $(BENCH)

.PHONY: bench-cluster
bench-cluster: $(STAMPS)/cluster $(STAMPS)/images ## measure the operator on a Kubernetes of its own, as root: starting, and FABRICS with 5 pods each
	FABRICS=$(FABRICS) KUBERNETES=$(KUBERNETES) $(BIN)/python -m bench.run starting crowded
