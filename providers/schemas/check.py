"""Checking a resource graph against the schemas of the Terraform providers it names, without Terraform and without a network.

Contract: `check` is pure and complete: it reports every mistake it can see, each with the place in the user's file that the
resource came from. What passes has the shape the provider accepts ("schema-valid"); whether the cloud accepts it is another
question, which only the cloud answers. Values that are not known yet (`Ref`) are checked by the type of what they refer to.

Conversions are Terraform's own: "8" fits a number, true fits a string. Positions: an attribute that is a list of objects needs
all attributes of each object, as in Terraform's JSON; a block needs its required ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from ...compiler.diagnostics import Diagnostic, SourceMap, Span, error
from ...compiler.ir import FrozenMap, Joined, Ref, ResourceGraph, Value
from ...compiler.parse.nearest import nearest
from ..tfplugin.schema import DYNAMIC, Block, NestedBlock, Nesting, TypeNotation
from .model import ProviderSchema, TypeSchema
from .references import convertible, references, reported_type
from .rules import broken_rules, values_at

META = frozenset({"lifecycle", "provider", "count", "for_each", "depends_on", "connection", "provisioner"})
"""Arguments that belong to Terraform itself, in every resource."""


def check(graph: ResourceGraph, schemas: Sequence[ProviderSchema], sources: SourceMap | None = None) -> tuple[Diagnostic, ...]:
    """Everything in the graph that the providers it requires would refuse. Providers without a schema are left alone.

    `sources` gives the diagnostics their places in the user's file.
    """
    by_source = {_short(schema.source): schema for schema in schemas}
    known = {need.name: by_source[_short(need.source)] for need in graph.requirements if _short(need.source) in by_source}
    diagnostics: list[Diagnostic] = []
    for need in graph.requirements:
        if need.name in known:
            schema = known[need.name]
            checker = _Checker(f"provider.{need.name}", _named(schema), None, known)
            diagnostics += checker.body(schema.provider, need.config, ())
    for node in graph.resources:
        owner = _owner(node.address.type, known)
        if owner is None:
            continue
        span = sources.find(node.origin) if sources is not None else None
        checker = _Checker(str(node.address), _named(owner), span, known)
        type_ = owner.types.get(node.address.type)
        if type_ is None:
            diagnostics.append(checker.unknown_type(node.address.type, owner))
            continue
        arguments = FrozenMap({name: value for name, value in node.arguments.items() if name not in META})
        diagnostics += checker.body(type_.body, arguments, ())
        diagnostics += checker.beyond_the_schema(type_, arguments)
    for name, output in graph.outputs.items():
        checker = _Checker(f"output.{name}", "", None, known)
        for path, ref in references(output):
            diagnostics += checker.reference(DYNAMIC, ref, path or ("value",))
    return tuple(diagnostics)


def _short(source: str) -> str:
    return source.removeprefix("registry.terraform.io/").lower()


def _named(schema: ProviderSchema) -> str:
    return f"{_short(schema.source)} {schema.version}"


def _owner(type_name: str, known: Mapping[str, ProviderSchema]) -> ProviderSchema | None:
    return next((schema for name, schema in known.items() if type_name.startswith(f"{name}_")), None)


def text_of(path: Sequence[str | int]) -> str:
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


@dataclass(frozen=True, slots=True)
class _Checker:
    """One resource under check: its address, its provider as named in messages, and where it came from."""

    address: str
    provider: str
    span: Span | None
    known: Mapping[str, ProviderSchema]
    """By the name the module gives each provider."""

    def unknown_type(self, type_name: str, owner: ProviderSchema) -> Diagnostic:
        return error(
            "schema-unknown-type",
            "A resource type without a schema",
            f"{self.address}: the schema of {self.provider} that ships with skyc has no type {type_name}.",
            span=self.span,
            hint=_did_you_mean(type_name, owner.types),
        )

    def body(self, block: Block, given: Mapping[str, Value], path: tuple[str | int, ...]) -> Iterator[Diagnostic]:
        """The members of one body: known, settable, there when required, and of the right kind."""
        for name, value in given.items():
            here = (*path, name)
            if name in block.blocks:
                yield from self.blocks(block.blocks[name], value, here)
            elif name not in block.attributes:
                names = [*(key for key, known in block.attributes.items() if known.settable), *block.blocks]
                yield error(
                    "schema-unknown-attribute",
                    "An attribute the provider does not have",
                    f"{self.address}: {self.provider} knows no {text_of(here)}.",
                    span=self.span,
                    hint=_did_you_mean(name, names),
                )
            elif value is not None and not block.attributes[name].settable:
                yield error(
                    "schema-readonly",
                    "A value for an attribute that is only reported",
                    f"{self.address}: {text_of(here)} is decided by {self.provider} and cannot be set.",
                    span=self.span,
                )
            elif value is not None:
                yield from self.attribute(block.attributes[name].type, value, here)
        for name, attribute in block.attributes.items():
            if attribute.required and given.get(name) is None:
                yield self.missing((*path, name))
        for name, nested in block.blocks.items():
            if nested.min_items > 0 and given.get(name) is None:
                yield self.missing((*path, name))

    def missing(self, path: tuple[str | int, ...]) -> Diagnostic:
        return error(
            "schema-missing",
            "A required attribute is missing",
            f"{self.address}: {self.provider} requires {text_of(path)}.",
            span=self.span,
        )

    def blocks(self, nested: NestedBlock, value: Value, path: tuple[str | int, ...]) -> Iterator[Diagnostic]:
        """Blocks of one kind: one object, or a list of them."""
        if value is None:
            return
        one = isinstance(value, FrozenMap)
        if nested.nesting is Nesting.MAP or (nested.nesting in (Nesting.SINGLE, Nesting.GROUP) and not one):
            fits = one
        else:
            fits = one or (isinstance(value, tuple) and all(isinstance(item, FrozenMap) for item in value))
        if not fits:
            yield self.wrong_kind(path, "a nested block", value)
            return
        elements: tuple[Value, ...] = (value,) if isinstance(value, FrozenMap) else value if isinstance(value, tuple) else ()
        if nested.nesting is not Nesting.MAP and (
            len(elements) < nested.min_items or (nested.max_items and len(elements) > nested.max_items)
        ):
            most = f"at most {nested.max_items}" if nested.max_items else "any number"
            yield error(
                "schema-item-count",
                "Too few or too many blocks of one kind",
                f"{self.address}: {text_of(path)} stands {len(elements)} times; "
                f"{self.provider} takes at least {nested.min_items} and {most}.",
                span=self.span,
            )
        if nested.nesting is Nesting.MAP and isinstance(value, FrozenMap):
            elements = tuple(value.values())
        for index, element in enumerate(elements):
            if isinstance(element, FrozenMap):
                yield from self.body(nested, element, path if one else (*path, index))

    def attribute(self, type_: TypeNotation, value: Value, path: tuple[str | int, ...]) -> Iterator[Diagnostic]:
        """A value against Terraform's type of the attribute."""
        if value is None:
            return
        if isinstance(value, Ref):
            yield from self.reference(type_, value, path)
            return
        if isinstance(value, Joined):
            # It is text, whatever it holds; what it holds must exist.
            for part in value.parts:
                if isinstance(part, Ref):
                    yield from self.reference("string", part, path)
            if type_ != "string":
                yield self.wrong_kind(path, _type_text(type_), value)
            return
        match type_:
            case "string" | "number" | "bool":
                if not _SCALARS[type_](value):
                    yield self.wrong_kind(path, f"a {type_}", value)
            case ("list" | "set", element):
                if not isinstance(value, tuple):
                    yield self.wrong_kind(path, f"a {type_[0]}", value)
                    return
                for index, item in enumerate(value):
                    yield from self.attribute(element, item, (*path, index))
            case ("map", element):
                if not isinstance(value, FrozenMap):
                    yield self.wrong_kind(path, "a map", value)
                    return
                for key, item in value.items():
                    yield from self.attribute(element, item, (*path, key))
            case ("object", Mapping() as members):
                yield from self.object(members, value, path)

    def object(self, members: Mapping[str, TypeNotation], value: Value, path: tuple[str | int, ...]) -> Iterator[Diagnostic]:
        if not isinstance(value, FrozenMap):
            yield self.wrong_kind(path, "an object", value)
            return
        for name, item in value.items():
            if name in members:
                yield from self.attribute(members[name], item, (*path, name))
            else:
                yield error(
                    "schema-unknown-attribute",
                    "An attribute the provider does not have",
                    f"{self.address}: {self.provider} knows no {text_of((*path, name))}.",
                    span=self.span,
                    hint=_did_you_mean(name, members),
                )
        for name in members:
            if name not in value:
                yield self.missing((*path, name))

    def wrong_kind(self, path: tuple[str | int, ...], wanted: str, value: Value) -> Diagnostic:
        return error(
            "schema-wrong-kind",
            "A value of the wrong kind",
            f"{self.address}: {self.provider} takes {wanted} for {text_of(path)}, and it is {_kind(value)}.",
            span=self.span,
        )

    def reference(self, type_: TypeNotation, ref: Ref, path: tuple[str | int, ...]) -> Iterator[Diagnostic]:
        """What another resource will report, by its type."""
        owner = _owner(ref.address.type, self.known)
        target = owner.types.get(ref.address.type) if owner is not None else None
        if target is None:
            return
        found = reported_type(target.body, ref.attribute)
        if found is None:
            yield error(
                "schema-unknown-attribute",
                "An attribute the provider does not have",
                f"{self.address}: {text_of(path)} refers to {ref.address}.{ref.attribute}, which does not exist.",
                span=self.span,
                hint=_did_you_mean(ref.attribute, (*target.body.attributes, *target.body.blocks)),
            )
        elif not convertible(found, type_):
            yield error(
                "schema-wrong-kind",
                "A value of the wrong kind",
                f"{self.address}: {text_of(path)} takes {_type_text(type_)}, "
                f"and {ref.address}.{ref.attribute} is {_type_text(found)}.",
                span=self.span,
            )

    def beyond_the_schema(self, type_: TypeSchema, arguments: Mapping[str, Value]) -> Iterator[Diagnostic]:
        """Enums and rules between fields, which no Terraform schema holds."""
        for path, accepted in type_.enums.items():
            for value in values_at(arguments, tuple(path.split("."))):
                if isinstance(value, Ref) or str(value) in accepted:
                    continue
                yield error(
                    "schema-unknown-value",
                    "A value the provider does not accept",
                    f"{self.address}: {path} is {value!r}; {self.provider} accepts {', '.join(accepted)}.",
                    span=self.span,
                    hint=_did_you_mean(str(value), accepted),
                )
        for _, sentence in broken_rules(type_, arguments):
            yield error(
                "schema-rule",
                "Fields that do not go together",
                f"{self.address}: {sentence} ({self.provider}).",
                span=self.span,
            )


def _is_number(value: Value) -> bool:
    if isinstance(value, str):
        try:
            return Decimal(value).is_finite()
        except InvalidOperation:
            return False
    return isinstance(value, int | Decimal) and not isinstance(value, bool)


_SCALARS: Mapping[str, Callable[[Value], bool]] = {
    "string": lambda value: isinstance(value, str | int | Decimal),
    "number": _is_number,
    "bool": lambda value: isinstance(value, bool) or value in ("true", "false"),
}


def _kind(value: Value) -> str:
    match value:
        case bool():
            return "a bool"
        case int() | Decimal():
            return "a number"
        case str():
            return f"the string {value[:40]!r}"
        case FrozenMap():
            return "an object"
        case tuple():
            return "a list"
        case _:
            return "a reference"


def _type_text(type_: TypeNotation) -> str:
    return f"a {type_}" if isinstance(type_, str) else f"a {type_[0]}"


def _did_you_mean(word: str, known: Iterable[str]) -> str | None:
    found = nearest(word, known)
    return f"did you mean `{found}`?" if found else None
