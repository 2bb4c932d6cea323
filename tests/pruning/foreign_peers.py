"""A model each of four libraries, pruned and read again: runs in the libraries' environments.

``python foreign_peers.py prune NAME FOLDER`` trains a model by the library's own loop, prunes it,
trains the small one by the same loop, and saves it with its outputs. ``load NAME FOLDER`` builds
the model afresh in another process, reads the small one, and prints how far its outputs are off.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

import recprune as rp
from recprune.foreign.tracing import call

ROWS, USERS, ITEMS = 512, 400, 600


def table() -> dict[str, np.ndarray]:
    """Return columns of a log in which some users like some items."""
    draw = np.random.default_rng(0)
    user, item = draw.integers(1, USERS, ROWS), draw.integers(1, ITEMS, ROWS)
    return {
        "user": user,
        "item": item,
        "price": draw.random(ROWS).astype(np.float32),
        "label": ((user + item) % 3 == 0).astype(np.float32),
    }


class DeepCtr:
    """DeepCTR-Torch's DeepFM; inputs are one matrix, its ``fit`` is the model's own method."""

    tables, hidden = "embedding_dict", "dnn"

    def build(self) -> Any:
        from deepctr_torch.inputs import DenseFeat, SparseFeat
        from deepctr_torch.models import DeepFM

        columns = [SparseFeat("user", USERS, 8), SparseFeat("item", ITEMS, 8), DenseFeat("price")]
        net = DeepFM(columns, columns, dnn_hidden_units=(64, 32), dnn_use_bn=True, seed=1)
        net.compile("adam", "binary_crossentropy")
        return net

    def inputs(self) -> Any:
        columns = table()
        x = np.stack([columns[k] for k in ("user", "item", "price")], 1)
        return torch.from_numpy(x.astype(np.float32))

    def fit(self, net: Any) -> None:
        columns = table()
        x = {k: columns[k] for k in ("user", "item", "price")}
        net.fit(x, columns["label"], batch_size=64, epochs=2, verbose=0)


class Fuxi:
    """FuxiCTR's layers put together as its zoo's DeepFM; a dict goes in and one comes out."""

    tables, hidden = "embedding_layer", "mlp"

    def build(self) -> Any:
        from fuxictr.features import FeatureMap
        from fuxictr.pytorch.layers import FactorizationMachine, FeatureEmbedding, MLP_Block
        from fuxictr.pytorch.models import BaseModel

        class DeepFM(BaseModel):  # type: ignore[misc]
            def __init__(self, features: Any) -> None:
                super().__init__(
                    features,
                    metrics=["AUC"],
                    verbose=0,
                    model_root=tempfile.mkdtemp(),
                    embedding_regularizer=1e-6,
                )
                self.embedding_layer = FeatureEmbedding(features, 8)
                self.fm = FactorizationMachine(features)
                self.mlp = MLP_Block(
                    features.sum_emb_out_dim(), [64, 32], output_dim=1, batch_norm=True
                )
                self.compile("adam", "binary_crossentropy", 1e-2)
                self.reset_parameters()

            def forward(self, inputs: Any) -> Any:
                x = self.get_inputs(inputs)
                e = self.embedding_layer(x)
                logit = self.fm(x, e) + self.mlp(e.flatten(start_dim=1))
                return {"y_pred": self.output_activation(logit)}

        features = FeatureMap("small", tempfile.mkdtemp())
        for name, size in (("user", USERS), ("item", ITEMS)):
            kind = {"source": "", "type": "categorical", "padding_idx": 0, "vocab_size": size}
            features.features[name] = kind
        features.features["price"] = {"source": "", "type": "numeric"}
        features.labels, features.default_emb_dim = ["label"], 8
        features.num_fields = features.get_num_fields()
        features.set_column_index()
        torch.manual_seed(1)
        net = DeepFM(features)
        os.makedirs(net.model_dir)
        return net

    def inputs(self) -> Any:
        return {k: torch.from_numpy(v) for k, v in table().items()}

    def fit(self, net: Any) -> None:
        batches = [{k: v[i : i + 64] for k, v in self.inputs().items()} for i in range(0, ROWS, 64)]
        net.fit(batches, epochs=2, validation_data=batches)


class Rechub:
    """torch-rechub's DeepFM with its ``CTRTrainer``; a dict of columns goes in."""

    tables, hidden = "embedding", "mlp"

    def build(self) -> Any:
        from torch_rechub.basic.features import DenseFeature, SparseFeature
        from torch_rechub.models.ranking import DeepFM

        sparse = [
            SparseFeature("user", USERS, embed_dim=8),
            SparseFeature("item", ITEMS, embed_dim=8),
        ]
        torch.manual_seed(1)
        mlp = {"dims": [64, 32], "activation": "relu", "dropout": 0.1}
        return DeepFM([*sparse, DenseFeature("price")], sparse, mlp)

    def inputs(self) -> Any:
        return {k: torch.from_numpy(v) for k, v in table().items() if k != "label"}

    def fit(self, net: Any) -> None:
        from torch_rechub.trainers import CTRTrainer
        from torch_rechub.utils.data import DataGenerator

        x, y = {k: v.numpy() for k, v in self.inputs().items()}, table()["label"]
        loader, *_ = DataGenerator(x, y).generate_dataloader(
            x_val=x, y_val=y, x_test=x, y_test=y, batch_size=64
        )
        CTRTrainer(net, n_epoch=2, earlystop_patience=5, model_path=tempfile.mkdtemp()).fit(
            loader, loader
        )


