# Two commands for a fresh machine: `make demo` and `make test`. Both set up .venv by themselves.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: help setup setup-dev demo test test-runtime test-training test-alone test-system test-arm test-faults deb lint format docs bench-peers bench-ladder witness clean

help:
	@echo "make demo         see it work: no camera, no broker, no root needed"
	@echo "make test         run the tests, the linters and the type checker"
	@echo "make test-faults  break a running daemon by chance: N=1000 SEED=1 ARGS=\"--only worker-kill\""
	@echo "make test-system  run the tests of the service, in a booted Debian container (as root)"
	@echo "make test-arm     install and try it on ARM systems under qemu (as root): ARGS=bookworm-armhf"
	@echo "make deb          build the Debian package for this distribution: dist/*.deb"
	@echo "make format       lay out the code"
	@echo "make docs         write the generated parts of README.md and models/catalogue.yaml anew"
	@echo "make bench-peers  measure the loop beside its peers: MODELS=\"a.tflite ...\" ARGS=\"--turns 5\""
	@echo "make bench-ladder  burn the cores beside the daemon: MODELS=\"full.tflite small.tflite\""
	@echo "make witness      let MLPerf LoadGen check its latency figures: MODELS=a.tflite"
	@echo "make clean        remove $(VENV) and what was built"

setup: $(VENV)/.ready

setup-dev: $(VENV)/.ready-dev

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo "Python 3.10 or newer is needed, $(PYTHON) is `$(PYTHON) --version 2>&1`; \
	name another: make $(MAKECMDGOALS) PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make virtual environments: sudo apt install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.ready: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.ready-dev: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: setup
	$(BIN)/edge demo $(ARGS)

# Two workers a core: most tests wait for processes of their own. Those that are about the cores come
# after all others. That ARGS may choose none of a kind (exit status 5) is no failure.
PARALLEL := -n $$(($$(nproc) * 2)) --dist worksteal
test: lint test-runtime test-training test-alone

test-runtime: setup-dev
	$(BIN)/python -m pytest $(PARALLEL) -m "not alone and not trains" $(ARGS) || [ $$? = 5 ]

test-training: setup-dev
	$(BIN)/python -m pytest $(PARALLEL) -m trains $(ARGS) || [ $$? = 5 ]

test-alone: setup-dev
	$(BIN)/python -m pytest -m alone $(ARGS) || [ $$? = 5 ]

# As root; the container's pristine root is built the first time, in $$EDGE_TEST_ROOTS.
test-system: setup-dev
	$(BIN)/python -m pytest tests/system $(ARGS)

# As root; the systems' roots are built the first time, in $$EDGE_TEST_ROOTS: minutes each.
test-arm: setup
	PYTHONPATH=tests $(BIN)/python -m system.arm $(ARGS)

# By the distribution's own Python, which the package is for.
deb:
	/usr/bin/python3 systemd/deb/build.py $(ARGS)

N ?= 1000
test-faults: setup-dev
	PYTHONPATH=tests/faults:tests/support $(BIN)/python -m fault_injection --faults $(N) \
	  $(if $(SEED),--seed $(SEED)) $(ARGS)

lint: setup-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup-dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: setup-dev
	$(BIN)/edge models index models
	$(BIN)/python -m edge.workshop.readme

$(VENV)/.ready-bench: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $@

# MediaPipe brings another OpenCV, so it lives apart; without it the others are measured all the same.
.venv-peers/.ready: tests/benchmarks/peers/requirements.txt
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check --requirement $< && \
	  touch $@ || echo "MediaPipe cannot be installed here: it is left out"

bench-peers: setup .venv-peers/.ready
	PYTHONPATH=tests/benchmarks:tests/support $(BIN)/python -m peers $(MODELS) $(ARGS)

bench-ladder: setup
	PYTHONPATH=tests/benchmarks:tests/support $(BIN)/python -m ladder $(MODELS) $(ARGS)

witness: $(VENV)/.ready-bench
	PYTHONPATH=tests/benchmarks $(BIN)/python -m witness $(MODELS) $(ARGS)

clean:
	rm -rf $(VENV) .venv-peers build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
