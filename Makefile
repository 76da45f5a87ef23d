# Everything from one word: `make demo` shows it, `make up` runs it, `make test`
# proves it. Each sets up what it needs first; a second time that takes a second.

# Relative paths only, so that a clone may lie below a folder with a space.
PYTHON := .venv/bin/python
# A node that set-up had to bring along comes before the machine's; set-up itself
# must not run on the Python that it may have to clear away.
setup setup-test: export PATH := $(PATH)
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PYTHONUNBUFFERED := 1
PYTEST := $(PYTHON) -m pytest
# What to hand on, for instance: make test ARGS="-k lease -x"
ARGS ?=
# Test files run side by side; most of their time is waiting. 0: one after the other.
WORKERS ?= 3
TESTS = $(PYTEST) -m "not long" -n $(WORKERS) --dist loadfile --no-loadscope-reorder

# Style before types before import rules before tests, whatever -j says.
.NOTPARALLEL:
.DEFAULT_GOAL := help
.PHONY: help demo up doctor test check lint format types imports faults soak cycles figures load bench pictures setup setup-test clean distclean

help: ## Show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

demo: setup ## The whole service against a simulated WhatsApp, told as a story (DEMO=once: then stop)
	@$(PYTHON) -m tests.demo $(if $(filter once,$(DEMO)),--once) $(ARGS)

up: setup ## The whole service on this machine, against the real WhatsApp
	@exec $(PYTHON) -m actors.up $(ARGS)

doctor: setup ## What is missing on this machine, and how to mend it
	@$(PYTHON) -m gateway.cli.doctor

test: check ## Style, types, import rules, then every test that takes seconds
	@echo "== tests"
	@$(TESTS) $(ARGS)

check: lint types imports

lint: setup-test ## Style only (make format mends most of it)
	@echo "== style"
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .

types: setup-test
	@echo "== types"
	@node_modules/.bin/pyright --project pyproject.toml

imports: setup-test
	@echo "== import rules"
	@.venv/bin/lint-imports

format: setup-test ## Mend the style
	@$(PYTHON) -m ruff check --fix .
	@$(PYTHON) -m ruff format .

faults: setup-test ## Kill everything, again and again; nothing may be lost or doubled (EXPERIMENT=name SEED=n)
	@$(PYTHON) -m tests.faults $(if $(EXPERIMENT),--experiment $(EXPERIMENT)) $(if $(SEED),--seed $(SEED)) $(ARGS)

soak: setup-test ## Steady traffic with real browsers; memory must stay flat (DURATION=30m SESSIONS=10)
	@$(PYTHON) -m tests.faults.soak $(if $(DURATION),--duration $(DURATION)) $(if $(SESSIONS),--sessions $(SESSIONS)) $(ARGS)

cycles: setup-test ## Start and stop a session again and again; nothing may be left (REAL=200 FAKE=1000)
	@$(PYTHON) -m tests.faults.cycles $(if $(REAL),--real $(REAL)) $(if $(FAKE),--fake $(FAKE)) $(ARGS)

figures: setup-test ## How long it takes when something breaks: killed, frozen, never ready, all at once
	@$(PYTHON) -m tests.faults.figures $(if $(SESSIONS),--sessions $(SESSIONS)) $(ARGS)

load: setup-test ## So many users, each on a real browser, at work; is the promise kept? (USERS=100 DURATION=10m RATE=10)
	@$(PYTHON) -m tests.load $(if $(USERS),--users $(USERS)) $(if $(DURATION),--duration $(DURATION)) $(if $(RATE),--rate $(RATE)) $(ARGS)

pictures: setup-test ## Take the README's pictures of the console from the running sandbox
	@$(PYTHON) -m tests.console.pictures $(ARGS)

bench: setup-test ## What each part costs, beside what it is made of and beside whatsapp-web.js (RUNS=5 ONLY=name)
	@$(PYTHON) -m tests.bench $(if $(RUNS),--runs $(RUNS)) $(if $(ONLY),--only $(ONLY)) $(ARGS)

setup:
	@python3 deploy/setup.py run

setup-test:
	@python3 deploy/setup.py test

clean: ## Remove what tests and tools left behind (never data/)
	@rm -rf .pytest_cache .ruff_cache .hypothesis .import_linter_cache build *.egg-info
	@find actors events gateway projections tests deploy -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## Also remove .venv and node_modules
	@rm -rf .venv node_modules
