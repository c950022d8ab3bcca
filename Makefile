# Every target sets up what it needs; `make` alone lists them. Runs with GNU make 3.81 (macOS) and later.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --no-input
# What `make demo` analyses, and where its report and pictures go.
DEMO ?= captures/same-nat-ip-sshuttle
DEMO_OUT ?= demo-out
# More for pytest: make test PYTEST_ARGS="-k sessions -x"
PYTEST_ARGS ?=

# ld links compiled kernels, so that commands start without numba (docs/decisions/0022).
SYSTEM_PROGRAMS := tcpdump tshark ld
# What the tests record with on Linux, besides; `make demo` needs none of it.
TEST_PROGRAMS := $(if $(filter Linux,$(shell uname -s)),haproxy nginx tinyproxy ip ss ssh ssh-keygen sshd nft iptables setpriv ps pgrep sysctl chromium bgzip bro-cut)
SOURCES := $(shell find netlens -name '*.py' 2>/dev/null)

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# --- set-up: stamps in .venv, so that a second run costs nothing ------------------------------------------------------------------

$(VENV)/installed: requirements.lock pyproject.toml tools/venv.sh | system
	@tools/venv.sh $(VENV)
	@echo "installing the locked packages into $(VENV)" >&2
	@$(PIP) install -q --require-hashes -r requirements.lock
	@$(PIP) install -q --no-deps --no-build-isolation -e .
	@touch $@

# Machine code is kept beside the package for all users of the machine, under a hash of its sources (docs/decisions/0018).
$(VENV)/warmed: $(VENV)/installed $(SOURCES)
	@echo "compiling the packet kernels (only after an install or a change)" >&2
	@$(PY) -m netlens.warm
	@touch $@

.PHONY: system
system: # looked at each time (a few milliseconds): programs come and go without make knowing
	@tools/system-packages.sh $(SYSTEM_PROGRAMS)

.PHONY: install
install: system $(VENV)/warmed ## set up .venv with the locked packages and compile the kernels

.PHONY: test-programs
test-programs: system | $(VENV)/installed # one apt-get at a time, also under -j: tools/venv.sh may install a package too
	@tools/system-packages.sh $(TEST_PROGRAMS)

# --- the two commands of the README -------------------------------------------------------------------------------------------------

.PHONY: demo
demo: install ## analyse the bundled recording and draw its pictures
	@$(VENV)/bin/netlens analyze $(DEMO) -o $(DEMO_OUT)
	@echo "report and pictures: $(CURDIR)/$(DEMO_OUT)"
	@cd $(DEMO_OUT) && find . -type f \( -name '*.png' -o -name '*.svg' -o -name 'report.*' \) | sed 's|^\./|  |' | sort

.PHONY: test
test: install test-programs ## run every test
	@$(PY) -m pytest -n auto --dist worksteal $(PYTEST_ARGS)

# --- for developers -----------------------------------------------------------------------------------------------------------------

.PHONY: check
check: static ## the whole loop: format, lint, types, import contracts, docs, tests
	@$(MAKE) --no-print-directory test # after the quick checks, also under -j

# One target a check: `make -k static` goes on after the first that fails.
CHECKS := check-format check-lint check-types check-imports check-private check-docs check-site
.PHONY: static $(CHECKS)
static: $(CHECKS) ## the part of check that runs no test

$(CHECKS): $(VENV)/installed

check-format:
	$(VENV)/bin/ruff format --check --quiet .

check-lint:
	$(VENV)/bin/ruff check --quiet .

check-types:
	$(VENV)/bin/mypy

check-imports:
	$(VENV)/bin/lint-imports --no-cache --no-logo

check-private: # what one module calls private (_name), no other uses
	@$(PY) tools/private_names.py

check-docs:
	@if [ -f tools/docs_current.py ]; then echo "$(PY) tools/docs_current.py"; $(PY) tools/docs_current.py; fi

check-site: docs-site

.PHONY: docs docs-site docs-examples docs-pictures notebook
docs: $(VENV)/installed ## write the reference pages anew from the code
	@$(PY) tools/docs_current.py --write

docs-site: $(VENV)/installed ## build the documentation as a site into build/site; a broken link is an error
	rm -rf build/site
	$(VENV)/bin/zensical build --strict

docs-examples: $(VENV)/warmed ## run the shell examples of README and docs, and write their outputs anew
	$(PY) tools/docs_examples.py --write

docs-pictures: $(VENV)/warmed ## draw the pictures of the documentation anew from the bundled recordings
	$(PY) tools/docs_pictures.py

notebook: $(VENV)/warmed ## run the notebook, keep its outputs, and make its page of the documentation
	$(PY) tools/notebook.py --write

.PHONY: format
format: $(VENV)/installed ## put sources into the house format and mend what lint can mend
	$(VENV)/bin/ruff check --fix --quiet . || true
	$(VENV)/bin/ruff format .

.PHONY: bench
bench: install ## compare speed and memory with capinfos, tcptrace, argus, tshark, nfstream, dpkt
	@tools/system-packages.sh tshark capinfos tcptrace argus
	@$(PY) -m tests.bench.peers
	$(PY) -m tests.bench.run
	$(PY) -m tests.bench.stage_page

# make properties EXAMPLES=100000 PROPERTIES=tests/wire
EXAMPLES ?= 2000
PROPERTIES ?= tests/capture tests/chains tests/lenses tests/parsers tests/wire
.PHONY: properties
properties: $(VENV)/warmed ## test the properties of parsers, recordings, pairing, clock with EXAMPLES=2000 each; folders in PROPERTIES
	$(PY) -m pytest -n auto -m hypothesis --examples $(EXAMPLES) $(PROPERTIES) $(PYTEST_ARGS)

# make fuzz SECONDS=600 FUZZ_ARGS="--target pipeline --corpus FOLDER"
SECONDS ?= 60
FUZZ_ARGS ?=
.PHONY: fuzz
fuzz: $(VENV)/warmed ## feed mutated captures to everything that reads them, for SECONDS=60; more arguments in FUZZ_ARGS
	$(PY) -m tests.fuzz --seconds $(SECONDS) $(FUZZ_ARGS)

# make rounds ROUNDS="--quick user shared"
ROUNDS ?=
.PHONY: rounds
rounds: $(VENV)/installed ## run demo and test in fresh clones: other users, Pythons, paths, without network (ROUNDS=--list lists them)
	$(PY) tools/rounds.py $(ROUNDS)

.PHONY: lock
lock: ## resolve requirements.lock anew from pyproject.toml
	tools/lock.sh

.PHONY: clean
clean: ## remove .venv, caches and what demo made
	rm -rf $(VENV) $(DEMO_OUT) .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build dist *.egg-info
	find netlens tests tools -name __pycache__ -type d -prune -exec rm -rf {} +
