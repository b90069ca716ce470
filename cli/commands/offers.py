"""`skyc offers`: what machines cost, from the catalog."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ..encode import offers_document
from ..prices import OFFER_HEADINGS, offer_rows

if TYPE_CHECKING:
    from ..api import Api
    from ..screen import Screen

EXAMPLES = """\
  skyc offers --accelerator A100:8 --best-region       who sells eight A100, and where for the least
  skyc offers --accelerator L4:1+ --market spot        one or more L4, cheapest on spot
  skyc offers --accelerator h100 --limit 0 --json      all of it, for programs
"""

MARKETS = ("any", "on-demand", "spot")
SORTS = ("price", "spot", "name", "memory", "cpus")
ARCHS = ("x86_64", "arm64", "s390x")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--accelerator",
        metavar="NAME[:COUNT]",
        action="append",
        default=[],
        help="`A100`, `A100:8`, `A100:4+`; may be repeated",
    )
    add("--cpus", metavar="N", help="`8` for exactly 8, `8+` for at least 8")
    add("--memory", metavar="GIB", help="`32`, `32+`, or `4x` for 4 GiB per CPU")
    add("--cloud", metavar="NAME", action="append", default=[], help="only this target; may be repeated")
    add("--region", metavar="NAME", action="append", default=[], help="only this region; may be repeated")
    add("--zone", metavar="NAME", action="append", default=[], help="only this zone; may be repeated")
    add("--market", choices=MARKETS, default="any", help="whose price counts; default: the lower one")
    add("--max-price", metavar="USD", help="at most this much per hour; leaves out prices that are not known")
    add("--arch", choices=ARCHS, help="only machines of this processor architecture")
    add("--no-estimates", action="store_true", help="leave out prices that are derived or old")
    add("--sort", choices=SORTS, default="price", help="default: price; what is not known comes last")
    add("--best-region", action="store_true", help="each type once per target, in the region that comes first")
    add("--limit", metavar="N", type=_limit, default=20, help="how many to list; 0 for all; default 20")
    add("--json", action="store_true", help="print JSON (skyc.offers/v1), with sources and dates")


def _limit(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError("a number of offers is 0 or more")
    return value


def run(arguments: argparse.Namespace, api: Api, screen: Screen) -> int:
    found = api.offers(
        accelerator=arguments.accelerator,
        cpus=arguments.cpus,
        memory=arguments.memory,
        cloud=arguments.cloud,
        region=arguments.region,
        zone=arguments.zone,
        market=arguments.market,
        max_price=arguments.max_price,
        arch=arguments.arch,
        estimates=not arguments.no_estimates,
        sort=arguments.sort,
        best_region=arguments.best_region,
        limit=arguments.limit or None,
        home=arguments.home,
    )
    if arguments.json:
        screen.document(offers_document(found))
        return 0
    if not found.offers:
        screen.note("No offer matches.")
        return 0
    rows = offer_rows(found.offers)
    screen.table(OFFER_HEADINGS, rows)
    prices = [price for row in rows for price in row[7:9]]
    signs = [
        words for sign, words in (("~", "~ is an estimate"), ("?", "? is not known")) if any(p.startswith(sign) for p in prices)
    ]
    more = found.total - len(found.offers)
    if more:
        signs.append(f"{more:,} more: --limit 0 lists all")
    if signs:
        screen.note("; ".join(signs))
    return 0


def still_going_on(arguments: argparse.Namespace) -> tuple[str, tuple[str, ...]]:
    return "nothing was changed.", ()
