"""What pages presuppose: files in the working folder, and names of their Python blocks.

One function a page (or a kind of pages), in ``GIVEN`` by the page's path. It is called in the
page's own process and Python, in the page's empty folder, before the first block; what it returns
is defined for the blocks. Small tables: seconds, not minutes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.docs.given_howto import HOWTO

__all__ = ["GIVEN"]


def table(name: str = "events.csv", rows: int = 6_000, label: str = "purchased") -> None:
    """Write purchases by age, category and price, and a column that says nothing."""
    import numpy as np
    import polars as pl

    draw = np.random.default_rng(0)
    user, item = draw.integers(0, 300, rows), draw.integers(0, 60, rows)
    age, price = draw.integers(18, 80, 300)[user], np.exp(draw.normal(2, 0.5, 60)).round(2)[item]
    category = np.array(["books", "toys", "wine"])[item % 3]
    wish = (age - 45) / 12 * np.array([0.3, -1.0, 1.0])[item % 3] - np.log(price / 8)
    pl.DataFrame(
        {
            "user_id": user,
            "item_id": item,
            "age": age,
            "category": category,
            "price": price,
            "hour": draw.integers(0, 24, rows),
            "at": np.sort(draw.integers(1_700_000_000, 1_710_000_000, rows)),
            label: (draw.random(rows) < 1 / (1 + np.exp(-wish))).astype(int),
        }
    ).write_csv(name)


def shop(name: str = "events.csv", rows: int = 6_000) -> dict[str, Any]:
    """Write the table and a full model of it, ``runs/full``; give what Python pages start from."""
    import recprune as rp
    from recprune.models import Training

    table(name, rows)
    data = rp.Dataset.read(name, label="purchased", user="user_id", item="item_id", time="at")
    data = data.split()
    full = rp.DeepFM(dim=4, hidden=(16, 8), training=Training(epochs=3))
    full.fit(data.train, data.tune)
    full.save("runs/full")
    return {"rp": rp, "data": data, "full": full, "model": full}


def served() -> dict[str, Any]:
    """Write the shop's users, and a model of it that was pruned, in the folders of two runs."""
    from recprune.pipeline import save_model

    given = pruned()
    save_model(given["small"], given["data"], "runs/small")
    given["data"].users.save(Path("runs/shop/users.rp"))
    return given


def pruned() -> dict[str, Any]:
    """The shop, and a model of it that was pruned."""
    given = shop()
    rp, full, data = given["rp"], given["full"], given["data"]
    return given | {"small": rp.prune(full, data, {"rows": 0.5})}


def audited() -> dict[str, Any]:
    """The shop, and another model of the same kind that saw other rows."""
    import recprune as rp

    given = shop()
    other = rp.DeepFM(dim=4, hidden=(16, 8)).fit(given["data"].tune, given["data"].gate)
    return given | {"other": other}


def module() -> dict[str, Any]:
    """A PyTorch module with a table of items and a tower, batches of it, and an optimiser."""
    import torch
    from torch import nn

    class Net(nn.Module):
        """A click from an item's id and eight numbers."""

        def __init__(self) -> None:
            super().__init__()
            self.emb = nn.ModuleDict({"item": nn.Embedding(1_000, 16)})
            self.tower = nn.Sequential(nn.Linear(24, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU())
            self.head = nn.Linear(16, 1)

        def forward(self, item: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
            return self.head(self.tower(torch.cat([self.emb["item"](item), numbers], 1)))

    torch.manual_seed(0)
    net = Net()
    batches = [(torch.randint(0, 1_000, (64,)), torch.randn(64, 8)) for _ in range(4)]
    optimizer = torch.optim.Adam(net.parameters())
    net(*batches[0]).sum().backward()
    optimizer.step()
    return {
        "net": net,
        "batch": batches[0],
        "some_batches": batches,
        "optimizer": optimizer,
        "FreshNet": Net,
    }


def reported() -> None:
    """A report as ``recprune demo`` leaves it, made up."""
    import json

    from tests.report.conftest import _report
    from tests.report.searched import searched

    Path("runs/demo").mkdir(parents=True)
    Path("runs/demo/report.json").write_text(json.dumps(searched(_report())), "utf-8")


def streamed() -> dict[str, Any]:
    """The shop's pruned model, its table as events in a folder, and as chunks."""
    import polars as pl

    given = served()
    events = pl.read_csv("events.csv").with_row_index("event_id")
    Path("events").mkdir()
    events.write_ndjson("events/000.jsonl")
    chunks = [
        (part.drop("purchased"), part["purchased"].to_numpy()) for part in events.iter_slices(2_000)
    ]
    return {"reference": given["small"].artifact(), "chunks": chunks}


GIVEN: dict[str, Callable[[], dict[str, Any] | None]] = {
    "docs/budget.md": lambda: shop("shop.csv"),
    "docs/checks.md": lambda: table("rows.csv", 2_000, "clicked"),
    "docs/distributed.md": lambda: shop(rows=1_500),
    "docs/foreign.md": module,
    "docs/importance.md": shop,
    "docs/models.md": shop,
    "docs/privacy-training.md": audited,
    "docs/pruning.md": pruned,
    "docs/report.md": reported,
    "docs/serving.md": served,
    "docs/streaming.md": streamed,
    **HOWTO,
}
