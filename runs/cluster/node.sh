#!/usr/bin/env bash
# One node of a job: its part of a Ray cluster, on which programs run, and of the training.
# Slurm and Kubernetes start it once on each node; what follows are options of `torl train`.
#
#   NODES      how many there are
#   NODE_RANK  this one, from 0
#   HEAD       address of node 0
#   RAY_AUTH_TOKEN  a secret of the job: Ray runs the code of whoever connects
#   PROCESSES  training processes of this node, one a GPU (8)
#   CONFIG     accelerate's configuration (runs/configs/multi_gpu.yaml)
set -euo pipefail
: "${NODES:?how many nodes}" "${NODE_RANK:?which one this is, from 0}" "${HEAD:?address of node 0}"
: "${RAY_AUTH_TOKEN:?a secret, the same on all nodes: openssl rand -hex 32}"
# Ray 2.60 asks for the token where one is set, and clients send it in this mode only.
export RAY_AUTH_MODE=token
processes=${PROCESSES:-8}
config=${CONFIG:-runs/configs/multi_gpu.yaml}

# By module, so that programs run in this Python. Not `ray stop` at the end: it would end every Ray
# node of the machine, others' too.
ray=(python -m ray.scripts.scripts)
if [ "$NODE_RANK" = 0 ]; then
    "${ray[@]}" start --block --head --port 6379 --node-ip-address "$HEAD" --include-dashboard false &
else
    until (exec 3<>"/dev/tcp/$HEAD/6379") 2>/dev/null; do sleep 1; done
    "${ray[@]}" start --block --address "$HEAD:6379" ${NODE_IP:+--node-ip-address "$NODE_IP"} &
fi
node=$!
trap 'kill $node 2>/dev/null; wait $node 2>/dev/null || true' EXIT

# Until all are there: a sandbox uses the nodes that it finds when it opens.
python - "$HEAD:6379" "$NODES" <<'WAIT'
import sys
import time

import ray

deadline = time.monotonic() + 600
while True:
    try:
        ray.init(address=sys.argv[1], log_to_driver=False)
        break
    except (ConnectionError, RuntimeError):
        if time.monotonic() > deadline:
            raise
        time.sleep(1)
while sum(node["Alive"] for node in ray.nodes()) < int(sys.argv[2]):
    if time.monotonic() > deadline:
        raise SystemExit(f"not all of {sys.argv[2]} Ray nodes joined within ten minutes")
    time.sleep(1)
WAIT

accelerate launch --config_file "$config" --num_machines "$NODES" --machine_rank "$NODE_RANK" \
    --num_processes $((NODES * processes)) --main_process_ip "$HEAD" --main_process_port 29500 \
    -m torl train --env.sandbox "ray:$HEAD:6379" "$@"
