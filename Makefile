# Builds go below build/, nothing else in the tree is written to.
#
# NGINX_SRC    an nginx tree to build the module against: nginx-dev's
#              (default) or a plain source tree
# JOBS         compilers at a time
# V=1          show the commands
# SOAK_MINUTES, SOAK_LIFE (seconds, of a token), SOAK_CONNECTIONS, SOAK_TIMES
#              how much of it "make soak" is

SHELL = /bin/bash
.DELETE_ON_ERROR:
.SUFFIXES:
.DEFAULT_GOAL = all

NAME = ngx_http_token_injector_module
NGINX_SRC ?= /usr/share/nginx/src
NGINX_OPTIONS ?= --with-compat
JOBS ?= $(shell n=$$(nproc); echo $$((n < 2 ? n : 2)))
FUZZ_SECONDS ?= 60
SOAK_TIMES ?= 50
SOAK_MINUTES ?= 60
SOAK_CONNECTIONS ?= 10000
SOAK_LIFE ?= 600
PROVE ?= prove -j2 -It/lib
TESTS ?= $(wildcard t/*/*.t)

PKG_CONFIG ?= pkg-config
LIBS = hiredis jansson libcrypto
# -D in hiredis' own flags is about large files and none of ours
LIB_CFLAGS = $(shell $(PKG_CONFIG) --cflags-only-I $(LIBS))
LIB_LIBS = $(shell $(PKG_CONFIG) --libs $(LIBS) || \
	echo -lhiredis -ljansson -lcrypto)

CORE = $(wildcard src/*.c)
HEADERS = $(wildcard src/*.h cli/*.h t/*/*.h)
GLUE = $(wildcard ngx_module/*.c ngx_module/*.h)
CLI = $(wildcard cli/*.c)

WARN = -W -Wall -Wpointer-arith -Wno-unused-parameter -Wshadow \
	-Wstrict-prototypes -Wmissing-prototypes -Wformat=2 -Wvla \
	-Wwrite-strings -Werror
SANITIZE = -O1 -g -fno-omit-frame-pointer -fno-sanitize-recover=all \
	-fsanitize=address,undefined
HARDEN = -O2 -g -fPIE -fstack-protector-strong -fstack-clash-protection \
	-D_FORTIFY_SOURCE=2
HARDEN_LD = -pie -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack
STD = -std=gnu17 -D_GNU_SOURCE

Q = $(if $(V),,@)
SAY = $(if $(V),@:,@echo "  $@")

.PHONY: all deps dev-deps module tokenctl unit fuzz-replay fuzz interop \
	test soak demo bench lint asan valgrind coverage install install-module \
	install-tools deb deb-deps trixie clean help FORCE \
	lint-style lint-gcc lint-cppcheck lint-clang


all: module tokenctl ## the module and tokenctl, below build/


# --- what is needed ---------------------------------------------------------

C_PACKAGES = gcc libc6-dev make perl pkg-config dpkg-dev nginx nginx-dev \
	libhiredis-dev libjansson-dev libssl-dev libcurl4-openssl-dev \
	libcmocka-dev ca-certificates \
	redis-server redis-tools libcrypt-jwt-perl libcryptx-perl \
	libio-socket-ssl-perl python3-jwcrypto curl
PACKAGES = $(C_PACKAGES) openssl $(if $(shell command -v npm),,nodejs npm)
DEV_PACKAGES = clang clang-tidy clang-tools cppcheck valgrind gcovr wrk scdoc
DEB_PACKAGES = build-essential debhelper dpkg-dev lintian scdoc debootstrap

NPM_STAMPS = $(patsubst %,build/stamp/npm/%, \
	$(shell find * -name package-lock.json -not -path '*/node_modules/*' \
		-not -path 'build/*'))

# not where there is no dpkg at all
define install-packages
	@if command -v dpkg-query > /dev/null; then t/packages.sh $(1); else \
		echo "no dpkg here; the names on Debian:" $(1); fi
	@mkdir -p build/stamp && touch $@
endef

# a stamp is good for as long as the list above is
deps: build/stamp/packages $(NPM_STAMPS) ## install what is missing

dev-deps: build/stamp/dev-packages ## install what lint, fuzz, asan, bench need

deb-deps: build/stamp/deb-packages ## install what deb and trixie need

build/stamp/packages: Makefile
	$(call install-packages,$(PACKAGES))

build/stamp/dev-packages: Makefile
	$(call install-packages,$(DEV_PACKAGES))

build/stamp/deb-packages: Makefile
	$(call install-packages,$(DEB_PACKAGES))

build/stamp/npm/%/package-lock.json: %/package-lock.json
	cd $* && npm ci --no-audit --no-fund </dev/null
	@mkdir -p $(@D) && touch $@


# --- the module -------------------------------------------------------------

# An nginx tree of our own, configured once for what it was copied from: the
# flags of nginx-dev are what makes the module fit the distribution's nginx.

module: build/$(NAME).so ## the nginx module alone

build/$(NAME).so: build/nginx/objs/Makefile FORCE
	$(SAY)
	@$(MAKE) --no-print-directory -j$(JOBS) -C build/nginx \
		-f objs/Makefile modules $(if $(V),,> build/module.log 2>&1 || \
		{ grep -v '^cc\|^\s*[-/]' build/module.log | tail -n 60; exit 1; })
	@cmp -s build/nginx/objs/$(NAME).so $@ || \
		install -m 644 build/nginx/objs/$(NAME).so $@

build/nginx/objs/Makefile: config build/stamp/nginx
	rm -rf build/nginx && mkdir -p build/nginx
	cp -RL $(NGINX_SRC)/. build/nginx/
	rm -rf build/nginx/objs
	cd build/nginx && \
	NGX_CONF_FLAGS=($(NGINX_OPTIONS)); \
	if [ -f conf_flags ]; then . ./conf_flags; fi; \
	flags() { dpkg-buildflags --get $$1 2>/dev/null || true; }; \
	./configure "$${NGX_CONF_FLAGS[@]}" \
		--with-cc-opt="$$(flags CFLAGS) -fPIC $$(flags CPPFLAGS)" \
		--with-ld-opt="$$(flags LDFLAGS) -fPIC" \
		--add-dynamic-module=$(CURDIR) > configure.log \
		|| { tail -n 20 configure.log; exit 1; }

# changes only with the tree that it names
build/stamp/nginx: FORCE
	@mkdir -p build/stamp
	@test -f $(NGINX_SRC)/src/core/nginx.h || { \
		echo "no nginx headers in $(NGINX_SRC): make deps"; exit 1; }
	@{ echo "$(NGINX_SRC) $(NGINX_OPTIONS)"; \
		dpkg-query -W -f '$${Version}\n' nginx-dev 2>/dev/null; \
		cksum < $(NGINX_SRC)/src/core/nginx.h; } > $@.new; \
	if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi


# --- the core, built in several ways ----------------------------------------

# variant NAME COMPILER FLAGS: build/obj/NAME/%.o from any %.c of ours
define variant
build/obj/$(1)/%.o: %.c $$(HEADERS) Makefile
	@mkdir -p $$(@D)
	$$(SAY)
	$$(Q)$(2) $$(STD) $$(WARN) $(3) -Isrc $$(LIB_CFLAGS) -c -o $$@ $$<
core-$(1) = $$(CORE:%.c=build/obj/$(1)/%.o)
endef

$(eval $(call variant,harden,$$(CC),$(HARDEN) $$(CPPFLAGS) $$(CFLAGS)))
$(eval $(call variant,sanitize,$$(CC),$(SANITIZE)))
$(eval $(call variant,plain,$$(CC),-O1 -g))
$(eval $(call variant,coverage,$$(CC),-O0 -g --coverage))
$(eval $(call variant,fuzzer,clang,$(SANITIZE) -fsanitize=fuzzer-no-link))

.SECONDARY:


tokenctl: build/tokenctl ## the operator's tool alone

build/tokenctl: $(CLI:%.c=build/obj/harden/%.o) $(core-harden)
	$(SAY)
	$(Q)$(CC) $(HARDEN) $(CFLAGS) $(HARDEN_LD) $(LDFLAGS) -o $@ $^ $(LIB_LIBS)


# --- tests ------------------------------------------------------------------

UNIT = $(patsubst t/unit/%.c,%,$(wildcard t/unit/test_*.c))
UNIT_SHARED = $(filter-out t/unit/test_%,$(wildcard t/unit/*.c))

# unit-in DIR VARIANT FLAGS: DIR/test_*, each with what they share
define unit-in
$(1)/%: build/obj/$(2)/t/unit/%.o \
		$$(UNIT_SHARED:%.c=build/obj/$(2)/%.o) $$(core-$(2))
	@mkdir -p $$(@D)
	$$(SAY)
	$$(Q)$$(CC) $(3) -o $$@ $$^ -lcmocka $$(LIB_LIBS)
endef

$(eval $(call unit-in,build/unit,sanitize,$(SANITIZE)))
$(eval $(call unit-in,build/unit-plain,plain,))
$(eval $(call unit-in,build/unit-coverage,coverage,--coverage))

# run-each COMMAND, PROGRAMS: all of them, whatever one says; there are some
run-each = @test -n "$(strip $(2))"; rc=$$?; for t in $(2); do echo "== $$t"; $(1) ./$$t || rc=1; \
	done; exit $$rc

unit: $(UNIT:%=build/unit/%) ## unit tests of the core, sanitized
	$(call run-each,,$^)

valgrind: dev-deps $(UNIT:%=build/unit-plain/%) ## unit tests under valgrind
	$(call run-each,valgrind -q --error-exitcode=9 --leak-check=full \
		--errors-for-leak-kinds=definite,$(filter-out dev-deps,$^))

coverage: dev-deps $(UNIT:%=build/unit-coverage/%) ## what they reach of src/
	@find build/obj/coverage -name '*.gcda' -delete
	$(call run-each,,$(filter-out dev-deps,$^))
	gcovr --root . --filter 'src/' build/obj/coverage

# seeds are in t/fuzz/seeds/NAME for t/fuzz/fuzz_NAME.c

FUZZ = $(patsubst t/fuzz/fuzz_%.c,%,$(wildcard t/fuzz/fuzz_*.c))

build/fuzz-replay/%: build/obj/sanitize/t/fuzz/fuzz_%.o \
		build/obj/sanitize/t/fuzz/replay.o $(core-sanitize)
	@mkdir -p $(@D)
	$(SAY)
	$(Q)$(CC) $(SANITIZE) -o $@ $^ $(LIB_LIBS)

build/fuzz/%: build/obj/fuzzer/t/fuzz/fuzz_%.o $(core-fuzzer)
	@mkdir -p $(@D)
	$(SAY)
	$(Q)clang $(SANITIZE) -fsanitize=fuzzer -o $@ $^ $(LIB_LIBS)

fuzz-replay: $(FUZZ:%=build/fuzz-replay/%) ## every fuzz seed, sanitized
	@rc=0; for f in $(FUZZ); do \
		build/fuzz-replay/$$f t/fuzz/seeds/$$f || rc=1; \
	done; exit $$rc

fuzz: dev-deps $(FUZZ:%=build/fuzz/%) ## libFuzzer, FUZZ_SECONDS each
	@set -e; for f in $(FUZZ); do \
		mkdir -p build/corpus/$$f; echo "== $$f"; \
		build/fuzz/$$f -max_total_time=$(FUZZ_SECONDS) \
			-artifact_prefix=build/corpus/$$f- \
			build/corpus/$$f t/fuzz/seeds/$$f; \
	done


INTEROP = $(patsubst t/interop/%.c,build/interop/%, \
	$(wildcard t/interop/*_driver.c))

build/interop/%: build/obj/sanitize/t/interop/%.o $(core-sanitize)
	@mkdir -p $(@D)
	$(SAY)
	$(Q)$(CC) $(SANITIZE) -o $@ $^ $(LIB_LIBS)

interop: $(INTEROP) ## the drivers that other languages talk to


# --- reading the code -------------------------------------------------------

NGINX_INCS = $(patsubst %,-isystem build/nginx/%,src/core src/event \
	src/event/modules src/os/unix src/http src/http/modules src/http/v2 objs)
LINT_FLAGS = -std=gnu17 -D_GNU_SOURCE -Isrc $(LIB_CFLAGS)
# nginx hands string constants around as u_char * and char *
GLUE_WARN = $(filter-out -Wwrite-strings,$(WARN))
GLUE_FLAGS = $(LINT_FLAGS) -Ingx_module $(NGINX_INCS)
GLUE_C = $(filter %.c,$(GLUE))
TIDY = clang-tidy --quiet --warnings-as-errors='*' --checks='-*,$\
	clang-analyzer-*,bugprone-*,cert-*,misc-redundant-expression,$\
	-bugprone-assignment-in-if-condition,-bugprone-branch-clone,$\
	-bugprone-easily-swappable-parameters,$\
	-bugprone-implicit-widening-of-multiplication-result,$\
	-bugprone-narrowing-conversions,-bugprone-not-null-terminated-result,$\
	-bugprone-reserved-identifier,-bugprone-suspicious-include,$\
	-cert-dcl37-c,-cert-dcl51-cpp,-cert-err33-c,$\
	-clang-analyzer-security.insecureAPI.DeprecatedOrUnsafeBufferHandling,$\
	-clang-analyzer-valist.Uninitialized'
CPPCHECK = cppcheck -q --error-exitcode=1 --inline-suppr --std=c11 \
	--enable=warning,performance,portability --suppress=missingInclude

lint: dev-deps build/nginx/objs/Makefile ## style, floors, analyzers
	@$(MAKE) --no-print-directory -k -j$(JOBS) lint-style lint-gcc \
		lint-cppcheck lint-clang

lint-style:
	perl t/lint.pl

lint-gcc: $(CORE:%=lint-core/%) $(CLI:%=lint-core/%) $(GLUE_C:%=lint-glue/%)

# nginx's own idiom: cf->handler_conf points to a block being read
lint-cppcheck:
	$(CPPCHECK) -Isrc src cli
	$(CPPCHECK) -Isrc -Ingx_module --suppress=autoVariables:ngx_module/* \
		ngx_module

# its standard error only counts
lint-clang:
	$(TIDY) $(CORE) $(CLI) -- $(LINT_FLAGS) 2>/dev/null
	$(if $(GLUE_C),$(TIDY) $(GLUE_C) -- $(GLUE_FLAGS) 2>/dev/null)

# gcc's analyzer; and no variable in the core that could be written to
lint-core/%:
	@echo "  gcc -fanalyzer $*"
	@mkdir -p build/lint
	@$(CC) $(LINT_FLAGS) $(WARN) -O2 -fno-pie -fanalyzer -c \
		-o build/lint/$(notdir $*).o $*
	@case $* in src/*) \
		if nm build/lint/$(notdir $*).o | grep ' [BbCDdGgSs] '; then \
			echo "$*: global state"; exit 1; \
		fi;; \
	esac

lint-glue/%:
	@echo "  gcc -fanalyzer $*"
	@mkdir -p build/lint
	@$(CC) $(GLUE_FLAGS) $(GLUE_WARN) -O2 -fanalyzer -c \
		-o build/lint/$(notdir $*).o $*


# Each suite runs whatever the one before said.
test: ## everything, from nothing; the exit code is the verdict
	@$(MAKE) --no-print-directory deps
	@$(MAKE) --no-print-directory all
	@$(MAKE) --no-print-directory -j$(JOBS) $(INTEROP) \
		$(UNIT:%=build/unit/%) $(FUZZ:%=build/fuzz-replay/%)
	@failed=; \
	$(MAKE) --no-print-directory unit || failed="$$failed unit"; \
	$(MAKE) --no-print-directory fuzz-replay || \
		failed="$$failed fuzz-replay"; \
	$(PROVE) $(filter-out t/e2e/%,$(TESTS)) </dev/null || \
		failed="$$failed prove"; \
	prove -It/lib $(filter t/e2e/%,$(TESTS)) </dev/null || \
		failed="$$failed e2e"; \
	if [ -n "$$failed" ]; then echo "FAILED:$$failed"; exit 1; fi


# the long forms of what "make test" does in short
soak: ## herds, crashes and an hour of expiries, with figures
	@$(MAKE) --no-print-directory deps module
	@failed=; \
	HERD=500 HERD_ROUNDS=$(SOAK_TIMES) \
		prove -v -It/lib t/nginx/150-herd.t || failed="$$failed herd"; \
	CRASHES=$(SOAK_TIMES) \
		prove -v -It/lib t/nginx/154-crash-points.t || \
		failed="$$failed crashes"; \
	SOAK_MINUTES=$(SOAK_MINUTES) SOAK_LIFE=$(SOAK_LIFE) \
		SOAK_CONNECTIONS=$(SOAK_CONNECTIONS) \
		SOAK_RESTARTS=2 SOAK_RELOADS=10 \
		prove -v -It/lib t/nginx/156-soak.t || failed="$$failed soak"; \
	if [ -n "$$failed" ]; then echo "FAILED:$$failed"; exit 1; fi

asan: deps dev-deps ## the nginx tests on a sanitized nginx
	JOBS=$(JOBS) t/asan.sh
	TI_NGINX=$(CURDIR)/build/asan/nginx TI_NGINX_STATIC=1 TI_PATIENCE=5 \
		ASAN_OPTIONS=detect_stack_use_after_return=1 \
		LSAN_OPTIONS=print_suppressions=0:suppressions=$(CURDIR)/t/lsan.supp \
		UBSAN_OPTIONS=print_stacktrace=1:suppressions=$(CURDIR)/t/ubsan.supp \
		$(PROVE) $(wildcard t/nginx/*.t) </dev/null


demo: ## the whole thing, on loopback, told step by step
	@$(MAKE) --no-print-directory deps all
	@demo/run

bench: ## measure it: ratios to plain nginx, side by side
	@$(MAKE) --no-print-directory deps dev-deps all
	@bench/run

# --- installing -------------------------------------------------------------

PREFIX ?= /usr
MODULES_PATH ?= $(shell nginx -V 2>&1 | tr ' ' '\n' \
	| sed -n 's/^--modules-path=//p')
COMPLETION = $(wildcard cli/tokenctl.bash-completion)
MAN = $(if $(and $(wildcard docs/tokenctl.1.scd),$(shell command -v scdoc)), \
	build/tokenctl.1)

build/tokenctl.1: docs/tokenctl.1.scd
	@mkdir -p $(@D)
	scdoc < $< > $@

# where Debian keeps those of its own modules: a link to it in
# /etc/nginx/modules-enabled switches the module on
SNIPPET = $(PREFIX)/share/nginx/modules-available/mod-http-token-injector.conf

install: install-module install-tools ## what follows; takes DESTDIR, PREFIX

install-module: module ## the module, where nginx looks for it
	@test -n "$(MODULES_PATH)" || { \
		echo "nginx -V names no --modules-path: set MODULES_PATH"; exit 1; }
	install -d $(DESTDIR)$(MODULES_PATH) $(DESTDIR)$(dir $(SNIPPET))
	install -m 644 build/$(NAME).so $(DESTDIR)$(MODULES_PATH)/
	echo "load_module modules/$(NAME).so;" \
		| install -m 644 /dev/stdin $(DESTDIR)$(SNIPPET)

install-tools: tokenctl $(MAN) ## tokenctl, manual, completion
	install -d $(DESTDIR)$(PREFIX)/bin
	install -m 755 build/tokenctl $(DESTDIR)$(PREFIX)/bin/
	$(if $(MAN),install -d $(DESTDIR)$(PREFIX)/share/man/man1)
	$(if $(MAN),install -m 644 $(MAN) $(DESTDIR)$(PREFIX)/share/man/man1/)
	$(if $(COMPLETION),install -D -m 644 $(COMPLETION) \
		$(DESTDIR)$(PREFIX)/share/bash-completion/completions/tokenctl)


# --- Debian -----------------------------------------------------------------

# of a copy: dpkg-buildpackage writes to its tree and to the folder above it
deb: build/stamp/packages deb-deps ## the packages, below build/deb/, and what lintian says
	rm -rf build/deb && mkdir -p build/deb/src
	tar -c --exclude=./build --exclude=./.git --exclude=node_modules . \
		| tar -x --no-same-owner -C build/deb/src
	cd build/deb/src && env -u MAKEFLAGS -u MAKELEVEL \
		dpkg-buildpackage -us -uc -b > ../build.log 2>&1 || \
		{ tail -n 40 ../build.log; exit 1; }
	lintian --fail-on error --display-info build/deb/*.changes
	@ls build/deb/*.deb

trixie: deb-deps ## build and test on Debian 13, below build/trixie/
	PACKAGES="$(C_PACKAGES)" t/trixie.sh

clean: ## remove build/
	rm -rf build

help: ## this list
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | \
		while IFS='|' read -r t d; do printf '%-16s%s\n' "$$t" "$$d"; done
