"""What benchmarks of pruning share: a set's full model, the effort that all get, and baselines."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from benchmarks._cells import RESULTS, TRAINING, Cells, Record, code_version
from benchmarks._full_models import Settings, full_model
from recprune.artifact import stored_size
from recprune.data import Dataset
from recprune.errors import ParameterError
from recprune.metrics import auc
from recprune.models import Ranker
from recprune.pipeline import Effort, baselines
from recprune.pipeline.trial import Rough
from recprune.pruning import BITS, FineTuning, encode

__all__ = ["EFFORT", "Bench", "results", "scored", "trivial"]

#: What every contestant gets after its cut, and the full model too.
EFFORT = Effort(epochs=10, pace=0.3, anew=True)
#: Modules that they come from, beside the benchmark's own.
SHARED = ("_contestants", "_full_models", "_parameters_tasks", "_parameters_ways", "_tasks")


def results(benchmark: str, quick: bool) -> Path:
    """Return the folder of results of this code.

    Args:
        benchmark: its name; ``_NAME_cells`` is its module.
        quick: whether all is small.
    """
    here = Path(__file__).parent
    files = tuple(here / f"{name}.py" for name in (f"_{benchmark}_cells", *SHARED))
    return RESULTS / f"{benchmark}-{code_version(TRAINING, files)}{'-quick' if quick else ''}"


@dataclass(frozen=True, eq=False)
class Bench:
    """A set's full model of one seed, made when it is first needed."""

    data: Dataset
    settings: Settings
    seed: int

    @cached_property
    def full(self) -> Ranker:
        """The full model."""
        return full_model(self.settings, self.seed).fit(self.data.train, self.data.tune)

    @cached_property
    def tuning(self) -> FineTuning:
        """What all are fine-tuned on."""
        return EFFORT.tuning(self.full, self.data)

    @cached_property
    def reference(self) -> Ranker:
        """The full model with the effort that every contestant gets."""
        return EFFORT.given_to(self.full, self.tuning)

    def finished(self, rough: Rough) -> Ranker:
        """Return a cut model as it ships."""
        return encode(EFFORT.given_to(rough.model, self.tuning), *BITS[rough.bits])


def scored(cells: Cells, key: str, model: Ranker, data: Dataset, size: int | None = None) -> Record:
    """Return what a model takes and keeps, its tune and gate AUC, and where its scores are kept.

    Args:
        cells: of this set and seed.
        key: of the record.
        model: as it ships.
        data: the set.
        size: bytes; None = as stored.
    """
    tune, gate, test = (model.aligned(part) for part in (data.tune, data.gate, data.test))
    return {
        "bytes": stored_size(model.artifact()) if size is None else size,
        "tune": auc(tune.label, model.logits(tune.rows)),
        "gate": auc(gate.label, model.logits(gate.rows)),
        "gate_logits": cells.keep(f"{key} gate", model.logits(gate.rows)),
        "logits": cells.keep(key, model.logits(test.rows)),
        "fields": len(model.encoder.schema.names),
        "rows": sum(model.encoder.sizes),
        "dims": sum(len(d) for d in model.net.shape.dims),
        "neurons": list(model.neurons),
    }


def trivial(
    cells: Cells, key: str, bench: Bench, full: Ranker, budget: int, kinds: set[str] | None = None
) -> Record:
    """Return the record of each trivial baseline at a budget, by its name.

    Args:
        cells: of this set and seed.
        key: of the record.
        bench: the set and the effort.
        full: the model that those begin from that do not begin anew.
        budget: bytes.
        kinds: which; None = all.
    """
    try:
        found = baselines(
            bench.data,
            bytes=budget,
            full=full,
            effort=EFFORT,
            draws=1,
            kinds=kinds,
            seed=bench.seed,
        )
    except ParameterError:  # fewer bytes than any of them can have
        return {"models": {}}
    models = {}
    for one in found:
        if one.model is not None:
            name = one.name.removesuffix(" 1")  # the only draw of fields
            models[name] = {
                **scored(cells, f"{key} {name}", one.model, bench.data, one.bytes),
                "fits": one.fits,
            }
    return {"models": models}
