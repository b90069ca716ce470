"""What is said in the same words of a request at every cloud that rents machines out, at the line of the user's that it is about.

Contract: pure.
"""

from __future__ import annotations

from ...compiler.diagnostics import Diagnostic, error, warning
from ...compiler.ir import ResourceRequest


def refused(request: ResourceRequest, field: str, target: str, why: str, *, hint: str) -> Diagnostic:
    """`target` cannot do what a field asks for. why: a sentence."""
    subject = request.origin.child(field)
    detail = f"`{subject}` on `{target}`: {why}"
    return error("unsupported-here", "The target cannot do this", detail, hint=hint, subject=subject)


def own_image(request: ResourceRequest, target: str, image: str, more: str) -> Diagnostic:
    """The image is the user's. more: what the cloud asks of one besides, as the end of a sentence, and further sentences."""
    field = request.origin.child("image_id")
    words = f"skyc does not look `{image}` up. It must be Ubuntu or another system with cloud-init and systemd"
    detail = f"`{field}` on `{target}`: {words}{more}"
    return warning("own-image", "The image must be of a form skyc expects", detail, subject=field)


def disk_raised(request: ResourceRequest, target: str, *, least_gb: int, gigabytes: int) -> Diagnostic:
    """The image needs more than the task asks for."""
    field = request.origin.child("disk_size")
    detail = f"`{field}` on `{target}`: the image alone needs {least_gb} GB, so the disk has {gigabytes} GB."
    return warning("disk-raised", "The disk is larger than asked for", detail, subject=field)
