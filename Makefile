# Everything runs in .venv, made here from requirements/*.txt; needs Python 3.11+ with venv, and make. `make help` lists the targets.

PYTHON ?= python3
ARGS ?=
ROUNDS ?= 200
FOLDER ?= $(if $(TMPDIR),$(TMPDIR),/tmp)

PY := .venv/bin/python
STAMP := .venv/.stamp
INSTALL := pip --disable-pip-version-check --no-input install -qq
ONLY_HASHED := --require-hashes --only-binary :all:
PIP := $(PY) -m $(INSTALL)
HASHED := $(PIP) $(ONLY_HASHED)
CLIENT := $(CURDIR)/.venv/client-python
# A lock names no registry and no machine: only versions and hashes.
COMPILE := $(PY) -m uv pip compile -q --universal -p 3.11 --only-binary :all: --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header --no-annotate --no-strip-extras

NPM_CI := npm ci --ignore-scripts --no-audit --no-fund --silent
TYPESCRIPT_CLIENT := clients/typescript/dist/index.js
EXPRESS := examples/express/node_modules/.package-lock.json

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help run test test-slow test-browser test-clients test-client-python test-client-typescript test-examples test-examples-python test-example-express example-express needs-key example-fastapi example-django torture bench lint fmt docs lock clean remake

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-28s %s\n", $$1, $$2 }' Makefile

run: $(STAMP)-run ## start the service with a .env or a bot token, else the sandbox
	@why=; other=; \
	if [ -e .env ]; then why='there is a .env'; other='move .env away'; fi; \
	for name in TELEGRAM_BOT_TOKEN MAX_BOT_TOKEN; do \
		eval "value=\$${$$name:-}"; \
		if [ -n "$$value" ]; then why="$${why:+$$why and }$$name is set"; other="$${other:+$$other and }unset $$name"; fi; \
	done; \
	if [ -n "$$why" ]; then \
		echo "make run: starting the service (main.py serve), because $$why."; \
		echo "For the sandbox with simulated messengers: $$other, then make run."; \
		exec $(PY) main.py serve $(ARGS); \
	fi; \
	echo "make run: starting the sandbox (main.py sandbox), because there is no .env and neither TELEGRAM_BOT_TOKEN nor MAX_BOT_TOKEN is set."; \
	echo "For the service with real messengers: cp .env.example .env, fill it in, then make run."; \
	exec $(PY) main.py sandbox $(ARGS)

test: $(STAMP)-run $(STAMP)-test ## the test suite (ARGS="..." goes to pytest)
	@$(PY) -m pytest $(ARGS)

# They mostly wait, so there are more workers than cores, and each takes the next test.
test-slow: $(STAMP)-run $(STAMP)-test ## the tests that need minutes, kill -9 or a moved clock
	@$(PY) -m pytest -m slow --numprocesses=4 --dist=load $(ARGS)

test-browser: $(STAMP)-run $(STAMP)-test $(STAMP)-browser ## the tests that drive Chromium ($CHROMIUM, else /usr/bin/chromium)
	@$(PY) -m pytest -m browser -n 0 $(ARGS)

test-clients: test-client-python test-client-typescript ## the client libraries, built, installed and run against the service (needs Node and npm)

