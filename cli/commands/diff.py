"""`skyc diff`: what a branch changes about deployments, without an account, a state or a network."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ..inputs import add_policies, policies, variables

if TYPE_CHECKING:
    from ...compiler.revisions import RevisionDiff
    from ...runtime.comments import CommentResult
    from ..api import Api
    from ..screen import Screen

EXAMPLES = """\
  skyc diff origin/main                       what this working tree changes, since it left the branch
  skyc diff v1.2 v1.3 --exact -- 'jobs/**'    two revisions themselves, and some of the files
  skyc diff origin/main --comment             in a pull request's job: as one comment that is kept up to date
"""

CHANGES = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = f"{parser.prog} [options] BASE [HEAD] [-- PATH…]"
    parser.add_argument("base", metavar="BASE", help="branch, tag or commit; compared from where HEAD's history left it")
    parser.add_argument(
        "head", metavar="HEAD", nargs="?", help="default: the working tree, with what is not committed or tracked"
    )
    parser.add_argument("--exact", action="store_true", help="compare with BASE itself, not with the merge base")
    parser.add_argument(
        "--env", metavar="NAME[=VALUE]", action="append", default=[], help="set a variable; without value, take it from here"
    )
    parser.add_argument("--objective", choices=("cost", "time"), default="cost", help="what placements are chosen for")
    add_policies(parser)
    parser.add_argument("--format", choices=("text", "markdown", "json", "html"), default="text", help="form of the report")
    parser.add_argument("--json", action="store_const", const="json", dest="format", help="the same as --format json")
    parser.add_argument("--detailed-exitcode", action="store_true", help="exit with 2 when something differs")
    parser.add_argument(
        "--comment", action="store_true", help="write or edit the comment of the pull or merge request of this CI job"
    )
    parser.add_argument(
        "--comment-name", metavar="NAME", default="default", help="which comment, where a request has several of these diffs"
    )


def run(arguments: argparse.Namespace, api: Api, screen: Screen) -> int:
    with screen.working("Comparing"):
        found = api.diff(
            arguments.base,
            arguments.head,
            paths=tuple(getattr(arguments, "tail", ())),
            exact=arguments.exact,
            env=variables(arguments.env),
            objective=arguments.objective,
            policies=policies(arguments),
            home=arguments.home,
        )
    screen.note(_compared(found))
    screen.diagnostics(found.diagnostics)
    if arguments.format == "text":
        screen.report(found.report("text"))
    else:
        screen.document(found.report(arguments.format, name=arguments.comment_name))
    if arguments.comment:
        with screen.working("Writing the comment"):
            written = api.comment(found, name=arguments.comment_name)
        screen.note(_said(written))
    return found.exit_code or (CHANGES if arguments.detailed_exitcode and found.has_differences else 0)


def _compared(found: RevisionDiff) -> str:
    base = f"{found.base} ({(found.base.commit or '')[:12]})"
    if found.head.commit is None:
        return f"comparing {base} with the working tree, uncommitted and untracked files included"
    return f"comparing {base} with {found.head.label} ({found.head.commit[:12]})"


def _said(written: CommentResult) -> str:
    where = f": {written.url}" if written.url else ""
    summary = "\nthe job's summary holds it too" if written.summary else ""
    return f"{written.sentence}{where}{summary}"


def still_going_on(arguments: argparse.Namespace) -> tuple[str, tuple[str, ...]]:
    return "nothing goes on; a diff changes nothing.", ()
