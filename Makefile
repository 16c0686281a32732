# Everything runs in .venv, which is made once: a second `make` installs nothing.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
ARGS ?=
# Hundreds of processes read our modules: each would have to compile them.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: reproduce test test-all faults sanitize lint docs lab dist bench curves gpu-check

.venv/.installed: setup.cfg pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) not found; name another with make PYTHON=python3.12"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

reproduce: .venv/.installed  ## the main job: table 3 at the embedded preset, or make reproduce ARGS="table3 --preset cpu ..."
	$(BIN)/senas-bench reproduce $(or $(ARGS),table3)

test: .venv/.installed  ## every module in five minutes on two cores
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal -m 'not slow' $(ARGS)

test-all: test  ## and what is marked slow: every method in full, processes, Ray, torchrun, faults, notebooks
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal -m slow $(ARGS)

faults: .venv/.installed  ## at full size: 20 kills, 20,000 inputs, files of 1.2 GB; an hour or more
	SENAS_FAULTS=full OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/faults tests/methods/test_conformance.py \
		tests/training/test_distributed.py -k 'faults or resumed' -s $(ARGS)
	SENAS_IMPORT_ARCHS=1000,2000 OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/groundtruth/test_official.py -k memory -s

sanitize: .venv/.installed  ## the loops in C under gcc's checks of memory and of undefined behaviour: five minutes
	CC="gcc -g -fsanitize=address,undefined -fno-sanitize-recover=all" ASAN_OPTIONS=detect_leaks=0 OMP_NUM_THREADS=1 \
		LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" \
		$(BIN)/python -m pytest tests/kernels tests/spaces/nasbench201 -m 'not slow' $(ARGS)

lint: .venv/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@# types: analysis/ stands where it is installed, as senas_bench.analysis
	rm -rf build/types && mkdir -p build/types
	cp -r senas_bench build/types/ && cp -r analysis build/types/senas_bench/
	$(BIN)/basedpyright --level error

docs: .venv/.installed  ## the site of the documents, warnings as errors, in build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "built in build/site; to read it: $(BIN)/python -m http.server --directory build/site"

lab: .venv/.installed  ## JupyterLab, installed where it is missing, with the notebooks
	test -x $(BIN)/jupyter-lab || $(BIN)/pip install --quiet --constraint constraints.txt --editable '.[notebooks]'
	$(BIN)/jupyter-lab --notebook-dir notebooks $(ARGS)

dist: .venv/.installed  ## a wheel, in dist/
	rm -rf build/lib build/bdist.* dist
	$(BIN)/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .
	@ls dist/*.whl

bench: .venv/.installed  ## shortcuts one by one, then ratios to the plain way: 10 minutes; make bench ARGS="training" for one
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/benchmarks --benchmark-only --benchmark-group-by=group
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.ratios $(ARGS)

curves: .venv/.installed  ## how time grows: benchmarks/curves.csv and .png
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.curves

gpu-check:  ## tests, speed and one search of preset paper on a GPU, in 15 minutes; DATA_DIR=folder with CIFAR-10
	$(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) -m benchmarks.gpu_check $(ARGS)
