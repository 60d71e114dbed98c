# Four sites in one process: no root, nothing to configure.
demo:
    go run ./cmd/vine demo

# Every test that needs no root.
test:
    go test ./...

# Format, vet, and the tests of the project's shape.
check:
    test -z "$(gofmt -l .)"
    go vet ./...
    go test -count=1 .

# Every test under the race detector.
race:
    go test -race -shuffle=on -timeout 60m ./...

# Every fuzz target, 30 seconds each.
fuzz:
    .ci/fuzz 30s

# The tests that need root and network namespaces; one that is skipped fails.
net:
    VINE_NETNS=1 go test -count=1 $(grep -rlE 'netnstest|VINE_NETNS' --include='*_test.go' . | xargs -n1 dirname | sort -u | grep -vx .)

# The benchmarks, with allocations.
bench:
    go test -run '^$' -bench . -benchmem ./...

# docs/performance.md again: ViNe beside the kernel and other tunnels. As root, for hours.
performance *args:
    .ci/performance {{args}}

# An hour of traffic, changes and failures beside which memory, descriptors, goroutines and threads must stay flat. As root.
soak length="1h":
    VINE_NETNS=1 VINE_SOAK={{length}} go test -count=1 -timeout 0 -v -run '^TestSoak$' ./tests/netns

# What takes long: race detector twice, root tests, an hour of soak, ten minutes of each fuzz target.
night:
    go test -race -shuffle=on -count=2 -timeout 120m ./...
    VINE_NIGHT=1 just net
    VINE_NIGHT=1 go test -count=1 -timeout 60m -v -run '^TestCrashPoints$' ./node
    VINE_NIGHT=1 go test -count=1 -run '^TestDrill' ./cmd/vine
    just soak
    VINE_NIGHT=1 go test -timeout 60m ./simulations/sim
    .ci/fuzz 10m
