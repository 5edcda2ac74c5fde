# Every target installs what it needs, says what it is doing, and may be repeated. Caches are kept outside of the tree.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

UPKEEP_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/upkeep
export UPKEEP_CACHE
LOCK_HASH := $(shell cat operator/requirements.lock tests/requirements.lock | sha256sum | cut -c1-12)
VENV := $(UPKEEP_CACHE)/venv-$(LOCK_HASH)
PYTHON := $(VENV)/bin/python
export PYTHONPATH := $(CURDIR)/operator:$(CURDIR)/tests
export PYTHONDONTWRITEBYTECODE := 1
CRDS := crds charts/upkeep/files/crds manifests/install/crds
SAY := printf '\n\033[1m== %s\033[0m\n'

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(VENV)/ready:
	@$(SAY) "Installing Python packages into $(VENV) (once, a minute or two)"
	@python3 -m venv $(VENV)
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check --require-hashes --requirement tests/requirements.lock
	@touch $@

.PHONY: demo demo-down cluster cluster-down images
demo: $(VENV)/ready ## The main job on a real cluster, which it brings up itself; checks every claim
	@$(PYTHON) -m demo up

demo-down: $(VENV)/ready ## Remove the demo, and the cluster if it was built for it
	@$(PYTHON) -m demo down

cluster: $(VENV)/ready ## Bring up a real cluster with images and ingress (UPKEEP_CONTEXT uses one of yours)
	@$(PYTHON) -m lab up
	@$(PYTHON) -m lab images
	@$(PYTHON) -m lab ingress

cluster-down: $(VENV)/ready ## Take down the cluster that `make cluster` built, without a trace
	@$(PYTHON) -m lab down

.PHONY: check lint types layers generated unit
check: lint types layers generated unit ## The fast gate: ruff, mypy, layers, generated files, unit tests

lint: $(VENV)/ready
	@$(SAY) "ruff"
	@$(VENV)/bin/ruff check --quiet .
	@$(VENV)/bin/ruff format --check --quiet .

types: $(VENV)/ready
	@$(SAY) "mypy --strict"
	@$(VENV)/bin/mypy --cache-dir $(UPKEEP_CACHE)/mypy

layers: $(VENV)/ready
	@$(SAY) "layers"
	@$(VENV)/bin/lint-imports --no-cache

generated: $(VENV)/ready
	@$(SAY) "generated files are in sync"
	@$(PYTHON) -m upkeep.api.crd --check $(CRDS)
	@$(PYTHON) -m upkeep.api.reference --check docs/reference
	@$(PYTHON) -m upkeep.api.manualpages --check docs/actions

unit: $(VENV)/ready
	@$(SAY) "unit tests"
	@$(VENV)/bin/pytest -q -p no:cacheprovider -n 2 tests/unit

.PHONY: test
test: check cluster ## Everything: check, contract, operator, integration, browser and cluster tests, and the demo
	@$(SAY) "contract and operator tests (the operator is killed after each of its writes)"
	@$(VENV)/bin/pytest -q -p no:cacheprovider -n 2 tests/contract tests/operator
	@$(SAY) "integration and browser tests (real PostgreSQL, Redis, restic, Chromium)"
	@$(PYTHON) -m lab packages
	@$(VENV)/bin/pytest -q -p no:cacheprovider -n 2 --dist loadfile tests/integration tests/browser
	@$(SAY) "cluster tests"
	@$(PYTHON) -m lab traefik
	@$(PYTHON) -m lab certmanager
	@$(VENV)/bin/pytest -q -p no:cacheprovider -n 2 --dist loadfile --no-loadscope-reorder -m "not alone" tests/cluster
	@$(SAY) "cluster tests that stop the operator"
	@$(VENV)/bin/pytest -q -p no:cacheprovider -m alone tests/cluster
	@$(SAY) "the demo"
	@$(PYTHON) -m demo up
	@$(PYTHON) -m demo down --keep-cluster

.PHONY: bench
bench: cluster ## Print how fast schedules become Jobs, beside the CronJob controller and a bare client
	@$(PYTHON) -m bench

.PHONY: bench-runner
bench-runner: $(VENV)/ready ## Print how soon a Job asks its first question, and the memory that a check takes
	@$(PYTHON) -m lab packages
	@$(PYTHON) -m bench.runner

.PHONY: bench-backup
bench-backup: $(VENV)/ready ## Print what a backup costs beside pg_dump and restic by hand
	@$(PYTHON) -m lab packages
	@$(PYTHON) -m bench.backup

.PHONY: generate lock
generate: $(VENV)/ready ## Write the CRDs and what follows from them
	@$(PYTHON) -m upkeep.api.crd $(CRDS)
	@$(PYTHON) -m upkeep.api.reference docs/reference
	@$(PYTHON) -m upkeep.api.manualpages docs/actions
	@$$($(PYTHON) -c 'from lab import tools; print(tools.helm())') template upkeep charts/upkeep \
		--namespace upkeep-system --set crds.install=false --no-hooks > manifests/install/upkeep.yaml

lock: $(VENV)/ready ## Pin all dependencies anew, by hash
	@$(VENV)/bin/uv pip compile --quiet --upgrade --generate-hashes --no-header --no-emit-index-url --no-emit-find-links \
		--python-version 3.11 pyproject.toml --output-file operator/requirements.lock
	@$(VENV)/bin/uv pip compile --quiet --upgrade --generate-hashes --no-header --no-emit-index-url --no-emit-find-links \
		--python-version 3.11 --extra dev --constraint operator/requirements.lock pyproject.toml \
		--output-file tests/requirements.lock
