# Keyturn. "make help" lists the targets.

export CGO_ENABLED = 0
# Without net/rpc in functions and pages in grpc, neither of which is used,
# the program finds no method by name and can leave out what nobody calls.
export GOFLAGS := $(strip -tags=lambda.norpc,grpcnotrace $(filter-out -tags=lambda.norpc%,$(GOFLAGS)))
GO ?= go
BIN = bin/keyturn

# What the targets need beside Go: command=Debian package.
DEMO_NEEDS = pg=postgresql py:boto3=python3-boto3 py:psycopg2=python3-psycopg2
TEST_NEEDS = $(DEMO_NEEDS) node=nodejs npm=npm gcc=gcc mariadbd=mariadb-server redis-server=redis-server \
	rabbitmq-server=rabbitmq-server jq=jq psql=postgresql-client sshd=openssh-server ssh=openssh-client slapd=slapd \
	file:/usr/lib/*/samba/ldb/samba_dsdb.so=samba-ad-dc file:/usr/share/samba/setup/provision.ldif=samba-ad-provision \
	zsh=zsh fish=fish mandoc=mandoc

# The program that tests run as a process, built once for all packages.
TEST_PROGRAM = $(CURDIR)/build/test/keyturn

# Lint vets the tests too. They wait for other processes more than they
# compute, so that more run side by side than there are cores.
TEST_FLAGS = -vet=off -p 3 -parallel 4

# Packages with concurrency of their own, tested under the race detector too.
RACE = ./internal/trail ./internal/sigv4 ./internal/key/... ./internal/store ./internal/store/sqlite ./internal/wire \
	./internal/authz ./internal/oidc ./internal/rekey ./internal/function/environment ./internal/function/egress ./internal/invocation ./internal/rotation \
	./internal/service/secretsmanager ./internal/stack/engine

.PHONY: help
help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build bin/keyturn.
	$(GO) build -trimpath -o $(BIN) ./cmd/keyturn

# The platforms of a release.
PLATFORMS = linux/amd64,linux/arm64,darwin/amd64,darwin/arm64

.PHONY: dist
dist: ## Build what is released into dist/: archives, bills of materials, checksums.
	$(GO) run ./internal/dist -out dist -platforms $(PLATFORMS)

.PHONY: dist-check
dist-check: ## Build one platform from two folders and compare the bytes.
	@scripts/dist-check

.PHONY: demo
demo: ## Rotate the password of a real PostgreSQL user, end to end.
	@scripts/need $(DEMO_NEEDS)
	@$(MAKE) -s build
	@$(BIN) demo

.PHONY: test
test: ## Run every check and every test.
	@scripts/need $(TEST_NEEDS)
	@$(MAKE) -s -j2 servers lint
	$(GO) build -ldflags '-s -w' -o $(TEST_PROGRAM) ./cmd/keyturn
	KEYTURN_TEST_BINARY=$(TEST_PROGRAM) $(GO) test $(TEST_FLAGS) ./...
	CGO_ENABLED=1 $(GO) test $(TEST_FLAGS) -race -short $(RACE)

# What of the tests' servers Debian has not: fetched or built once. Fetching
# goes on while the code is compiled for its checks.
.PHONY: servers
servers:
	@scripts/postgres18
	@scripts/mysqld
	@scripts/ferretdb
	@scripts/influxd

.PHONY: lint
lint: ## Check format, vet, staticcheck and known vulnerabilities.
	@unformatted=$$(gofmt -l cmd internal examples); [ -z "$$unformatted" ] || { echo "not gofmt'ed: $$unformatted"; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	@scripts/vulncheck

.PHONY: bench
bench: ## Measure against a bare net/http server, as ratios.
	$(GO) run ./internal/bench

.PHONY: fuzz
fuzz: ## Run every fuzz target for $FUZZTIME (1m); FUZZ=PATTERN chooses among "PACKAGE FuzzName".
	@GO='$(GO)' scripts/fuzz $(if $(FUZZ),'$(FUZZ)')
# CHAOS are its flags, such as -kills 5000, -only three, -seed 7, -time 2h.
.PHONY: chaos
chaos: ## Kill servers a thousand times under load and demand that nothing is lost.
	@scripts/need $(DEMO_NEEDS)
	$(GO) run ./internal/chaos $(CHAOS)

.PHONY: doctor-corpus
doctor-corpus: ## Make the doctor's faults for real and write the confusion table into docs/doctor.md.
	@scripts/need $(DEMO_NEEDS)
	$(GO) test ./internal/doctor/doctortest -run TestCorpus -count=1 -timeout 30m -update

.PHONY: generate
generate: ## Generate internal/api from the AWS service models in $KEYTURN_AWS_MODELS.
	$(GO) generate ./internal/wire

.PHONY: clean
clean: ## Remove what was built.
	rm -rf bin build dist
