.DEFAULT_GOAL := build
.PHONY: build build-all test verify update fuzz bench lab demo e2e e2e-smoke e2e-faults e2e-ceph clean help

build: ## bin/hybridctl for this machine, and what conformance runs on nodes
	@scripts/build.sh

build-all: ## the same, and bin/hybridctl-linux-amd64 and -arm64 to take elsewhere, with the licenses of what they are compiled of
	@scripts/build.sh all

test: ## go test ./... (needs nothing but Go)
	@scripts/test.sh

verify: ## formatting, vet, staticcheck, shellcheck, import rules
	@scripts/verify.sh

update: ## what verify and test compare with: formatting and golden files
	@scripts/update.sh

fuzz: ## fuzz every parser for FUZZTIME each (default 30s), or FUZZCOUNT executions
	@scripts/fuzz.sh

bench: ## benchmarks of the fleet, the engine, the loader, images and workloads, with the requests that they cost
	@scripts/bench.sh

lab: build ## the lab's artefacts and the bundle (root; minutes the first time, seconds later)
	@e2e/lab/lab bundle

demo: ## on a fresh Debian machine, as root: the lab, and a cluster of x86 and Arm machines in it
	@scripts/demo.sh

e2e: ## the whole of the end-to-end tests, in the lab (root)
	@scripts/e2e.sh

e2e-smoke: ## up, up again, destroy with an x86 control plane and an Arm worker (root)
	@scripts/e2e.sh -run '^TestSmoke$$'

e2e-faults: ## what goes wrong on real machines: power cuts, full disks, lost hosts (root)
	@scripts/e2e.sh -run '^TestFault_'

e2e-ceph: ## volumes of a real Ceph, written on one architecture and read on the other (root; LAB_IMAGES: the driver's archives)
	@scripts/e2e.sh -run '^TestCeph_'

clean: ## what was built; "e2e/lab/lab clean" throws the lab's artefacts away
	@rm -rf bin

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 14
