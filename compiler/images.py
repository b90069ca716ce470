"""images: where machines can start from the images that a file names, and what is wrong with what it says of them.

Contract: pure, given the providers; nothing is looked up. What an image's name tells of it, its target says (`Provider.image_reach`): an
AMI exists in one region, an image of Google's in all. What is found limits the candidates, in `match`, so that neither a choice nor a
fallback is where its image is not. An image that is wrong limits nothing, lest a second error follows from the first; one of a form that
no target knows does not either, where the task names its target: that target's lowering says what it takes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from ..providers.base import CONTAINER, NO_CONTAINER, Capability, ImageExtent, ImageReach, Provider
from .diagnostics import Diagnostic, Severity, SourceMap, Span, error, warning
from .ir import Catalog, ImageByPlace, ImagePlaces, Infra, ResourceRequest, SpecPath, TaskGraph
from .parse.nearest import nearest
from .shelves import inside
from .unknown import PLACE_UNKNOWN, unknown_region

SHOWN = 4
NEEDS_REGION = "The image is not in every region it is asked for in"
_SKYPILOT = "skypilot:"
"""How SkyPilot calls the images it makes itself."""


def image_places(
    graph: TaskGraph, catalog: Catalog, providers: Mapping[str, Provider], sources: SourceMap
) -> tuple[ImagePlaces, tuple[Diagnostic, ...]]:
    """Where machines can start from each image that a request names, and errors at the lines of those that no machine can be had for."""
    reading = _Reading(catalog=catalog, providers=providers, sources=sources)
    found: dict[str | ImageByPlace, Mapping[str, frozenset[str] | None]] = {}
    wrong: set[str | ImageByPlace] = set()
    seen: set[tuple[str | ImageByPlace, Infra, Span | None]] = set()
    for request in (request for task in graph.tasks for group in task.groups for request in group.requests):
        image = request.image_id
        if image is None:
            continue
        written = _written(request, sources)
        key = (image, request.infra, sources.find(written))
        if key in seen:
            continue
        seen.add(key)
        places = (
            reading.text(image, request.infra, key[2])
            if isinstance(image, str)
            else reading.mapping(image, request.infra, written)
        )
        if places is None:
            wrong.add(image)
        else:
            found[image] = places
    return {image: places for image, places in found.items() if image not in wrong}, tuple(dict.fromkeys(reading.said))


def _written(request: ResourceRequest, sources: SourceMap) -> SpecPath:
    """Where a request's image is written: at the alternative itself, or in the `resources` it adds to."""
    place = request.origin
    while True:
        for path in (place.child("image_id"), place.child("resources").child("image_id")):
            if path in sources.spans:
                return path
        if not place.steps:
            return request.origin.child("image_id")
        place = place.parent


