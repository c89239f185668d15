# quest-lab: `make demo` and `make test` do all the set-up on a fresh machine.
#
#   PYTHON    the Python (3.11 or newer) that .venv is made of, e.g. make demo PYTHON=python3.12
#   PIP_ARGS  extra arguments for every pip install. On Linux, PyPI's torch brings gigabytes of CUDA with it;
#             for PyTorch's CPU wheels see https://pytorch.org/get-started/locally/ and pass their index here.

PYTHON ?= python3
PIP_ARGS ?=
PYTEST_ARGS ?=
DEMO_ARGS ?= --out demo --overwrite
VENV ?= .venv

ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif
PY := $(BIN)/python
INSTALL := $(PY) -m pip install -q --disable-pip-version-check -c constraints.txt $(PIP_ARGS)

.PHONY: help demo test lint types layers wheel campaign bench install clean
.DELETE_ON_ERROR:

help:
	@echo "make demo      install, then the whole way on a simulated chip: tables and a report in demo/"
	@echo "make test      install, then the tests (at most 4 minutes)"
	@echo "make lint types layers wheel   the checks beside the tests"
	@echo "make campaign  long statistical and fault runs"
	@echo "make bench     performance, beside SpikingJelly, snnTorch and Norse (which it installs)"
	@echo "make install   everything that the checks need, into $(VENV)"
	@echo "make clean     remove build products and caches; $(VENV), demo/ and runs/ stay"

demo: $(VENV)/.installed-demo
	$(BIN)/quest-lab demo $(DEMO_ARGS)

test: export OMP_NUM_THREADS = 1
test: install
	$(PY) -m pytest -n auto --dist worksteal $(PYTEST_ARGS)

lint: install
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

types: install
	$(PY) -m mypy -p quest_lab

layers: install
	$(BIN)/lint-imports --no-logo

wheel: install
	$(PY) -m pytest -m wheel tests/test_layout.py
	rm -rf build dist
	$(PY) -m build --wheel --no-isolation --outdir dist .
	rm -rf build

campaign: install
	QUEST_LAB_RESULTS=docs/results $(PY) -m pytest -m campaign tests/campaign $(PYTEST_ARGS)

bench: install $(VENV)/.installed-peers
	$(PY) -m pytest -m peers tests/train
	@for script in benchmarks/bench_*.py; do echo "== $$script"; $(PY) "$$script" || exit 1; done

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find quest_lab instruments protocols sim tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

install: $(VENV)/.installed-dev

# Installs run again only when what they install from has changed.
$(VENV)/.installed-demo: pyproject.toml constraints.txt | $(VENV)/pyvenv.cfg
	@echo "installing quest-lab into $(VENV): some minutes the first time"
	$(INSTALL) -e ".[train]"
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/pyvenv.cfg
	@echo "installing quest-lab and its tools into $(VENV): some minutes the first time"
	$(INSTALL) -e ".[train,import,dev]"
	@touch $(VENV)/.installed-demo $@

# The libraries that we compare with. Their dependencies would replace torch.
$(VENV)/.installed-peers: $(VENV)/.installed-dev
	$(INSTALL) --no-deps spikingjelly norse nir nirtorch snntorch loguru tqdm
	@touch $@

# Old enough syntax for any Python to say what is wrong with it.
define CHECK_PYTHON
import sys
if sys.version_info < (3, 11):
    sys.exit("quest-lab needs Python 3.11 or newer, and '$(PYTHON)' is %d.%d. Name another: make PYTHON=python3.12" % sys.version_info[:2])
try:
    import ensurepip, venv
except ImportError:
    sys.exit("'$(PYTHON)' lacks venv or ensurepip. On Debian and Ubuntu: sudo apt install python%d.%d-venv" % sys.version_info[:2])
endef
export CHECK_PYTHON

$(VENV)/pyvenv.cfg:
	@command -v "$(PYTHON)" >/dev/null || { echo "'$(PYTHON)' is not on the PATH. Name a Python 3.11 or newer: make PYTHON=python3.12" >&2; exit 1; }
	@"$(PYTHON)" -c "$$CHECK_PYTHON"
	"$(PYTHON)" -m venv "$(VENV)"
