"""An apply or a destroy that is going to be killed: `python -m tests.aws.kill_child HOME ENDPOINT apply|destroy`."""

import os
import sys
from pathlib import Path

from skyc.compiler.diagnostics import SkycError
from skyc.runtime.destroy import destroy
from tests.aws.runnable import TASK, RunnableAws, environment
from tests.failover.pretended import opened


def main() -> int:
    home, endpoint, what = sys.argv[1:]
    os.environ.update(environment(endpoint))
    with opened(Path(home), aws=RunnableAws()) as account:
        try:
            account.up(TASK) if what == "apply" else destroy(account.session, "train", confirm=None)
        except SkycError as failure:
            print(failure)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
