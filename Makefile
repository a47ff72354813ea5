# make demo: install nearfar here, pretrain SimCLR on the embedded data and judge the encoder.
# make test: install the test tools as well and run all tests (about twenty minutes on two cores).
# make test-fast: leave out whole runs, kills, several processes, the guides' code and the pages in a browser.
# make site: build the documentation's site into build/site; make package: build, check and try the wheel.
# make lock: write the exact versions of everything that is installed to requirements.lock.
# make mutations: plant mistakes one by one and run the tests that must notice them (two minutes).
# make bench: install the peers into an environment of their own, measure nearfar against them, write docs/results/speed.md.
#   make bench ARGS=--quick for a short run.
# make models DATA=FOLDER: train the small encoders of models/recipes.toml on the data files in FOLDER and build the wheel nearfar-models
#   into dist/; about twenty minutes of one core, or less with ARGS='--steps 200'. Sets that are not in FOLDER are left out.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
# Tests start interpreters, which are quicker where the package's bytecode is kept.
TEST := env -u PYTHONDONTWRITEBYTECODE OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --dist loadgroup --no-loadscope-reorder

.PHONY: demo test test-fast mutations check site package lock bench models clean

demo: .venv/installed
	$(BIN)/nearfar pretrain simclr

test: .venv/installed-dev
	$(TEST)

test-fast: .venv/installed-dev
	$(TEST) -m "not slow"

mutations: .venv/installed-dev
	$(BIN)/python -m tests.mutations

check: .venv/installed-dev
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/mypy

site: .venv/installed-site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

package: .venv/bin/python
	.ci/package

.venv/installed-site: .venv/installed
	@echo "== installing what builds the site"
	$(BIN)/python -m pip install --quiet --editable ".[site]"
	@touch $@

lock: .venv/installed-dev
	@printf '%s\n' "# Exact versions with which the tests passed, on Linux, x86-64, CPython 3.11: pip install -r requirements.lock" \
		"# Written by \`make lock\`; checked for known vulnerabilities by .ci/audit." > requirements.lock
	$(BIN)/python -m pip freeze --exclude-editable --exclude nearfar --exclude pip --exclude setuptools >> requirements.lock

.venv/bin/python:
	@echo "== creating the environment .venv with $(PYTHON)"
	$(PYTHON) -m venv .venv

.venv/installed: pyproject.toml | .venv/bin/python
	@echo "== installing nearfar (torch comes with it: this can take some minutes)"
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

.venv/installed-dev: .venv/installed
	@echo "== installing the test tools"
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	@touch $@

models: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/python models/build.py $(if $(DATA),--data $(DATA)) $(ARGS)
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist ./models

bench: .venv-bench/installed
	.venv-bench/bin/python benchmarks/run.py $(ARGS)

.venv-bench/installed: pyproject.toml benchmarks/requirements.txt
	@echo "== creating the environment .venv-bench with $(PYTHON) and installing nearfar and its peers"
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --editable . --requirement benchmarks/requirements.txt
	@touch $@

clean:
	rm -rf .venv .venv-bench build src/*.egg-info .pytest_cache .mypy_cache .ruff_cache
