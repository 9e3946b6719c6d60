"""Messages speak of Python's arguments; the command line says the same with its flags."""

import ast
import pickle
import re
from pathlib import Path

import pytest
import typer

import preflens
from preflens import errors
from preflens.cli.flag_names import flags_of
from preflens.cli.main import app
from preflens.errors import InputError, MissingExtraError, NonFiniteLogpError, PreflensError

HOME = Path(preflens.__file__).parent
# They read flags and configurations, and speak of both.
COMMANDS = ("cli/", "training/command/")
ARGUMENTS = {*flags_of("analyze"), *flags_of("compare")}


def literal(node):
    """What a message says wherever it is raised; `{}` where something is put in."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
    if isinstance(node, ast.BinOp):
        return literal(node.left) + literal(node.right)
    return ""


def raised():
    """Place, literal text and named arguments of every error that is made outside of commands."""
    for path in sorted(HOME.rglob("*.py")):
        name = path.relative_to(HOME).as_posix()
        if name.startswith(COMMANDS):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = getattr(node, "func", None)
            if isinstance(called, ast.Name) and (called.id in vars(errors) or called.id == "RowError") and node.args:
                named = [k.value for k in node.keywords if k.arg == "arguments"]
                elements = [e for lists in named for e in getattr(lists, "elts", [])]
                arguments = {e.value for e in elements if isinstance(e, ast.Constant)}
                yield pytest.param(name, literal(node.args[0]), arguments, id=f"{name}:{node.lineno}")


MESSAGES = list(raised())


def test_messages_were_found():
    assert len(MESSAGES) > 100
    assert sum(bool(message.values[2]) for message in MESSAGES) > 25


@pytest.mark.parametrize(("place", "text", "arguments"), MESSAGES)
def test_a_message_of_a_function_names_no_flag_and_tells_which_words_are_arguments(place, text, arguments):
    assert re.search(r"(?<!\w)--\w", text) is None
    in_backticks = set(re.findall(r"`(\w+)(?:=[^`]*)?`", text))
    assert arguments <= in_backticks & ARGUMENTS
    if not place.startswith("training/"):  # arguments of trainers have the names that `preflens train` has for them
        assert in_backticks & ARGUMENTS <= arguments


@pytest.mark.parametrize("command", ["analyze", "compare"])
def test_every_argument_that_messages_name_has_a_flag_that_the_command_knows(command):
    flags = flags_of(command)
    known = {flag for option in typer.main.get_command(app).commands[command].params for flag in option.opts}
    assert set(flags.values()) <= known
    for message in MESSAGES:
        for argument in message.values[2] & set(flags):
            shown = InputError(f"`{argument}` and `{argument}=3`", arguments=[argument]).with_flags(flags)
            assert shown == f"`{flags[argument]}` and `{flags[argument]} 3`"
            assert flags[argument] in known


def test_arguments_of_functions_that_a_command_calls_otherwise_have_its_flags():
    assert (flags_of("analyze")["objectives"], flags_of("compare")["objectives"]) == ("--objective", "--objectives")
    assert flags_of("compare")["mitigations"] == "--mitigation"
    assert flags_of("report") == flags_of(None) == {}


def test_only_arguments_become_flags_and_values_lose_their_quotes():
    error = InputError('`limit`: leave rows out of `limit.json` with `on_bad_row="drop"`, not `model`.',
                       arguments=["limit", "on_bad_row"])  # fmt: skip
    flags = flags_of("analyze")
    assert error.with_flags(flags) == "`--limit`: leave rows out of `limit.json` with `--on-bad-row drop`, not `model`."
    assert error.with_flags({}) == str(error)
    assert InputError("the file `model`").with_flags(flags) == "the file `model`"
    expression = InputError("`trainable=(a|b)'` is none.", arguments=["trainable"])
    assert expression.with_flags(flags) == "`--parameters (a|b)` is none."


def test_errors_keep_their_kind_their_message_and_their_arguments():
    error = MissingExtraError("`adapter` needs peft", arguments=["adapter"])
    again = pickle.loads(pickle.dumps(error))
    assert isinstance(again, ImportError | PreflensError)
    assert (str(again), again.arguments) == (str(error), ("adapter",))


@pytest.mark.parametrize(("row", "words"), [(1, "chosen response of pair 1 "), (2, "rejected response of pair 0 ")])
def test_a_log_prob_that_is_not_finite_is_named_by_side_and_pair(row, words):
    assert words in str(NonFiniteLogpError(row, 4, float("-inf")))
