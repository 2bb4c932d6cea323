"""What the service's tests share."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from recprune.security import Bounds, Limits
from recprune.serving import Address, Guards, Most, Patience, ServeSettings, Sources

from .living import Living, Place, living, make_place

#: Seconds that a mistreated service waits for headers and bodies; connections of a worker.
IMPATIENT, CONNECTIONS = 1.0, 40

#: A card as recprune writes it, and what a stranger might put into one.
CARD = """# Pruned recommender: shop

**PASS: AUC fell by 0.0004.** <script>document.title = "owned"</script>

[a link](https://example.com) ![a picture](https://example.com/x.png)

## Figures

| | Full | Pruned |
|---|--:|--:|
| AUC | 0.7745 | 0.7741 |
| Bytes | 4.21 MB | <b>93.4 kB</b> |

```python
scorer = rp.load("</code><script>")
```
"""
REPORT = {
    "dataset": {"name": "<b>shop</b>"},
    "verdict": {
        "outcome": "PASS",
        "metric": "auc",
        "tolerance": 0.002,
        "difference": -0.0004,
        "ci": [-0.0011, 0.0003],
    },
}


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A shop on disk."""
    about = {"README.md": CARD, "report.json": json.dumps(REPORT)}
    return make_place(tmp_path_factory.mktemp("shop"), extra=about)


@pytest.fixture(scope="session")
def service(place: Place) -> Iterator[Living]:
    """A service of one worker that all tests share; change nothing about it."""
    with living(place) as running:
        yield running


@pytest.fixture(scope="session")
def hardy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Living]:
    """A service of two workers for those who mistreat it: impatient, and without limits of rates."""
    place = make_place(tmp_path_factory.mktemp("hardy"))
    most = Bounds(body_bytes=200_000, body_seconds=IMPATIENT, answer_seconds=10)
    settings = ServeSettings(
        Sources(place.model, place.users),
        place.state,
        Address(port=0, connections=CONNECTIONS, patience=Patience(IMPATIENT, IMPATIENT)),
        Most(rows=200, named=200),
        Guards(limits=Limits((), (), ()), bounds=most),
    )
    with living(place, settings=settings) as running:
        yield running
