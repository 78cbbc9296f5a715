# The official SDK and the official API definition against the simulator and the operator.
VENV := .venv

$(VENV)/.contract: tests/contract/requirements.txt
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --require-hashes --requirement $<
	touch $@

contract: $(VENV)/.contract ## the official SDK and API definition against simulator and operator
	cargo build --quiet --package fdi-operator --package fdi-simulator --package controlplane
	$(VENV)/bin/pytest tests/contract
.PHONY: contract
