# The commands of README.md. Everything else is CMake: cmake --preset NAME && cmake --build --preset NAME.
PRESET ?= release
MILLET_DATA ?= $(wildcard ../shared/data)
export MILLET_DATA
MILLET = build/$(PRESET)/apps/millet/millet

.PHONY: build run test bench fuzz lint install packages
build: packages
	@cmake --preset $(PRESET) -Wno-dev > build-$(PRESET).log 2>&1 || { cat build-$(PRESET).log; exit 1; }; rm -f build-$(PRESET).log
	@cmake --build --preset $(PRESET) --target $(or $(TARGET),all)
packages:
	@tools/install-packages.sh
run: TARGET = millet-cli
run: build
	@tools/first-run.sh $(MILLET) $(MODEL)
test: packages
	@tools/test-all.sh $(PRESETS)
bench: build
	@bench/run.sh $(MILLET) $(MODEL)
fuzz: packages
	@tools/fuzz-all.sh $(SECONDS)
lint: packages
	@tools/lint.sh
install: build
	@cmake --install build/$(PRESET)
