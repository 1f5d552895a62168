# Each line is a command that a person could type.
SHELL := /bin/bash
.PHONY: demo demo-ceph test lint unit planted sim bench lab-tests lab-ceph-reef rpm rpm-test lab lab-down setup

# The main job, on three real hosts that it boots itself.
demo: setup rpm-test
	cargo build --locked -p replank-lab -p replank-e2e --bins
	target/debug/demo

# A real cluster of Ceph 14.2 becomes 16.2 under a client that writes.
demo-ceph: setup rpm-test
	cargo build --locked -p replank-lab -p replank-e2e --bins
	target/debug/demo-ceph

# Everything: style, units, goldens, properties, sweeps, then the scenarios on real hosts.
test: setup lint unit planted rpm-test lab-tests

setup:
	tests/lab/setup.sh

lint:
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets --features replank-agent/crash-points,replank-coordinator/crash-points -- -D warnings
	cargo clippy --locked -p replank-planted --features planted-faults --all-targets -- -D warnings

unit:
	tests/nextest.sh run --locked --workspace --features replank-agent/crash-points,replank-coordinator/crash-points -E 'not test(/^lab_/)'
	cargo test --locked --workspace --doc --quiet

# Each planted fault and which test catches it, after how many seeds (at most SEEDS); WRITE=1: into docs/planted-faults.md too.
planted:
	cargo run --locked --quiet -p replank-planted --features planted-faults --bin planted -- \
	    --seeds $(or $(SEEDS),2000) $(if $(WRITE),--write docs/planted-faults.md)

# Simulated fleets: SEEDS of them from FIRST on, or one again with all that happened (REPLAY=seed), or a large one (FLEET=10000x20, and
# FAULTS=calm, rough or storm).
sim:
	cargo run --locked --quiet --profile sim -p replank-sim-tests --bin sim -- \
	    $(if $(REPLAY),--replay $(REPLAY),$(if $(FLEET),--fleet $(FLEET) --faults $(or $(FAULTS),rough),--seeds $(or $(SEEDS),1000)) --first $(or $(FIRST),0))

# Planning, appending and resuming for a large fleet (HOSTS, GUESTS), on the release's own binary; the waves of a large Ceph cluster (OSDS, GROUPS).
bench:
	cargo build --locked --release -p replank-coordinator -p replank-bench
	target/release/bench fleet --hosts $(or $(HOSTS),10000) --guests $(or $(GUESTS),20)
	target/release/bench ceph --osds $(or $(OSDS),10000) --groups $(or $(GROUPS),500000)

lab-tests:
	tests/nextest.sh run --locked -p replank-lab -p replank-e2e -E 'test(/^lab_/)'

# A real cluster of Ceph 16.2 becomes 18.2 under a client that writes, on Debian 12 with libraries of Debian 13.
lab-ceph-reef: setup rpm-test
	tests/nextest.sh run --locked -p replank-e2e --run-ignored only -E 'test(=lab_ceph_voyage::pacific_to_reef_under_load)'

# The packages of a release, in target/rpm.
rpm:
	packaging/build.sh

# The packages under test, with crash points, in target/rpm-test.
rpm-test:
	packaging/build.sh --test --out target/rpm-test

# Hosts that stay up, to look around in.
lab: setup
	cargo build --locked -p replank-lab
	target/debug/lab up --name lab --hosts $(or $(HOSTS),3) --guests $(or $(GUESTS),3)

lab-down:
	cargo build --locked -p replank-lab
	target/debug/lab down --all
