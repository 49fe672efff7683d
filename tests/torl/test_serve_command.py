"""`torl serve` as a user starts and ends it."""

import re
import signal
import subprocess
import sys

from torl_env.adapters.openenv_client import OpenEnvClient

START = (
    "from torl.commands.serve import *\n"
    "raise SystemExit(main(ServeOptions(port=0, env=EnvConfig(tool_budget=2))))"
)


def test_it_serves_until_interrupted():
    with subprocess.Popen(
        [sys.executable, "-u", "-c", START], stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            line = server.stdout.readline()
            url = re.search(r"http://127\.0\.0\.1:\d+", line)[0]
            assert line.startswith("serving procedural:easy on")
            with OpenEnvClient(url) as client:
                client.reset(seed=0)
                for number in ("1", "2"):
                    assert number in client.step(f"```python\nprint({number})\n```").text
                assert client.state()["tool_calls"] == 2
            server.send_signal(signal.SIGINT)
            assert server.wait(20) == 0
        finally:
            server.kill()
