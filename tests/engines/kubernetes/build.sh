#!/usr/bin/env bash
# Builds a real Kubernetes API server from the published Go modules: Go 1.26 or later, some minutes the first time.
# Usage: build.sh FILE. Nothing is done where the file is newer than what it is built of.
set -euo pipefail
target=$(realpath -m "$1")
cd "$(dirname "$0")"
if [ "$target" -nt main.go ] && [ "$target" -nt go.mod ]; then exit 0; fi
mkdir -p "$(dirname "$target")"
version=k8s.io/component-base/version
go build -trimpath -buildvcs=false -p 2 -o "$target" \
  -ldflags "-s -w -X $version.gitMajor=1 -X $version.gitMinor=36 -X $version.gitVersion=v1.36.3" .
