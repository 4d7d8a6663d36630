# `make demo` and `make test` set themselves up: a virtual environment in .venv, made once and shared.
PYTHON ?= python3
BIN = .venv/bin

.PHONY: demo test test-all lint wheel demo-wheel test-lowest results bench clean

demo: .venv/ready
	$(BIN)/attar demo

test: .venv/ready
	$(BIN)/pytest --numprocesses 2

# Also what is marked slow: whole programs that are killed, and at full size what others test small.
test-all: .venv/ready
	$(BIN)/pytest --numprocesses 2 -m ""

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Source archive and wheel, in dist/; the wheel is built from the archive.
wheel: .venv/ready
	rm -rf dist
	$(BIN)/python -m build --outdir dist

# The wheel in an environment that has nothing else of Attar. It borrows what .venv has installed, as torch takes
# minutes and gigabytes; `pip check` says whether the wheel names all that it needs.
demo-wheel: wheel
	$(PYTHON) -m venv --clear --without-pip .venv-wheel
	$(BIN)/pip --python .venv-wheel install --quiet --no-deps dist/*.whl
	echo $(CURDIR)/.venv/lib/python*/site-packages > "$$(echo .venv-wheel/lib/python*/site-packages)/borrowed.pth"
	$(BIN)/pip --python .venv-wheel check
	.venv-wheel/bin/attar demo --out .venv-wheel/demo

# The wheel with the oldest Python and packages that pyproject.toml allows, all installed anew: minutes and gigabytes.
# Old packages warn of what their newer neighbours will drop, which is no fault of Attar's. Every method's promises are
# left to `make test`: they take long, and hang on packages least.
test-lowest: wheel
	python3.11 -m venv --clear .venv-lowest
	.venv-lowest/bin/pip install --quiet --constraint .ci/lowest.txt "$$(echo dist/*.whl)[test]"
	.venv-lowest/bin/attar demo --out .venv-lowest/demo
	.venv-lowest/bin/pytest --numprocesses 2 -W ignore::DeprecationWarning --ignore tests/test_conformance.py

# Everything under results/quality that is not there yet; needs MNIST and CIFAR-10 under DATA, and hours.
results: .venv/ready
	$(BIN)/python benchmarks/quality.py --root $(DATA)

# Every loop beside its literal version and the machine's ceilings; what results/speed/NAME.json holds is skipped. Hours on two quiet cores.
NAME = mine
bench: .venv/ready
	$(BIN)/python benchmarks/speed.py --name $(NAME)

# pip shows what it fetches, and how far it is; what it has to say of itself is left out.
export PIP_DISABLE_PIP_VERSION_CHECK = 1
export PIP_ROOT_USER_ACTION = ignore
.venv/ready: pyproject.toml
	@echo "Installing Attar and its libraries in .venv: some minutes and about 5 GB, most of it torch."
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --editable '.[test]'
	@touch $@

clean:
	rm -rf .venv .venv-wheel .venv-lowest dist demo runs
