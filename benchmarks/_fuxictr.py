"""FuxiCTR's LR, FM, DeepFM and DCNv2 on given rows: the script that runs in its environment.

The script takes a folder with ``task.json`` and one Parquet file a part, encodes them by FuxiCTR's
own feature processor, trains its models by its own ``fit`` with early stopping, and prints one JSON.
The wheel ships FuxiCTR's layers and loop but not its model zoo; the four models put the layers
together as the zoo does.
"""

from __future__ import annotations

__all__ = ["FUXICTR"]

FUXICTR = r"""
import json, logging, os, sys, tempfile
from importlib.metadata import version
import numpy as np, polars as pl, torch
from torch import nn
from fuxictr.preprocess import FeatureProcessor
from fuxictr.pytorch.layers import (
    CrossNetV2, FactorizationMachine, FeatureEmbedding, LogisticRegression, MLP_Block
)
from fuxictr.pytorch.models import BaseModel
from fuxictr.pytorch.torch_utils import seed_everything
from sklearn.metrics import roc_auc_score

logging.disable(logging.WARNING)
torch.set_num_threads(1)
root, name = sys.argv[1:3]
task = json.load(open(root + "/task.json"))
parts = ("train", "valid", "test")


class Model(BaseModel):
    def __init__(self, features, learning_rate, **options):
        super().__init__(
            features, task="binary_classification", gpu=-1, monitor="AUC", monitor_mode="max",
            metrics=["AUC"], verbose=0, early_stop_patience=task["patience"], model_id=name, **options
        )
        self.build(features)
        self.compile("adam", "binary_crossentropy", learning_rate)
        self.reset_parameters()
        self.model_to_device()

    def forward(self, inputs):
        return {"y_pred": self.output_activation(self.logit(self.get_inputs(inputs)))}


class LR(Model):
    def build(self, features):
        self.lr_layer = LogisticRegression(features, use_bias=True)

    def logit(self, inputs):
        return self.lr_layer(inputs)


class FM(Model):
    def build(self, features):
        self.embedding_layer = FeatureEmbedding(features, task["dim"])
        self.fm = FactorizationMachine(features)

    def logit(self, inputs):
        return self.fm(inputs, self.embedding_layer(inputs))


class DeepFM(FM):
    def build(self, features):
        super().build(features)
        size = features.sum_emb_out_dim()
        self.mlp = MLP_Block(size, hidden_units=task["hidden"], output_dim=1)

    def logit(self, inputs):
        embedding = self.embedding_layer(inputs)
        return self.fm(inputs, embedding) + self.mlp(embedding.flatten(start_dim=1))


class DCNv2(Model):
    def build(self, features):
        self.embedding_layer = FeatureEmbedding(features, task["dim"])
        size = features.sum_emb_out_dim()
        self.crossnet = CrossNetV2(size, task["cross"])
        self.parallel_dnn = MLP_Block(size, hidden_units=task["hidden"])
        self.fc = nn.Linear(size + task["hidden"][-1], 1)

    def logit(self, inputs):
        embedding = self.embedding_layer(inputs, flatten_emb=True)
        return self.fc(torch.cat([self.crossnet(embedding), self.parallel_dnn(embedding)], dim=-1))


class Batches:
    # Rows in memory, cut by tensor indexing: the same batches as its own loaders', faster.
    def __init__(self, columns, shuffle):
        self.columns, self.shuffle = columns, shuffle
        self.rows = len(columns[task["label"]])

    def __len__(self):
        return -(-self.rows // task["batch"])

    def __iter__(self):
        order = torch.randperm(self.rows) if self.shuffle else torch.arange(self.rows)
        for chosen in order.split(task["batch"]):
            yield {name: column[chosen] for name, column in self.columns.items()}


def encoded(numbers):
    # Its two ways with a number: standardised, or a bucket of equal frequency as a category.
    frames = {part: pl.read_parquet(f"{root}/{part}.parquet") for part in parts}
    columns = []
    for field in task["fields"]:
        column = {"name": field["name"], "active": True, "type": field["kind"], "dtype": "str"}
        if field["kind"] == "sequence":
            column |= {"splitter": "^", "max_len": field["length"]}
        if field["kind"] == "numeric":
            values = frames["train"][field["name"]].to_numpy()
            finite = values[np.isfinite(values)]
            if numbers == "buckets":
                edges = np.unique(np.quantile(finite, np.linspace(0, 1, 33)[1:-1]))
                column["type"] = "categorical"
                for part, frame in frames.items():
                    x = frame[field["name"]].to_numpy()
                    bucket = np.where(np.isnan(x), -1, np.searchsorted(edges, x, side="right"))
                    texts = pl.Series(field["name"], bucket).cast(pl.String)
                    frames[part] = frame.with_columns(texts)
            else:
                column |= {"dtype": "float", "normalizer": "StandardScaler"}
                column["fill_na"] = float(finite.mean())
                nan = pl.col(field["name"]).fill_nan(None)
                frames = {part: frame.with_columns(nan) for part, frame in frames.items()}
        columns.append(column)
    label = {"name": task["label"], "dtype": "float"}
    # Its working files stay apart from another model's.
    where = tempfile.mkdtemp(dir=root)
    processor = FeatureProcessor(columns, label, dataset_id="data", data_root=where + "/")
    lazy = {part: processor.preprocess(frame.lazy()) for part, frame in frames.items()}
    processor.fit(lazy["train"])
    out = {}
    for part in parts:
        given = lazy[part].collect()
        done = processor.transform({c: given[c].to_numpy() for c in given.columns})
        out[part] = {c: torch.from_numpy(np.array(v)) for c, v in done.items()}
    loaders = {part: Batches(columns, part == "train") for part, columns in out.items()}
    features = processor.feature_map
    features.default_emb_dim = task["dim"]
    return where, features, loaders


encodings = {numbers: encoded(numbers) for numbers in task["numbers"]}


def run(numbers, regularizer, rate, seed):
    where, features, loaders = encodings[numbers]
    seed_everything(seed)
    os.makedirs(where + "/data", exist_ok=True)
    model = globals()[name](
        features, rate, model_root=where + "/", embedding_regularizer=regularizer
    )
    model.fit(loaders["train"], epochs=task["epochs"], validation_data=loaders["valid"])
    valid, test = (
        float(roc_auc_score(np.asarray(loaders[p].columns[task["label"]]), model.predict(loaders[p])))
        for p in ("valid", "test")
    )
    how = {"numbers": numbers, "regularizer": regularizer, "rate": rate, "seed": seed}
    return {**how, "valid": valid, "test": test, "epochs": model._epoch_index + 1}


# One choice after the other, each by mean validation AUC: numbers, regularizer, learning rate.
def mean(runs):
    return sum(t["valid"] for t in runs) / len(runs)


def several(how):
    return [run(**how, seed=seed) for seed in range(task["choice_seeds"])]


first, middle, last = task["rates"][name]
how = {"numbers": task["numbers"][0], "regularizer": task["regularizers"][0], "rate": middle}
tried = [several(how)]
for what, values in (
    ("numbers", task["numbers"][1:]),
    ("regularizer", task["regularizers"][1:]),
    ("rate", (first, last)),
):
    tried += [several({**how, what: value}) for value in values]
    best = max(tried, key=mean)
    how = {key: best[0][key] for key in how}
runs = best + [run(**how, seed=seed) for seed in range(len(best), task["seeds"])]
flat = [t for runs in tried for t in runs]
print(json.dumps({"peer": "fuxictr " + version("fuxictr"), "tried": flat, "runs": runs}))
"""
