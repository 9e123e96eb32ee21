# SPDX-License-Identifier: MIT
#
# make            build/twshim and build/libtwshim.so
# make demo       installs what is missing, then shows the main job on a real client
# make check      installs what is missing, then runs every test
# make help       lists the other targets

PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
BINDIR ?= $(PREFIX)/bin
MANDIR ?= $(PREFIX)/share/man
DATADIR ?= $(PREFIX)/share/twshim
UNITDIR ?= $(PREFIX)/lib/systemd/system
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d
APPARMORDIR ?= $(DATADIR)/apparmor
DOCDIR ?= $(PREFIX)/share/doc/twshim
LIBMODE ?= 755
INCLUDEDIR ?= $(PREFIX)/include
PKGCONFIGDIR ?= $(LIBDIR)/pkgconfig
BASHDIR ?= $(PREFIX)/share/bash-completion/completions
ZSHDIR ?= $(PREFIX)/share/zsh/site-functions
FISHDIR ?= $(PREFIX)/share/fish/vendor_completions.d
# What LD_PRELOAD names instead of $(LIBDIR)/libtwshim.so, for packages:
# '/usr/lib/twshim/$$LIB/libtwshim.so', below which LIBDIR is. musl's loader takes $$LIB literally.
PRELOAD ?=
# From the command's folder to the library's, so that a moved prefix works.
LIBDIR_BESIDE = $(if $(filter $(PREFIX)/bin,$(BINDIR)),../$(LIBDIR:$(PREFIX)/%=%),.)
CC ?= cc
CFLAGS ?= -O2 -g
SAN ?=
BUILD ?= build$(if $(SAN),-$(subst $(comma),-,$(SAN)))
comma := ,
Q := $(if $(V),,@)
VERSION := 0.1.0
# From an exported archive, where git put it (.gitattributes), or else from git.
COMMIT := $(or $(shell grep -v '[$$]' COMMIT 2>/dev/null),$(shell \
	git describe --always --dirty --abbrev=12 --exclude='*' 2>/dev/null),unknown)

BUILD_PACKAGES := pkg-config libconfig-dev libmnl-dev libjansson-dev libelf-dev \
	libmicrohttpd-dev libncurses-dev libjs-chart.js
# What twshim watch and its kin run in the kernel; all else is built without them.
BPF_PACKAGES := clang llvm libbpf-dev libbpf1
# What builds the shim for 32-bit programs.
I386_PACKAGES := gcc-multilib
TEST_PACKAGES := libcmocka-dev python3 iproute2 procps curl strace
BENCH_PACKAGES := bpftrace valgrind util-linux
LINT_PACKAGES := clang-format clang-tidy cppcheck shellcheck
LIBRARIES := libconfig libmnl jansson libelf libmicrohttpd ncursesw

WARNINGS := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla \
	-Wno-unused-parameter
COMMON := -std=gnu11 -I. -ffile-prefix-map=$(CURDIR)=. $(WARNINGS) -MMD -MP $(CFLAGS)
# `make coverage`: lines are counted, in a client as well.
COVERAGE := $(if $(COV),--coverage -fprofile-update=atomic -DTWS_COVERAGE)
# Not for the shim: a sanitizer in a preloaded library would have to be in the program as well.
# docs/debugging.md says what looks into the shim instead.
SANFLAGS := $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer)
# The shim lives in other people's programs: only its wrappers are visible, it is bound at
# load, never unloaded, needs libc alone, and its names are the plain ones (no fcntl64, no
# fortified connect), whatever the builder's defaults are.
SHIM_FLAGS := -fPIC -fvisibility=hidden -fno-plt -D_GNU_SOURCE \
	-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=0 -U_FILE_OFFSET_BITS -D_FILE_OFFSET_BITS=64 -U_TIME_BITS \
	-fno-stack-protector
SHIM_LDFLAGS := -shared -Wl,-z,now -Wl,-z,relro -Wl,-z,noexecstack -Wl,-z,nodelete \
	-Wl,--version-script=$(BUILD)/shim/exports.map -Wl,--no-undefined \
	-Wl,--no-undefined-version \
	-Wl,-soname,libtwshim.so -Wl,-z,noseparate-code -Wl,--hash-style=gnu
