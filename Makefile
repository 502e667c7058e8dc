# make app runs the page, make test tests it. `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/.stamps
# Two files at a time, each with one thread: starting processes takes most of the time. In the order of
# tests/conftest.py, the slowest first, which pytest-xdist would otherwise begin last.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: help app test test-all lint benchmark screenshots resolve chromium

help:
	@echo "make app          run the page on http://127.0.0.1:7860"
	@echo "make test         run the tests, in a real browser too"
	@echo "make test-all     the same, with those that take minutes and rarely fail"
	@echo "make lint         ruff and mypy"
	@echo "make benchmark    measure speed and memory"
	@echo "make screenshots  draw the README's pictures of the page"
	@echo "make resolve      check that the Space's requirements resolve for its Python"
	@echo "PYTHON=python3.12 make app   with another Python, 3.11 or newer"

# A stamp is newer than the requirements that it stands for, so the second run installs nothing.
app: $(STAMPS)/app
	$(BIN)/python app.py

test: $(STAMPS)/test chromium
	$(PYTEST)

# Before a release.
test-all: $(STAMPS)/test chromium
	$(PYTEST) -m "slow or not slow"
	LGG_ENGINE=torch $(PYTEST) tests/lgg

lint: $(STAMPS)/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

benchmark: $(STAMPS)/test chromium
	$(BIN)/python -m train benchmark
	$(BIN)/python -m tests.latency

screenshots: $(STAMPS)/test chromium
	$(BIN)/python -m tests.screenshots

# Nothing is installed; packages that are not there as wheels would have to be built by the Space. The last
# line is what a Space's build log shows beside ours; Gradio's extras cap packages that we leave open.
resolve: $(STAMPS)/venv
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --dry-run --ignore-installed \
		--python-version 3.12 --only-binary=:all: --target $(STAMPS)/resolve --report $(STAMPS)/resolve.json \
		-r pre-requirements.txt -r requirements.txt \
		"gradio[oauth,mcp]==$$(sed -n 's/^sdk_version: //p' README.md)" "uvicorn>=0.14.0" "websockets>=10.4" spaces
	@echo "They resolve; $(STAMPS)/resolve.json lists the packages."

# The page's tests and pictures drive the system's own Chromium.
chromium:
	@command -v chromium || command -v chromium-browser || command -v google-chrome || \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update && apt-get install -y chromium; \
	else \
		echo "Chromium is needed: install it (Debian: sudo apt-get install chromium), then run this again." >&2; \
		exit 1; \
	fi

$(STAMPS)/venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Python 3.11 or newer is needed, and '$(PYTHON)' is not. Say which: PYTHON=python3.12 make app" >&2; \
		exit 1; }
	test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/app: requirements.txt requirements-app.txt $(STAMPS)/venv
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements.txt -r requirements-app.txt
	@touch $@

$(STAMPS)/test: requirements-train.txt requirements-test.txt requirements-register.txt $(STAMPS)/app
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements-train.txt -r requirements-test.txt \
		-r requirements-register.txt
	@touch $@