# In an environment made anew, with nothing of the package but the wheel.
test-client-python: $(STAMP)-run $(STAMP)-wheel
	@rm -rf $(CLIENT)
	@$(PY) -m venv $(CLIENT)
	@$(CLIENT)/bin/python -m $(INSTALL) $(ONLY_HASHED) -r requirements/client-python.txt
	@$(CLIENT)/bin/python -m $(INSTALL) --no-deps clients/python/dist/*.whl
	@$(CLIENT)/bin/python -m pip check
	@cd clients/python && $(CLIENT)/bin/python -m mypy
	@cd clients/python && TAPCODE_PYTHON=$(CURDIR)/$(PY) TAPCODE_MAIN=$(CURDIR)/main.py $(CLIENT)/bin/python -m pytest $(ARGS)

test-client-typescript: $(STAMP)-run
	@clients/typescript/test/installed.sh

test-examples: test-examples-python test-example-express ## the example sites, signed in to in Chromium through the sandbox's phones (needs Node and npm)

test-examples-python: $(STAMP)-run $(STAMP)-test $(STAMP)-browser $(STAMP)-lint $(STAMP)-fastapi $(STAMP)-django
	@cd examples/fastapi && $(CURDIR)/$(PY) -m mypy --config-file $(CURDIR)/examples/mypy.ini --python-executable $(CURDIR)/.venv/example-fastapi/bin/python .
	@cd examples/django && $(CURDIR)/$(PY) -m mypy --config-file $(CURDIR)/examples/mypy.ini --python-executable $(CURDIR)/.venv/example-django/bin/python .
	@$(PY) -m pytest examples/tests -m "" -n 0 $(ARGS)

needs-key:
	@test -n "$(KEY)" || { echo 'Say the key that "make run" printed in another terminal: make $(MAKECMDGOALS) KEY=tc_test_...' >&2; exit 1; }

test-example-express: $(STAMP)-run $(STAMP)-test $(STAMP)-browser $(EXPRESS)
	@node --test --test-reporter=spec examples/express/*.test.js
	@$(PY) -m pytest -m browser -n 0 examples/express $(ARGS)

example-fastapi: needs-key $(STAMP)-fastapi ## the FastAPI site on http://localhost:8001 (KEY=tc_test_..., from `make run`)
	@TAPCODE_API_KEY="$(KEY)" .venv/example-fastapi/bin/python -m uvicorn --app-dir examples/fastapi --host localhost --port 8001 --timeout-graceful-shutdown 1 app:app

example-django: needs-key $(STAMP)-django ## the Django site on http://localhost:8002 (KEY=tc_test_..., from `make run`)
	@cd examples/django && $(CURDIR)/.venv/example-django/bin/python manage.py migrate --verbosity 0
	@cd examples/django && TAPCODE_API_KEY="$(KEY)" $(CURDIR)/.venv/example-django/bin/python manage.py runserver --noreload localhost:8002

example-express: needs-key $(EXPRESS) ## the Express site on http://localhost:3000 (KEY=tc_test_..., from `make run`; needs Node and npm)
	@TAPCODE_API_KEY="$(KEY)" exec node examples/express/server.js

torture: $(STAMP)-run $(STAMP)-test ## kill -9 under load, ROUNDS=200 times
	@$(PY) -m tests.torture --rounds $(ROUNDS) $(ARGS)

# mypy reads the types of all that is imported, so all must be there.
lint: $(STAMP)-run $(STAMP)-test $(STAMP)-browser $(STAMP)-lint ## style, types, layers, dependencies, dead code, deployment files
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PY) .venv/bin/lint-imports --no-logo
	$(PY) -m deptry --no-ansi .
	$(PY) -m vulture
	.venv/bin/hadolint Dockerfile
	.venv/bin/check-jsonschema --builtin-schema vendor.compose-spec compose.yaml
	.venv/bin/kubernetes-validate --strict --quiet deploy/kubernetes.yaml

# Half an hour, a quiet machine, 8 GB on the disk that is meant (FOLDER), and redis-server where it is to be compared.
bench: $(STAMP)-run $(STAMP)-test $(STAMP)-bench ## measure, and draw docs/performance/*.svg (FOLDER: on the disk that is meant)
	$(PY) -m bench.hot --folder $(FOLDER) --callers 1,4,16,64,256 --rivals --save hot
	for subscribers in 1000 10000 100000 1000000; do $(PY) -m bench.size --folder $(FOLDER) --subscribers $$subscribers || exit 1; done
	$(PY) -m bench.idle --folder $(FOLDER)
	$(PY) -m bench.plots

fmt: $(STAMP)-lint ## format, and repair what can be repaired
	$(PY) -m ruff check --fix-only .
	$(PY) -m ruff format .

docs: $(STAMP)-run ## write docs/openapi.json anew, and what is generated in docs/conversation.md, docs/button.md and examples
	@$(PY) -m docs.build

lock: $(STAMP)-uv ## make requirements/*.txt again from pyproject.toml (ARGS=--upgrade takes the newest versions)
	$(COMPILE) $(ARGS) pyproject.toml -o requirements/run.txt
	$(COMPILE) $(ARGS) --group reference --no-deps -o requirements/reference.txt
	$(COMPILE) $(ARGS) --group test -c requirements/run.txt -o requirements/test.txt
	$(COMPILE) $(ARGS) --group lint -c requirements/run.txt -c requirements/test.txt -o requirements/lint.txt
	$(COMPILE) $(ARGS) --group browser -c requirements/run.txt -c requirements/test.txt -c requirements/lint.txt -o requirements/browser.txt
	$(COMPILE) $(ARGS) --group bench -c requirements/run.txt -c requirements/test.txt -c requirements/lint.txt -c requirements/browser.txt -o requirements/bench.txt
	$(COMPILE) $(ARGS) --group build -c requirements/run.txt -c requirements/test.txt -c requirements/lint.txt -o requirements/build.txt
	$(COMPILE) $(ARGS) clients/python/pyproject.toml --group clients/python/pyproject.toml:test -c requirements/test.txt -c requirements/lint.txt -o requirements/client-python.txt
	$(COMPILE) $(ARGS) examples/fastapi/requirements.in -c requirements/client-python.txt -o examples/fastapi/requirements.txt
	$(COMPILE) $(ARGS) examples/django/requirements.in -c requirements/client-python.txt -o examples/django/requirements.txt

clean: ## remove .venv and all caches; data/ and .env stay
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage .coverage.* htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A .venv whose Python is gone is made again, and with it all its stamps.
$(STAMP)-venv: $(shell $(PY) -c '' 2>/dev/null || echo remake)
	@old=; bare=; \
	for python in "$(PYTHON)" python3.13 python3.12 python3.11; do \
		version=$$("$$python" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null) || continue; \
		if ! "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then old="$${old:-$$python is $$version}"; continue; fi; \
		if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then bare="$${bare:-$$python}"; continue; fi; \
		echo "Setting up .venv with $$python ($$version)"; \
		"$$python" -m venv --clear .venv || { rm -rf .venv; exit 1; }; \
		touch $@; exit 0; \
	done; \
	if [ -n "$$bare" ]; then echo "$$bare comes without venv and ensurepip: install them (Debian, Ubuntu: apt-get install $${bare##*/}-venv)" >&2; \
	else echo "Python 3.11 or newer is needed ($${old:-there is no $(PYTHON)}): install it, or name it: make PYTHON=/path/to/python3.11 ..." >&2; fi; \
	exit 1

