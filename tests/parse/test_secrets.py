"""A secret's text appears in nothing that is printed, whatever else is wrong with the file."""

import pickle
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skyc.compiler.diagnostics import SourceFile, render
from skyc.compiler.ir import Secret, canonical
from skyc.compiler.parse import parse
from skyc.compiler.printer import print_ir
from skyc.compiler.resolve import EnvOverrides, resolve

SECRET = "hunter2hunter"


def printed(text: str, overrides: EnvOverrides | None = None) -> str:
    """Everything the front end can say about a file."""
    source = SourceFile(path="task.yaml", text=text)
    spec, place, said = parse(source)
    shown: list[str] = []
    if spec is not None:
        resolved, more = resolve(
            spec, place, stem="task", directory=Path("/nonexistent"), overrides=overrides or EnvOverrides()
        )
        said += more
        shown += [print_ir(spec), repr(spec)]
        if resolved is not None:
            shown += [print_ir(resolved), repr(resolved), canonical(resolved.graph).decode()]
    for diagnostic in said:
        shown += [render(diagnostic, source), repr(diagnostic)]
    assert shown
    return "\n".join(shown)


@pytest.mark.parametrize(
    "text",
    [
        "secrets: {KEY: VALUE}",
        "secrets:\n  KEY: VALUE\n  KEY: VALUE",
        "secrets:\n  KEY: VALUE\nsecrets:\n  KEY: VALUE",
        "secrets:\n  KEY: [VALUE]\n",
        "secrets:\n  KEY: {VALUE: VALUE}\n",
        "secrets:\n- VALUE\n",
        "secrets: VALUE",
        "secrets:\n  KEY: |\n    begin\n    VALUE: VALUE\n  KEY: x",
        "secrets:\n  KEY: 'VALUE\n",
        "secrets:\n  KEY: VALUE: VALUE\n",
        'secrets:\n  KEY: "VALUE\\q"\n',
        "secrets:\n  KEY: *VALUE\n",
        "secrets:\n  KEY: !VALUE x\n",
        "secrets:\n  KEY: @VALUE\n",
        "secrets:\n\tKEY: VALUE\n",
        "secrets:\n  KEY VALUE\nrun: x",
        "secrets: {\n  KEY: VALUE,\nKEY: VALUE}\n",
        '{"secrets": {"KEY": "VALUE", "KEY": "VALUE"}}',
        '{\n  "secrets": {\n    "KEY": ["VALUE"]\n  }\n}\n',
        "envs: {KEY: x}\nsecrets: {KEY: VALUE}\nname: $KEY",
        "name: ok\nrun: x\n---\nsecrets: {KEY: VALUE}\nname: $KEY\n",
    ],
)
def test_a_secret_in_the_file_is_not_shown(text: str) -> None:
    assert SECRET not in printed(text.replace("VALUE", SECRET))


@settings(max_examples=100, deadline=None, database=None)
@given(st.from_regex(r"[!-~]{4,12}SEKRIT[!-~]{0,6}", fullmatch=True))
def test_no_spelling_of_a_secret_is_shown(value: str) -> None:
    assert "SEKRIT" not in printed(f"secrets:\n  FIRST: {value}\n  SECOND: 017\n  FIRST: {value}\nrun: echo\n")


def test_what_is_no_secret_stays_readable() -> None:
    text = "secrets:\n  KEY:\n\nnmae: shown\nenvs:\n  A: 017\nrun: |\n  echo\n"
    shown = printed(text)
    assert "4 | nmae: shown" in shown
    assert "6 |   A: 017" in shown


def test_a_given_secret_is_not_shown() -> None:
    offered = EnvOverrides.of(env={"A": SECRET}, secrets={"KEY": SECRET}, environ={"B": SECRET})
    text = "envs: {A: , B: }\nsecrets: {KEY: }\nrun: echo\n"
    assert SECRET not in printed(text, offered)
    assert SECRET not in repr(offered)


def test_a_secret_leaves_only_by_reveal() -> None:
    secret = Secret(SECRET)
    assert {str(secret), repr(secret), f"{secret}", f"{secret:>4}", print_ir(secret)} <= {"****", "value: ****"}
    assert secret.reveal() == SECRET
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        canonical(secret)
