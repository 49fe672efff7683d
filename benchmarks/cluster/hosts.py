"""Two hosts on one machine: namespaces joined by a cable; network, processes, /tmp their own.

Linux and root are needed. Processors, memory and the other files are shared.
"""

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from torl_env.testing import children

HEAD, OTHER = "10.77.0.1", "10.77.0.2"
"""Their addresses, of no use outside: nothing routes there."""
KINDS = "--pid", "--uts", "--mount"


class Host:
    """One of them; its first process keeps it up.

    Args:
        name: Its name.
        address: Its address on the cable.
        names: Lines of its /etc/hosts.
    """

    def __init__(self, name: str, address: str, names: str) -> None:
        self.name, self.address = name, address
        boot = (
            'mount -t tmpfs none /tmp && printf "$1" > /tmp/hosts && '
            f"mount --bind /tmp/hosts /etc/hosts && hostname {name} && "
            "ip link set lo up && echo up && while sleep 1; do :; done"
        )
        unshare = ["unshare", "--fork", "--kill-child", *KINDS, "--mount-proc"]
        self._first = subprocess.Popen(
            # Not `ip netns exec`, which hides the control groups that Slurm's daemons look for.
            ["nsenter", f"--net=/run/netns/{name}", *unshare, "sh", "-c", boot, "sh", names],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._first.stdout is not None
        if self._first.stdout.readline() != "up\n":
            raise PermissionError(f"host {name} did not come up: root and namespaces are needed")
        # The shell stays and reaps, as process 1 must: Slurm waits for its own to be gone.
        # `nsenter` has become `unshare`, whose only child is process 1 of the host.
        (self._one,) = map(str, children(self._first.pid))

    def start(
        self, command: Sequence[str], variables: Mapping[str, str], log: Path, cwd: Path
    ) -> subprocess.Popen[str]:
        """Start a process there; its standard output and error go to `log`."""
        enter = ["nsenter", "--target", self._one, "--net", *KINDS, f"--wdns={cwd}"]
        with log.open("w") as file:
            return subprocess.Popen(
                [*enter, *command],
                env={**os.environ, **variables},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                text=True,
            )

    def kill(self) -> None:
        """Pull the plug: the peer hears nothing more, and every process ends at once."""
        subprocess.run(
            ["ip", "-n", self.name, "link", "set", "cable", "down"],
            check=False,
            capture_output=True,
        )
        # With its first process a namespace of processes ends.
        self._first.kill()
        self._first.wait()


@contextmanager
def two_hosts(*more: str) -> Iterator[tuple[Host, Host]]:
    """Both, with a cable between; everything on them ends with the block.

    Args:
        *more: Further names of the first one.

    Raises:
        PermissionError: The kernel gives no namespaces.
    """
    names = [f"torl{os.getpid()}{end}" for end in "ab"]
    lines = f"127.0.0.1 localhost\n{HEAD} {' '.join([names[0], *more])}\n"
    lines += f"{OTHER} {names[1]}\n"
    up: list[Host] = []
    try:
        for name in names:
            _ip("netns", "add", name)
        # Made inside, so that the machine's own network never sees it.
        peer = ("peer", "name", "cable", "netns", names[1])
        _ip("-n", names[0], "link", "add", "cable", "type", "veth", *peer)
        for name, address in zip(names, (HEAD, OTHER), strict=True):
            _ip("-n", name, "address", "add", f"{address}/24", "dev", "cable")
            _ip("-n", name, "link", "set", "cable", "up")
            up.append(Host(name, address, lines))
        yield up[0], up[1]
    finally:
        for host in up:
            host.kill()
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise PermissionError(f"ip {' '.join(words)}: {done.stderr.strip()} (root is needed)")