TOOL_FLAGS := -D_GNU_SOURCE -DTWSHIM_VERSION='"$(VERSION)"' -DTWSHIM_LIBDIR='"$(LIBDIR)"' \
	-DTWSHIM_PRELOAD='"$(PRELOAD)"' -DTWSHIM_LIBDIR_BESIDE='"$(LIBDIR_BESIDE)"' \
	$(shell pkg-config --cflags $(LIBRARIES) 2>/dev/null) $(SANFLAGS) $(COVERAGE)
# Only `serve` needs libmicrohttpd, and loads it itself: tools/web/microhttpd.h.
# For containers without libraries: make static.
STATIC ?=
TOOL_FLAGS += $(if $(STATIC),-DTWSHIM_STATIC)
TOOL_LIBS = $(if $(STATIC),-static $(shell pkg-config --static --libs $(filter-out libmicrohttpd libmnl,$(LIBRARIES))),\
	$(shell pkg-config --libs $(filter-out libmicrohttpd,$(LIBRARIES)))) -lm \
	$(SANFLAGS) $(COVERAGE)

# The shim for i386 programs on x86-64, where the compiler has what it takes.
HAS_I386 := $(shell echo '_Static_assert(__i386__, "");' | \
	$(CC) -m32 -shared -fPIC -include stdio.h -o /dev/null -x c - 2>/dev/null && echo yes)
I386_LIBRARY := $(if $(HAS_I386),$(BUILD)/twshim.d/lib32/libtwshim.so)

