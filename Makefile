# Everything a person needs. Python >= 3.11 and root; on Debian, what else is missing is installed with apt.
#
#   make demo      install into .venv and run a real container: a copy of this very system
#   make test      all tests that can run here (those that cannot say why)
#   make test-kill SIGKILL of every process of ours at random instants, 200 times, of pulls, 50 times, and of 10
#                  of 100 containers on one network
#   make test-faults  a process killed before and after every step of a container's life: takes three hours
#   make test-guards  every guard against a known hole taken out in turn: its tests have to fail then
#   make lint      ruff and mypy --strict
#   make compatibility  compare our container commands with the docker client's; writes docs/compatibility.md
#   make bench     measure against docker, podman, runc, crun and conmon; writes docs/benchmarks.md
#   make peers     crun's test suite against crun, runc and ours; writes docs/conformance.md. CRUN_TESTS=DIR is a
#                  copy of the directory tests/ of https://github.com/containers/crun (expected: at least as many
#                  passes as runc, and a reason for every failure; 10 minutes)
#   make test-vm   the tests of the unified cgroup hierarchy and of systemd, in a QEMU guest
#   make clean     remove what the others made here

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1

# What goes into the wheel: a change of any of these installs it again.
SOURCES = pyproject.toml README.md $(shell find src scripts -name __pycache__ -prune -o -type f -print)
# Of the packages named by $(1), those that are not installed.
missing = $(shell for p in $(1); do \
	dpkg-query -W -f '$${db:Status-Status}' $$p 2>/dev/null | grep -qx installed || echo $$p; done)

.PHONY: demo test test-kill lint bench compatibility peers test-faults test-guards test-vm clean apt-demo apt-test

# ---- demo: hostname, PID 1, its own /proc and its limits, as the container itself sees them
demo: $(VENV)/installed
	$(BIN)/mydocker run --rm -i --rootfs / --network none --hostname demo --memory 64m --pids-limit 50 --cpus 0.5 \
		/bin/sh < docs/demo.sh

# ---- the tests run on a wheel that is installed regularly, as that is what starts fast
test: $(VENV)/installed-for-tests
	$(BIN)/python -m pytest $(PYTEST_OPTIONS)

test-kill: $(VENV)/installed-for-tests
	MYDOCKER_KILLS=200 $(BIN)/python -m pytest tests/integration/test_sigkill.py $(PYTEST_OPTIONS)
	MYDOCKER_KILLS=50 $(BIN)/python -m pytest tests/integration/test_pull_killed.py $(PYTEST_OPTIONS)
	MYDOCKER_CROWD=100 $(BIN)/python -m pytest tests/integration/test_networks.py -k crowd $(PYTEST_OPTIONS)

test-faults: $(VENV)/installed-for-tests
	MYDOCKER_FAULTS=all $(BIN)/python -m pytest tests/integration/test_faults.py $(PYTEST_OPTIONS)

test-guards: $(VENV)/installed-for-tests
	$(BIN)/python tests/guards/main.py

lint: $(VENV)/installed-for-tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/installed
	$(BIN)/python bench/main.py --output docs/benchmarks.md

peers: $(VENV)/installed-for-tests
	@test -n "$(CRUN_TESTS)" || { echo "make peers CRUN_TESTS=DIR: the directory tests/ of crun"; exit 2; }
	$(BIN)/python tests/peers/crun_suite/main.py $(CRUN_TESTS) --output docs/conformance.md

# Needs a docker client; asks it for nothing but its help.
compatibility: $(VENV)/installed-for-tests
	$(BIN)/python tests/support/compatibility.py docker docs/compatibility.md

test-vm: $(VENV)/installed-for-tests
	$(BIN)/python tests/vm/main.py

clean:
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .pytest_cache .cache

# ---- what they stand on
$(VENV)/bin/python: | apt-demo
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(SOURCES) | $(VENV)/bin/python
	$(BIN)/pip install --quiet .
	touch $@

$(VENV)/installed-for-tests: $(VENV)/installed | apt-test
	$(BIN)/pip install --quiet '.[test,lint]'
	touch $@

# venv needs ensurepip, which Debian has in a package of its own; filters are compiled by libseccomp.
DEMO_PACKAGES = libseccomp2 $(shell $(PYTHON) -c 'import ensurepip' 2>/dev/null || echo python3-venv)
apt-demo:
	@./.ci/apt $(call missing,$(DEMO_PACKAGES))

# A test whose program could not be installed is skipped, and says so.
apt-test:
	@./.ci/apt $(call missing,$(shell grep -v '^#' tests/apt-packages.txt)) || echo "going on without them"
