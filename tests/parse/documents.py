"""Documents as an editor's schema check sees them."""

from functools import cache

import jsonschema
import yaml

from skyc.compiler.schema import json_schema


class _EditorLoader(yaml.SafeLoader):
    """JSON knows no dates: an editor sees their text."""


_EditorLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@cache
def validator() -> jsonschema.Draft202012Validator:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def schema_errors(text: str) -> list[str]:
    """What the JSON Schema has against the documents of a file."""
    documents = [document for document in yaml.load_all(text, Loader=_EditorLoader) if document is not None]
    return [error.message[:300] for document in documents for error in validator().iter_errors(document)]
