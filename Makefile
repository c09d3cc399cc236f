# make demo   sets up the engine and runs it on real polygons
# make test   sets up what the tests need, QGIS included, and runs everything
# Both work from a fresh clone on Debian 12, as root or as a user with sudo; elsewhere see CONTRIBUTING.md.

.DEFAULT_GOAL := help
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

VENV := .venv
VENV_QGIS := .venv-qgis
# A second call starts at once: stamps say what an environment holds. They lie in it, and vanish with it.
HAS_ENGINE := $(VENV)/has-engine
HAS_TESTS := $(VENV)/has-tests
HAS_QGIS := $(VENV_QGIS)/has-qgis
# Processes that run the engine's tests at the same time.
WORKERS ?= 2
PYTEST_ARGS ?=

# The tests run side by side: one thread for each keeps them from slowing each other down.
ENGINE_ENV := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 JAX_PLATFORMS=cpu MPLBACKEND=Agg

.PHONY: help demo test check test-engine test-plugin plugin bench format clean

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

demo: $(HAS_ENGINE) ## Set up the engine and run the main job on real polygons
	$(VENV)/bin/smallarea demo --folder demo

test: check test-engine test-plugin ## Set up and run every check and test, QGIS included

check: $(HAS_TESTS) ## Style, types and the plugin repository's security rules
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/python scripts/check_security.py

test-engine: $(HAS_TESTS) ## Tests of the engine, without QGIS
	$(ENGINE_ENV) $(VENV)/bin/python -m pytest -n $(WORKERS) $(PYTEST_ARGS)

test-plugin: $(HAS_ENGINE) $(HAS_QGIS) ## Tests of the plugin on a real QGIS without a display
	sh scripts/test_plugin.sh $(VENV_QGIS)/bin/python $(VENV)/bin/python $(PYTEST_ARGS)

plugin: $(HAS_ENGINE) ## Pack the plugin as a zip that QGIS installs
	$(VENV)/bin/python scripts/package_plugin.py

bench: $(HAS_TESTS) ## Measure what the README claims
	@set -e; for script in benchmarks/*.py; do echo "== $$script"; $(VENV)/bin/python "$$script"; done

format: $(HAS_TESTS) ## Lay out the code
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

clean: ## Remove environments, caches and outputs
	rm -rf $(VENV) $(VENV_QGIS) demo dist build .pytest_cache .ruff_cache .mypy_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -rf engine/*.egg-info

$(HAS_ENGINE): pyproject.toml scripts/setup_venv.sh
	sh scripts/setup_venv.sh $(VENV) "."
	@touch $@

$(HAS_TESTS): pyproject.toml scripts/setup_venv.sh
	sh scripts/setup_venv.sh $(VENV) ".[test,check]"
	@touch $(HAS_ENGINE) $@

$(HAS_QGIS): scripts/setup_qgis.sh scripts/setup_system.sh
	sh scripts/setup_qgis.sh $(VENV_QGIS)
	@touch $@
