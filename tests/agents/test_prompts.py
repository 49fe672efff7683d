"""What a model reads: its task, its tools in the style of the parser, and nothing untrue."""

import sys

import pytest

from agents.core.rollout.prompts import TEXT_SYSTEM, TOOL_SYSTEM, TORL_TEMPLATE, make_prompt
from torl_env import ConfigError, EnvConfig, system_text
from torl_env.parsing import named_parser
from torl_env.problems import Listed, Problem, load
from torl_env.tools import PythonTool, ToolContext, tool
from torl_env.tools.toolbox import Toolbox, ToolResult

QWEN = (
    "{%- if tools %}<|sys|># Tools <tools>{% for t in tools %}{{ t | tojson }}{% endfor %}</tools> "
    "<tool_call>{% endif %}{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}"
    "<|assistant|>"
)
OTHER = QWEN.replace("<tool_call>", "<function=")


@tool
def sql(query: str) -> str:
    """Runs a query."""
    return query


@tool
def search(words: str, count: int = 3) -> str:
    """Finds articles.

    Args:
        words: What to look for.
    """
    return words * count


TOOLS = (PythonTool(), sql, search)


def asked(tokenizer, name="chat", template=QWEN, **options):
    before, tokenizer.chat_template = tokenizer.chat_template, template
    try:
        prompt = make_prompt(name, tokenizer, EnvConfig(**options))
        return tokenizer.decode(prompt.question_ids("Who?"))
    finally:
        tokenizer.chat_template = before


def test_the_default_is_as_it_was():
    assert system_text(EnvConfig()) == TOOL_SYSTEM
    assert system_text(EnvConfig(tool_budget=0)) == TEXT_SYSTEM


@pytest.mark.parametrize("problems", ["procedural:easy", "procedural", "math500"])
def test_mathematics_is_named_where_it_is_known(problems):
    assert "math" in system_text(EnvConfig(problems=problems))


def test_a_view_of_problems_is_asked_as_they_are():
    easy = load("procedural:easy")
    listed = Listed("math500", [Problem("a", "1+1?", "2")])
    for source in (easy.head(3), easy.shuffle(1), listed.head(1), listed.shuffle(0)):
        assert system_text(EnvConfig(problems=source)) == TOOL_SYSTEM
    other = Listed("emp", [Problem("a", "Who?", "2")])
    assert "math" not in system_text(EnvConfig(problems=other))


@pytest.mark.parametrize("parser", ["fenced", "xml", "hermes"])
def test_other_problems_are_not_called_mathematics(parser):
    text = system_text(EnvConfig(problems="emp.csv", tools=TOOLS, parser=parser))
    assert "math" not in text
    assert all(name in text for name in ("sql", "search", "Runs a query.", "What to look for."))
    graded = EnvConfig(problems="emp.csv", tools=sql, grader=lambda response, reference: True)
    assert "boxed" not in system_text(graded)


@pytest.mark.parametrize("name", ["chat", "chat-text", "torl"])
@pytest.mark.parametrize("parser", ["fenced", "xml", "hermes"])
def test_no_budget_means_no_word_of_a_tool(tokenizer, name, parser):
    for system in (None, "Answer.\n{tools}"):
        text = asked(tokenizer, name, tool_budget=0, parser=parser, tools=TOOLS, system=system)
        for word in ("python", "tool", "program", "block", "sql", "{tools"):
            assert word not in text


def test_a_style_describes_calls_that_it_reads():
    """The words of each style name the very form that its parser takes for a call."""
    forms = {
        "fenced": ("```sql", "```sql\nselect\n```"),
        "xml": ("<sql>...</sql>", "<sql>select</sql>"),
        "hermes": (
            '{"name": <function-name>, "arguments": <args-json-object>}',
            '<tool_call>\n{"name": "sql", "arguments": {"query": "select"}}\n</tool_call>',
        ),
    }
    for style, (form, call) in forms.items():
        config = EnvConfig(tools=TOOLS, parser=style, system="{tools}")
        assert form in system_text(config)
        read = named_parser(style, ("python", "sql", "search")).parse(call)
        done = Toolbox(TOOLS).start(read, ToolContext(None, config.limits, None))
        assert done() == ToolResult("select")


def test_the_inside_of_a_call_is_described():
    text = system_text(EnvConfig(tools=TOOLS, system="{tools}"))
    assert "- ```sql: Runs a query. Inside: query (string)" in text
    assert "Inside: a JSON object with words (What to look for.), count (integer)" in text


def test_a_template_of_the_model_tells_of_its_tools(tokenizer):
    text = asked(tokenizer, parser="hermes", tools=TOOLS)
    assert text.startswith('<|sys|># Tools <tools>{"type": "function"')
    assert text.count("Runs a query.") == 1
    own = asked(tokenizer, parser="hermes", tools=TOOLS, system="Look.\n{tools}")
    assert own.startswith("<|system|>Look.\n# Tools")
    assert own.count("Runs a query.") == 1


def test_a_template_of_another_style_is_not_asked(tokenizer):
    text = asked(tokenizer, template=OTHER, parser="hermes", tools=TOOLS)
    assert "<function=" not in text
    assert '{"name": <function-name>' in text
    assert "<|sys|>" not in asked(tokenizer, parser="fenced", tools=TOOLS)


def test_base_models_get_the_papers_words_or_ours(tokenizer):
    assert asked(tokenizer, "torl") == TORL_TEMPLATE.replace("{question}", "Who?")
    text = asked(tokenizer, "torl", tools=TOOLS, system="Answer with SQL.\n{tools}")
    assert "User: Answer with SQL.\nTo call a tool" in text
    assert text.endswith("Who?\nAssistant:\n")


def test_a_prompt_of_ones_own_by_name(tokenizer, tmp_path, monkeypatch):
    (tmp_path / "mine_prompt.py").write_text(
        "from agents.core.rollout.prompts import PlainPrompt\n"
        "template = 'S: {system} T: {tools} Q: {question}'\n"
        "def make(tokenizer):\n    return PlainPrompt(tokenizer, 'made {question}')\n"
        "number = 3\n"
    )
    monkeypatch.chdir(tmp_path)
    options = {"system": "Be brief.", "tools": sql}
    text = asked(tokenizer, "mine_prompt:template", **options)
    assert text.startswith("S: Be brief. T: To call a tool")
    assert text.endswith("Q: Who?")
    assert asked(tokenizer, "mine_prompt:make") == "made Who?"
    for name in ("mine_prompt:number", "x"):
        with pytest.raises(ConfigError, match="prompt"):
            asked(tokenizer, name)
    sys.modules.pop("mine_prompt")
