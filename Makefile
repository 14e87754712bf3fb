# `make demo` runs a whole study, `make test` checks everything. Each target sets up what it needs
# in .venv and .cache; a machine with Python 3.11 or newer needs nothing else.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
OPTIONS ?=

.PHONY: demo test test-long lint vectors bench faults soak gas contract-coverage slither clean

demo: $(READY)
	$(BIN)/tally demo $(OPTIONS)

test: lint
	$(BIN)/tally contract check
	$(BIN)/pytest --cov --cov-report=term -q $(OPTIONS)
	$(BIN)/python -m tests.coverage_floors

# Thousands of sequences where `test` takes hundreds, others each time: half an hour and more.
test-long: $(READY)
	$(BIN)/pytest -q --hypothesis-profile=long tests/contract/test_lockstep.py $(OPTIONS)

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

vectors: $(READY)
	for part in arithmetic paillier hybrid disputes; do $(BIN)/python -m tests.vectors.$$part || exit 1; done

bench: $(READY)
	$(BIN)/python -m deploy.baselines
	$(BIN)/tally bench ciphers
	$(BIN)/tally bench capacity

# Every party killed at every step, every fault played; prints the tables, and writes docs/faults.md. Some minutes.
faults: $(READY)
	$(BIN)/python -m tests.faults

# A thousand honest rounds of real daemon loops, then some over Anvil: no alarm, and nothing grows but the ledger.
soak: $(READY)
	$(BIN)/python -m tests.faults.soak

# What every call of the contract costs, measured anew and written to contracts/gas.json and gas.md.
gas: $(READY)
	$(BIN)/python -m tests.contract.gas

# Which branches of the contracts the tests run, measured anew and written to contracts/coverage.*: minutes.
contract-coverage: $(READY)
	$(BIN)/python -m tests.contract.coverage

# Slither in an environment of its own, since it needs another web3; fails on a remark without an answer.
slither: $(READY)
	$(BIN)/python -m deploy.slither

clean:
	rm -rf $(VENV) .cache runs build *.egg-info .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache

$(READY): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, found " + sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $@
