"""Container files: they fit together, and the server's script and health check work."""

import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from torl.__main__ import parse

FOLDER = Path(__file__).parents[2] / "containers"
COMPOSE = yaml.safe_load((FOLDER / "compose.yaml").read_text())
INSTRUCTIONS = {
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "RUN",
    "USER",
    "VOLUME",
    "WORKDIR",
}


def instructions(name):
    """Of a Dockerfile: (word, rest), with continued lines joined."""
    text = re.sub(r"^#.*\n", "", (FOLDER / name).read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [tuple(line.split(None, 1)) for line in lines if line.strip()]


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("*.Dockerfile")))
def test_a_dockerfile_runs_as_an_ordinary_user(name):
    found = instructions(name)
    assert {word for word, _ in found} <= INSTRUCTIONS
    users = [rest for word, rest in found if word == "USER"]
    assert users == ["10001"]
    # Nothing is installed or copied after it.
    words = [word for word, _ in found]
    after = set(words[words.index("USER") :])
    assert not after & {"RUN", "COPY"}
    for _, rest in (one for one in found if one[0] == "COPY" and "--from" not in one[1]):
        source = next(part for part in rest.split() if not part.startswith("--"))
        assert (FOLDER.parent / source).exists()


def test_the_composition_fits_together():
    services = COMPOSE["services"]
    for service in services.values():
        assert (FOLDER.parent / service["build"]["dockerfile"]).exists()
        assert set(service.get("networks", [])) <= {*COMPOSE["networks"], "default"}
        assert set(service.get("depends_on", {})) <= set(services)
    assert COMPOSE["networks"]["programs"]["internal"] is True
    for name in ("train", "watch"):
        words = [re.sub(r"\$\{\w+:[-?]([^}]*)\}", r"\1", one) for one in services[name]["command"]]
        command, *options = [word.replace("set TORL_TOKEN", "secret") for word in words]
        assert parse(command, ["7" if one == "" else one for one in options]) is not None


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="containers are Linux")
def test_the_server_s_script_and_its_health_check(tmp_path):
    """The very lines of the image, outside of one."""
    # `torl` and `python` as the image has them, on the path.
    for name, words in (("torl", f"{sys.executable} -m torl"), ("python", sys.executable)):
        (tmp_path / name).write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        (tmp_path / name).chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "PORT": str(free_port()), "TORL_TOKEN": "secret"}
    health = next(
        rest for word, rest in instructions("sandbox.Dockerfile") if word == "HEALTHCHECK"
    )
    check = json.loads(health.split("CMD", 1)[1])

    def healthy(**changed):
        done = subprocess.run(check, env=env | changed, capture_output=True, check=False)
        return done.returncode == 0

    assert not healthy()
    script = str(FOLDER / "serve-sandbox.sh")
    refused = subprocess.run(
        [script], env={**env, "TORL_TOKEN": ""}, capture_output=True, text=True, check=False
    )
    assert "set TORL_TOKEN" in refused.stderr
    served = subprocess.Popen([script], env=env, stdout=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 120
        while not healthy():
            assert time.monotonic() < deadline, "the server did not come up"
            assert served.poll() is None, shlex.join(check)
            time.sleep(0.5)
        assert not healthy(TORL_TOKEN="wrong")
    finally:
        served.terminate()
        output, _ = served.communicate(timeout=60)
    assert "seccomp" in output
    assert "serving on" in output
    assert not healthy()
