"""`skyc` with the pretended cloud, as a process of its own: one that can be killed. PYTHONPATH leads to the tests.

SKYC_TEST_QUICK: a store that does not answer is given up without pauses. SKYC_TEST_READ_ONLY: a directory that may only be read; root
may write everywhere, so the store itself refuses as the kernel would.
"""

import errno
import os
import sys

from skyc.cli.main import main
from skyc.runtime.storage import remote
from skyc.runtime.storage.base import store_error
from skyc.runtime.storage.file import FileStore
from tests.backend.cloud import install

READ_ONLY = os.environ.get("SKYC_TEST_READ_ONLY")


def refuse(store: FileStore, *_: object, **__: object) -> str:
    raise store_error(PermissionError(errno.EACCES, "Permission denied"), str(store.root))


if __name__ == "__main__":
    install()
    if "SKYC_TEST_QUICK" in os.environ:
        remote.PAUSES = (0.0,)
    if READ_ONLY:
        FileStore.swap = FileStore.put = FileStore.delete = refuse  # type: ignore[method-assign, assignment]
        FileStore._clock = lambda self: __import__("time").time()  # type: ignore[method-assign]
    sys.exit(main())