remake:

$(STAMP)-run: $(STAMP)-reference

# Files alone: what the package asks for (Django) serves them elsewhere, and is left out.
$(STAMP)-reference: requirements/reference.txt $(STAMP)-venv
	@echo "Installing requirements/reference.txt"
	@$(HASHED) --no-deps -r requirements/reference.txt
	@touch $@

$(STAMP)-run $(STAMP)-test $(STAMP)-lint $(STAMP)-browser $(STAMP)-bench: $(STAMP)-%: requirements/%.txt $(STAMP)-venv
$(STAMP)-run $(STAMP)-test $(STAMP)-lint $(STAMP)-browser $(STAMP)-bench $(STAMP)-build: $(STAMP)-%: requirements/%.txt $(STAMP)-venv
	@echo "Installing requirements/$*.txt"
	@$(HASHED) -r requirements/$*.txt
	@touch $@

$(TYPESCRIPT_CLIENT): $(wildcard clients/typescript/src/*.ts clients/typescript/*.json)
	@echo "Building clients/typescript"
	@cd clients/typescript && $(NPM_CI) && rm -rf dist && npm run --silent build

$(EXPRESS): examples/express/package-lock.json $(TYPESCRIPT_CLIENT)
	@echo "Installing examples/express"
	@cd examples/express && $(NPM_CI) && touch node_modules/.package-lock.json
# The wheel comes from the sdist.
$(STAMP)-wheel: $(STAMP)-build $(wildcard clients/python/*.* clients/python/src/tapcode_client/*)
	@echo "Building clients/python"
	@rm -rf clients/python/dist
	@$(PY) -m build --no-isolation clients/python >/dev/null
	@touch $@

$(STAMP)-fastapi $(STAMP)-django: $(STAMP)-%: examples/%/requirements.txt $(STAMP)-wheel
	@echo "Installing examples/$*/requirements.txt and the client"
	@rm -rf .venv/example-$*
	@$(PY) -m venv .venv/example-$*
	@.venv/example-$*/bin/python -m $(INSTALL) $(ONLY_HASHED) -r examples/$*/requirements.txt
	@.venv/example-$*/bin/python -m $(INSTALL) --no-deps clients/python/dist/*.whl
	@touch $@

$(STAMP)-uv: $(STAMP)-venv
	@echo "Installing uv, which makes the locks"
	@$(PIP) --only-binary :all: 'uv>=0.9'
	@touch $@
