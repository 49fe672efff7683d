#!/bin/sh
# Says which layers of isolation hold in this container, then serves. Options are those of
# `torl sandbox serve`; --strict refuses to start where a layer is missing.
set -eu
: "${TORL_TOKEN:?set TORL_TOKEN: clients send it as Authorization: Bearer}"
torl sandbox check || true # a missing layer is told, and is no reason to stop
exec torl sandbox serve --host 0.0.0.0 --port "${PORT:-8080}" --token "$TORL_TOKEN" "$@"
