# The first interpreter at hand that was built with its optimisations, as a distribution's own is and one that pyenv has built is not:
# the gateway costs a ninth less with it. It has to be able to make virtual environments, and to have its headers for the kernel.
IS_QUICK := import ensurepip, os, sys, sysconfig, venv; \
	quick = sys.base_prefix == "/usr" or "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or ""); \
	whole = os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")); \
	sys.exit(not (quick and whole and sys.version_info >= (3, 11)))
PYTHON ?= $(firstword $(foreach each,python3 /usr/bin/python3,$(shell $(each) -c '$(IS_QUICK)' 2>/dev/null && echo $(each))) python3)
BIN := .venv/bin
WORKERS ?= 2
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-emit-index-url --no-emit-find-links

help:  ## What can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

run: .venv/.run-ready  ## Broker, gateway, page and a small fleet, until Ctrl-C
	$(BIN)/teleloop run

test: setup system-packages  ## Every test that takes seconds
	$(BIN)/python -m pytest -m "not night" -n $(WORKERS) --dist loadfile

test-night: setup system-packages  ## The tests that take minutes, and new examples for the properties
	$(BIN)/python -m pytest -m "night or hypothesis" --hypothesis-profile night --timeout 3600

lint: setup  ## ruff, mypy, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup  ## The decode benchmarks
	-$(BIN)/pip install -q -e '.[bench]'
	$(BIN)/python -m bench.decode --write

bench-load: setup system-packages  ## Load, capacity and peers: measures anew and writes docs/performance.md (25 minutes)
	$(BIN)/python -m bench.report run

setup: .venv/.dev-ready  ## The virtual environment with everything for development

lock: setup  ## Make requirements*.lock anew from pyproject.toml
	$(LOCK) --output-file requirements.lock pyproject.toml
	$(LOCK) --extra dev --extra postgres --constraint requirements.lock --output-file requirements-dev.lock pyproject.toml

system-packages: setup
	$(BIN)/python tests/lab/system_packages.py

clean:  ## Remove the virtual environment and everything that was built
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .benchmarks
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/python:
	@echo "making a virtual environment in .venv, once; a minute or two"
	$(PYTHON) -m venv .venv

.venv/.run-ready: pyproject.toml requirements.lock | .venv/bin/python
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	touch $@

.venv/.dev-ready: pyproject.toml requirements-dev.lock | .venv/bin/python
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	touch $@ .venv/.run-ready

.PHONY: help run test test-night lint bench bench-load setup lock system-packages clean
