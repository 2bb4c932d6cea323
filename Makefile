# Every target makes the environment it needs by itself; the second time it is there already.
#
#   make demo         the main job on the demo's tables, into runs/demo
#   make test         the tests, without the slow ones
#   make test-slow    the fault and soak tests
#   make mutants      how many small faults in pruning and evaluation the tests notice (20 minutes)
#   make check        format, lint, types, unsafe calls, architecture, list of components
#   make docs         the site of the documentation, into build/site, with every link checked
#   make sbom         the list of components alone, into build/sbom.json
#   make dist         wheel and source archive of the last commit, into dist/
#   make notebooks    the notebooks under examples/, executed, with their outputs kept
#   make bench        every benchmark that is not finished yet, into benchmarks/results/; hours.
#                     AGAIN=NAME: although it is finished; NAMES="NAME …": these alone
#   make bench-quick  the same, small and rough, some ten minutes, into benchmarks/results/quick/
#   make bench-peers  the environments of the tools that the benchmarks compare with (large)
#   make bench-publish  copies whole results into benchmarks/, and writes docs/benchmarks.md
#   make clean        removes all that the above made

SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
VENV := .venv/.installed
# Named before everything else that needs it: a bare "torch" may resolve to a far larger build.
TORCH := torch==2.13.0
ON_ALL_CORES := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 \
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --durations 20
VERSION = $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' src/recprune/__init__.py)
# Checks that python -O must not leave out.
GUARDING := $(addprefix src/recprune/,crypto.py envelope erasure security serving)
PEERS := .venv-peers/.installed .venv-recbole/.installed
RUN_BENCHMARKS = .ci/system-packages libgomp1 wrk && \
	$(BIN)/python -m benchmarks run $(NAMES) $(addprefix --again=,$(AGAIN))

.PHONY: demo test test-slow mutants check docs sbom dist notebooks
.PHONY: bench bench-quick bench-peers bench-publish clean
.NOTPARALLEL:
.DELETE_ON_ERROR:

demo: $(VENV)
	$(BIN)/recprune demo -o runs/demo

# A file's tests stay together, so that what they share is made once; a process that has a core to
# itself gains nothing by more threads.
test: $(VENV)
	$(ON_ALL_CORES)

test-slow: $(VENV)
	$(ON_ALL_CORES) -m slow

# A sample of them, the same for the same seed: make mutants MUTANTS="--size 0" for all.
mutants: $(VENV)
	$(BIN)/python -m tests.mutation --processes 2 $(MUTANTS)

check: $(VENV)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --strict src benchmarks tools
	$(BIN)/bandit --quiet --recursive src --configfile pyproject.toml
	$(BIN)/bandit --quiet --recursive --tests B101 $(GUARDING)
	$(BIN)/python -m pytest tests/architecture
	$(MAKE) sbom

# The variables keep back advertisements of what may follow MkDocs.
docs: $(VENV)
	NO_MKDOCS_2_WARNING=1 DISABLE_MKDOCS_2_WARNING=true \
		$(BIN)/python -m mkdocs build --strict
	$(BIN)/python -m tools.site.links build/site

# What the environment is made of, in CycloneDX's format, checked against its schema. The version is
# written in, since the tool does not look for one that the project takes from its source.
sbom: $(VENV)
	mkdir -p build
	sed 's/^dynamic = \["version"\]/version = "$(VERSION)"/' pyproject.toml > build/project.toml
	$(BIN)/cyclonedx-py environment --pyproject build/project.toml --mc-type library \
		--output-reproducible --validate --output-file build/sbom.json $(BIN)/python

# Built from what is committed and dated by it, so that the same commit gives the same bytes.
dist: $(VENV)
	rm -rf dist build/source
	mkdir -p build/source
	git archive HEAD | tar -x -C build/source
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) \
		$(BIN)/python -m build --no-isolation --outdir dist build/source

notebooks: $(VENV)
	$(BIN)/python -m examples.render

bench: $(VENV) $(PEERS)
	$(RUN_BENCHMARKS)

bench-quick: $(VENV) $(PEERS)
	$(RUN_BENCHMARKS) --quick

bench-peers: $(PEERS)

bench-publish: $(VENV)
	$(BIN)/python -m benchmarks publish $(NAMES)

clean:
	rm -rf .venv .venv-peers .venv-recbole runs/demo benchmarks/results build dist mutants
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find src tests benchmarks examples -name __pycache__ -type d -prune -exec rm -rf {} +

# pip is upgraded first: installing a dependency group needs 25.1 or newer.
define make_environment
$(PYTHON) -m venv $(1)
$(1)/bin/python -m pip install --quiet --upgrade pip
$(1)/bin/python -m pip install --quiet $(TORCH)
endef

$(VENV): pyproject.toml
	$(call make_environment,.venv)
	.venv/bin/python -m pip install --quiet -e '.[all]' --group dev
	touch $@

.venv-%/.installed: benchmarks/requirements-%.txt
	$(call make_environment,.venv-$*)
	.venv-$*/bin/python -m pip install --quiet -r $<
	touch $@
