# Pharos. 'make help' lists the targets.
GO      ?= go
DATA    ?= data
BINARY  := bin/pharos

.PHONY: help build run demo cluster-demo faults experiment soak reconnect test check fuzz bench peers clean

help:
	@sed -n 's/^## //p' Makefile

## make build    build bin/pharos
build:
	@[ -e $(BINARY) ] || echo "building $(BINARY): the first time Go fetches and compiles everything, which takes minutes"
	@$(GO) build -trimpath -o $(BINARY) ./cmd/pharos

## make run      run with the embedded default and two demo users; data in ./data
run: build
	@$(BINARY) serve --data $(DATA) --demo

## make demo     programs that we did not write play a story through Pharos
demo: build
	@./interop/install.sh demo
	@echo "compiling the demo"
	@$(GO) run ./interop/demo -pharos $(CURDIR)/$(BINARY)

## make cluster-demo  three nodes and a PostgreSQL on this machine: they grow, move users, lose their leader
cluster-demo:
	@./interop/install.sh database
	@$(GO) run ./bench/faults/run -demo

## make faults   hurt a service of three nodes, and write bench/README.md (root; network namespaces; 6 minutes); FAULTS=name,... for some, which are printed only
faults:
	@./interop/install.sh database
	@$(GO) run ./bench/faults/run $(if $(FAULTS),-only "$(FAULTS)",-readme bench/README.md)

## make soak     three nodes for an hour with 20,000 users and a fault every minute: does anything grow? writes bench/README.md; SOAK="-users 5000" for others
soak:
	@./interop/install.sh database
	@$(GO) run ./bench/soak/run -readme bench/README.md $(SOAK)

## make reconnect  all users' XMPP sessions end at once and come back: Pharos with one server and with three, and ejabberd
reconnect:
	@./interop/install.sh peers
	@./interop/install.sh database
	@$(GO) run ./bench/soak/run -reconnect -readme bench/README.md $(SOAK)

## make experiment  repeat the paper's experiment on several servers (root; control groups), and write bench/README.md; 8 minutes, three times with EXPERIMENT="-runs 3"; CORES=0.2 of each server
experiment:
	@./interop/install.sh database
	@$(GO) run ./bench/paper/run -readme bench/README.md $(if $(CORES),-cores $(CORES)) $(EXPERIMENT)

## make test     install what the tests need, run them all with the race detector
test:
	@./.ci/test

## make check    format, vet, staticcheck, module and generated files
check:
	@./.ci/check

## make fuzz     fuzz every parser, FUZZTIME each (default 1m)
fuzz:
	@./.ci/fuzz $(or $(FUZZTIME),1m)

## make bench    measure, and write bench/README.md
bench:
	@$(GO) run ./bench/run -readme bench/README.md

## make peers    measure Pharos beside Kamailio, ejabberd and Prosody, in turns, and write bench/README.md; PEERS="-world sip" for a half
peers:
	@./interop/install.sh peers
	@$(GO) run ./bench/peers/run -readme bench/README.md $(PEERS)

clean:
	rm -rf bin
