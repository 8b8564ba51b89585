# Everything a newcomer or a machine needs; each target does its own set-up.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
EXTRAS ?= dev
QUICK_TESTS := $(addprefix tests/,base config control engine house jobs projects property runs stories wire)
# Three times the cores: the tests of the cluster mostly wait for daemons.
TEST_PROCESSES ?= $(shell expr 3 \* `getconf _NPROCESSORS_ONLN`)

.PHONY: help demo test test-quick docs test-engines engine-tests pythons python-tests chaos keys check format bench clean

help:            ## this list
	@grep -E '^[a-z-]+: .*##' Makefile | sed 's/:.*##/\t/'

# The environment is made once, and again when pyproject.toml changes. uv where there is one, else venv and pip.
$(STAMP): pyproject.toml
	@command -v uv >/dev/null 2>&1 && uv venv -q --allow-existing --python $(PYTHON) $(VENV) || $(PYTHON) -m venv $(VENV)
	@if command -v uv >/dev/null 2>&1; \
	  then VIRTUAL_ENV=$(VENV) uv pip install -q -e '.[$(EXTRAS)]'; \
	  else $(BIN)/python -m pip install -q --disable-pip-version-check -e '.[$(EXTRAS)]'; fi
	@touch $(STAMP)

demo: $(STAMP)   ## count the words of Python's own standard library
	@$(BIN)/python -m tests.demo

# Tests start many daemons, which are not to compile pymr each time, whatever the environment says.
unexport PYTHONDONTWRITEBYTECODE

test: $(STAMP)   ## all tests but those of Spark and Ray (some minutes)
	@$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist worksteal

test-quick: $(STAMP)   ## the pure tests: no cluster, no console (under a minute)
	@$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist worksteal $(QUICK_TESTS)

docs: $(STAMP)   ## the reference of job fields, made from their declarations
	@$(BIN)/python -m tests.documents

test-engines:    ## runs on Spark, Ray and Dask, in an environment of their own (some minutes)
	@$(MAKE) --no-print-directory engine-tests VENV=.venv-engines EXTRAS=dev,dask,ray,spark

engine-tests: $(STAMP)
	@timeout 1200 $(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist worksteal tests/engines \
	  --ignore tests/engines/test_dask.py

chaos: $(STAMP)  ## kills and storms, many times (an hour; CHAOS_ARGS="-k storm" for a part of it)
	@$(BIN)/python -m pytest -s tests/chaos $(CHAOS_ARGS)

pythons:         ## runs and clusters on each Python from 3.11 on that is on the PATH (some minutes each)
	@for minor in 11 12 13 14 15; do \
	  python3.$$minor -c '' 2>/dev/null || continue; \
	  $(MAKE) --no-print-directory python-tests VENV=.venv-3.$$minor PYTHON=python3.$$minor || exit 1; \
	done

python-tests: $(STAMP)
	@$(BIN)/python --version
	@$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist worksteal tests/property tests/local/test_command.py \
	  tests/local/test_embedded_cluster.py tests/cluster/test_fields.py tests/cluster/test_words.py \
	  tests/cluster/test_cli.py

keys: $(STAMP)   ## 10,000 random keys in the console (some minutes)
	@RANDOM_KEYS_SEEDS=10 $(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist worksteal tests/tui/test_random_keys.py

check: $(STAMP)  ## style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(STAMP) ## put the style right
	@$(BIN)/ruff check --fix -q . ; $(BIN)/ruff format -q .

bench: $(STAMP)  ## ratios against the floor, a hand-written pool and GNU sort (REAL_TEXT=folder adds real text)
	@$(BIN)/python -m tests.bench $(if $(REAL_TEXT),--text $(REAL_TEXT)) $(BENCH_ARGS)

clean:           ## remove the environment and caches
	rm -rf $(VENV) .venv-* .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