# The tools compile shim/shared/ as well, and nothing else of the shim.
SHIM_SRC := $(wildcard shim/*.c shim/*/*.c)
TOOL_SRC := $(filter-out tools/main.c %.bpf.c,$(wildcard tools/*.c tools/*/*.c)) $(wildcard config/*.c) \
	$(wildcard shim/shared/*.c)
SHIM_OBJ := $(SHIM_SRC:%.c=$(BUILD)/shim-pic/%.o)
I386_OBJ := $(SHIM_SRC:%.c=$(BUILD)/shim-i386/%.o)
TOOL_OBJ := $(TOOL_SRC:%.c=$(BUILD)/obj/%.o)
PROGS := $(patsubst tests/progs/%.c,$(BUILD)/tests/%,$(wildcard tests/progs/*.c)) \
	$(patsubst tests/preload/%.c,$(BUILD)/tests/%.so,$(wildcard tests/preload/*.c))
# The same programs for 32 bits and for another C library, where the compilers are there:
# tests/e2e/variants.py.
MUSL_CC ?= musl-gcc
HAS_MUSL := $(shell command -v $(MUSL_CC) >/dev/null && echo yes)
PROGS += $(if $(HAS_I386),$(patsubst tests/progs/%.c,$(BUILD)/tests-i386/%,$(wildcard tests/progs/*.c)))
PROGS += $(if $(HAS_MUSL),$(patsubst tests/progs/%.c,$(BUILD)/tests-musl/%,$(wildcard tests/progs/*.c)))
UNITS := $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(wildcard tests/unit/test_*.c))

.PHONY: all
.DEFAULT_GOAL := all
all: $(BUILD)/libtwshim.so $(BUILD)/twshim $(I386_LIBRARY)

$(BUILD)/libtwshim.so: $(SHIM_OBJ) $(BUILD)/shim/exports.map
	@echo "  LD   $@"
	$(Q)$(CC) -o $@ $(SHIM_OBJ) $(LDFLAGS) $(SHIM_LDFLAGS) $(COVERAGE)

# With the links by which the loaders find it.
$(BUILD)/twshim.d/lib32/libtwshim.so: $(I386_OBJ) $(BUILD)/shim-i386/exports.map packaging/make-preload-tree
	@echo "  LD   $@"
	@mkdir -p $(@D)
	$(Q)packaging/make-preload-tree $(BUILD)
	$(Q)$(CC) -m32 -o $@ $(I386_OBJ) $(LDFLAGS) \
		$(subst /shim/exports.map,/shim-i386/exports.map,$(SHIM_LDFLAGS)) $(COVERAGE)

$(BUILD)/twshim: $(BUILD)/obj/tools/main.o $(TOOL_OBJ)
	@echo "  LD   $@"
	$(Q)$(CC) -o $@ $^ $(LDFLAGS) $(TOOL_LIBS)

$(BUILD)/shim-pic/%.o: %.c Makefile
	@echo "  CC   $< (shim)"
	@mkdir -p $(@D)
	$(Q)$(CC) $(COMMON) $(SHIM_FLAGS) $(COVERAGE) -c -o $@ $<

$(BUILD)/shim-i386/%.o: %.c Makefile
	@echo "  CC   $< (shim, i386)"
	@mkdir -p $(@D)
	$(Q)$(CC) -m32 $(COMMON) $(SHIM_FLAGS) $(COVERAGE) -c -o $@ $<

$(BUILD)/obj/%.o: %.c Makefile | libraries
	@echo "  CC   $<"
	@mkdir -p $(@D)
	$(Q)$(CC) $(COMMON) $(TOOL_FLAGS) -c -o $@ $<

# The path of the installed library is compiled in, so another PREFIX needs another build.
$(BUILD)/libdir: FORCE
	@mkdir -p $(@D)
	@[ "$$(cat $@ 2>/dev/null)" = '$(LIBDIR) $(BINDIR) $(PRELOAD)' ] || echo '$(LIBDIR) $(BINDIR) $(PRELOAD)' > $@
$(BUILD)/obj/tools/launch/library.o $(BUILD)/obj/tools/systemd/plan.o: $(BUILD)/libdir
.PHONY: FORCE
FORCE:

# Only main.c knows the commit: so a new one compiles and links little.
$(BUILD)/commit: FORCE
	@mkdir -p $(@D)
	@[ "$$(cat $@ 2>/dev/null)" = "$(COMMIT)" ] || echo "$(COMMIT)" > $@
$(BUILD)/obj/tools/main.o: $(BUILD)/commit
$(BUILD)/obj/tools/main.o: TOOL_FLAGS += -DTWSHIM_COMMIT='"$(COMMIT)"'

# The files of the page of `serve` and the chart library become part of the binary.
CHART ?= /usr/share/javascript/chart.js/chart.min.js
$(BUILD)/obj/tools/report/page_files.o: TOOL_FLAGS += -DTWSHIM_CHART='"$(CHART)"'
$(BUILD)/obj/tools/report/page_files.o: $(wildcard tools/report/page/*) $(CHART)
$(CHART):
	@echo "make: $@ is missing: run make deps" >&2; exit 1

# The programs that observers load into the kernel are taken into the binary as well. Without
# clang and libbpf's headers there are none, and the commands say so.
BPF_CC ?= clang
BPF_OBJECTS := $(patsubst tools/observe/%.c,$(BUILD)/%.o,$(wildcard tools/observe/*.bpf.c))
BPF_ARCH := $(if $(filter x86_64%,$(shell $(CC) -dumpmachine)),-D__TARGET_ARCH_x86)
HAS_BPF := $(shell command -v $(BPF_CC) >/dev/null && pkg-config --exists libbpf && echo yes)
ifeq ($(HAS_BPF)$(STATIC),yes)
$(BUILD)/obj/tools/observe/bpf_object.o: $(BPF_OBJECTS)
$(BUILD)/obj/tools/observe/bpf_object.o: TOOL_FLAGS += -DTWSHIM_BPF='"$(BUILD)"'
endif
$(BPF_OBJECTS): $(BUILD)/%.bpf.o: tools/observe/%.bpf.c $(wildcard tools/observe/bpf_*.h) \
		shim/shared/segment.h shim/shared/counters.def
	@echo "  BPF  $<"
	@mkdir -p $(@D)
	$(Q)$(BPF_CC) -std=gnu11 -O2 -g -target bpf -ffreestanding -I. $(BPF_ARCH) \
		-idirafter /usr/include/$(shell $(CC) -print-multiarch) $(filter-out -Wvla,$(WARNINGS)) \
		-Wno-missing-prototypes -c -o $@ $<
	$(Q)! command -v llvm-strip >/dev/null || llvm-strip -g $@

# Exactly the wrapped symbols are exported, from their table.
EXPORTS = -I. -E -P -x c shim/wrapped.def | awk -f shim/exports.awk
$(BUILD)/shim/exports.map: shim/wrapped.def shim/exports.awk
	@mkdir -p $(@D)
	$(Q)$(CC) $(EXPORTS) > $@

$(BUILD)/shim-i386/exports.map: shim/wrapped.def shim/wrapped_time64.def shim/exports.awk
	@mkdir -p $(@D)
	$(Q)$(CC) -m32 $(EXPORTS) > $@

# The system calls that the shim makes, from its sources.
$(BUILD)/shim/calls.def: $(wildcard shim/*.[ch] shim/*/*.[ch]) shim/calls.awk
	@mkdir -p $(@D)
	$(Q)LC_ALL=C awk -f shim/calls.awk $(filter-out %.awk,$^) > $@
