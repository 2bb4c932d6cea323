"""The ten best of 100,000 items for one user, seen items left out, exactly; one thread.

Ours, the pruned model: from a user's id in a ``users.rp`` to item ids and probabilities. The peers,
the full model: PyTorch scores the user with every item; ONNX Runtime has the item side cached (see
:mod:`benchmarks._catalogue_peers`; the preparing of a user's arrays is left out of their time, and
is in ours).

*planted*: :mod:`benchmarks._planted`'s model; every second of its 39 fields is the item's, the others
are the user's; 100,000 items and 200 users are drawn as its rows are, and each user has seen 200.
*demo*: the model of ``recprune demo`` with its cross fields. Its catalogue has some 25,000 products;
it is filled up to 100,000 by new ones: a product drawn at random lends department, category and type,
and three others of the same type lend product row, price and popularity. A user has seen what is in
the history of single products.

Before anything is timed, our answers, by NumPy and by the kernels that are timed, are held against
brute force, a full sort of every item's logit with ties by catalogue order, and the peers' answers
against our scorer with the full model.
A claim is the smaller of both models' ratios.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._catalogue_peers import SCRIPT, write_arrays
from benchmarks._common import Claim, PeerProcess, Timing, main, one_thread
from benchmarks._kept import ALONE, QUICK, main_job
from benchmarks._planted import trained
from recprune.artifact import Artifact, read_artifact
from recprune.catalogue import Catalogue
from recprune.encoding import Encoder
from recprune.histories import SeenItems
from recprune.lookups import Vocabulary
from recprune.runtime import Scorer
from recprune.users import Users

ITEMS, USERS, SEEN, K, ROUNDS = 100_000, 200, 200, 10, 7
#: Of the demo.
HOUSEHOLDS, QUICK_HOUSEHOLDS = 1200, 60
#: Users that each contestant answers in a round.
ASKED = {"ours": 20, "torch_eager": 1, "ort_cached": 3}


@dataclass(frozen=True)
class Case:
    """A full model and its pruned version, both with the same catalogue and users."""

    name: str
    full: Artifact
    pruned: Artifact
    users: Users
    facts: Mapping[str, Any]


def planted(quick: bool, items: int) -> Case:
    """Return the planted model as a ranker of so many items."""
    folder = trained(quick)
    facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    draws = np.random.default_rng(0)
    full = read_artifact(folder / "full")
    columns: dict[str, list[str | None]] = {}
    for i, field in enumerate(full.encoder.schema.fields):
        known = full.encoder.parts[field.name]
        assert isinstance(known, Vocabulary)
        rank = known.rows ** draws.random(USERS if i % 2 else items) ** 1.5
        values = [f"v{int(r)}" for r in rank]
        columns[field.name] = list(values)
    ids = [str(i) for i in range(items)]
    users = {n: c for n, c in columns.items() if len(c) == USERS}
    seen = SeenItems.from_entries(
        np.repeat(np.arange(USERS), SEEN), draws.integers(0, items, USERS * SEEN), ids, USERS
    )
    store = Users(tuple(f"u{i}" for i in range(USERS)), users, {}, seen)
    made = {}
    for name in ("full", "pruned"):
        artifact = read_artifact(folder / name)
        schema = artifact.encoder.schema
        fields = tuple(
            replace(f, source="user" if f.name in users else "item") for f in schema.fields
        )
        schema = replace(schema, fields=fields, user="user", item="item")
        encoder = Encoder(schema, artifact.encoder.parts)
        catalogue = Catalogue.build(
            encoder, {n: columns[n] for n in columns if n not in users}, ids
        )
        made[name] = replace(artifact, encoder=encoder, catalogue=catalogue.tensors())
    shown = {k: facts[k] for k in ("auc", "neurons", "dims", "bytes")}
    outcome = facts["verdict"]["outcome"]
    return Case("planted", made["full"], made["pruned"], store, {**shown, "verdict": outcome})


def demo(quick: bool) -> Case:
    """Return the demo's model, its catalogue filled up."""
    folder = demo_run(quick)
    facts = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    store = Users.load(folder / "users.rp")
    single = store.cross["product_id"]
    histories = [single.of_user(i)[0] for i in range(len(store))]
    owners = np.repeat(np.arange(len(store)), [len(h) for h in histories])
    seen = SeenItems.from_entries(owners, np.concatenate(histories), single.values, len(store))
    users = Users(store.ids, store.columns, store.cross, seen)
    n = 30_000 if quick else ITEMS
    full, pruned = (filled(read_artifact(folder / part), n) for part in ("full", "."))
    return Case("demo", full, pruned, users, {"verdict": facts["verdict"]["outcome"]})


def demo_run(quick: bool) -> Path:
    """Return the output of ``recprune demo``; of fewer households in a quick run."""
    from recprune.cli.demo import SETTINGS
    from recprune.data.datasets import load_demo

    households = QUICK_HOUSEHOLDS if quick else HOUSEHOLDS
    settings = (*SETTINGS, *(QUICK if quick else ALONE))
    return main_job(f"demo-{households}", lambda: load_demo(households, seed=0), settings)


