# SPDX-License-Identifier: MIT
#
# make fuzz      runs each target for FUZZ_SECONDS with libFuzzer; prints executions and coverage
# make replay    runs the corpora and found cases without a fuzzer; part of `make check`

FUZZ_SECONDS ?= 20
FUZZ_PACKAGES := clang libclang-rt-dev
FUZZ_NAMES := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_BINS := $(FUZZ_NAMES:%=$(BUILD)/fuzz/%)
FUZZ_OBJ := $(filter-out $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard tools/lab/*.c tools/cmd_*.c \
	tools/top/*.c) tools/launch/launch.c tools/launch/environment.c),$(TOOL_OBJ))
# A fuzzer brings its own main; without one, ours reads files.
FUZZ_MAIN := $(if $(findstring fuzzer,$(SAN)),,tests/fuzz/main.c)
FUZZ_LINK := $(subst fuzzer-no-link,fuzzer,$(SANFLAGS))
FUZZ_SAN ?= $(shell echo 'int main(void){return 0;}' | $(CC) -fsanitize=address,undefined \
	-x c - -o $(BUILD)/probe 2>/dev/null && echo address,undefined)

# An archive, so that a target that includes one source file takes only the others from here.
$(BUILD)/fuzz/all.a: $(FUZZ_OBJ)
	@mkdir -p $(@D)
	@rm -f $@
	$(Q)ar qcs $@ $^ # append: two wings may have a file of the same name

$(BUILD)/fuzz/%: tests/fuzz/fuzz_%.c tests/fuzz/fuzz.c tests/fuzz/fuzz.h $(FUZZ_MAIN) \
		$(BUILD)/fuzz/all.a
	@echo "  CC   $<"
	$(Q)$(CC) $(COMMON) $(TOOL_FLAGS) $(FUZZ_LINK) -o $@ $< tests/fuzz/fuzz.c $(FUZZ_MAIN) \
		$(BUILD)/fuzz/all.a $(TOOL_LIBS) $(shell pkg-config --libs libmicrohttpd)

.PHONY: fuzz fuzz-targets replay
fuzz-targets: $(FUZZ_BINS)

fuzz: deps-build
	@tests/deps $(FUZZ_PACKAGES)
	$(Q)$(SUBMAKE) CC=clang SAN=fuzzer-no-link,address,undefined \
		BUILD=build-fuzz CFLAGS='-O1 -g' fuzz-targets
	$(Q)tests/fuzz/run build-fuzz $(FUZZ_SECONDS) $(FUZZ_NAMES)

replay:
	$(Q)$(SUBMAKE) SAN=$(FUZZ_SAN) BUILD=$(BUILD)/replay CFLAGS='-O1 -g' \
		fuzz-targets

# Makes the first inputs that are not text; the found cases are not changed.
.PHONY: fuzz-seeds
fuzz-seeds: $(BUILD)/fuzz/all.a
	$(Q)$(CC) $(COMMON) $(TOOL_FLAGS) -o $(BUILD)/fuzz/seed tests/fuzz/seed.c tests/fuzz/fuzz.c \
		$(BUILD)/fuzz/all.a $(TOOL_LIBS)
	$(Q)$(BUILD)/fuzz/seed tests/fuzz/corpus