$(BUILD)/obj/tools/launch/calls.o: $(BUILD)/shim/calls.def
$(BUILD)/obj/tools/launch/calls.o: TOOL_FLAGS += -DTWSHIM_CALLS='"$(BUILD)/shim/calls.def"'

# The command in one file, for containers without libraries.
.PHONY: static
static: deps-build
	$(Q)$(SUBMAKE) BUILD=build-static STATIC=yes build-static/twshim

.PHONY: libraries
libraries:
	@command -v pkg-config >/dev/null || { echo "make: pkg-config is missing: run make deps" >&2; exit 1; }
	@for l in $(LIBRARIES); do pkg-config --exists $$l || \
		{ echo "make: the development files of $$l are missing: run make deps" >&2; exit 1; }; done

# The shim's code below the hooks depends on nothing above it, so unit tests link it.
UNIT_OBJ := $(TOOL_OBJ) $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard shim/book/*.c shim/conn/*.c))

$(BUILD)/unit/%: tests/unit/%.c $(UNIT_OBJ)
	@echo "  CC   $<"
	@mkdir -p $(@D)
	$(Q)$(CC) $(COMMON) $(TOOL_FLAGS) -o $@ $< $(UNIT_OBJ) $(TOOL_LIBS) -lcmocka

$(BUILD)/tests/%: tests/progs/%.c
	@echo "  CC   $<"
	@mkdir -p $(@D)
	$(Q)$(CC) $(COMMON) -D_GNU_SOURCE -o $@ $< -lpthread -ldl

$(BUILD)/tests-i386/%: tests/progs/%.c
	@echo "  CC   $< (i386)"
	@mkdir -p $(@D)
	$(Q)$(CC) -m32 $(COMMON) -D_GNU_SOURCE -o $@ $< -lpthread -ldl

# musl-gcc does not come with the kernel's headers.
KERNEL_HEADERS = -idirafter /usr/include -idirafter /usr/include/$(shell $(CC) -print-multiarch)
$(BUILD)/tests-musl/%: tests/progs/%.c
	@echo "  CC   $< (musl)"
	@mkdir -p $(@D)
	$(Q)$(MUSL_CC) $(COMMON) -Wno-restrict -D_GNU_SOURCE $(KERNEL_HEADERS) -o $@ $<

$(BUILD)/tests/%.so: tests/preload/%.c
	@echo "  CC   $<"
	@mkdir -p $(@D)
	$(Q)$(CC) $(COMMON) -D_GNU_SOURCE -fPIC -shared -o $@ $< -ldl

-include $(shell find $(BUILD) \( -path '*/suites' -o -path '*/deb' \) -prune -o -type f -name '*.d' -print 2>/dev/null)

# A make that a target starts uses all cores, unless -j says otherwise.
SUBMAKE = $(MAKE) --no-print-directory $(if $(findstring -j,$(MAKEFLAGS)),,-j$(shell nproc))

# ------------------------------------------------------------------- set-up

# Installs only what is missing, and prints the names.
.PHONY: deps deps-build deps-test deps-lint
deps: deps-build deps-test deps-lint

deps-build:
	@tests/deps $(BUILD_PACKAGES)
	@tests/deps --optional $(BPF_PACKAGES) $(I386_PACKAGES)

deps-test:
	@tests/deps $(BUILD_PACKAGES) $(TEST_PACKAGES)
	@tests/deps --optional $(BPF_PACKAGES) $(I386_PACKAGES) $(shell sed 's/\#.*//' tests/packages 2>/dev/null)

deps-lint:
	@tests/deps $(LINT_PACKAGES)

# -------------------------------------------------------------------- tests

.PHONY: unit-tests progs
unit-tests: $(UNITS)
progs: $(PROGS)

.PHONY: tests check check-quick demo lint bench conformance chaos
tests: all man extras $(UNITS) $(PROGS)

