# Build, try and test the extension. `make help` lists the targets.
#
# What a target needs and the machine lacks is installed where nobody has to be asked (apt-get, as root);
# elsewhere one sentence names it and make stops.

SHELL := bash
.DEFAULT_GOAL := build
.NOTPARALLEL:
.PHONY: build demo quick test test-sqlites system-sqlite test-rqlite check schedules soak cold bench clean help symbols build-tools sqlite3-shell rqlited java fuzz \
  sanitize deny advisories sbom nightly dist dist-library reproducible dist-packages load valgrind openssl qemu arm64-cipher \
  docs recording check-macos test-more test-platform test-musl test-arm64 test-windows musl mingw wine dist-all

# Where rustup puts cargo, which a shell that CI started need not have in its PATH.
export PATH := $(PATH):$(HOME)/.cargo/bin

VENV    := target/venv
SQLITE3 ?= sqlite3
PYTHON  ?= /usr/bin/python3 python3
RQLITED ?= rqlited
# -init: nobody's ~/.sqliterc decides how a script of ours runs.
SCRIPT  := $(SQLITE3) -init /dev/null -batch -bail

ifeq ($(shell uname),Darwin)
SUFFIX  := dylib
else
SUFFIX  := so
endif
HOST    := $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')

# The coverage that libFuzzer is steered by; what cargo-fuzz would pass.
FUZZ_SECONDS ?= 600
FUZZ_BUILT   := $(CURDIR)/target/fuzz
FUZZ_FLAGS   := -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
  -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 -Zsanitizer=address

# Left out are tests that measure memory, of which a sanitizer takes much, and hosts that it cannot be put under. The
# tests' programs export what the library needs of AddressSanitizer. Python leaks on its own account.
ASAN       := target/asan
ASAN_ENV   := CARGO_TARGET_DIR=$(ASAN) RUSTFLAGS="-Zsanitizer=address -Clink-arg=-rdynamic" \
  LSAN_OPTIONS=suppressions=$(CURDIR)/tests/promises/leaks.txt:print_suppressions=0
ASAN_TESTS := $(patsubst %,tests/%.py,sql/test_differential sql/test_interop sql/test_items sql/test_operate keys/test_rotate \
  keys/test_shred)

DENY    := target/tools/bin/cargo-deny
MDBOOK  := target/tools/bin/mdbook

# SQLites for the Rust host's tests: the oldest that we take, and the last but one that lets a module go before its tables.
# Each is brought by a version of Go's driver.
SQLITES            := target/sqlites
OLD_SQLITES        := 3.34.0 3.39.4
BROUGHT_BY_3.34.0  := v1.14.6
BROUGHT_BY_3.39.4  := v1.14.16

# The release is built for any glibc since this one, which is the oldest that Rust's own library runs on.
GLIBC      := 2.17
TARGET     ?= $(HOST)
DIST_TOOLS ?= $(CURDIR)/target/dist-tools
DIST_BUILD := $(CURDIR)/target/dist-build
DIST_NAME  := $(if $(findstring windows,$(TARGET)),journal_crypt.dll,libjournal_crypt.$(if $(findstring apple,$(TARGET)),dylib,so))
DIST_FILE  := $(DIST_BUILD)/$(TARGET)/release/$(DIST_NAME)
DIST_CARGO  = cd packaging && PATH="$(DIST_TOOLS)/bin:$$PATH" CARGO_TARGET_DIR=$(DIST_BUILD) \
  RUSTFLAGS="--remap-path-prefix=$(CURDIR)=/source --remap-path-prefix=$${CARGO_HOME:-$$HOME/.cargo}=/cargo \
    $(if $(findstring musl,$(TARGET)),-Ctarget-feature=-crt-static)"
# zig links programs for musl without a loader of libraries, unless it is told.
DIST_PROGRAM = -- $(if $(findstring musl,$(TARGET)),-Clink-arg=-dynamic)
DIST_OPTIONS = --manifest-path ../Cargo.toml --release --locked --target $(TARGET)$(if $(findstring linux-gnu,$(TARGET)),.$(GLIBC))
# For packages of several platforms, a TARGET=LIBRARY for each.
DIST_LIBRARIES ?= $(TARGET)=$(DIST_FILE)

