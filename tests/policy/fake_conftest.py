#!/usr/bin/env python3
"""A fake of conftest: takes its arguments, evaluates the Rego with skyc's own engine, and answers in conftest's JSON.

`FAKE` beside it, if there, says how to go wrong instead.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, "@SOURCES@")
from skyc.runtime.policy.rego_program import evaluated

wrong = Path(__file__).with_name("FAKE")
arguments = sys.argv[1:]
assert arguments[0] == "test" and arguments[-1] == "-", arguments
assert arguments[1:-1:2] == ["--policy", "--all-namespaces", "json", "json"] or "--all-namespaces" in arguments
policy = Path(arguments[arguments.index("--policy") + 1])
given = json.load(sys.stdin)
Path(__file__).with_name("INPUT").write_text(json.dumps(given))
if wrong.exists():
    print(wrong.read_text())
    sys.exit("load: 1 error occurred: rego_parse_error")
rows = evaluated({path.name: path.read_text() for path in policy.rglob("*.rego")}, given)
print(json.dumps([{"filename": "", "successes": 0, **row} for row in rows]))
sys.exit(1 if any(row["failures"] for row in rows) else 0)
