# `just` lists what can be done here; each recipe is the npm script of the same name.

default:
    @just --list

# Compiler, packages, build
setup:
    sh .ci/setup

# Start the service on its embedded default
start:
    npm start

# Generate packages/api from proto/
gen:
    npm run gen

lint:
    npm run lint

build:
    npm run build

# Unit and integration tests
test *args:
    npm test -- {{args}}

# csi-sanity against the CSI driver on simulated hosts
conformance *args:
    npm run test:conformance -- {{args}}

# The chart's sidecars against the CSI driver, on a Kubernetes API server
sidecars *args:
    npm run test:sidecars -- {{args}}

# Tests on real kernels, in give and take
e2e *args:
    npm run test:e2e -- {{args}}

# Lint, types, boundaries, unused code, generated code
check:
    npm run check

# up, down, status, ssh give|take
microvm *args:
    npm run microvm -- {{args}}

bench *args:
    npm run bench -- {{args}}

# What CI runs
ci:
    bash .ci/run
