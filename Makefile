# make demo: install nearfar here, pretrain SimCLR on the embedded data and judge the encoder.
# make test: install the test tools as well and run the tests.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin

.PHONY: demo test check clean

demo: .venv/installed
	$(BIN)/nearfar pretrain simclr

test: .venv/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --dist worksteal

check: .venv/installed-dev
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/mypy

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

clean:
	rm -rf .venv build src/*.egg-info .pytest_cache .mypy_cache .ruff_cache
