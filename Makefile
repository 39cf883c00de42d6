# Each target works on a fresh clone: it creates .venv and installs the tested versions first.
#
#   make train DATA=path/to/BUSI       train the network to start with, EfficientNet-Lite0, evaluate
#                                      it, and export it to models/efficientnet_lite0
#   make train-cnn                     the study's CNN, a baseline;  make train-swin: its Swin
#   make train-NAME                    any network of `breastus train --help`
#   make train-best                    the best recipe: logistic regression on frozen cells, five
#                                      folds as one bundle
#   make check IMAGES="a.png b.png"    an HTML page about the predictions of models/busi, which ships
#                                      with the repository;  MODEL=NAME: of models/NAME
#   make check DATA=path/to/images     ... for some images of a data set
#   make demo                          the same as a web page on this machine, to drop images on
#   make test                          the quick tests;  make test-all: the slow ones too
#   make test-gpu                      the tests for a machine with a GPU
#   make lint                          ruff;  make format: let ruff fix it
#   make docs                          build the documentation into site/
#   make bench ARGS=--quick            speed beside PyTorch and others (downloads several GB)
#   make bench-gpu                     the same on a GPU, ten minutes at most
#   make reproduce DATA=path/to/BUSI   repeat the study and the ablation, into RESULTS.md (many
#                                      hours; continues after an interruption)
#   make clean                         remove environments and build folders
#
# DATA is a directory, a CSV file, hub, phantom or auto; several: DATA="A;B". ARGS is passed on, such
# as ARGS="--seed 1". MODEL names the network of make train, make check and make demo, IMAGES the
# images of make check, without spaces in their names.

PYTHON ?= python3
VENV   ?= .venv
DATA   ?= auto
MODEL  ?= efficientnet_lite0
ARGS   ?=
IMAGES ?=

BIN   := $(VENV)/bin
STAMP := $(VENV)/.installed
# Two processes: tests mostly trace graphs, on one core each, and each process takes about 3 GB.
PYTEST := $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder
BENCH_VENV  := .venv-bench
BENCH_STAMP := $(BENCH_VENV)/.installed
# The GPU build of TensorFlow where there is an NVIDIA driver, the CPU build elsewhere.
comma := ,
EXTRA := $(if $(shell command -v nvidia-smi 2>/dev/null),$(comma)gpu)

.PHONY: help install train train-best check demo docs reproduce test test-all test-gpu lint format bench bench-gpu clean
help:
	@sed -n 's/^#   //p' Makefile

install: $(STAMP)
$(STAMP): setup.cfg pyproject.toml constraints.txt
	@echo "Installing TensorFlow and the other packages into $(VENV); this takes some minutes."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
		--editable ".[dev$(EXTRA)]"
	@# Without a display libGL may be missing; the headless build is the same module without it.
	@$(BIN)/python -c "import cv2" 2>/dev/null || { \
		echo "opencv-python does not load here; installing opencv-python-headless instead"; \
		$(BIN)/python -m pip uninstall --quiet --yes opencv-python && \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps \
			--constraint constraints.txt opencv-python-headless; }
	@touch $@

train: train-$(MODEL)

train-%: $(STAMP)
	$(BIN)/breastus train $* --data "$(DATA)" --publish models/$* $(ARGS)

train-best: $(STAMP)
	$(BIN)/python -m experiments.recipes.best --data "$(DATA)" --publish models/best $(ARGS)

# Without what names the images that `make check` looks at.
models/%/bundle.json:
	$(MAKE) train-$* DATA=auto ARGS=

# MODEL names the model if it was given; its default is that of make train. ARGS may name images too.
CHECKED := models/$(if $(filter file default,$(origin MODEL)),busi,$(MODEL))
check: $(STAMP) $(CHECKED)/bundle.json
	$(BIN)/breastus check $(CHECKED) $(IMAGES) \
		$(if $(filter-out auto,$(DATA)),--data "$(DATA)",$(if $(IMAGES)$(ARGS),,--data auto)) $(ARGS)

demo: $(STAMP) $(CHECKED)/bundle.json
	$(BIN)/breastus demo $(CHECKED) $(ARGS)

# Prepared once for the ablation; the study's own splits keep the images that this leaves out. Each
# DATA has its own folder, named by a checksum, because DATA may contain spaces.
PREPARED := runs/prepared/$(firstword $(shell printf '%s' "$(DATA)" | cksum))
$(PREPARED)/splits.csv: | $(STAMP)
	$(BIN)/breastus data prepare --data "$(DATA)" --out $(PREPARED)

# Finished runs in runs/study and runs/ablation are skipped, with ARGS=--missing also recorded ones.
# With changed settings the runs go to runs/tried, and no table is written.
reproduce: $(STAMP) $(PREPARED)/splits.csv
	$(BIN)/python -m experiments.recipes.study --data "$(DATA)" $(ARGS)
	$(BIN)/python -m experiments.recipes.ablation --data $(PREPARED) $(ARGS)
	$(if $(findstring --set,$(ARGS)),,$(BIN)/python -m experiments.results)

test: $(STAMP)
	$(PYTEST) -m "not slow" $(ARGS)

test-all: $(STAMP)
	$(PYTEST) --hypothesis-profile default $(ARGS)

# In one process: several would share the memory of the GPU.
test-gpu: $(STAMP)
	$(BIN)/python -m pytest -m gpu $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The packages compared with have their own environment: several GB, and never in one process with
# TensorFlow.
$(BENCH_STAMP): experiments/benchmarks/speed/requirements.txt
	$(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict $(ARGS)

bench: $(STAMP) $(BENCH_STAMP)
	$(BIN)/python -m experiments.benchmarks.speed --rivals $(BENCH_VENV) --data "$(DATA)" $(ARGS)

bench-gpu: $(STAMP) $(BENCH_STAMP)
	$(BIN)/python -m experiments.benchmarks.speed.gpu --rivals $(BENCH_VENV) $(ARGS)

clean:
	rm -rf $(VENV) $(BENCH_VENV) build site *.egg-info .pytest_cache .ruff_cache
