"""The reference of ``run.toml``, from the configuration's own fields and docstrings."""

from __future__ import annotations

from typing import Any

from tools.site.json_types import words
from tools.site.meanings import cell, of_attributes, of_parameters

__all__ = ["render"]

HEAD = """# Configuration

Settings of training and of the main job, written from the code when this site is built. They are
read from TOML by `--config FILE` (`run`, `train`, `tune`, `demo` and `prune --budget`), and one by
one by `--set name=value`, which wins over the file; verbs' own options such as `--label` win over both.
Every trained folder holds its settings as `run.toml`. An unknown setting is an error that names the
nearest one.

From Python: `rp.run(data, "runs/shop", RunConfig(dim=8))`
([RunConfig](api/pipeline.md#recprune.pipeline.RunConfig)).

| setting | value | default | meaning |
|---|---|---|---|
"""
BUDGET = """
## budget

In TOML a table, on the command line words: `--set budget="bytes=200kB,max_drop.auc=0.002"`, or
`recprune prune --budget …`. What a search does with it: [Budgets](../budget.md).

| limit | meaning |
|---|---|
"""
TOML = """
## All defaults as TOML

What is commented out is left open.

```toml
"""


def render() -> str:
    """Return the page."""
    from recprune.pipeline import RunConfig

    meanings = of_attributes("recprune.pipeline.config.RunConfig")
    properties = RunConfig.model_json_schema(mode="serialization")["properties"]
    rows = [
        f"| `{name}` | {_value(name, properties[name])} | {_default(field)} | {cell(meanings[name])} |"
        for name, field in RunConfig.model_fields.items()
    ]
    limits = of_parameters("recprune.pipeline.budget.Budget")
    told = [f"| `{name}` | {cell(meaning)} |" for name, meaning in limits.items()]
    return HEAD + _lines(rows) + BUDGET + _lines(told) + TOML + RunConfig().to_toml() + "```\n"


def _value(name: str, schema: Any) -> str:
    if name == "budget":
        return "see [below](#budget)"
    ways = [each for each in schema.get("anyOf", [schema]) if each.get("type") != "null"]
    return cell(" or ".join(words(each) for each in ways))


def _default(field: Any) -> str:
    from recprune.pipeline.config import toml_value

    return "none" if field.default is None else f"`{toml_value(field.default)}`"


def _lines(rows: list[str]) -> str:
    return "\n".join(rows) + "\n"