check: deps-test deps-lint
	$(Q)$(SUBMAKE) tests
	$(Q)$(SUBMAKE) static
	$(Q)$(SUBMAKE) replay
	$(Q)tests/run --build $(BUILD)

check-quick: deps-test
	$(Q)$(SUBMAKE) tests
	$(Q)tests/run --build $(BUILD) --quick

demo:
	@tests/deps $(BUILD_PACKAGES) iproute2 curl
	$(Q)$(SUBMAKE) all $(BUILD)/tests/demo_server
	$(Q)tests/demo $(BUILD)

lint: deps-lint
	$(Q)tests/lint

# Other projects' own test suites, bare and under the shim; about two hours. ARGS: its options.
conformance:
	@tests/deps $(BUILD_PACKAGES) python3 iproute2
	$(Q)$(SUBMAKE) all
	$(Q)tests/conformance --build $(BUILD) $(ARGS)

# Minutes of clients that are killed and stopped, without memory, with damaged segments.
CHAOS_SECONDS ?= 300
chaos: deps-test
	$(Q)$(SUBMAKE) tests
	$(Q)tests/chaos/run --build $(BUILD) --seconds $(CHAOS_SECONDS) $(ARGS)

# The shim built for arm64, under Debian's arm64 kernel, in emulation: three minutes.
.PHONY: machines
machines: deps-build
	$(Q)$(SUBMAKE) all
	$(Q)tests/machines/run --build $(BUILD)

bench: deps-test
	@tests/deps --optional $(BENCH_PACKAGES)
	$(Q)$(SUBMAKE) all progs
	$(Q)tests/bench --build $(BUILD) $(addprefix --only ,$(ONLY))

include tests/fuzz/fuzz.mk

# Tests that take long, each with a target of its own.
.PHONY: coverage
coverage: deps-test
	@tests/deps gcovr
	$(Q)$(SUBMAKE) COV=1 BUILD=build-coverage CFLAGS='-O0 -g' tests \
		$(FUZZ_NAMES:%=build-coverage/fuzz/%)
	$(Q)tests/coverage build-coverage

.PHONY: analyze valgrind
analyze: deps-build
	@tests/deps gcc clang clang-tools
	$(Q)tests/analyze build-analyze

valgrind: deps-test
	@tests/deps valgrind
	$(Q)$(SUBMAKE) tests
	$(Q)tests/valgrind $(BUILD)

# Takes the pictures in docs/img, of a real run in a real browser.
.PHONY: screenshots
screenshots: deps-test
	$(Q)$(SUBMAKE) tests
	$(Q)tests/screenshots $(BUILD)

# ------------------------------------------------------------------ install

