"""What is said in the same words of a request at every cloud that rents machines out, at the line of the user's that it is about.

Contract: pure.
"""

from __future__ import annotations

from ...compiler.diagnostics import Diagnostic, error
from ...compiler.ir import ResourceRequest


def refused(request: ResourceRequest, field: str, target: str, why: str, *, hint: str) -> Diagnostic:
    """`target` cannot do what a field asks for. why: a sentence."""
    subject = request.origin.child(field)
    detail = f"`{subject}` on `{target}`: {why}"
    return error("unsupported-here", "The target cannot do this", detail, hint=hint, subject=subject)
