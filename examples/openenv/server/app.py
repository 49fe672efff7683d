"""Serves the environment; its options come from the container's environment variables.

| variable | what |
| --- | --- |
| `TORL_TOKEN` | a secret that clients send, required where the address is not loopback |
| `TORL_HOST`, `TORL_PORT` | where to listen (127.0.0.1, 8000) |
| `TORL_ENV` | fields of `EnvConfig` as JSON, such as `{"problems": "math500", "tool_budget": 2}` |
"""

import json
import os

from torl_env import EnvConfig, ToRLMathEnv
from torl_env.adapters.openenv import OpenEnvServer
from torl_env.http_options import ServerOptions
from torl_env.problem_sampling import open_problems
from torl_env.sandbox import open_sandbox


def main() -> None:
    """Serve until the container is stopped; all episodes share problems and sandbox."""
    given = EnvConfig.of(None, **json.loads(os.environ.get("TORL_ENV", "{}")))
    options = ServerOptions(
        host=os.environ.get("TORL_HOST", "127.0.0.1"),
        port=int(os.environ.get("TORL_PORT", "8000")),
        token=os.environ.get("TORL_TOKEN"),
    )
    problems = open_problems(given.problems, given.split)
    with open_sandbox(given.sandbox) as sandbox:
        config = EnvConfig.of(given, problems=problems, split=None, sandbox=sandbox)
        server = OpenEnvServer(lambda: ToRLMathEnv(config=config), options)
        print(f"serving on {server.url}", flush=True)
        server.run()


if __name__ == "__main__":
    main()
