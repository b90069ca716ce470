"""Host keys of machines the user owns: public ones, given by hand, so that no first login has to trust what it is shown.

Contract: pure. What is said about a key never repeats it, since somebody may have pasted the private half.
"""

from __future__ import annotations

import base64
import hashlib

KINDS = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa")
"""What OpenSSH servers show today; DSA is refused by them and by clients."""


def is_private(text: str) -> bool:
    return "PRIVATE KEY" in text.upper()


def problem(text: str) -> str | None:
    """What is wrong with a public key, as the rest of a sentence; None for a good one. Loads a library for it."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_ssh_public_key

    kind, _, rest = text.strip().partition(" ")
    if kind not in KINDS:
        return f"begins with none of {', '.join(KINDS)}"
    if not rest.strip():
        return "is a kind of key and no key"
    if len(text.strip().splitlines()) > 1:
        return "has more than one line"
    try:
        load_ssh_public_key(text.strip().encode())
    except (ValueError, UnsupportedAlgorithm):
        return f"is no whole {kind} key"
    return None


def fingerprint(text: str) -> str:
    """As `ssh-keygen -l` shows it, after the kind: `ssh-ed25519 SHA256:…`. Only for a key without a problem."""
    kind, encoded = text.split()[:2]
    digest = hashlib.sha256(base64.b64decode(encoded)).digest()
    return f"{kind} SHA256:{base64.b64encode(digest).decode().rstrip('=')}"