# Where Debian has the C library for ARM64, and what runs a program of that.
ARM64       := aarch64-unknown-linux-gnu
ARM64_ROOT  ?= /usr/aarch64-linux-gnu
QEMU_ARM64   = $(or $(shell command -v qemu-aarch64-static),qemu-aarch64)

# Other platforms that are run here, and what runs their programs.
MUSL        := x86_64-unknown-linux-musl
MUSL_LOADER := /lib/ld-musl-x86_64.so.1
WINDOWS     := x86_64-pc-windows-gnu
WINE        := /usr/lib/wine/wine64

# What is asked of them: every function, keys made, changed and destroyed on both stores, and what is in the packages.
PLATFORM_TESTS := $(patsubst %,tests/%.py,hosts/test_behaviour keys/test_rotate keys/test_shred keys/test_disable keys/test_wrap \
  stores/test_files packages/test_platform)

# What that takes: Debian's names, and a program or a file of each.
MUSL_PARTS    := musl=$(MUSL_LOADER)
ARM64_PARTS    = qemu-user-static=$(QEMU_ARM64) libc6-arm64-cross=$(ARM64_ROOT)/lib/libc.so.6 libgcc-s1-arm64-cross=$(ARM64_ROOT)/lib/libgcc_s.so.1
MINGW_PARTS   := gcc-mingw-w64-x86-64=x86_64-w64-mingw32-gcc
WINDOWS_PARTS := $(MINGW_PARTS) wine64=$(WINE)

LIBRARY := $(or $(CARGO_TARGET_DIR),target)/release/libjournal_crypt.$(SUFFIX)

build: build-tools  ## Build the extension, ./journal_crypt.so, and the operator's tool, ./journal-crypt (the default)
	cargo build --release --locked
	cargo build --release --locked -p journal-crypt
	@# install, not cp: a process that has the old file loaded keeps it, instead of crashing.
	@install -m 755 $(LIBRARY) journal_crypt.$(SUFFIX)
	@install -m 755 $(dir $(LIBRARY))journal-crypt journal-crypt

demo: build sqlite3-shell  ## Write, read and lose a few hundred journal entries of three users
	@rm -rf target/demo && mkdir -p -m 700 target/demo
	@JOURNAL_KEY_STORE="file://$(CURDIR)/target/demo/keys" $(SCRIPT) target/demo/journal.db < sql/demo.sql

quick: build sqlite3-shell $(VENV)/ready  ## Run what is run between two edits: Rust unit and host tests, SQL scripts, the floors
	cargo test -q --locked --lib --test host
	$(VENV)/bin/python -m pytest -q tests/sql/test_sql.py tests/documents/test_architecture.py

test: build dist sqlite3-shell java valgrind $(VENV)/ready  ## Run all tests: Rust, Python and SQL
	@set -o pipefail; red=0; log=target/test.log; \
	cargo test --release --locked --no-fail-fast 2>&1 | tee $$log || red=1; \
	cargo test --release --locked --no-fail-fast -p journal-crypt 2>&1 | tee -a $$log || red=1; \
	$(VENV)/bin/python -m pytest tests --ignore=tests/rqlite 2>&1 | tee -a $$log || red=1; \
	awk "$$COUNT_TESTS" $$log || red=1; \
	exit $$red

# What takes minutes to build and is kept: sqlx, and mdBook.
test-more: build docs $(VENV)/ready  ## Run the tests that `make test` leaves out until this was run once: sqlx's page, and the site
	@mkdir -p target/frameworks-sqlx
	@$(VENV)/bin/python -m pytest tests/frameworks/test_compiled.py tests/documents/test_site.py -k 'sqlx or site'

test-rqlite: rqlited build dist sqlite3-shell $(VENV)/ready  ## Run the tests on real nodes of rqlite: the rqlited of PATH, or of RQLITED=…
	@RQLITED="$$(command -v $(RQLITED))" $(VENV)/bin/python -m pytest tests/rqlite

