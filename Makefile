# Each target makes what it needs; a fresh machine has to have Python 3.11 or later and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Plugins have a venv of their own, so that the tests of trioedge see no plugin.
PLUGINS := $(patsubst %/pyproject.toml,%,$(wildcard plugins/*/pyproject.toml))
PLUGINS_BIN := $(CURDIR)/$(VENV)/plugins/bin
# Tests that start programs and processes wait most of their time, so they may run beside the others: make -j3 test.
REAL := tests/admin tests/cli tests/integration tests/process
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: help demo test tests-of-trioedge tests-of-processes tests-of-plugins lint docs bench soak clean

help:  ## Say what can be made.
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

demo: $(VENV)/demo  ## Run edges with two workers, a built-in upstream, clients and a control plane of their own.
	@$(BIN)/trioedge demo --control-plane examples.control_plane

test: tests-of-trioedge tests-of-processes tests-of-plugins  ## Run the tests, and those of each plugin.

tests-of-trioedge: $(VENV)/test
	@$(BIN)/python -m pytest -q $(REAL:%=--ignore=%)

tests-of-processes: $(VENV)/test
	@$(BIN)/python -m pytest -q $(REAL)

tests-of-plugins: $(VENV)/plugins/made
	@set -e; for plugin in $(PLUGINS); do echo "$$plugin"; (cd $$plugin && $(PLUGINS_BIN)/python -m pytest -q); done

lint: $(VENV)/lint $(VENV)/plugins/made  ## Run the linters, the types and the architecture test.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@set -e; for plugin in $(PLUGINS); do echo "$$plugin"; (cd $$plugin && $(PLUGINS_BIN)/mypy); done
	$(BIN)/python -m pytest -q tests/test_architecture.py

docs: $(VENV)/plugins/made  ## Build the guide into site/; its reference of plugins is made from their code.
	NO_MKDOCS_2_WARNING=1 $(PLUGINS_BIN)/mkdocs build --strict

bench: $(VENV)/bench  ## Measure trioedge beside its peers, on one core and on two; about half an hour, or BENCH=--quick.
	$(BIN)/python -m tests.bench $(BENCH)

soak: $(VENV)/soak  ## Try running edges with everything odd; 12 minutes and the mutants, or SOAK='--minutes 3 --mutants 20'.
	$(BIN)/python -m tests.soak $(SOAK)

clean:  ## Remove what was made.
	rm -rf $(VENV) site .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/pip:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "trioedge needs Python 3.11 or later; try make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --upgrade 'pip>=25.1'
	@touch $@

$(VENV)/plugins/made: pyproject.toml $(PLUGINS:=/pyproject.toml) | $(VENV)/pip
	$(PYTHON) -m venv $(VENV)/plugins
	$(PLUGINS_BIN)/python -m pip --disable-pip-version-check --quiet install --upgrade 'pip>=25.1'
	$(PLUGINS_BIN)/python -m pip --disable-pip-version-check --quiet install \
	  -e . --group test --group lint --group docs $(foreach plugin,$(PLUGINS),-e './$(plugin)[test]')
	@touch $@

$(VENV)/demo $(VENV)/test $(VENV)/bench: $(VENV)/%: pyproject.toml | $(VENV)/pip
	$(PIP) install -e . --group $*
	@touch $@

$(VENV)/soak: pyproject.toml | $(VENV)/pip
	$(PIP) install -e . --group test
	@touch $@

$(VENV)/lint: pyproject.toml | $(VENV)/pip
	$(PIP) install -e . --group test --group lint --group bench
	@touch $@
