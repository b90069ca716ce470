"""One reading of URIs for everything in a task file that holds one."""

from __future__ import annotations

from ..ir import SpecPath
from ..parse import amounts
from ..parse.amounts import Misread
from ..parse.words import placed
from .variables import Scope


def checked_uri(scope: Scope, text: str, path: SpecPath) -> str | None:
    """`text` with a lower-case scheme and `~` written out; None when it cannot be used (then a complaint is added)."""
    scheme, _, rest = text.partition("://")
    text = f"{scheme.lower()}://{rest}"
    if scheme.lower() == "file" and (rest == "~" or rest.startswith("~/")):
        text = f"file://{scope.home()}{rest[1:]}"
    reason: str | None = None
    hint: str | None = None
    try:
        amounts.read_uri(text)
    except Misread as misread:
        reason, hint = misread.reason, misread.hint
    if text.startswith("file://") and not text.startswith("file:///"):
        reason, hint = "A `file://` URI holds an absolute path.", f"write `file:///{placed(rest)[1:-1]}`"
    if ".." in rest.split("/"):
        reason, hint = "A URI may not climb with `..`.", "write the path out"
    if reason is None:
        return text
    scope.complain("bad-uri", "A URI is not allowed", f"{placed(text)} cannot be used. {reason}", path, hint=hint)
    return None
