"""A plan file with plans of the released AWS provider: made, its site's folder lost, applied; and held to the providers it was made with.

Needs the provider in a mirror (SKYC_PROVIDER_MIRROR); counted as skipped otherwise.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import Any

import pytest

from skyc.compiler.diagnostics import SkycError
from skyc.compiler.ir import SiteId, holds_storage
from skyc.runtime.apply import _make, locked, site_context
from skyc.runtime.plan_files import compared_file, write_plan_file
from skyc.runtime.planning import planned
from skyc.runtime.plans import plan_result
from skyc.runtime.refusals import compiled
from skyc.runtime.request import Request
from skyc.runtime.reviewed import opened_review, reviewed
from skyc.runtime.session import Session
from skyc.runtime.sites import PACKAGES_FILE, site_directory
from tests.aws.test_bucket_life import DEMO, TASK, buckets, session
from tests.lengths import takes_minutes

__all__ = ["session"]

SITE = SiteId("_storage.aws-us-east-1")


@takes_minutes
@pytest.mark.terraform
@pytest.mark.timeout(900)
def test_a_released_providers_plan_is_applied_from_a_file(session: Session, account: Any) -> None:
    task, file = session.home.parent / "task.yaml", session.home.parent / "plan.skyc"
    task.write_text(TASK)
    request = Request(path=task, env={}, secrets={})
    whole = compiled(session, request)
    assert whole.graphs is not None and whole.synthesized is not None
    kept = [pair for pair in zip(whole.graphs, whole.synthesized, strict=True) if holds_storage(pair[0].site)]
    part = replace(whole, graphs=tuple(graph for graph, _ in kept), synthesized=tuple(made for _, made in kept))
    with locked(session, DEMO, command="test", wait=0) as lock_fd:
        context = site_context(session, DEMO, lock_fd, part)
        with planned(session, request, part, context) as plan:
            write_plan_file(file, compared_file(session, plan, plan_result(plan)))
    folder = site_directory(session.home, DEMO, SITE)
    lock = (folder / PACKAGES_FILE).read_text()
    assert "hashicorp/aws" in lock

    def carry_out() -> None:
        again = Request(path=file, env={}, secrets={})
        review = opened_review(session, again)
        with locked(session, DEMO, command="test", wait=0) as lock_fd:
            context = site_context(session, DEMO, lock_fd, review.compilation)
            with reviewed(session, again, review, context) as plan:
                _make(session, plan, again)

    (folder / PACKAGES_FILE).write_text(lock.replace("hashes", "others"))
    with pytest.raises(SkycError) as caught:
        carry_out()
    assert "providers are others" in caught.value.diagnostics[0].summary
    shutil.rmtree(folder)
    carry_out()
    assert set(buckets(account)) == {"out", "scratch"}
    assert (folder / PACKAGES_FILE).read_text() == lock
