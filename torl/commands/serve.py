"""`torl serve`: the environment as an OpenEnv server."""

from dataclasses import dataclass, field

from torl.serving import prepare_to_serve, serve
from torl_env import EnvConfig, ToRLMathEnv
from torl_env.http_options import ServerOptions
from torl_env.problem_sampling import open_problems
from torl_env.sandbox import open_sandbox


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions(ServerOptions):
    """Serve episodes over WebSocket and HTTP in OpenEnv's form."""

    env: EnvConfig = field(default_factory=EnvConfig)
    """The environment. Each of its options may be written short: --problems, --tool-budget,
    --stateful, --reward, --sandbox, --tools, ..."""


def main(options: ServeOptions) -> int:
    """Serve until interrupted."""
    prepare_to_serve()
    from torl_env.adapters.openenv import OpenEnvServer

    source = open_problems(options.env.problems, options.env.split)
    with open_sandbox(options.env.sandbox) as sandbox:
        config = EnvConfig.of(options.env, problems=source, split=None, sandbox=sandbox)

        def make() -> ToRLMathEnv:
            return ToRLMathEnv(config=config)

        make().close()
        server = OpenEnvServer(make, options)
        place = f"{server.url}{options.path_prefix}"
        serve(server, f"serving {source.name} on {place} (OpenEnv: /ws, /reset, /step, /state)")
    return 0