# The manual, from --help and the tables.
$(BUILD)/man: $(BUILD)/twshim $(wildcard man/*) shim/shared/counters.def
	@echo "  MAN  $@"
	$(Q)man/make-pages $(BUILD)/twshim $@

# Tables in docs/: what stands between <!-- NAME: twshim ... --> and <!-- NAME end -->.
.PHONY: docs
docs: $(BUILD)/twshim
	$(Q)for page in $$(grep -l '^<!-- .*: twshim ' docs/*.md); do \
		awk -v build=$(BUILD) '/^<!-- .* end -->$$/ { inside = 0 } \
			!inside { print } \
			/^<!-- .*: twshim .* -->$$/ { inside = 1; \
				command = build "/twshim " substr($$0, index($$0, ": twshim ") + 9); \
				sub(/ -->$$/, "", command); \
				print ""; while ((command | getline line) > 0) print line; \
				print "" }' $$page > $(BUILD)/page.md && cat $(BUILD)/page.md > $$page; done

# Completions of bash, zsh and fish, from the tables of options.
$(BUILD)/completions: $(BUILD)/twshim $(wildcard completions/*)
	@echo "  GEN  $@"
	$(Q)completions/make-completions $(BUILD)/twshim $@

# What programs that read segments include: one file.
$(BUILD)/include/twshim/segment.h: shim/shared/segment.h shim/shared/names_struct.h shim/shared/slice_struct.h \
		shim/shared/counters.def shim/shared/public.awk
	@echo "  GEN  $@"
	@mkdir -p $(@D)
	$(Q)awk -f shim/shared/public.awk $< > $@

.PHONY: install uninstall clean help man extras
man: $(BUILD)/man
extras: $(BUILD)/completions $(BUILD)/include/twshim/segment.h

# What install copies as it is: SOURCE:FOLDER.
SHIPPED := $(foreach f,$(wildcard config/examples/*.conf),$f:$(DATADIR)/examples) \
	$(foreach f,$(wildcard config/prometheus/*.yml),$f:$(DATADIR)/prometheus) \
	$(foreach f,$(wildcard config/deploy/*),$f:$(DATADIR)/deploy) \
	config/grafana/twshim.json:$(DATADIR)/grafana \
	config/sysusers/twshim.conf:$(SYSUSERSDIR) config/apparmor/twshim:$(APPARMORDIR) \
	$(foreach f,README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md LICENSE,$f:$(DOCDIR)) \
	$(foreach f,$(wildcard docs/*.md docs/*.svg),$f:$(DOCDIR)/docs) \
	$(foreach f,$(wildcard docs/img/*),$f:$(DOCDIR)/docs/img) \
	$(foreach f,$(wildcard docs/readers/*),$f:$(DOCDIR)/docs/readers)
# What is made for this PREFIX: UNITS have the path of twshim in them.
UNIT_FILES := $(notdir $(wildcard config/systemd/*.service config/systemd/*.mount))
FILLED = sed -e 's\#/usr/local/bin\#$(BINDIR)\#' -e 's\#@PREFIX@\#$(PREFIX)\#' \
	-e 's\#@LIBDIR@\#$(LIBDIR)\#' -e 's\#@INCLUDEDIR@\#$(INCLUDEDIR)\#' \
	-e 's\#@VERSION@\#$(VERSION)\#'

install: all man extras
	install -D -m 755 $(BUILD)/twshim $(DESTDIR)$(BINDIR)/twshim
	install -D -m $(LIBMODE) $(BUILD)/libtwshim.so $(DESTDIR)$(LIBDIR)/libtwshim.so
	$(if $(PRELOAD),ln -sfnr $(DESTDIR)$(LIBDIR) '$(DESTDIR)$(patsubst %/,%,$(dir $(PRELOAD)))')
	$(if $(I386_LIBRARY),install -D -m $(LIBMODE) $(I386_LIBRARY) \
		$(DESTDIR)$(LIBDIR)/twshim.d/lib32/libtwshim.so)
	$(if $(I386_LIBRARY),packaging/make-preload-tree $(DESTDIR)$(LIBDIR))
	install -D -m 644 $(BUILD)/include/twshim/segment.h $(DESTDIR)$(INCLUDEDIR)/twshim/segment.h
	install -D -m 644 $(BUILD)/completions/twshim.bash $(DESTDIR)$(BASHDIR)/twshim
	install -D -m 644 $(BUILD)/completions/twshim.zsh $(DESTDIR)$(ZSHDIR)/_twshim
	install -D -m 644 $(BUILD)/completions/twshim.fish $(DESTDIR)$(FISHDIR)/twshim.fish
	for f in $(SHIPPED); do \
		install -D -m 644 $${f%%:*} $(DESTDIR)$${f#*:}/$$(basename $${f%%:*}); done
	ln -sfn ../../twshim $(DESTDIR)$(DOCDIR)/config
	for f in $(UNIT_FILES); do \
		$(FILLED) config/systemd/$$f | install -D -m 644 /dev/stdin $(DESTDIR)$(UNITDIR)/$$f; done
	$(FILLED) config/twshim.pc | install -D -m 644 /dev/stdin $(DESTDIR)$(PKGCONFIGDIR)/twshim.pc
	cd $(BUILD)/man && for f in man*/*; do \
		install -D -m 644 $$f $(DESTDIR)$(MANDIR)/$$f; done

uninstall:
	rm -f $(DESTDIR)$(MANDIR)/man[157]/twshim.1 $(DESTDIR)$(MANDIR)/man[157]/twshim-*.[157]
	rm -f $(DESTDIR)$(BINDIR)/twshim $(DESTDIR)$(LIBDIR)/libtwshim.so
	rm -f $(UNIT_FILES:%=$(DESTDIR)$(UNITDIR)/%) $(DESTDIR)$(PKGCONFIGDIR)/twshim.pc
	rm -f $(DESTDIR)$(BASHDIR)/twshim $(DESTDIR)$(ZSHDIR)/_twshim $(DESTDIR)$(FISHDIR)/twshim.fish
	rm -f $(DESTDIR)$(SYSUSERSDIR)/twshim.conf $(DESTDIR)$(APPARMORDIR)/twshim
	rm -rf $(DESTDIR)$(LIBDIR)/twshim.d $(DESTDIR)$(DATADIR) $(DESTDIR)$(DOCDIR) $(DESTDIR)$(INCLUDEDIR)/twshim

# The sources of the last commit as one file, the same on every machine: the times in it are the
# commit's, and git puts the commit into the file
# COMMIT in it.
.PHONY: dist sbom
DIST := twshim-$(VERSION)
dist:
	@mkdir -p $(BUILD)
	git archive --format=tar --prefix=$(DIST)/ HEAD | gzip -9n > $(BUILD)/$(DIST).tar.gz
	cd $(BUILD) && sha256sum $(DIST).tar.gz > $(DIST).tar.gz.sha256

# The Debian packages of the last commit, in build/deb: twshim, libtwshim0, twshim-exporter.
.PHONY: deb check-deb
DEB_PACKAGES := dpkg-dev debhelper libcmocka-dev
deb: deps-build dist
	@tests/deps $(DEB_PACKAGES) $(BPF_PACKAGES)
	rm -rf $(BUILD)/deb && mkdir $(BUILD)/deb
	tar xf $(BUILD)/$(DIST).tar.gz -C $(BUILD)/deb
	cd $(BUILD)/deb/$(DIST) && DEB_BUILD_OPTIONS="nocheck $(DEB_BUILD_OPTIONS)" \
		dpkg-buildpackage -us -uc -b > ../build.log 2>&1 || { tail -40 ../build.log; exit 1; }
	@ls $(BUILD)/deb/*.deb

# lintian, then installs, upgrades and purges them in a copy of this system, with preloaded
# programs running.
check-deb:
	@tests/deps lintian
	packaging/check-deb $(BUILD)/deb

# What is built in, linked and loaded, in CycloneDX.
sbom: all
	packaging/make-sbom $(BUILD)/twshim "$(BUILD_PACKAGES)" "$(BPF_PACKAGES)" > $(BUILD)/twshim.cdx.json

clean:
	rm -rf build build-*

help:
	@echo 'make             build/twshim and build/libtwshim.so'
	@echo 'make demo        installs what is missing, then shows the main job on a real client'
	@echo 'make check       installs what is missing, then runs every test; the last line counts them'
	@echo 'make check-quick the tests that take under two minutes'
	@echo 'make deps        install what is missing (Debian packages)'
	@echo 'make fuzz        FUZZ_SECONDS=$(FUZZ_SECONDS) for each target; found cases are in build-fuzz/found'
	@echo 'make coverage    lines of shim/ and config/ that unit and end-to-end tests run'
	@echo 'make analyze     gcc -fanalyzer and scan-build'
	@echo 'make valgrind    unit tests and commands under valgrind'
	@echo 'make lint        layering, format, clang-tidy, cppcheck, shellcheck'
	@echo 'make conformance other projects'"'"' own tests, bare and under the shim; two hours'
	@echo 'make chaos       clients killed and stopped, without memory, with damaged segments; CHAOS_SECONDS=$(CHAOS_SECONDS)'
	@echo 'make machines    the shim on arm64, in emulation: three minutes'
	@echo 'make bench       what it costs, beside strace and bpftrace; ONLY="cycles reading"'
	@echo 'make docs        the tables in docs/ that twshim prints, after a change of findings or settings'
	@echo 'make screenshots the pictures in docs/img, of a real run'
	@echo 'make static      build-static/twshim, which needs no libraries: docs/deploy.md'
	@echo 'make dist        the sources as one reproducible file: docs/releasing.md'
	@echo 'make deb         the Debian packages; make check-deb tests them'
	@echo 'make sbom        what is built in, linked and loaded, in CycloneDX'
	@echo 'make install     PREFIX=$(PREFIX) DESTDIR=; make uninstall removes it'
	@echo 'make SAN=address,undefined check   the same with sanitizers in twshim and the unit tests,'
	@echo '                 in a folder of its own; not in the shim: docs/debugging.md says what does'
	@echo 'V=1 shows the commands'
