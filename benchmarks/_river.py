"""River's logistic regression over the same segments of events: the peer of ``benchmarks.stream``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks._common import peer

__all__ = ["RATES", "river"]

#: Of its SGD; the one with the best AUC counts.
RATES = (0.02, 0.05, 0.1)

# "field=value": 1 is River's sparse form of a category. Its OneHotEncoder, which writes a zero for
# every value that it has ever seen, does a hundred events a second at these sizes.
SCRIPT = """
import json, sys, time
from pathlib import Path
import numpy as np
import river
from river import linear_model, optim
folder, out, rate, fields, label = sys.argv[1:6]
fields = fields.split(",")
model = linear_model.LogisticRegression(optimizer=optim.SGD(float(rate)), intercept_lr=0.01)
guesses = []
start = time.perf_counter()
for segment in sorted(Path(folder).glob("*.jsonl")):
    with segment.open("rb") as lines:
        for line in lines:
            event = json.loads(line)
            x = {f"{name}={event[name]}": 1 for name in fields}
            guesses.append(model.predict_proba_one(x)[True])
            model.learn_one(x, event[label] == 1)
seconds = time.perf_counter() - start
np.save(out, np.array(guesses))
print(json.dumps({"seconds": seconds, "events": len(guesses), "version": river.__version__}))
"""


def river(
    segments: Path, fields: tuple[str, ...], label: str, rate: float
) -> tuple[dict[str, Any], NDArray[np.float64]]:
    """Run it over a folder of segments; return seconds, events and version, and its probabilities."""
    out = segments / ".." / "river.npy"
    told = peer(SCRIPT, str(segments), str(out), str(rate), ",".join(fields), label)
    return told, np.load(out)
