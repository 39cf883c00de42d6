# Each target works on a fresh clone: it makes .venv and installs the tested versions first.
#
#   make train-cnn                     train, judge and export the study's CNN
#   make train-cnn DATA=path/to/BUSI   ... on a folder of your own (see README.md)
#   make train-swin                    the same for its Swin Transformer;  train-NAME: any network
#   make train-best                    the best recipe known here: twenty networks as one bundle
#   make check DATA=path/to/images     what the model makes of a handful of images
#   make check ARGS="a.png b.png"      ... of these images
#   make reproduce DATA=path/to/BUSI   the study's rows beside ours, and the ablation, run anew (many
#                                      hours; goes on where it was cut off), into RESULTS.md
#   make test                          the quick tests;  make test-all: the slow ones too
#   make bench ARGS=--quick            how fast it is, beside PyTorch and others (downloads several GB)
#
# DATA is a directory, a CSV file, hub, phantom or auto; several: DATA="A;B". ARGS is passed on, such
# as ARGS="--seed 1".

PYTHON ?= python3
VENV   ?= .venv
DATA   ?= auto
MODEL  ?= cnn
ARGS   ?=

BIN   := $(VENV)/bin
STAMP := $(VENV)/.installed
# Two processes: tests mostly trace graphs, on one core each, and each process takes about 3 GB.
PYTEST := $(BIN)/python -m pytest --numprocesses 2 --dist loadfile
BENCH_VENV  := .venv-bench
BENCH_STAMP := $(BENCH_VENV)/.installed
# The GPU build of TensorFlow where there is an NVIDIA driver, the CPU build elsewhere.
comma := ,
EXTRA := $(if $(shell command -v nvidia-smi 2>/dev/null),$(comma)gpu)

.PHONY: help install train-best check reproduce test test-all lint format bench clean
help:
	@sed -n 's/^#   //p' Makefile

install: $(STAMP)
$(STAMP): setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
		--editable ".[dev$(EXTRA)]"
	@# Without a display libGL may be missing; the headless build is the same module without it.
	@$(BIN)/python -c "import cv2" 2>/dev/null || { \
		echo "opencv-python does not load here; taking opencv-python-headless instead"; \
		$(BIN)/python -m pip uninstall --quiet --yes opencv-python && \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps \
			--constraint constraints.txt opencv-python-headless; }
	@touch $@

train-%: $(STAMP)
	$(BIN)/breastus train $* --data "$(DATA)" --publish models/$* $(ARGS)

train-best: $(STAMP)
	$(BIN)/python -m experiments.best --data "$(DATA)" --publish models/best $(ARGS)

# Not with DATA and ARGS: those of `make check` name the images to be checked.
models/%/bundle.json:
	$(MAKE) train-$* DATA=auto ARGS=

check: $(STAMP) models/$(MODEL)/bundle.json
	$(BIN)/breastus check models/$(MODEL) $(if $(filter-out auto,$(DATA)),--data "$(DATA)") $(ARGS)

# Prepared once for the ablation; the study's own splits keep what that leaves out. Each DATA has a
# folder of its own, named by a checksum, as DATA may hold spaces and more.
PREPARED := runs/prepared/$(firstword $(shell printf '%s' "$(DATA)" | cksum))
$(PREPARED)/splits.csv: | $(STAMP)
	$(BIN)/breastus data prepare --data "$(DATA)" --out $(PREPARED)

# Runs that are finished in runs/study and runs/ablation are skipped, with ARGS=--missing also those
# whose records are kept. With changed settings it is a try, in runs/tried, that writes no tables.
reproduce: $(STAMP) $(PREPARED)/splits.csv
	$(BIN)/python -m experiments.study --data "$(DATA)" $(ARGS)
	$(BIN)/python -m experiments.ablation --data $(PREPARED) $(ARGS)
	$(if $(findstring --set,$(ARGS)),,$(BIN)/python -m experiments.results)

test: $(STAMP)
	$(PYTEST) -m "not slow" $(ARGS)

test-all: $(STAMP)
	$(PYTEST) --hypothesis-profile default $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# What the benchmark compares with lives apart: several GB, and never in one process with TensorFlow.
$(BENCH_STAMP): experiments/bench-requirements.txt
	$(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

bench: $(STAMP) $(BENCH_STAMP)
	$(BIN)/python -m experiments.bench --rivals $(BENCH_VENV) --data "$(DATA)" $(ARGS)

clean:
	rm -rf $(VENV) $(BENCH_VENV) build *.egg-info .pytest_cache .ruff_cache
