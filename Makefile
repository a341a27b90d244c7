# Two commands matter: `make book` and `make test`. Each makes what it needs on the way.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help book pdf test lint figures data bench lock image clean
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTHON ?= python3 python3.13 python3.12 python3.11 /usr/bin/python3
PIP := $(BIN)/python -m pip --quiet --quiet --disable-pip-version-check

# The same text, sort order and file modes on every machine.
export PYTHONUTF8 := 1
export PIP_NO_INPUT := 1
# Tests and pages start hundreds of processes: each would compile the package again.
unexport PYTHONDONTWRITEBYTECODE
# Verdicts are computed once for the book and the tests, as long as package and records are the same.
export NIN_FINDINGS := $(CURDIR)/build/findings
# Kernels follow the project's settings, not the user's: no startup files, no note about encryption.
export IPYTHONDIR := $(CURDIR)/build/ipython
KERNEL := build/ipython/profile_default/ipython_kernel_config.py

help:  ## list these commands
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

book: figures  ## build the book into _build/html (no warning allowed)
	$(BIN)/jupyter-book build book -W -n --keep-going --quiet
	@echo "The book is ready: open _build/html/index.html"

pdf: book  ## print the book into _build/book.pdf (with the machine's Chromium)
	$(BIN)/python book/_ext/print_book.py

test: data  ## run every test: package, doctests, chapters, heavy pages run small, built book
	$(BIN)/python -m pytest --numprocesses 4 --max-worker-restart 0 \
	  --dist loadfile --no-loadscope-reorder

lint: $(STAMP)  ## check style, format, types and the direction of imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo

figures: data  ## execute the heavy pages again where their code or parameters changed
	$(BIN)/python -m nin figures

bench: data  ## measure the training loop and the linear model against other loops
	$(PIP) install --requirement benchmarks/requirements.txt
	set -o pipefail; for part in run spread linear live node; do \
	  $(BIN)/python benchmarks/$$part.py || exit; done | tee build/measured.txt
	mv build/measured.txt benchmarks/measured.txt

lock: | $(BIN)/python  ## renew requirements.lock after a change of requirements.txt or pyproject.toml
	$(PIP) install uv==0.13.8
	$(BIN)/uv --quiet pip compile requirements.txt --output-file requirements.lock \
	  --universal --python-version 3.11 --generate-hashes --no-annotate \
	  --no-emit-package noise-injection-companion --custom-compile-command 'make lock'

# Any program of docker's command line; the name is a local one, which no registry is asked for.
ENGINE ?= docker
IMAGE := localhost/noise-injection-companion
image:  ## build the container, and see that it holds the pages and that its tools answer
	$(ENGINE) build --tag $(IMAGE) .
	$(ENGINE) run --rm $(IMAGE) bash -c 'test -s _build/html/index.html && jupyter lab --version && nin claims C4'

clean:  ## remove what was built (not .venv, data/ or results/)
	rm -rf _build build .mypy_cache .pytest_cache .ruff_cache .hypothesis

data: $(STAMP) $(KERNEL)
	$(BIN)/python -m nin data

# Installed once, and again when what to install changes: each file that pip fetches has a hash that
# the lock names, whatever index it comes from. pip runs under a plain umask, so that an environment
# made by one user can be read by another.
$(STAMP): requirements.lock pyproject.toml | $(BIN)/python
	@echo "Installing requirements.lock into $(VENV) (minutes the first time)"
	@umask 022 && $(PIP) install --require-hashes --requirement requirements.lock
	@umask 022 && $(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(KERNEL):
	@mkdir -p $(@D)
	@echo 'get_config().IPKernelApp.log_level = "ERROR"' > $@

$(BIN)/python:
	@for python in $(PYTHON); do \
	  "$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null || continue; \
	  if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then \
	    echo "$$python cannot make environments. On Debian or Ubuntu: apt-get install python3-venv" >&2; \
	    exit 1; \
	  fi; \
	  umask 022 && exec "$$python" -m venv $(VENV); \
	done; \
	echo "No Python 3.11, 3.12 or 3.13 among: $(PYTHON). Install one, or: make PYTHON=/path/to/python3" >&2; \
	exit 1
