"""CDK Terrain as a program: `python -m skyc.compiler.cdk OUTDIR < site.json` writes the site's stack below OUTDIR.

Contract: the input is what `synth.site_json` makes, plain JSON with Terraform's values in it; the exit code is 0 only when the stack
is written. The CDK is loaded by this program and nowhere else: it works in a Node process that gets the Ctrl-C of whoever loaded
it, and whose death is a traceback now and another one at exit. Here all of that ends with the program, which can be run again.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import Any

STACK = "site"


def main(outdir: str, site: dict[str, Any]) -> None:
    from cdktn import App, TerraformOutput, TerraformResource, TerraformStack

    app = App(outdir=outdir)
    stack = TerraformStack(app, STACK)
    for need in site["providers"]:
        stack.add_override(
            f"terraform.required_providers.{need['name']}", {"source": need["source"], "version": need["version"]}
        )
        stack.add_override(f"provider.{need['name']}", [need["config"]])
    for made in site["resources"]:
        resource = TerraformResource(stack, f"{made['type']}-{made['name']}", terraform_resource_type=made["type"])
        resource.override_logical_id(made["name"])
        for path, value in made["overrides"]:
            resource.add_override(path, value)
    for name, value in site["outputs"]:
        output = TerraformOutput(stack, f"output-{name}", value="")
        output.override_logical_id(name)
        output.add_override("value", value)
    if site.get("moved"):
        stack.add_override("moved", site["moved"])
    app.synth()


def _hear_node_out() -> None:
    """Wait until everything that a dead Node printed has been passed on: jsii does that in a thread that dies with us."""
    for thread in threading.enumerate():
        if thread.name == "process.stderr_sink":
            thread.join(5)


if __name__ == "__main__":
    try:
        main(sys.argv[1], json.load(sys.stdin))
    except Exception:
        _hear_node_out()
        raise
    # All is written. Waiting for Node to end by itself takes longer than making a site; whoever started us ends it with us.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
