# Debian 12 or newer with Python 3.11; root or not. `make run` is all a new user needs.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
PIP := .venv/bin/python -m pip --disable-pip-version-check --quiet
PEERS := dcmtk orthanc orthanc-dicomweb chromium

.PHONY: run test setup lint fmt peers bench faults fuzz

run: setup
	RIS_ENV=$${RIS_ENV:-demo} exec .venv/bin/python manage.py up --seed demo

setup: .venv/run.stamp

test: .venv/test.stamp peers lint
	.venv/bin/python -m pytest $(ARGS)

lint: .venv/test.stamp
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports
	RIS_ENV=test .venv/bin/python -W ignore::RuntimeWarning manage.py makemigrations --check --dry-run

fmt: .venv/test.stamp
	.venv/bin/ruff check --fix
	.venv/bin/ruff format

# The programs the tests talk to. Without them those tests are skipped by name, or fail when CI=true.
peers:
	@missing=; \
	for peer in $(PEERS); do dpkg -s $$peer >/dev/null 2>&1 || missing="$$missing $$peer"; done; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" != 0 ]; then echo "Not installed, and only root can:$$missing"; exit 0; fi; \
	export DEBIAN_FRONTEND=noninteractive; \
	apt-get -q update && apt-get -q install -y --no-install-recommends $$missing || echo "Not installed:$$missing"

.venv/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Lightbox needs Python 3.11 or newer; name it with: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { [ "$$(id -u)" = 0 ] && \
		apt-get -q update && apt-get -q install -y --no-install-recommends python3-venv; } || \
		{ echo "Python cannot make virtual environments: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv .venv

.venv/run.stamp: requirements.txt | .venv/bin/pip
	$(PIP) install --root-user-action=ignore --require-hashes -r requirements.txt
	@touch $@

.venv/test.stamp: requirements-dev.txt .venv/run.stamp
	$(PIP) install --root-user-action=ignore --require-hashes -r requirements-dev.txt
	@touch $@

bench: .venv/test.stamp peers
	.venv/bin/python -m bench $(ONLY)

# Hours: what test_faults.py does in minutes, at full size. `make faults ARGS='F1 F9 --share 0.1'` narrows.
faults: .venv/test.stamp
	.venv/bin/python -m tests.faults $(ARGS)

fuzz: .venv/test.stamp
	.venv/bin/python -m tests.fuzz $(ARGS)
