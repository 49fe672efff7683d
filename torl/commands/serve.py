"""`torl serve`: the environment as an OpenEnv server."""

import contextlib
import signal
import sys
from dataclasses import dataclass, field
from importlib.util import find_spec

from torl_env import EnvConfig, ToRLMathEnv
from torl_env.problem_sampling import open_problems
from torl_env.sandbox import open_sandbox


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """Serve episodes over WebSocket and HTTP in OpenEnv's form."""

    env: EnvConfig = field(default_factory=EnvConfig)
    """The environment. Each of its options may be written short: --problems, --tool-budget,
    --stateful, --reward, --sandbox, --tools, ..."""
    host: str = "127.0.0.1"
    port: int = 8000
    """0 takes a free one."""
    token: str | None = None
    """Clients send it as `Authorization: Bearer`; required off loopback."""
    sessions: int = 64
    """Episodes at once; more are answered 503."""
    idle_seconds: float = 600.0
    """A session that nobody uses is closed after this long."""
    path_prefix: str = ""
    """Before every path."""
    hosts: tuple[str, ...] = ()
    """Further names by which clients without a token may address this server."""


def main(options: ServeOptions) -> int:
    """Serve until interrupted."""
    if find_spec("uvicorn") is None:
        print("serving needs more packages: pip install 'torl-gym[serve]'", file=sys.stderr)
        return 2
    from torl_env.adapters.openenv import OpenEnvServer, ServerOptions

    # A stop by `kill` or a service manager is as orderly as one from the keyboard.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    serving = ServerOptions(
        host=options.host,
        port=options.port,
        token=options.token,
        sessions=options.sessions,
        idle_seconds=options.idle_seconds,
        path_prefix=options.path_prefix,
        hosts=options.hosts,
    )
    source = open_problems(options.env.problems, options.env.split)
    with open_sandbox(options.env.sandbox) as sandbox:
        config = EnvConfig.of(options.env, problems=source, split=None, sandbox=sandbox)

        def make() -> ToRLMathEnv:
            return ToRLMathEnv(config=config)

        make().close()
        server = OpenEnvServer(make, serving)

        def announce() -> None:
            print(
                f"serving {source.name} on {server.url}{options.path_prefix} "
                "(OpenEnv: /ws, /reset, /step, /state)",
                flush=True,
            )

        try:
            with contextlib.suppress(KeyboardInterrupt):
                server.run(announce)
        finally:
            server.stop()
    return 0
