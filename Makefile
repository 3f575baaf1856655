# Every target makes .venv itself if it is missing, with the versions of constraints.txt.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
SOURCES := $(shell find npdata -name '*.py') README.md

LOWEST := $(shell sed -n 's/^dependencies = \[\(.*\)\]/\1/p' pyproject.toml | tr -d '",' | sed 's/>=/==/g')

.PHONY: demo lowest test check format bench docs gpu clean fuzz corpus integrations interop matrix

demo: $(VENV)/.demo
	$(BIN)/python examples/train_digits.py

test: $(VENV)/.wheel corpus
	$(BIN)/pytest -n 2 --instafail $(ARGS)

# 10,000 random HDF5 datasets, each compared with h5py.
fuzz: $(VENV)/.wheel
	NPDATA_FUZZ_COUNT=10000 $(BIN)/pytest -n 2 -rP -o faulthandler_timeout=0 tests/sources/hdf5/test_fuzz.py

# HDF5 files that others wrote: taken out of the wheels of three packages, which stay uninstalled.
corpus: .corpus/.ready

check: $(VENV)/.wheel
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --platform darwin --cache-dir .mypy_cache/darwin
	$(MAKE) docs
	$(MAKE) test

format: $(VENV)/.wheel
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Measures for half an hour at most and writes benchmarks/RESULTS.md, charts, and README's table;
# ARGS=--quick takes three minutes, writes into benchmarks/out and compares with README.
bench: $(VENV)/.wheel
	$(PIP) --no-build-isolation '.[bench]'
	$(BIN)/python -m benchmarks $(ARGS)

docs: $(VENV)/.wheel
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

# Trainers and containers of rows, in their own packages, in a virtual environment of their own: on two
# busy cores 19 minutes to install, then 11 for the tests.
integrations:
	$(MAKE) VENV=.venv-integrations .venv-integrations/.integrations
	.venv-integrations/bin/pytest tests/integrations tests/sources/test_containers.py $(ARGS)

# Files by the real writers of netCDF, MATLAB, NWB, AnnData and tables, likewise: no test is
# skipped there. Install and tests take 2.5 minutes of one core, and the environment 2.3 GB.
interop:
	$(MAKE) VENV=.venv-interop .venv-interop/.interop
	.venv-interop/bin/pytest tests/sources/packed/test_decode.py tests/sources/derived/test_columns.py \
		tests/sources/derived/test_axis.py tests/dataset/test_sparse.py tests/dataset/test_ragged.py \
		tests/dataset/test_overview.py $(ARGS)

$(VENV)/.interop: $(VENV)/.wheel
	$(PIP) --no-build-isolation '.[interop-tests]'
	touch $@

# Writes what these tests show into docs/trainers.md; a test compares it.
matrix: $(VENV)/.wheel
	$(BIN)/python tests/helpers/matrix.py

$(VENV)/.integrations: $(VENV)/.wheel
	$(PIP) --no-build-isolation '.[integrations]'
	touch $@

gpu: $(VENV)/.wheel
	$(BIN)/pytest tests/gpu $(ARGS)

# Datasets, samplers and loaders on the lowest versions that pyproject.toml declares, in a venv of its own: 6 GB, since
# torch of that age comes from PyPI with CUDA only.
lowest: .lowest/.ready $(SOURCES)
	.lowest/bin/python -m pip install --quiet --no-build-isolation --no-deps --force-reinstall .
	.lowest/bin/pytest $(ARGS) tests/arrays tests/sources tests/dataset tests/sampling tests/loading tests/test_*_modes.py

.lowest/.ready: pyproject.toml
	test -x .lowest/bin/python || $(PYTHON) -m venv .lowest
	.lowest/bin/python -m pip install --quiet --disable-pip-version-check \
		$(LOWEST) hatchling pytest hypothesis ml_dtypes pandas scipy scikit-learn rich tqdm
	touch $@

clean:
	rm -rf .lowest $(VENV) .venv-interop .venv-integrations dist build site .corpus

.corpus/.ready: constraints.txt tests/helpers/unpack_corpus.py $(VENV)/.ready
	rm -rf .corpus
	$(BIN)/python -m pip download --quiet --disable-pip-version-check -c constraints.txt \
		--no-deps --only-binary :all: --dest .corpus/wheels tables h5py scanpy
	$(BIN)/python tests/helpers/unpack_corpus.py .corpus/wheels .corpus/files
	touch $@

# What the demo and README's other lines need.
$(VENV)/.demo: pyproject.toml constraints.txt $(SOURCES)
	@echo "Installing npdata with PyTorch, h5py, scikit-learn and matplotlib into $(VENV) ..."
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) pip hatchling
	$(PIP) --no-build-isolation '.[cli,examples]'
	touch $@

# The dependencies, once; then the project as a built wheel, again whenever a source changes:
# what is tested is what is shipped, and never the source folder.
$(VENV)/.ready: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) pip hatchling
	$(PIP) --no-build-isolation '.[dev]'
	touch $@

$(VENV)/.wheel: $(VENV)/.ready $(SOURCES)
	$(PIP) --no-build-isolation --no-deps --force-reinstall .
	touch $@