def filled(artifact: Artifact, n: int) -> Artifact:
    """Return the artefact with a catalogue of ``n`` items; the same for a model and its cut one."""
    old = Catalogue.from_tensors(artifact.encoder, artifact.catalogue)
    draws, kind = np.random.default_rng(0), old.keys["product_type"] + 1
    pick = np.concatenate([np.arange(len(old)), draws.integers(0, len(old), n - len(old))])
    order = np.argsort(kind, kind="stable")
    starts = np.searchsorted(kind[order], np.arange(kind.max() + 2))

    def same_kind(items: Any) -> Any:
        first, size = starts[kind[items]], np.diff(starts)[kind[items]]
        return order[first + (draws.random(len(items)) * size).astype(int)]

    new = pick[len(old) :]
    lent = {name: same_kind(new) for name in ("product_id", "price", "popularity")}
    chosen = {name: np.concatenate([pick[: len(old)], rows]) for name, rows in lent.items()}
    codes = {name: a[chosen.get(name, pick)] for name, a in old.codes.items()}
    shares = {name: a[chosen.get(name, pick)] for name, a in old.shares.items()}
    ids = (*old.ids, *(f"new {i}" for i in range(len(new))))
    keys = {by: a[pick] for by, a in old.keys.items()} | {
        "product_id": np.arange(n, dtype=np.int32)
    }
    values = {**old.key_values, "product_id": ids}
    catalogue = Catalogue(ids, codes, shares, keys, values, old.defaults)
    return replace(artifact, catalogue=catalogue.tensors())


def contest(case: Case, quick: bool) -> tuple[Timing, dict[str, Any], PeerProcess]:
    """Check all answers, then time the contestants in turn."""
    draws = np.random.default_rng(1)
    asked = draws.choice(len(case.users), ASKED["ours"], replace=False).tolist()
    scorer, users = Scorer(case.pruned), case.users
    start = time.perf_counter()
    scorer.recommend_user(users, users.ids[asked[0]], K)
    first = time.perf_counter() - start
    for _ in ("by NumPy", "by the kernels"):
        for user in asked:
            hold_against_brute_force(scorer, users, user)
        scorer.warm_up()
    with tempfile.TemporaryDirectory() as folder:
        expected = write_arrays(Path(folder), case.full, users, asked[:3], K)
        peers = PeerProcess("full model", SCRIPT, [folder, "3", str(K)])
        for name in ("torch_eager", "ort_cached"):
            for number, wanted in enumerate(expected):
                found = peers.ask(json.dumps([name, number]))["logits"]
                if not np.allclose(found, wanted, atol=1e-3):
                    sys.exit(f"{name} answers otherwise than our scorer: {found} and {wanted}.")

        def ours() -> float:
            begin = time.perf_counter()
            for user in asked:
                scorer.recommend_user(users, users.ids[user], K)
            return (time.perf_counter() - begin) / ASKED["ours"]

        def theirs(name: str) -> float:
            took = [float(peers.ask(json.dumps([name, i]))["seconds"]) for i in range(ASKED[name])]
            return statistics.mean(took)

        seconds: dict[str, list[float]] = {name: [] for name in ASKED}
        for number in range(5 if quick else ROUNDS):
            for name in list(ASKED)[:: -1 if number % 2 else 1]:
                seconds[name].append(ours() if name == "ours" else theirs(name))
        peers.close()
    timing = Timing({name: tuple(s) for name, s in seconds.items()})
    assert scorer._ranking is not None
    scan = scorer._ranking._scan(0)
    detail = {
        **timing.detail(),
        "items": len(scan.items.row_of),
        "distinct_rows": len(scan.items),
        "blocks": [len(blocks.group) for blocks in scan.items.blocks],
        "share_of_rows_scored": scan.scored / max(scan.tried * len(scan.items), 1),
        "bounds_used": scan.scored <= 0.5 * scan.tried * len(scan.items),
        "first_request_s": first,
        "item_side_bytes": scorer._ranking.nbytes,
        "batches_of_peers": peers.ready["batches"],
        "model": dict(case.facts),
    }
    return timing, detail, peers


def hold_against_brute_force(scorer: Scorer, users: Users, user: int) -> None:
    """Refuse an answer that is not the start of a full sort, ties by catalogue order."""
    assert scorer.catalogue is not None
    assert scorer._ranking is not None
    logits = scorer.catalogue_logits(users, user)
    seen = set(scorer._ranking.seen(users, user).tolist())
    order = [i for i in np.argsort(-logits, kind="stable").tolist() if i not in seen]
    wanted = tuple(scorer.catalogue.ids[i] for i in order[:K])
    found = scorer.recommend_user(users, users.ids[user], K).items
    if found != wanted:
        sys.exit(f"User {user}: {found} instead of {wanted}.")


def measure(quick: bool) -> list[Claim]:
    """Return the claims."""
    timings, details = {}, {}
    for case in (planted(quick, ITEMS // 10 if quick else ITEMS), demo(quick)):
        timings[case.name], details[case.name], peers = contest(case, quick)
    claims = []
    for name, peer in (("torch_eager", peers.peer), ("ort_cached", peers.ready["ort"])):
        ratios = {case: timing.ratio(name, "ours") for case, timing in timings.items()}
        claims.append(
            Claim(
                f"top10_vs_{name}",
                min(ratios.values()),
                "ratio",
                peer,
                {"ratios": ratios, **details},
            )
        )
    return claims


if __name__ == "__main__":
    one_thread("catalogue")
    main("catalogue", measure)