class RecBole:
    """RecBole's NeuMF on the ML-100k that its wheel ships, with its ``Trainer``."""

    tables, hidden = "*_embedding", "mlp_layers"

    def __init__(self) -> None:
        import recbole
        from recbole.config import Config
        from recbole.data import create_dataset, data_preparation

        os.chdir(tempfile.mkdtemp())
        settings = {
            "data_path": str(Path(recbole.__file__).parent / "dataset_example"),
            "show_progress": False,
            "state": "ERROR",
            "use_gpu": False,
            "epochs": 1,
            "train_batch_size": 8192,
            "eval_args": {"mode": "uni20"},
        }
        self.config = Config(model="NeuMF", dataset="ml-100k", config_dict=settings)
        self.train, self.valid, _ = data_preparation(self.config, create_dataset(self.config))

    def build(self) -> Any:
        from recbole.model.general_recommender import NeuMF
        from recbole.utils import init_seed

        init_seed(1, True)
        return NeuMF(self.config, self.train.dataset)

    def inputs(self) -> Any:
        user, item = torch.arange(1, 900), torch.arange(1, 900) * 7 % 1600 + 1
        return user, item

    def fit(self, net: Any) -> None:
        from recbole.trainer import Trainer

        Trainer(self.config, net).fit(self.train, self.valid, saved=False, verbose=False)


PEERS = {"deepctr-torch": DeepCtr, "fuxictr": Fuxi, "torch-rechub": Rechub, "recbole": RecBole}


def outputs(net: Any, peer: Any) -> torch.Tensor:
    with torch.no_grad():
        out = call(net.eval(), peer.inputs())
    return (out["y_pred"] if isinstance(out, dict) else out).detach().contiguous()


def prune(peer: Any, folder: Path) -> dict[str, Any]:
    net = peer.build()
    peer.fit(net)
    before = outputs(net, peer)
    keep = {peer.tables: [rp.rows(0.3), rp.dims(0.5)], peer.hidden: rp.neurons(0.5)}
    plan = rp.plan(net, example_inputs=peer.inputs(), keep=keep, batches=[peer.inputs()])
    small = plan.apply(net)
    cut = outputs(small, peer)
    peer.fit(small.train())
    after = outputs(small, peer)
    plan.save(small, folder / "small")
    save_file({"out": after}, folder / "out.safetensors")
    held = {id(t): t for t in small.state_dict(keep_vars=True).values()}
    return {
        "untouched": bool(torch.equal(before, outputs(net, peer))),
        "tuned": float((after - cut).abs().max()),
        "before": plan.bytes_before,
        "predicted": plan.predicted_bytes,
        "bytes": sum(t.nbytes for t in held.values()),
        "units": sorted({c.axis.unit for c in plan.cuts}),
        "skipped": dict(plan.skipped),
        "plan": str(plan),
    }


def load(peer: Any, folder: Path) -> dict[str, Any]:
    small = rp.restore(peer.build(), folder / "small")
    want = load_file(folder / "out.safetensors")["out"]
    return {"off": float((outputs(small, peer) - want).abs().max()), "spread": float(want.std())}


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    logging.disable(logging.CRITICAL)
    torch.set_num_threads(1)
    verb, name, where = sys.argv[1:]
    told = {"prune": prune, "load": load}[verb](PEERS[name](), Path(where).resolve())
    print(json.dumps(told))
