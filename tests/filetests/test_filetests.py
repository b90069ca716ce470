"""Runs every file test, and makes sure that a file test can fail."""

from collections.abc import Callable
from pathlib import Path

import pytest

from .. import filetest
from ..filetest import FOLDER, SUFFIX, BadTest, check, discover, read


@pytest.mark.parametrize("path", discover(), ids=lambda path: str(path.relative_to(FOLDER)).removesuffix(SUFFIX))
def test_file(path: Path) -> None:
    test = read(path)
    assert test.stage == path.parent.name, "a file test lies in its stage's folder"
    check(test)


def test_there_are_file_tests() -> None:
    names = [str(path.relative_to(FOLDER)) for path in discover()]
    assert sum(name.startswith("parse/broken-") for name in names) >= 40
    assert sum(name.startswith("resolve/") for name in names) >= 15


Write = Callable[..., Path]

TASK = "# stage: parse\nnmae: x  # error: unknown-field\n"


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str, name: str = "one") -> Path:
        path = tmp_path / f"{name}{SUFFIX}"
        path.write_text(text)
        return path

    return write


def test_bless_writes_the_answer_and_only_the_answer(write: Write) -> None:
    path = write(f"{TASK}-----\nsomething else\n")
    with pytest.raises(AssertionError):
        check(read(path), {})
    check(read(path), {"SKYC_BLESS": "1"})
    check(read(path), {})
    blessed = path.read_text()
    assert blessed.startswith(f"{TASK}-----\nerror[unknown-field]: ")
    assert " --> one.yaml:2:1\n" in blessed


def test_ci_does_not_bless(write: Write) -> None:
    path = write(f"{TASK}-----\nsomething else\n")
    with pytest.raises(AssertionError, match="CI"):
        check(read(path), {"SKYC_BLESS": "1", "CI": "true"})
    assert path.read_text().endswith("-----\nsomething else\n")


@pytest.mark.parametrize(
    "text",
    [
        "# stage: parse\nnmae: x\n",
        "# stage: parse\nnmae: x  # error: wrong-type\n",
        "# stage: parse\nnmae: x  # warning: unknown-field\n",
        "# stage: parse\nname: x  # error: unknown-field\nnmae: x\n",
        "# stage: parse\nnmae: x  # error: unknown-field, unknown-field\n",
        "# stage: parse\n# error-at: 2 unknown-field\nnmae: x\n",
    ],
)
def test_bless_does_not_accept_a_wrong_mark(write: Write, text: str) -> None:
    path = write(f"{text}-----\nbefore\n")
    with pytest.raises(AssertionError, match="marked but not said"):
        check(read(path), {"SKYC_BLESS": "1"})
    assert path.read_text().endswith("-----\nbefore\n")


@pytest.mark.parametrize(
    "text",
    [
        "# stage: parse\nrun: x\n",
        "run: x\n-----\n",
        "# stage: nothing\nrun: x\n-----\n",
        "# stage: parse\n# error-at: x\n-----\n",
    ],
)
def test_a_file_that_states_nothing_is_refused(write: Write, text: str) -> None:
    with pytest.raises(BadTest):
        read(write(text))


def test_a_file_beside_the_task_stays_beside_it() -> None:
    with pytest.raises(BadTest):
        filetest.resolve_stage("# stage: resolve\n# file: ../outside\nrun: x\n", "one.yaml")
