# make serve, make test, make check: each makes .venv first. Nothing needs root but test-zfs and
# installing what test-apache and test-postgres name; else python3 (with venv) and make suffice.

PYTHON ?= python3
VENV ?= .venv
DATA ?= ./data
LISTEN ?= 127.0.0.1:8080
PYTEST_ARGS ?=
ROUNDS ?= 3

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q
INSTALL := $(PIP) install --no-build-isolation --config-settings editable_mode=compat -c constraints.txt
PYTEST := $(BIN)/python -m pytest
PARALLEL := -n auto --dist loadfile
PINS := constraints.txt setup.cfg setup.py pyproject.toml
JUNIT := build/junit

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help venv serve test test-slow test-zfs test-apache test-postgres test-seaweedfs powercut format lint types docs check bench pins clean

help:  ## what there is to make
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

# --- the virtual environment: one stamp for what runs, one for what develops

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is older than 3.11; say which to use: make PYTHON=/path/python3.11" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
		{ rm -rf $(VENV); echo "$(PYTHON) has no venv module; on Debian: apt install python3-venv" >&2; exit 1; }

$(VENV)/.runtime: $(PINS) | $(BIN)/python
	@echo "installing pinned packages into $(VENV)"
	@$(PIP) install -c constraints.txt setuptools
	@$(INSTALL) -e '.[fast]'
	@touch $@

$(VENV)/.dev: $(PINS) | $(VENV)/.runtime
	@echo "installing pinned development packages into $(VENV)"
	@$(INSTALL) -e '.[dev]'
	@touch $@

venv: $(VENV)/.dev  ## .venv with everything pinned

# --- use

serve: $(VENV)/.runtime  ## start the store on 127.0.0.1:8080 with its data under ./data
	@$(BIN)/zfsstore --data $(DATA) serve --listen $(LISTEN)

# --- tests

test: $(VENV)/.dev  ## the fast tests
	@mkdir -p $(JUNIT)
	@$(PYTEST) $(PARALLEL) -m "not zfs and not apache and not postgres and not seaweedfs and not slow" --junitxml=$(JUNIT)/fast.xml $(PYTEST_ARGS)

test-slow: $(VENV)/.dev  ## the tests that take minutes
	@mkdir -p $(JUNIT)
	@$(PYTEST) $(PARALLEL) -m "slow and not zfs and not apache and not postgres and not seaweedfs" --timeout=600 --junitxml=$(JUNIT)/slow.xml $(PYTEST_ARGS)

test-zfs: $(VENV)/.dev  ## the tests on real ZFS; in a virtual machine where there is none (needs root)
	@PYTHON=$(BIN)/python tools/test-zfs $(PYTEST_ARGS)

test-apache: $(VENV)/.dev  ## the tests under Apache with mod_wsgi
	@PYTHON=$(BIN)/python tools/test-apache $(PYTEST_ARGS)

test-postgres: $(VENV)/.dev  ## the tests on PostgreSQL
	@PYTHON=$(BIN)/python tools/test-postgres $(PYTEST_ARGS)

$(VENV)/.seaweedfs: $(PINS) | $(VENV)/.dev
	@$(INSTALL) -e '.[seaweedfs]'
	@touch $@

test-seaweedfs: $(VENV)/.dev $(VENV)/.seaweedfs  ## the tests on SeaweedFS, a distributed S3 store
	@PYTHON=$(BIN)/python tools/test-seaweedfs $(PYTEST_ARGS)

powercut: $(VENV)/.dev  ## power cuts under write load in a virtual machine: docs/durability.md (needs root)
	@tools/zfs-vm/setup
	@$(BIN)/python -m tools.powercut --rounds $(ROUNDS)

# --- checks

format: $(VENV)/.dev  ## rewrite the sources in the house format
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lint: $(VENV)/.dev  ## format and lint, changing nothing
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .

types: $(VENV)/.dev  ## mypy --strict
	@$(BIN)/mypy

docs: $(VENV)/.dev  ## every link and anchor of the documentation leads somewhere
	@$(BIN)/python tools/check_docs.py

check: lint types docs test  ## what a change must pass

bench: $(VENV)/.dev  ## speed, as ratios to raw system calls
	@$(BIN)/python -m bench

# --- upkeep

pins:  ## write constraints.txt anew from the newest versions
	@rm -rf build/pins && $(PYTHON) -m venv build/pins
	@build/pins/bin/pip -q install '.[dev,seaweedfs]'
	@{ echo "# What make installs. Written by make pins."; \
		build/pins/bin/pip freeze --all | grep -vE '^(pip|wheel|zfsstore)\b'; } >constraints.txt

clean:  ## remove what make built, but not ./data
	@rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
