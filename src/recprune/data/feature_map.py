"""FuxiCTR's ``feature_map.json``: which columns are features, and of what kind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from recprune.errors import SchemaError

__all__ = ["read_feature_map"]

KINDS = ("categorical", "numeric")


def read_feature_map(path: Path) -> dict[str, Any]:
    """Return the label and the fields as ``schema.toml`` would state them.

    Features of type meta (such as the id that groups rows) are no fields. Sources are left
    to be inferred: FuxiCTR's are any words. Of several labels none is chosen.

    Raises:
        SchemaError: the file cannot be read, is no JSON or no feature map, or has a feature that
            is neither categorical nor numeric.
    """
    owner = f"Schema file {str(path)!r}"
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise SchemaError(f"{owner} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise SchemaError(f"{owner} is no valid JSON: {error}. Fetch or write it again.") from error
    features = data.get("features") if isinstance(data, dict) else None
    if not isinstance(features, list) or not all(isinstance(f, dict) for f in features):
        raise SchemaError(
            f"{owner} is no feature_map.json of FuxiCTR: it must be an object whose 'features' is a "
            'list such as [{"age": {"type": "numeric"}}]. State other schemas as a .toml file.'
        )
    fields = {}
    for name, stated in ((n, s) for feature in features for n, s in feature.items()):
        kind = stated.get("type") if isinstance(stated, dict) else None
        if kind == "meta":
            continue
        if kind not in KINDS:
            raise SchemaError(
                f"{owner}: feature {name!r} must have the type {' or '.join(KINDS)}. Got {kind!r}. "
                "Remove it from the file: a field is one number or one category a row."
            )
        fields[name] = {"kind": kind}
    labels = data.get("labels")
    if not isinstance(labels, list):
        raise SchemaError(f"{owner}: 'labels' must be a list of column names. Got {labels!r}.")
    return {"fields": fields, **({"label": labels[0]} if len(labels) == 1 else {})}
