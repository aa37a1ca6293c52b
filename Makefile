# The targets of Thaw; `make` lists them.
#
# Everything is built into bin/, and bin/ is all that the binaries need: thaw
# finds its companions, the layers and the example functions beside itself.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

GO ?= go
# Static binaries without paths of this machine: what the layer ships must run
# on any Linux, and two builds of one commit are the same.
GOFLAGS_BUILD := -trimpath -ldflags "-s -w"
HOST_ARCH := $(shell $(GO) env GOARCH)
# The extension speaks HTTP/1.1 alone; without net/http's HTTP/2 it is half a
# megabyte smaller and starts faster.
TAGS_EXTENSION := -tags nethttpomithttp2
EXAMPLES_GO := thumbnail catalog-index flaky

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOTESTSUM := gotest.tools/gotestsum@v1.13.0

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' Makefile

.PHONY: build
build: ## build thaw, thaw-extension and thaw-collector into bin/, with the layers and the example functions
	@mkdir -p bin
	CGO_ENABLED=0 $(GO) build $(GOFLAGS_BUILD) -o bin/ ./cmd/...
	@for f in $(EXAMPLES_GO); do mkdir -p bin/examples/$$f; done
	@for f in $(EXAMPLES_GO); do \
		CGO_ENABLED=0 $(GO) build $(GOFLAGS_BUILD) -tags lambda.norpc -o bin/examples/$$f/bootstrap ./examples/$$f; done
	@$(MAKE) --no-print-directory layer

.PHONY: layer
layer: ## pack the layers for x86_64 and arm64 into bin/layer/
	@mkdir -p bin/layer
	@for pair in amd64:x86_64 arm64:arm64; do \
		goarch=$${pair%%:*}; arch=$${pair##*:}; \
		CGO_ENABLED=0 GOOS=linux GOARCH=$$goarch $(GO) build $(GOFLAGS_BUILD) $(TAGS_EXTENSION) -o bin/layer/thaw-extension-$$arch ./cmd/thaw-extension; \
		$(GO) run ./cmd/thaw layer pack --binary bin/layer/thaw-extension-$$arch --out bin/layer/thaw-layer-$$arch.zip; \
	done

.PHONY: demo
demo: build ## run real functions cold and warm with everything attached, and write the report to thaw-demo/
	bin/thaw demo $(DEMOFLAGS)

.PHONY: test
test: install lint build ## everything that CI runs: install what is missing, lint, build, all tests
	THAW_GOTESTSUM=$(GOTESTSUM) .ci/test

.PHONY: install
install: ## install what the tests need and the machine lacks (Debian packages, real runtime clients)
	.ci/install

.PHONY: lint
lint: ## gofmt, vet, staticcheck
	@bad=$$(git ls-files -z '*.go' | xargs -0 gofmt -l); if [ -n "$$bad" ]; then echo "not gofmt'ed:"; echo "$$bad"; exit 1; fi
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...

.PHONY: bench
bench: build ## what the extension costs against a bare one in the same run, and what the hooks cost
	$(GO) test ./extension -run '^$$' -bench 'ExecToReady|ReadyAtTenth' -benchtime 60x -timeout 20m
	$(GO) test ./extension -run '^$$' -bench 'WarmInvocation$$' -benchtime 40x -timeout 20m
	$(GO) test ./extension ./report/... ./collector/... ./cmd/thaw-collector -run '^$$' -bench '[^y]$$' -timeout 20m
	$(GO) test ./layer/node -run '^$$' -bench . -benchtime 1x -timeout 20m

.PHONY: generate
generate: ## rewrite what is generated: docs/telemetry.md, docs/config.md, dashboards, golden files
	$(GO) generate ./dashboards
	$(GO) test ./internal/repotest -run TestDocs -count 1 -update

.PHONY: clean
clean: ## remove bin/ and thaw-demo/
	rm -rf bin thaw-demo
