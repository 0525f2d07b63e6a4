#!/usr/bin/env bash
# Builds a real image registry from the published Go modules: Go 1.26 or later, a minute the first time.
# Usage: build.sh FILE. Nothing is done where the file is newer than what it is built of.
set -euo pipefail
target=$(realpath -m "$1")
cd "$(dirname "$0")"
if [ "$target" -nt main.go ] && [ "$target" -nt go.mod ]; then exit 0; fi
mkdir -p "$(dirname "$target")"
go build -trimpath -buildvcs=false -p 2 -ldflags "-s -w" -o "$target"
