"""Messages that the page quotes are messages of the code."""

import importlib.util
import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def messages():
    spec = importlib.util.spec_from_file_location("messages", DOCS / "messages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MODULE = messages()
MESSAGES = tuple(MODULE.messages())


def quoted():
    rows = re.findall(r"^\| `(.+?)` \|", (DOCS / "troubleshooting.md").read_text(), re.MULTILINE)
    assert len(rows) > 40
    return rows


def test_each_quoted_message_is_in_the_code():
    texts = [message.text for message in MESSAGES]
    # Raised by hand rather than as an exception.
    texts.append((DOCS.parent / "torl" / "__main__.py").read_text())
    lost = [row for row in quoted() if not any(row in text for text in texts)]
    assert lost == []


def test_the_list_of_all_messages_names_what_is_filled_in():
    by_text = {message.text: message for message in MESSAGES}
    message = by_text[
        "the reference answer … cannot be read: …; drop the problem or mend its answer"
    ]
    assert (message.error, message.file) == ("ReferenceError", "rewards/grader.py")
    page = MODULE.page(MESSAGES)
    assert f"| `{message.text}` | `rewards/grader.py` |" in page