@dataclass(slots=True, kw_only=True)
class _Reading:
    """One pass over a file's images."""

    catalog: Catalog
    providers: Mapping[str, Provider]
    sources: SourceMap
    said: list[Diagnostic] = field(default_factory=list)
    known_takers: dict[str, dict[str, ImageReach]] = field(default_factory=dict)
    known_regions: dict[tuple[str, Infra], frozenset[str]] = field(default_factory=dict)
    named: dict[tuple[str, str], str] = field(default_factory=dict)
    """Provider and an image that exists in one region → the region that the file names for it."""

    def text(self, image: str, infra: Infra, span: Span | None) -> Mapping[str, frozenset[str] | None] | None:
        """Where machines can start from one image; None when no region of the request's place is told, or a wrong one."""
        takers = self.takers(image)
        if not takers:
            if infra.provider is None:
                self.unknown(image, span)
            return None
        there = {name: self.regions(name, infra) for name in takers if infra.provider in (None, name)}
        if not any(there.values()):
            # A place that is nobody's is said by who looks for offers.
            if self.exists(infra):
                of, reach = next(iter(takers.items()))
                detail = f"`{image}` is {reach.what}, for machines at {of}; the task asks for {infra}."
                asked = self.providers.get(infra.provider or of)
                takes = asked is None or Capability.CUSTOM_IMAGE in asked.capabilities
                instead = f"name an image of {infra.provider or 'that place'}" if takes else "leave `image_id` out"
                hint = f"{instead}, or ask for {of} in `infra`"
                self.complain("image-elsewhere", "The image is of another place", detail, span, hint)
            return None
        found: dict[str, frozenset[str] | None] = {}
        for name, regions in there.items():
            reach = takers[name]
            if not self.fits(image, name, reach, regions, span, infra):
                return None
            found[name] = frozenset({reach.region}) if reach.region is not None else None
        return found

    def fits(self, image: str, name: str, reach: ImageReach, regions: Collection[str], span: Span | None, infra: Infra) -> bool:
        """Whether an image that is written alone is in a region of those allowed that is told."""
        if reach.extent is ImageExtent.EVERYWHERE or not regions:
            return True
        if reach.region is not None:
            if reach.region in regions:
                return True
            self.belongs(image, reach, f"the task asks for {infra}", span, f"{name}/{reach.region}")
            return False
        if len(regions) > 1:
            self.undecided(image, name, reach, f"the task allows {len(regions)} regions of {name}", span)
            return False
        return self.claimed(image, name, reach, next(iter(regions)), span)

    def mapping(self, image: ImageByPlace, infra: Infra, written: SpecPath) -> Mapping[str, frozenset[str] | None] | None:
        """Where machines can start from the image that is written for the place; None when something of it is wrong."""
        before = len(self.said)
        spans = {key: self.sources.find(written.child(key)) for key in image.images}
        for key in sorted(image.images, key=lambda key: _position(spans[key])):
            self.entry(key, image.images[key], spans[key], any(self.meant(other) for other in image.images))
        if any(one.severity is Severity.ERROR for one in self.said[before:]):
            return None
        found = {}
        for part in self.catalog.parts:
            regions = frozenset(
                region for region in self.regions(part.provider, Infra()) if self.taken(image, part.provider, region)
            )
            if regions:
                found[part.provider] = regions
        allowed = any(found.get(part.provider, frozenset()) & self.regions(part.provider, infra) for part in self.catalog.parts)
        if not allowed and self.exists(infra):
            keys = _listed(image.images) or "nothing"
            detail = f"`image_id` names images for {keys}; the task asks for {infra}. A target's own image would not be the one you meant."
            hint = f"add `{infra if infra.zone is None else Infra(provider=infra.provider, region=infra.region)}: IMAGE`, or change `infra`"
            span = self.sources.find(written)
            self.complain("image-elsewhere", "The image is of another place", detail, span, hint)
            return None
        return found

    def taken(self, image: ImageByPlace, provider: str, region: str) -> bool:
        """Whether machines in a region start from the image that is written for it."""
        text = image.at(provider, region)
        reach = self.takers(text).get(provider) if text is not None else None
        return reach is not None and reach.region in (None, region)

    def entry(self, key: str, image: str, span: Span | None, others: bool) -> None:
        """What is wrong with one entry of a mapping. others: there is another, whose key is a place."""
        places = self.meant(key)
        if not places:
            self.stranger(key, span, others)
            return
        takers = self.takers(image)
        if not takers:
            self.unknown(image, span)
            return
        here = [(name, region) for name, region in places if name in takers]
        if not here:
            of, reach = next(iter(takers.items()))
            at = " and ".join(name for name, _ in places)
            detail = f"`{image}` is {reach.what}, for machines at {of}; `{key}` is a place of {at}."
            self.complain("image-elsewhere", "The image is of another place", detail, span, f"write it for a region of {of}")
        for name, region in here:
            reach = takers[name]
            if reach.extent is not ImageExtent.ONE:
                continue
            if region is not None and reach.region not in (None, region):
                self.belongs(image, reach, f"it is written for {key}", span, f"{name}/{reach.region}")
            elif region is None and reach.region is None:
                self.undecided(image, name, reach, f"it is written for all of {name}", span)
            elif region is not None:
                self.claimed(image, name, reach, region, span)

    def meant(self, key: str) -> tuple[tuple[str, str | None], ...]:
        """The places that a key of a mapping stands for: provider and region, None for all of its regions."""
        provider, slash, region = key.partition("/")
        if slash:
            return ((provider, region),) if region in self.regions(provider, Infra()) else ()
        names = [part.provider for part in self.catalog.parts]
        if key in names:
            return ((key, None),)
        return tuple((name, key) for name in names if key in self.regions(name, Infra()))

    def takers(self, image: str) -> Mapping[str, ImageReach]:
        """The targets that know an image of this name, sorted."""
        if image not in self.known_takers:
            said = ((part.provider, self.providers.get(part.provider)) for part in self.catalog.parts)
            reaches = ((name, provider.image_reach(image)) for name, provider in said if provider is not None)
            self.known_takers[image] = {name: reach for name, reach in reaches if reach is not None}
        return self.known_takers[image]

    def regions(self, provider: str, infra: Infra) -> frozenset[str]:
        """The regions of a target within a place."""
        key = (provider, infra)
        if key not in self.known_regions:
            self.known_regions[key] = frozenset(
                place.region
                for part in self.catalog.parts
                if part.provider == provider
                for place in part.offers.places
                if inside(infra, provider, place.region, place.zone, part.zones.get(place.region, ()))
            )
        return self.known_regions[key]

    def exists(self, infra: Infra) -> bool:
        return any(self.regions(part.provider, infra) for part in self.catalog.parts)

    def claimed(self, image: str, name: str, reach: ImageReach, region: str, span: Span | None) -> bool:
        """Whether the file names no other region for an image that exists in one."""
        if reach.note:
            detail = f"`{image}` is taken to be {reach.what} in {region}: {reach.note}"
            summary = "The image's region is not told by its name"
            self.said.append(
                Diagnostic(severity=Severity.NOTE, slug="image-region-not-told", summary=summary, detail=detail, span=span)
            )
        if reach.extent is not ImageExtent.ONE:
            return True
        other = self.named.setdefault((name, image), region)
        if other != region:
            detail = (
                f"`{image}` is {reach.what}, which exists in one region alone; the file names it for {other} and for {region}."
            )
            keys = f"{{{name}/{other}: IMAGE, {name}/{region}: COPY}}"
            hint = f"give each region its own, as `image_id: {keys}`: a copy has a name of its own"
            self.complain("image-needs-region", NEEDS_REGION, detail, span, hint)
        return other == region

    # Complaints

    def complain(self, slug: str, summary: str, detail: str, span: Span | None, hint: str) -> None:
        self.said.append(error(slug, summary, detail, span=span, hint=hint))

    def undecided(self, image: str, name: str, reach: ImageReach, why: str, span: Span | None) -> None:
        where = "in one region alone" if reach.extent is ImageExtent.ONE else "in the regions it was copied to"
        copies = f"; `{{{name}: …}}` says that it is in all of them" if reach.extent is ImageExtent.COPIED else ""
        instead = f"; or name {reach.instead}" if reach.instead else ""
        self.complain(
            "image-needs-region",
            NEEDS_REGION,
            f"`{image}` is {reach.what}, which exists {where}; {why}.",
            span,
            f"name its region, as `infra: {name}/REGION`, or each region's image, as `image_id: {{{name}/REGION: IMAGE}}`{copies}{instead}",
        )

    def belongs(self, image: str, reach: ImageReach, why: str, span: Span | None, place: str) -> None:
        detail = f"`{image}` is {reach.what} in {reach.region}, which its name says; {why}."
        self.complain(
            "image-elsewhere", "The image is of another place", detail, span, f"name the image of that region, or {place}"
        )

    def unknown(self, image: str, span: Span | None) -> None:
        hint = "the targets' pages say what each takes; without `image_id` skyc takes the target's own, with drivers where it has GPUs"
        if image.startswith(CONTAINER):
            detail, hint = NO_CONTAINER, "leave `image_id` out, and install in `setup` what the container brings"
        elif image.startswith(_SKYPILOT):
            detail = f"`{image}` is a name of SkyPilot's for an image that SkyPilot makes."
        else:
            detail = f"`{image}` is of no form in which a target names its images."
        self.complain("unknown-image", "No target knows an image of this name", detail, span, hint)

    def stranger(self, key: str, span: Span | None, others: bool) -> None:
        """A key that is no place. others: another key is one, so that this one may be a region without machines: no reason to stop."""
        names = [part.provider for part in self.catalog.parts]
        provider, slash, region = key.partition("/")
        parts = [part for part in self.catalog.parts if not slash or part.provider == provider]
        odd = (
            unknown_region(
                region if slash else key,
                parts,
                {name: said for name, p in self.providers.items() if (said := p.zone_names) is not None},
                self.catalog.parts,
            )
            if parts
            else None
        )
        if odd is not None and (slash or nearest(key, names) is None):
            say = warning if others and not odd.certain else error
            hint = odd.hint if odd.certain is False else "write the region as the key: an image is of a region"
            self.said.append(say("unknown-place", PLACE_UNKNOWN, odd.why, span=span, hint=hint, commands=odd.commands))
            return
        full = {f"{name}/{region}" for name in names for region in self.regions(name, Infra())}
        known = full if slash else {*names, *(place.partition("/")[2] for place in full)}
        close = nearest(key, known)
        lists = f"`skyc offers --cloud {provider}`" if slash and provider in names else "`skyc offers`"
        hint = f"did you mean `{close}`?" if close else f"{lists} shows the regions there are"
        self.complain("unknown-place", PLACE_UNKNOWN, f"No target has a region `{key}`.", span, hint)


def _position(span: Span | None) -> tuple[int, int]:
    return (span.line, span.column) if span is not None else (0, 0)


def _listed(keys: Iterable[str]) -> str:
    found = list(keys)
    more = [f"{len(found) - SHOWN} more"] if len(found) > SHOWN else []
    texts = [*found[:SHOWN], *more]
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)
