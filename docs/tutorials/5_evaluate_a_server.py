# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---
# %% [markdown]
# # 5. Evaluate a server, and compare two models
#
# Anything with OpenAI's HTTP interface is evaluated by its address: vLLM, SGLang, a hosted model. Here two scripted models stand behind a real server, so that no weights are needed: one computes, one reckons in its head, which goes well on easy problems. Less than two minutes.

# %%
import json
import math
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def computes(text: str) -> str:
    """Calls Python, then repeats what it printed."""
    shown = re.findall(r"```output\n(.*?)\n```", text, re.DOTALL)
    if shown:
        return f"So it is \\boxed{{{shown[-1]}}}."
    a, b = re.findall(r"(\d+)(?: and |, )(\d+)[.)?]", text)[-1]
    return f"I compute it.\n```python\nimport math\nprint(math.gcd({a}, {b}))\n```\n"


def guesses(text: str) -> str:
    """Reckons in its head, which goes well with short numbers."""
    a, b = re.findall(r"(\d+)(?: and |, )(\d+)[.)?]", text)[-1]
    known = len(a) + len(b) < 9
    return f"I think it is \\boxed{{{math.gcd(int(a), int(b)) if known else 1}}}."


MODELS = {"computes": computes, "guesses": guesses}


class Server(BaseHTTPRequestHandler):
    """As much of OpenAI's interface as an evaluation asks for."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text = body.get("prompt") or "\n".join(m["content"] for m in body["messages"])
        written = MODELS[body["model"]](text)
        for stop in body.get("stop") or ():
            written = written.split(stop)[0]
        choice = {"text": written, "message": {"content": written}, "finish_reason": "stop"}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"choices": [choice]}).encode())

    def log_message(self, *args: object) -> None:
        pass


ThreadingHTTPServer.request_queue_size = 128  # many episodes ask at the same moment
server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}/v1"

# %% [markdown]
# ## Evaluate both
#
# The same problems, in the same environment. Records hold every answer; an interrupted evaluation goes on where it stopped.

# %%
import tempfile
from pathlib import Path

import torl

out = Path(tempfile.mkdtemp())
for name in MODELS:
    found = torl.evaluate(
        name,
        "procedural:gcd",
        split="heldout",
        server=url,
        count=40,
        patience=10,
        tool_budget=1,
        out=out / f"{name}.jsonl",
    )
    print(found.table().markdown())

# %% [markdown]
# Intervals are 95 % over problems. A fault of the machine would be counted apart, and in none of these numbers.

# %%
row = json.loads((out / "computes.jsonl").read_text().splitlines()[1])
print(row["question"])
for turn in row["turns"]:
    print(turn["text"], turn["observation"], turn["tool_status"])

# %% [markdown]
# ## Is the difference real?
#
# `compare` pairs the two by problem: a sign-flip test, and Holm's correction over levels and families.

# %%
from torl.__main__ import main

assert main(["compare", str(out / "guesses.jsonl"), str(out / "computes.jsonl")]) == 0

# %% [markdown]
# ## What did they do?

# %%
assert main(["analyse", str(out / "computes.jsonl")]) == 0

# %%
server.shutdown()
