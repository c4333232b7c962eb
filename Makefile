# The two commands: `make serve` and `make test`. Each installs what is missing, builds, and does what it says.
JOBS ?= $(shell nproc)
PORT ?= 8080
.PHONY: serve test build install deb test-build test-dashboard dashboard bench scenarios fuzz asan tsan format clean dependencies

serve: build
	./build/release/apps/millrace serve --port $(PORT)

build: dependencies
	cmake --preset release -DMILLRACE_BUILD_TESTS=OFF -DMILLRACE_BUILD_BENCHMARKS=OFF >/dev/null
	cmake --build build/release -j$(JOBS) --target millrace

# make install PREFIX=/usr/local DESTDIR=/somewhere; make deb writes build/millrace_VERSION_ARCHITECTURE.deb, whose
# maintainer is MAINTAINER='Name <address>'.
PREFIX ?= /usr/local
install: build
	cmake -DCMAKE_INSTALL_PREFIX=$(PREFIX) build/release >/dev/null
	cmake --build build/release -j$(JOBS) --target package_files
	cmake --install build/release

deb: build
	scripts/install_dependencies.sh package
	cmake -DCMAKE_INSTALL_PREFIX=/usr $(if $(MAINTAINER),-DMILLRACE_MAINTAINER='$(MAINTAINER)') build/release >/dev/null
	cmake --build build/release -j$(JOBS) --target package_files
	cpack --config build/release/CPackConfig.cmake -B build

test: dependencies
	-@scripts/install_dependencies.sh dashboard  # node, npm, Chromium: without them tests of clients and the page are left out
	cmake --preset dev >/dev/null
	cmake --build build/dev -j$(JOBS)
	ctest --test-dir build/dev --output-on-failure -j$(JOBS) -LE peer
	@scripts/list_skipped.sh build/dev

# The dashboard: builds its bundle anew, for those who change web/; and in a browser.
dashboard:
	scripts/install_dependencies.sh dashboard
	cd web && npm ci --no-audit --no-fund && npm run check && npm run build

test-dashboard: dependencies
	scripts/install_dependencies.sh dashboard
	cd web && npm ci --no-audit --no-fund
	cmake --preset dev >/dev/null
	cmake --build build/dev -j$(JOBS) --target millrace
	ctest --test-dir build/dev --output-on-failure -R dashboard

bench: dependencies
	cmake --preset release -DMILLRACE_BUILD_TESTS=OFF -DMILLRACE_BUILD_BENCHMARKS=ON >/dev/null
	cmake --build build/release -j$(JOBS)
	scripts/install_dependencies.sh end-to-end
	scripts/bench.sh build/release

# Overload, kill -9 and a shared prefix, at full length, on a machine that does nothing else.
scenarios: dependencies
	cmake --preset release -DMILLRACE_BUILD_TESTS=ON >/dev/null
	cmake --build build/release -j$(JOBS) --target scenarios_test
	MILLRACE_SCENARIOS=full build/release/tests/scenarios_test

asan: dependencies
	cmake --preset asan-ubsan >/dev/null
	cmake --build build/asan-ubsan -j$(JOBS)
	ctest --test-dir build/asan-ubsan --output-on-failure -j$(JOBS)

tsan: dependencies
	cmake --preset tsan >/dev/null
	cmake --build build/tsan -j$(JOBS)
	setarch -R ctest --test-dir build/tsan --output-on-failure -j$(JOBS)

# FUZZ_SECONDS of each fuzz target.
FUZZ_SECONDS ?= 60
fuzz:
	scripts/install_dependencies.sh
	scripts/install_dependencies.sh fuzz
	cmake --preset fuzz >/dev/null
	cmake --build build/fuzz -j$(JOBS) --target fuzzers
	scripts/fuzz.sh build/fuzz $(FUZZ_SECONDS)

format:
	scripts/install_dependencies.sh format
	git ls-files '*.h' '*.cc' | xargs clang-format -i

clean:
	rm -rf build

dependencies:
	@scripts/install_dependencies.sh
