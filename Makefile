# `make demo` and `make test` set themselves up: a virtual environment in .venv, made once and shared.
PYTHON ?= python3
BIN = .venv/bin

.PHONY: demo test lint results bench clean

demo: .venv/ready
	$(BIN)/attar demo

test: .venv/ready
	$(BIN)/pytest --numprocesses 2

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Everything under results/quality that is not there yet; needs MNIST and CIFAR-10 under DATA, and hours.
results: .venv/ready
	$(BIN)/python benchmarks/quality.py --root $(DATA)

# Every loop beside its literal version and the machine's ceilings; what results/speed/NAME.json holds is skipped. Hours on two quiet cores.
NAME = mine
bench: .venv/ready
	$(BIN)/python benchmarks/speed.py --name $(NAME)

.venv/ready: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable '.[test]'
	touch $@

clean:
	rm -rf .venv demo runs
