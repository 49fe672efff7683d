"""The model of the pool against formulae, the forms of a job, and the page that shows both."""

import math
import random
import subprocess
import sys

import pytest

from benchmarks.cluster.__main__ import FORMS, RECORD, ROOT, Rehearsal, same, table
from benchmarks.cluster.simulate import (
    RECORD as POOL,
)
from benchmarks.cluster.simulate import (
    LeastLoaded,
    Pool,
    bound,
    cpu_by_role,
    exponential,
    measured,
    simulate,
)


def erlang_c(arrivals, service, servers):
    """Mean wait of M/M/c (Erlang 1917): the chance to wait over the spare rate."""
    offered = arrivals * service
    last = offered**servers / math.factorial(servers) / (1 - offered / servers)
    whole = sum(offered**k / math.factorial(k) for k in range(servers)) + last
    return last / whole / (servers / service - arrivals)


@pytest.mark.parametrize("servers", [1, 3])
def test_the_wait_is_that_of_many_servers_and_one_queue(servers):
    # Many rows that seldom ask arrive as a Poisson stream.
    arrivals, service, rows = 0.7 * servers, 1.0, 2000
    pool = Pool(1, servers, 1, rows, 0.0, exponential(rows / arrivals), exponential(service))
    flow = simulate(pool, 60_000)
    assert flow.wait == pytest.approx(erlang_c(arrivals, service, servers), rel=0.15)
    assert flow.cores_busy == pytest.approx(0.7, rel=0.05)


def test_a_full_pool_gives_what_its_scarcest_resource_gives():
    service = measured([0.01, 0.03])
    by_cores = simulate(Pool(4, 2, 1, 200, 0.0, lambda _: 0.0, service), 20_000)
    assert by_cores.calls_per_second == pytest.approx(4 * 2 / 0.02, rel=0.03)
    assert bound(by_cores) == "the nodes' cores"
    by_driver = simulate(Pool(100, 2, 2, 2000, 0.002, lambda _: 0.0, service), 20_000)
    assert by_driver.calls_per_second == pytest.approx(2 / 0.002, rel=0.03)
    assert bound(by_driver) == "the drivers' CPU"
    by_actor = simulate(
        Pool(2, 8, 1, 200, 0.0, lambda _: 0.0, measured([0.001]), relay=0.002), 20_000
    )
    assert by_actor.calls_per_second == pytest.approx(2 / 0.002, rel=0.03)
    assert bound(by_actor) == "the nodes' actors"


@pytest.mark.slow
def test_cpu_of_what_this_process_started_is_counted_for_its_kind():
    busy = "import time\nwhile time.process_time() < 0.4: pass\nprint(flush=True)\ninput()"
    before = cpu_by_role()
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", busy, "ray::Worker"], **pipes) as child:
        child.stdout.readline()
        after = cpu_by_role()
        child.communicate(b"\n")
    used = {role: after[role] - before[role] for role in after}
    assert 0.35 < used["actor"] < 0.8
    assert used["servers"] == used["ray"] == 0.0


def test_calls_go_to_the_node_with_the_fewest():
    nodes = LeastLoaded(3, random.Random(0))
    assert sorted(nodes.take() for _ in range(3)) == [0, 1, 2]
    nodes.give_back(1)
    assert nodes.take() == 1


def test_numbers_are_the_same_to_rounding_only():
    row = [{"loss": 0.5, "reward": float("nan"), "stage": "rl"}]
    assert same(row, [{**row[0], "loss": 0.5 + 1e-7}])
    assert not same(row, [{**row[0], "loss": 0.51}])
    assert not same(row, [{**row[0], "stage": "sft"}])
    assert not same(row, [])


@pytest.mark.parametrize("name", ["node.sh", "slurm.sh"])
def test_the_scripts_are_ones(name):
    subprocess.run(["bash", "-n", str(FORMS / name)], check=True)


def test_a_node_says_what_it_needs():
    done = subprocess.run(
        ["bash", str(FORMS / "node.sh")], env={}, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "NODES: how many nodes" in done.stderr


def test_the_page_shows_the_records():
    import json

    page = (ROOT / "docs" / "scale.md").read_text()
    rows = [Rehearsal(**row) for row in json.loads(RECORD.read_text())]
    assert table(rows).markdown() in page
    pool = json.loads(POOL.read_text())
    here = pool["one node of Ray here"]
    assert f"gave {here['measured, calls/s']:.0f} calls/s here" in page
    assert f"are {here['measured, were all its own']:.0f} calls/s, and the model" in page
    assert f"says {here['simulated']:.0f}." in page
    for cost in pool["a call, seconds of CPU"].values():
        assert f"{cost * 1000:.1f}" in page
    for point in pool["curve"]:
        assert f"| {point['nodes']:,} | {point['drivers']:,} |" in page
