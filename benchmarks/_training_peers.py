"""The peers of :mod:`benchmarks.training`: each in a process of its own, asked for one epoch a time.

Each trains DeepFM by its own public entry, on its own loader, with its default optimiser. FuxiCTR's
package brings the layers and the loop of its models, but not the models: this one is written as in
its model zoo, without regularisation (its default).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks._common import PeerProcess

__all__ = ["PEERS", "Peer"]

START = """
import json, os, sys, time
answer = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what a library prints is no answer
from importlib.metadata import version
import numpy as np, torch
folder, threads, dim, hidden, batch = sys.argv[1], *json.loads(sys.argv[2])
torch.set_num_threads(threads)
codes, label, sizes = (np.load(f"{folder}/{name}.npy") for name in ("codes", "label", "sizes"))
names, sizes = [f"f{i}" for i in range(len(sizes))], sizes.tolist()
columns = {name: np.ascontiguousarray(codes[:, i]) for i, name in enumerate(names)}
"""

END = """
def tell(**what):
    print(json.dumps(what), file=answer, flush=True)
tell(peer=f"{package} {version(package)}")
for _ in sys.stdin:
    cpu = time.process_time()
    seconds = epoch()
    tell(seconds=seconds, cpu_s=time.process_time() - cpu)
"""

FUXICTR = """
package = "fuxictr"
from fuxictr.features import FeatureMap
from fuxictr.pytorch.dataloaders import RankDataLoader
from fuxictr.pytorch.layers import FactorizationMachine, FeatureEmbedding, MLP_Block
from fuxictr.pytorch.models import BaseModel

class DeepFM(BaseModel):
    def __init__(self, fields, **options):
        super().__init__(fields, model_id="DeepFM", gpu=-1, **options)
        self.embedding_layer = FeatureEmbedding(fields, dim)
        self.fm = FactorizationMachine(fields)
        self.mlp = MLP_Block(
            input_dim=fields.sum_emb_out_dim(), output_dim=1, hidden_units=hidden,
            hidden_activations="ReLU", output_activation=None, dropout_rates=0, batch_norm=False,
        )
        self.compile("adam", "binary_crossentropy", 1e-3)
        self.reset_parameters()
        self.model_to_device()

    def forward(self, inputs):
        inputs = self.get_inputs(inputs)
        embedding = self.embedding_layer(inputs)
        logit = self.fm(inputs, embedding)
        logit += self.mlp(embedding.flatten(start_dim=1))
        return {"y_pred": self.output_activation(logit)}

fields = FeatureMap("data", folder)
fields.features = {
    name: {"source": "", "type": "categorical", "vocab_size": size, "padding_idx": 0}
    for name, size in zip(names, sizes)
}
fields.labels, fields.num_fields, fields.total_features = ["label"], len(names), sum(sizes)
fields.default_emb_dim, fields.input_length = dim, len(names)
fields.set_column_index()
np.savez(f"{folder}/fuxictr.npz", label=label, **columns)
loader, _ = RankDataLoader(
    fields, stage="train", train_data=f"{folder}/fuxictr.npz", batch_size=batch, shuffle=True
)
model = DeepFM(
    fields, task="binary_classification", metrics=["AUC"], verbose=0, model_root=folder,
    eval_steps=10**9,  # it cannot train without validation, but it can be put off
)
os.makedirs(model.model_dir, exist_ok=True)
model.save_weights(model.checkpoint)  # what its fit reads back at the end
own, took = model.train_epoch, []

def timed(batches):
    start = time.perf_counter()
    own(batches)
    took.append(time.perf_counter() - start)

model.train_epoch = timed

def epoch():
    model.fit(loader, epochs=1)
    return took[-1]
"""

DEEPCTR = """
package = "deepctr-torch"
from deepctr_torch.inputs import SparseFeat
from deepctr_torch.models import DeepFM
fields = [SparseFeat(name, size, embedding_dim=dim) for name, size in zip(names, sizes)]
model = DeepFM(fields, fields, dnn_hidden_units=tuple(hidden))
model.compile("adam", "binary_crossentropy")
target = label[:, None]

def epoch():
    inputs = dict(columns)
    start = time.perf_counter()
    model.fit(inputs, target, batch_size=batch, epochs=1, verbose=0)
    return time.perf_counter() - start
"""

RECHUB = """
package = "torch-rechub"
from torch_rechub.basic.features import SparseFeature
from torch_rechub.models.ranking import DeepFM
from torch_rechub.trainers import CTRTrainer
from torch_rechub.utils.data import DataGenerator
fields = [SparseFeature(name, size, embed_dim=dim) for name, size in zip(names, sizes)]
model = DeepFM(fields, fields, {"dims": hidden, "activation": "relu", "dropout": 0})
trainer = CTRTrainer(model, n_epoch=1, model_path=folder)
few = {name: column[:8] for name, column in columns.items()}
loader, _, _ = DataGenerator(columns, label).generate_dataloader(
    x_val=few, y_val=label[:8], x_test=few, y_test=label[:8], batch_size=batch
)
own, took = trainer.train_one_epoch, []

def timed(*given):
    start = time.perf_counter()
    own(*given)
    took.append(time.perf_counter() - start)

trainer.train_one_epoch = timed

def epoch():
    trainer.fit(loader)
    return took[-1]
"""

#: Claim's name → script.
PEERS = {"fuxictr": FUXICTR, "deepctr_torch": DEEPCTR, "torch_rechub": RECHUB}


class Peer(PeerProcess):
    """A peer's process: built once, then asked for an epoch as often as wanted.

    Args:
        name: of :data:`PEERS`.
        folder: where its data lie and its files may.
        options: threads, dim, hidden sizes and batch size.
    """

    def __init__(self, name: str, folder: Path, options: list[Any]) -> None:
        super().__init__(name, START + PEERS[name] + END, [str(folder), json.dumps(options)])

    def epoch(self) -> dict[str, float]:
        """Train one epoch; return its seconds, and those of the processor."""
        told: dict[str, float] = self.ask()
        return told
