# The front door. Each target sets up what it needs in .venv; only Python 3.10+ has to be there.

PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --editable '.[all,examples]'

.PHONY: help demo screenshots test test-full test-faults test-pythons fuzz load load-purge world bench bench-throughput bench-guard docs lint format dist clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 18

demo: .venv/installed-examples ## serve the demo on http://127.0.0.1:8080
	$(BIN)/python examples/demo/app.py

screenshots: .venv/installed-test ## make the pictures of the demo in docs/screenshots again
	SCREENSHOTS=1 $(BIN)/pytest tests/browser/test_screenshots.py

test: .venv/installed-test ## show that the product works, in three minutes; tests/conftest.py says what is left out
	$(BIN)/pytest --quick --numprocesses 2 --dist loadfile

test-full: .venv/installed-test ## run all tests, about twenty minutes
	$(BIN)/pytest

test-pythons: .venv/installed-dev ## run the tests on each Python, and with the lowest libraries, five minutes and more for each
	$(BIN)/nox

test-faults: .venv/installed-test ## run the tests of servers that fail
	$(BIN)/pytest tests/faults

fuzz: .venv/installed-test ## try two million hostile cookies on every kind of session, some minutes
	cd tests && ../$(BIN)/python -W ignore -m fuzz

load: .venv/installed-test ## drive gunicorn with thousands of visitors while servers fail, some minutes
	cd tests && ../$(BIN)/python -m load

world: .venv/installed-test ## let a model of the world happen; SECONDS=600 SEED=1 unless given
	cd tests && ../$(BIN)/python -W ignore -m world --seconds $(or $(SECONDS),600) --seed $(or $(SEED),1)

load-purge: .venv/installed-test ## measure a purge of 100,000 sessions on both emulators
	$(BIN)/python tests/load/purge.py

bench: .venv/installed-bench ## measure beside webapp2_extras and others, some minutes; SAVE=1 puts it into docs
	cd tests && ../$(BIN)/python -W ignore -m benchmarks $(if $(SAVE),--save)

bench-throughput: .venv/installed-test ## count requests a second of gunicorn, some minutes; SAVE=1 puts it into docs
	cd tests && ../$(BIN)/python -W ignore -m benchmarks --case throughput --seconds 90 $(if $(SAVE),--save)

bench-guard: .venv/installed-test ## fail when the package has become slower, a minute or more
	@# Twice at most: where a process has its objects moves single figures by a tenth, for all its attempts.
	cd tests && { ../$(BIN)/python -W ignore -m benchmarks.guard || ../$(BIN)/python -W ignore -m benchmarks.guard; }

docs: .venv/installed-docs ## build the documentation, docs/_build/html/index.html
	$(BIN)/sphinx-build -q -W --keep-going -n -b html -d docs/_build/doctrees docs docs/_build/html

lint: .venv/installed-test ## check style, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/installed-test ## rewrite the sources in the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

dist: .venv/installed-test ## build wheel and sources into dist, and check them
	rm -rf build dist && $(BIN)/python -m build --no-isolation
	$(BIN)/python -m twine check --strict dist/*
	$(BIN)/pytest -q tests/packaging

clean: ## remove everything that the targets made
	rm -rf .venv .nox .cache .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist docs/_build *.egg-info

.venv/pyvenv.cfg:
	$(PYTHON) -c 'import sys; sys.exit("Python 3.10 or newer is needed: make PYTHON=python3.12 ..." if sys.version_info < (3, 10) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'

# In place, so that tests see each change at once; tests/packaging tests what is shipped.
.venv/installed-examples: .venv/pyvenv.cfg setup.py
	$(INSTALL)
	touch $@

.venv/installed-%: .venv/pyvenv.cfg setup.py pyproject.toml
	$(INSTALL) --group $*
	touch $@
