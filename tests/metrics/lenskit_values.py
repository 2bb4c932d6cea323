"""What LensKit says of some lists: run with the peers' Python, which has it.

``.venv-peers/bin/python tests/metrics/lenskit_values.py 0 > tests/metrics/lenskit.json`` makes the
file that the tests read; another number makes other random lists.
"""

from __future__ import annotations

import json
import random
import sys
from typing import Any

__all__ = ["cases"]

#: (list, relevant, k): nothing found, all found, all relevant, k above and below the list, no list.
ADVERSARIAL: list[tuple[list[int], list[int], int]] = [
    ([0, 1, 2], [7], 3),
    ([0, 1, 2], [0, 1, 2], 3),
    ([0, 1, 2], [0, 1, 2], 10),
    ([0, 1, 2], [2], 1),
    ([0, 1, 2], list(range(20)), 3),
    ([0, 1, 2], list(range(20)), 2),
    ([5], [5], 1),
    ([5], [4], 50),
    ([], [1, 2], 5),
    (list(range(60)), [59], 60),
    (list(range(60)), [59], 59),
]


def cases(seed: int) -> list[dict[str, Any]]:
    """Return lists of distinct items, what is relevant, and k: adversarial ones, then random ones."""
    draws = random.Random(seed)
    made = list(ADVERSARIAL)
    for _ in range(60):
        items = draws.sample(range(30), draws.randint(1, 25))
        relevant = draws.sample(range(30), draws.randint(1, 30))
        made.append((items, relevant, draws.choice([1, 2, 3, 5, 10, 25, 40])))
    return [{"list": items, "relevant": relevant, "k": k} for items, relevant, k in made]


def main() -> None:
    """Print the cases with LensKit's values: metric → value, null where it is NaN."""
    import importlib.metadata

    from lenskit.data import ItemList, ItemListCollection
    from lenskit.metrics import NDCG, Hit, Precision, Recall, RecipRank, RunAnalysis
    from lenskit.metrics.ranking import AveragePrecision, ListGini, LogRankWeight

    made = cases(int(sys.argv[1]))
    for case in made:
        k = case["k"]
        run = {1: ItemList(item_ids=case["list"], ordered=True)}
        truth = {1: ItemList(item_ids=case["relevant"])}
        analysis = RunAnalysis()
        for label, metric in (
            ("ndcg", NDCG(k)),
            ("ndcg_standard", NDCG(k, weight=LogRankWeight(offset=1))),
            ("recall", Recall(k)),
            ("precision", Precision(k)),
            ("map", AveragePrecision(k)),
            ("mrr", RecipRank(k)),
            ("hit_rate", Hit(k)),
        ):
            analysis.add_metric(metric, label)
        outputs, test = (ItemListCollection.from_dict(d, "user_id") for d in (run, truth))
        values = analysis.measure(outputs, test).list_metrics(fill_missing=False).iloc[0]
        case["values"] = {n: None if v != v else float(v) for n, v in values.items()}
    shown = [case for case in made if case["k"] == 5 and len(case["list"]) >= 5]
    lists = {i: ItemList(item_ids=case["list"], ordered=True) for i, case in enumerate(shown)}
    analysis = RunAnalysis(ListGini(5, items=30))
    outputs = ItemListCollection.from_dict(lists, "user_id")
    gini = analysis.measure(outputs, outputs).global_metrics().iloc[0]
    told = {
        "lenskit": importlib.metadata.version("lenskit"),
        "cases": made,
        "gini": {"lists": [case["list"] for case in shown], "value": float(gini)},
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
