# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---
# %% [markdown]
# # 7. Inside the sandbox
#
# How programs end, what bounds them, what they can see, what a session and a branch are. Less than a minute.

# %%
from torl_env.sandbox import Limits, LocalSandbox

box = LocalSandbox(Limits(cpu_seconds=1, memory_mb=256))
print(box.run("import sympy\nx = sympy.Symbol('x')\nprint(sympy.solve(x**2 - 4))"))

# %% [markdown]
# ## Seven ways to end
#
# None is an exception here: each is a value, with what was printed before. `SandboxError` is for the machine alone.

# %%
PROGRAMS = {
    "well": "print(1)",
    "with an exception": "print('so far')\n1 / 0",
    "with a syntax error": "print(",
    "in a loop": "print('so far', flush=True)\nwhile True: pass",
    "with too much memory": "x = 'a' * 10**9",
    "with a signal": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "in silence": "",
}
for name, code in PROGRAMS.items():
    done = box.run(code)
    print(f"{name:22} {done.status:12} {done.stdout.strip()!r:12} {done.error[:60]!r}")

# %% [markdown]
# ## What a program sees

# %%
print(
    box.run(
        """
import os, socket
for what, look in {
    "files": lambda: os.listdir("/"),
    "passwords": lambda: open("/etc/passwd").read(),
    "environment": lambda: dict(os.environ),
    "user": os.getuid,
    "network": lambda: socket.create_connection(("127.0.0.1", 22), 1),
    "another process": lambda: os.kill(1, 9),
    "a new process": os.fork,
}.items():
    try:
        print(f"{what:16} {look()!r}"[:90])
    except BaseException as error:
        print(f"{what:16} {type(error).__name__}: {error}"[:90])
"""
    ).stdout
)

# %% [markdown]
# Which layers hold on this machine, and what it means where one is missing:

# %%
from torl.__main__ import main

main(["sandbox", "check"])

# %% [markdown]
# ## Sessions and branches
#
# A session keeps its variables. A turn that fails is undone. A branch is a fork of the live interpreter: what was computed is shared, what follows is not.

# %%
session = box.session()
session.run("squares = [n * n for n in range(10**5)]")
session.run("squares.append('spoiled')\n1 / 0")
print(session.run("print(len(squares), squares[-1])").stdout)

import time

start = time.perf_counter()
twins = [session.branch() for _ in range(8)]
print(f"{1000 * (time.perf_counter() - start) / 8:.1f} ms a branch")
print(
    [
        twin.run(f"squares[0] = {i}; print(squares[0])").stdout.strip()
        for i, twin in enumerate(twins)
    ]
)
print(session.run("print(squares[0])").stdout)

# %% [markdown]
# ## How fast?
#
# A call forks a process that has sympy loaded, where a fresh interpreter loads it each time.

# %%
import subprocess
import sys

code = "import sympy\nprint(sympy.factorint(2**32 + 1))"
box.run(code)
start = time.perf_counter()
done = [box.submit(code) for _ in range(20)]
assert {one.result().stdout for one in done} == {"{641: 1, 6700417: 1}\n"}
ours = (time.perf_counter() - start) / 20
start = time.perf_counter()
subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
fresh = time.perf_counter() - start
print(f"{1000 * ours:.0f} ms against {1000 * fresh:.0f} ms: {fresh / ours:.0f} times as fast")
assert fresh > ours

# %%
box.close()
