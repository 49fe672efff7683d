#!/usr/bin/env bash
#SBATCH --job-name torl
#SBATCH --nodes 2
#SBATCH --ntasks-per-node 1
#SBATCH --exclusive
# sbatch --gpus-per-node 8 runs/cluster/slurm.sh --out OUT --model Qwen/Qwen2.5-Math-1.5B ...
#
# From the checkout, on a file system that all nodes see, with the virtual environment active.
set -euo pipefail
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
# Ray wants an address where a name may have several.
HEAD=$(srun --nodes 1 --ntasks 1 --nodelist "$head" hostname --ip-address | awk '{print $1}')
RAY_AUTH_TOKEN=$(openssl rand -hex 32)
export HEAD RAY_AUTH_TOKEN NODES=$SLURM_NNODES
srun --kill-on-bad-exit=1 bash -c 'NODE_RANK=$SLURM_NODEID exec bash runs/cluster/node.sh "$@"' node "$@"
