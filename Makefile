# Two commands do everything on a fresh machine: `make demo` and `make test`. Both set up .venv by themselves.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo tiny test check bench format clean
.DEFAULT_GOAL := demo

demo: .venv/.core  ## history, a live stream and ten questions with their score, on synthetic video; SEED=n for another world
	$(BIN)/afterview demo $(if $(SEED),--seed $(SEED))

tiny: .venv/.dev  ## make the small model anew, end to end (resumable; within two hours on one CPU core with bfloat16: see the model card)
	$(BIN)/afterview train configs/training/tiny.yaml --out tiny-output --resume

test: .venv/.dev  ## every test, in two processes
	$(BIN)/python -m pytest -q -n 2 --dist worksteal

check: .venv/.dev  ## style, types, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/.dev  ## figures and ratios; see tests/bench
	$(BIN)/python -m tests.bench

format: .venv/.dev
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

clean:
	rm -rf .venv demo-output *.egg-info .pytest_cache .mypy_cache .ruff_cache

# Torch goes first, pinned: no other requirement can then pull a different build over it.
.venv/.core: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) torch
	$(PIP) -e .
	touch $@

.venv/.dev: .venv/.core
	$(PIP) -e '.[dev]'
	touch $@