check: build-tools  ## Run what CI runs: formatting, lints, documentation, exported symbols, the demo and all tests
	cargo fmt --check --all
	cargo clippy --release --all-targets --locked -- -D warnings
	cargo clippy --release --all-targets --locked -p journal-crypt -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --release --no-deps --locked --quiet
	@$(MAKE) --no-print-directory symbols demo
	@if command -v $(RQLITED) >/dev/null; then $(MAKE) --no-print-directory test-rqlite; \
	else echo "test-rqlite: left out, there is no $(RQLITED) here"; fi
	@for platform in "test-musl $(MUSL_PARTS)" "test-arm64 $(ARM64_PARTS)" "test-windows $(WINDOWS_PARTS)"; do \
	  target=$${platform%% *}; $(call missing_parts,$${platform#* }); \
	  if [ -z "$$missing" ]; then $(MAKE) --no-print-directory $$target || exit 1; else echo "$$target: left out, not here:$$missing"; fi; \
	done
	@$(MAKE) --no-print-directory schedules test-sqlites
	@$(MAKE) --no-print-directory test

# The program is linked against the oldest of them, and started with each; the bindings are those of the SQLite that is built
# in otherwise. Cargo would link the one of our own bindings, hence the directory that it is to search first. Left out are
# tests that pin what the newest SQLite says.
test-sqlites: build-tools $(VENV)/ready $(OLD_SQLITES:%=$(SQLITES)/%/libsqlite3.so)  ## Run the Rust host's tests of the boundary on SQLite 3.34.0, 3.39.4 and this machine's
	@set -euo pipefail; host=$$(LIBSQLITE3_SYS_USE_PKG_CONFIG=1 CARGO_TARGET_DIR=$(SQLITES)/build \
	  cargo rustc --locked --profile test --test host --message-format json-render-diagnostics -- \
	    -L native=$(CURDIR)/$(SQLITES)/$(firstword $(OLD_SQLITES)) | sed -n 's/.*"name":"host".*"executable":"\([^"]*\)".*/\1/p'); \
	for version in $(OLD_SQLITES) "$$($(VENV)/bin/python -c 'import sqlite3; print(sqlite3.sqlite_version)')"; do \
	  echo "test-sqlites: $$version"; \
	  LD_LIBRARY_PATH=$(CURDIR)/$(SQLITES)/$$version SQLITE_VERSION=$$version RANDOM_SEEDS=30 \
	    $$host -q closing:: databases:: journal:: keys:: loading:: random:: reuse:: rows::; \
	done

$(SQLITES)/%/libsqlite3.so: tests/host/sqlite.c | $(VENV)/ready build-tools
	@mkdir -p $(@D)
	@source=$$(PATH="$(CURDIR)/$(VENV)/bin:$$PATH" GOPATH=$(CURDIR)/$(SQLITES)/go GOFLAGS=-modcacherw GOTOOLCHAIN=local \
	  go mod download -json github.com/mattn/go-sqlite3@$(BROUGHT_BY_$*) | sed -n 's/.*"Dir": "\(.*\)".*/\1/p') && \
	cc -O1 -fPIC -shared -Wl,-soname,libsqlite3.so.0 -o $@ -I "$$source" tests/host/sqlite.c \
	  -DSQLITE_THREADSAFE=1 -DSQLITE_ENABLE_DESERIALIZE -DSQLITE_ENABLE_JSON1 -lpthread -ldl -lm
	@ln -sf libsqlite3.so $@.0

qemu:
	@$(call missing_parts,$(ARM64_PARTS)); $(install_missing)
	@$(call add_target,$(ARM64))

musl:
	@$(call missing_parts,$(MUSL_PARTS)); $(install_missing)
	@$(call add_target,$(MUSL))

mingw:
	@$(call missing_parts,$(MINGW_PARTS)); $(install_missing)
	@$(call add_target,$(WINDOWS))

# With the function that Wine 8 lacks, beside the program that needs it.
wine: mingw
	@$(call missing_parts,$(WINDOWS_PARTS)); $(install_missing)
	@mkdir -p $(DIST_BUILD)/$(WINDOWS)/release/examples
	@x86_64-w64-mingw32-gcc -O1 -shared -o $(DIST_BUILD)/$(WINDOWS)/release/examples/bcryptprimitives.dll \
	  tests/hosts/wine/bcryptprimitives.c -ladvapi32

# What Rust's `fernet` crate is built with, one of those that the bench compares.
openssl:
	@missing=; pkg-config --exists openssl 2>/dev/null || missing=" libssl-dev pkg-config"; $(install_missing)

system-sqlite:
	@missing=; pkg-config --atleast-version=3.34 sqlite3 2>/dev/null || missing=" libsqlite3-dev pkg-config"; $(install_missing)

# In packaging/ for the reason that dist-library gives.
arm64-cipher: build-tools qemu $(DIST_TOOLS)/ready  ## Run the cipher's tests for ARM64 under QEMU, and count the instructions for AES and SHA-256
	@set -o pipefail; program=$$(cd packaging && PATH="$(DIST_TOOLS)/bin:$$PATH" CARGO_TARGET_DIR=$(CURDIR)/target/arm64 \
	  cargo-zigbuild test --manifest-path ../Cargo.toml --locked --no-run --lib --target $(ARM64) --message-format json | \
	  sed -n 's/.*"executable":"\([^"]*\)".*/\1/p') && export QEMU_LD_PREFIX=$(ARM64_ROOT) && \
	$(QEMU_ARM64) $$program -q cipher && python3 tests/promises/arm64.py $$program

schedules: build-tools  ## Run the cache's threads in thousands of orders, under shuttle
	cargo test -q --release --locked --features schedules --lib schedules

soak: build $(VENV)/ready  ## Ten minutes of faults and evictions under load (SOAK_SECONDS=600)
	@cd tests && ../$(VENV)/bin/python -m promises.soak

load: build dist $(VENV)/ready  ## The example application for a minute, while its key store stalls now and then (LOAD_SECONDS=60)
	@cd tests && ../$(VENV)/bin/python -m promises.load

cold: build $(VENV)/ready  ## How long 100,000 cold keys take, of a store that takes 20 ms (COLD_USERS=100000)
	@$(VENV)/bin/python benches/cold.py $(LIBRARY)

bench: build sqlite3-shell system-sqlite java openssl $(VENV)/ready  ## Time it in each host, beside other Fernets and the bare primitives; OPTIONS='--rows 10000' is shorter
	RQLITED="$(RQLITED)" $(VENV)/bin/python benches/run.py $(OPTIONS) --output target/bench.json journal_crypt.$(SUFFIX)
	@$(VENV)/bin/python benches/report.py target/bench.json

fuzz: build-tools nightly  ## Fuzz all that takes input from outside, FUZZ_SECONDS (600) for each target
	@cd fuzz && CARGO_TARGET_DIR=$(FUZZ_BUILT) RUSTFLAGS="$(FUZZ_FLAGS)" \
	  cargo +nightly build -q --release --locked --target $(HOST)
	@set -eo pipefail; for target in functions admin token item store config; do \
	  mkdir -p $(FUZZ_BUILT)/corpus/$$target; \
	  echo "fuzz: $$target"; \
	  FUZZ_TARGET=$$target $(FUZZ_BUILT)/$(HOST)/release/fuzz -max_total_time=$(FUZZ_SECONDS) -timeout=20 -rss_limit_mb=2048 \
	    -print_final_stats=1 -verbosity=0 -artifact_prefix=$(FUZZ_BUILT)/$$target- \
	    $(FUZZ_BUILT)/corpus/$$target fuzz/corpus/$$target fuzz/findings/$$target 2>&1 | \
	    grep -v '^$$' > $(FUZZ_BUILT)/$$target.log || { tail -60 $(FUZZ_BUILT)/$$target.log >&2; exit 1; }; \
	  awk '/number_of_executed_units/ { print "fuzz: " $$2 " inputs" }' $(FUZZ_BUILT)/$$target.log; \
	done

sanitize: build-tools nightly valgrind sqlite3-shell $(VENV)/ready $(ASAN)/runtime.so  ## Run tests under AddressSanitizer, LeakSanitizer and valgrind
	$(ASAN_ENV) cargo +nightly test --release --locked --target $(HOST) --lib --tests -- --skip a_thousand_rounds
	@# The file that those tests loaded.
	@ln -f $(ASAN)/$(HOST)/release/deps/libjournal_crypt.so $(ASAN)/$(HOST)/release/
	LD_PRELOAD=$(CURDIR)/$(ASAN)/runtime.so ASAN_OPTIONS=detect_leaks=0 CARGO_TARGET_DIR=$(ASAN)/$(HOST) \
	  $(VENV)/bin/python -m pytest $(ASAN_TESTS) -k 'not bounded_memory'
	@$(MAKE) --no-print-directory build
	@tests/promises/memcheck.sh

deny: $(DENY)  ## Check licences, sources and banned crates with cargo-deny, which takes minutes to build
	@$(DENY) check bans licenses sources

advisories: $(DENY)  ## Ask the RustSec database about the dependencies; needs GitHub
	@$(DENY) check advisories

docs: $(MDBOOK)  ## Build the site from docs/ into target/book, with mdBook, which takes minutes to build
	@cd docs && ../$(MDBOOK) build  # there, since it finds outside.py from where it runs

recording:  ## Record the demo anew: docs/demo.svg
	@set -o pipefail; $(MAKE) --no-print-directory --silent demo | docs/record.py "make demo" > target/demo.svg && \
	  mv target/demo.svg docs/demo.svg

sbom:  ## Write the software bill of materials: target/sbom.cdx.json
	@python3 packaging/sbom.py > target/sbom.cdx.json && echo target/sbom.cdx.json

dist: dist-library dist-packages  ## Make all packages in dist/: wheel, npm package, release archive, crate, checksums

dist-packages: $(DIST_TOOLS)/ready
	@rm -rf dist && mkdir dist
	@cargo package -q --locked --no-verify --allow-dirty --target-dir $(DIST_BUILD)
	@cp $(DIST_BUILD)/package/*.crate dist
	@$(DIST_TOOLS)/bin/python packaging/dist.py $(DIST_LIBRARIES)

# What is not built here, for macOS, the release workflow makes.
dist-all: DIST_TARGETS := x86_64-unknown-linux-gnu aarch64-unknown-linux-gnu $(MUSL) aarch64-unknown-linux-musl $(WINDOWS)
dist-all: build-tools mingw $(DIST_TOOLS)/ready  ## Make the packages with the libraries of Linux (glibc and musl, x86-64 and ARM64) and Windows
	@set -e; for target in $(DIST_TARGETS); do \
	  $(call add_target,$$target); \
	  $(MAKE) --no-print-directory dist-library TARGET=$$target; \
	done; \
	$(MAKE) --no-print-directory dist-packages DIST_LIBRARIES="$(foreach target,$(DIST_TARGETS),$(target)=$(DIST_BUILD)/$(target)/release/$(if \
	  $(findstring windows,$(target)),journal_crypt.dll,libjournal_crypt.so))"

# The library, and the operator's tool beside it. No path of this machine gets into them. In packaging/, since zig gives the
# headers below the directory that it runs in by relative paths, which build scripts do not find.
dist-library: build-tools $(DIST_TOOLS)/ready
	@$(DIST_CARGO) $(if $(findstring linux,$(TARGET)),cargo-zigbuild zigbuild,cargo build) --lib $(DIST_OPTIONS)
	@$(DIST_CARGO) $(if $(findstring linux,$(TARGET)),cargo-zigbuild,cargo) rustc -p journal-crypt $(DIST_OPTIONS) $(DIST_PROGRAM)

# Another platform's library in the Rust host, both of them built here. Packed first, since what the host is built with is
# built anew.
test-platform: dist-library $(VENV)/ready
	@DIST=$(CURDIR)/target/dist-platform/$(TARGET) $(DIST_TOOLS)/bin/python packaging/dist.py $(TARGET)=$(DIST_FILE) >/dev/null
	@$(DIST_CARGO) $(if $(findstring linux,$(TARGET)),cargo-zigbuild,cargo) rustc --example host $(DIST_OPTIONS) $(DIST_PROGRAM)
	@DIST=$(CURDIR)/target/dist-platform/$(TARGET) PLATFORM=$(TARGET) RUNNER="$(RUNNER)" $(VENV)/bin/python -m pytest $(PLATFORM_TESTS)

test-musl: musl  ## Run the behaviour script on musl, which is Alpine's C library
	@$(MAKE) --no-print-directory test-platform TARGET=$(MUSL)

test-arm64: qemu  ## Run the behaviour script on ARM64, under QEMU
	@$(MAKE) --no-print-directory test-platform TARGET=$(ARM64) RUNNER="$(QEMU_ARM64) -L $(ARM64_ROOT)"

test-windows: wine  ## Run the behaviour script on Windows, as far as Wine is that
	@$(MAKE) --no-print-directory test-platform TARGET=$(WINDOWS) RUNNER="$(CURDIR)/tests/hosts/wine/start.sh"

# zig brings the C headers of macOS.
check-macos: build-tools $(DIST_TOOLS)/ready  ## Type-check library and tool for macOS, where nothing of ours was ever run
	@set -e; for target in aarch64-apple-darwin x86_64-apple-darwin; do \
	  $(call add_target,$$target); \
	  (cd packaging && PATH="$(DIST_TOOLS)/bin:$$PATH" CARGO_TARGET_DIR=$(DIST_BUILD) RUSTFLAGS="-D warnings" \
	    cargo-zigbuild check --manifest-path ../Cargo.toml --locked --workspace --lib --bins --target $$target); \
	  echo "check-macos: $$target"; \
	done

reproducible: build-tools $(DIST_TOOLS)/ready  ## Make all packages twice, in two directories, and compare their checksums
	@set -e; rm -rf target/reproducible; copies="target/reproducible/one target/reproducible/another"; \
	for copy in $$copies; do mkdir -p $$copy; git ls-files -z | xargs -0 cp --parents -t $$copy; done; \
	for copy in $$copies; do $(MAKE) --no-print-directory -C $$copy dist DIST_TOOLS=$(DIST_TOOLS); done; \
	diff target/reproducible/*/dist/SHA256SUMS && echo "reproducible: two directories, the same bytes"

clean:  ## Remove everything that was built
	rm -rf target dist journal_crypt.$(SUFFIX) journal-crypt .pytest_cache
	find tests -name __pycache__ -prune -exec rm -rf {} +

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# The library must be our code alone. sqlite-loadable compiles an SQLite of its own at build time; were it inside,
# our calls could run in that one instead of the host's.
symbols: build
ifeq ($(SUFFIX),so)
	@exported=$$(nm -D --defined-only $(LIBRARY) | awk '{ print $$NF }'); \
	inside=$$(nm $(LIBRARY) | awk '$$NF ~ /^sqlite3/ { print $$NF }'); \
	for found in "exported: $$exported" "inside: $$inside"; do \
	  [ "$${found#*: }" = sqlite3_journalcrypt_init ] || \
	    { echo "$(LIBRARY) may have no SQLite symbol but sqlite3_journalcrypt_init; $$found" | head -20 >&2; exit 1; }; \
	done; \
	echo "symbols: sqlite3_journalcrypt_init and nothing else of SQLite"
endif

# Adds up the closing lines of cargo's and pytest's test runs. No test at all is a failure.
define COUNT_TESTS
/^test result:/ { passed += $$4; failed += $$6; skipped += $$8 }
/^=+ .* in [0-9.]+s/ {
  for (i = 2; i <= NF; i++) {
    if ($$i ~ /^passed/) passed += $$(i - 1)
    if ($$i ~ /^(failed|errors?)/) failed += $$(i - 1)
    if ($$i ~ /^skipped/) skipped += $$(i - 1)
  }
}
END { printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped; exit !passed }
endef
export COUNT_TESTS

# ---- What the targets need ----

# Sets $$missing to the packages of NAME=FILE of which there is no such file or program.
missing_parts = missing=; for part in $(1); do command -v $${part\#*=} >/dev/null || [ -e $${part\#*=} ] || missing+=" $${part%%=*}"; done

# Has rustup bring Rust's own library for a platform, unless it is there.
add_target = rustc --print target-libdir --target $(1) | xargs test -d || rustup target add $(1)

# Ends the recipe unless all packages named in $$missing are, or can be, installed.
define install_missing
if [ -n "$$missing" ]; then \
  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
    echo "installing$$missing"; export DEBIAN_FRONTEND=noninteractive; \
    apt-get update -qq && apt-get install -qq -y --no-install-recommends $$missing >/dev/null || exit 1; \
  else \
    echo "Please install what is missing, by Debian's names:$$missing (LIBCLANG_PATH, SQLITE3 and PYTHON may point elsewhere)." >&2; \
    exit 1; \
  fi; \
fi
endef

# Which Python has what the tests need: many that are not the system's cannot load extensions.
define find_python
python=; for candidate in $(PYTHON); do \
  if "$$candidate" -c 'import ensurepip, sqlite3, venv; sqlite3.connect(":memory:").enable_load_extension(True)' 2>/dev/null; \
  then python=$$candidate; break; fi; \
done
endef

# The bindings to SQLite are generated at build time, with libclang and its headers.
build-tools:
	@command -v cargo >/dev/null || { echo "Please install Rust from https://rustup.rs, then run make again." >&2; exit 1; }
	@missing=; \
	echo '#include <stdio.h>' | cc -E - >/dev/null 2>&1 || missing+=" gcc libc6-dev"; \
	[ "$(SUFFIX)" = dylib ] || [ -n "$$LIBCLANG_PATH" ] || \
	  find /usr/lib /usr/lib64 /usr/local/lib $$(llvm-config --libdir 2>/dev/null) -name libclang.so \
	    2>/dev/null | grep -q . || missing+=" libclang-dev"; \
	$(install_missing)

nightly:
	@rustc +nightly -V >/dev/null 2>&1 || \
	  { echo "This needs a nightly Rust beside the other: rustup toolchain install nightly" >&2; exit 1; }

valgrind:
	@missing=; command -v valgrind >/dev/null || missing=" valgrind"; $(install_missing)

# Rust brings AddressSanitizer for programs alone. A host that is not built with it gets it preloaded; what a program would
# start before its libraries is left out.
$(ASAN)/runtime.so: | nightly
	@mkdir -p $(ASAN)
	@cp "$$(rustc +nightly --print sysroot)/lib/rustlib/$(HOST)/lib/librustc-nightly_rt.asan.a" $(ASAN)/runtime.a
	@ar d $(ASAN)/runtime.a asan_preinit.cpp.o
	@cc -shared -o $@ -Wl,--whole-archive $(ASAN)/runtime.a -Wl,--no-whole-archive -lpthread -ldl -lm -lrt

# Five minutes of one processor; it is kept.
$(DENY):
	cargo install --locked --version 0.20.2 --root target/tools --target-dir target/tools/build cargo-deny
	@rm -rf target/tools/build

# As cargo-deny; it is kept too.
$(MDBOOK):
	cargo install --locked --version 0.4.52 --root target/tools --target-dir target/tools/build mdbook
	@rm -rf target/tools/build

rqlited:
	@command -v $(RQLITED) >/dev/null || \
	  { echo "There is no $(RQLITED) here: install rqlite as https://rqlite.io says, or name the program with RQLITED=…" >&2; exit 1; }

sqlite3-shell:
	@missing=; command -v $(SQLITE3) >/dev/null || missing=" sqlite3"; $(install_missing)

# For sqlite-jdbc, one of the hosts of the tests; Node and Go come with tests/requirements.txt.
java:
	@missing=; command -v javac >/dev/null || missing+=" default-jdk-headless"; \
	command -v mvn >/dev/null || missing+=" maven"; $(install_missing)

$(VENV)/ready: tests/requirements.txt
	@missing=; $(find_python); [ -n "$$python" ] || missing=" python3 python3-venv"; $(install_missing); \
	$(find_python); [ -n "$$python" ] || { echo "No Python here can load SQLite extensions; PYTHON=… names another." >&2; exit 1; }; \
	rm -rf $(VENV) && "$$python" -m venv $(VENV) && \
	$(VENV)/bin/pip install -q --disable-pip-version-check -r tests/requirements.txt && touch $@

$(DIST_TOOLS)/ready: packaging/requirements.txt
	@missing=; for candidate in $(PYTHON); do "$$candidate" -c 'import ensurepip, tomllib, venv' 2>/dev/null && break; done || \
	  missing=" python3 python3-venv"; \
	command -v readelf >/dev/null || [ "$(SUFFIX)" = dylib ] || missing+=" binutils"; $(install_missing); \
	for python in $(PYTHON); do "$$python" -c 'import ensurepip, tomllib, venv' 2>/dev/null && break; done; \
	rm -rf $(DIST_TOOLS) && "$$python" -m venv $(DIST_TOOLS) && \
	$(DIST_TOOLS)/bin/python -m pip install -q --disable-pip-version-check -r packaging/requirements.txt && touch $@
