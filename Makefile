# `make demo` and `make test` work on a fresh machine: they install everything into .venv.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo tiny test thorough check bench format clean
.DEFAULT_GOAL := demo

demo: .venv/.core  ## history, a live stream, ten questions and the score, on synthetic video; SEED=n chooses the world
	$(BIN)/afterview demo $(if $(SEED),--seed $(SEED))

tiny: .venv/.dev  ## make the built-in model from nothing; resumable; about four hours of two CPU cores (see the model card)
	$(BIN)/afterview train configs/training/tiny.yaml --out tiny-output --resume
	$(BIN)/afterview train configs/training/tiny-needles.yaml --out tiny-output/needles --resume
	$(BIN)/afterview train configs/training/tiny-lengths.yaml --out tiny-output/lengths --resume
	$(BIN)/afterview train configs/training/tiny-options.yaml --out tiny-output/options --resume
	$(BIN)/afterview train configs/training/tiny-looks.yaml --out tiny-output/looks --resume
	$(BIN)/afterview train configs/training/tiny-digits.yaml --out tiny-output/digits --resume

test: .venv/.dev  ## the tests, in four processes: many wait for a live source
	$(BIN)/python -m pytest -q -n 4 --dist worksteal -m "not thorough"

thorough: .venv/.dev  ## the tests that `make test` leaves to CI: kills at every step, whole trainings, made-up requests
	$(BIN)/python -m pytest -q -n 4 --dist worksteal -m thorough

check: .venv/.dev  ## style, types, import rules, container files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint deploy/Containerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec deploy/compose.yaml

bench: .venv/.dev  ## print measurements; see tests/bench
	$(BIN)/python -m tests.bench

format: .venv/.dev  ## fix what ruff can fix, and format
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

clean:  ## remove .venv, caches and demo output
	rm -rf .venv demo-output *.egg-info .pytest_cache .mypy_cache .ruff_cache

# Torch is installed first, at a pinned version, so that no other requirement replaces it by a different build.
.venv/.core: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) torch
	$(PIP) -e '.[serve]'
	touch $@

.venv/.dev: .venv/.core
	$(PIP) -e '.[dev]'
	touch $@
