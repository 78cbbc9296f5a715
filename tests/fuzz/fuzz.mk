# libFuzzer, which sees which code an input reaches. The flags are those of cargo-fuzz without a
# sanitizer, so that stable Rust does. The top Makefile includes this file.
FUZZ_SECONDS ?= 3600
FUZZ_TARGETS ?= responses selectors manifests leases
FUZZ_OUT := target/fuzz
FUZZ_FLAGS := --cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
  -Cllvm-args=-sanitizer-coverage-trace-compares -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
  -Cllvm-args=-sanitizer-coverage-pc-table -Ccodegen-units=1

fuzz: fuzz-build ## coverage-guided fuzzing, FUZZ_SECONDS for each target (default 3600; needs a C++ compiler)
	@set -e; for target in $(FUZZ_TARGETS); do \
	  mkdir -p $(FUZZ_OUT)/found/$$target; \
	  echo "fuzz $$target"; \
	  $(FUZZ_OUT)/*/debug/$$target -max_total_time=$(FUZZ_SECONDS) -max_len=4096 -timeout=10 -print_final_stats=1 \
	    -verbosity=0 -artifact_prefix=$(FUZZ_OUT)/$$target- $(FUZZ_OUT)/found/$$target tests/fuzz/corpus/$$target; \
	done

fuzz-corpus: fuzz-build ## add what `make fuzz` found to tests/fuzz/corpus, as far as it reaches more code
	@set -e; for target in $(FUZZ_TARGETS); do \
	  $(FUZZ_OUT)/*/debug/$$target -merge=1 -max_len=512 tests/fuzz/corpus/$$target $(FUZZ_OUT)/found/$$target; \
	done

# With the versions of Cargo.lock. A target triple keeps the flags from build scripts.
fuzz-build:
	cp Cargo.lock tests/fuzz/Cargo.lock
	CARGO_TARGET_DIR=$(FUZZ_OUT) RUSTFLAGS="$(FUZZ_FLAGS)" cargo build --manifest-path tests/fuzz/Cargo.toml \
	  --target $$(rustc -vV | sed -n 's/^host: //p')

.PHONY: fuzz fuzz-build fuzz-corpus
