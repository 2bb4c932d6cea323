"""The services that ours is held against: an empty route, and the full model in other engines.

*Empty route*: FastAPI with one route that does nothing.
*Full model*: a service of the same form as ours: ``POST /v1/recommend`` with ``{"user", "k"}`` and a
key, of which it checks one alone, without limits, scopes, metrics or log. A user's arrays are
prepared beforehand, as in :mod:`benchmarks._catalogue_peers`, and looked up; ours prepares them anew
for each request.
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks._catalogue_peers import ARRAYS, ORT, TORCH
from benchmarks._common import python_of

__all__ = ["peer_command", "write_peers"]

EMPTY = """
from fastapi import FastAPI
api = FastAPI()

@api.get("/empty")
async def empty():
    return {}
"""

BEGIN = r"""
import gc, hmac, json, os, time
folder, n_users, k = os.environ["PEER_FOLDER"], int(os.environ["PEER_USERS"]), 10
"""

CACHED = r"""
def timed(batch):
    start = time.perf_counter()
    cached(users[0], batch)
    return time.perf_counter() - start
took = {b: min(timed(b) for _ in range(3)) for b in (500, 1000, 2000, 5000, n)}
batch, best, peer = min(took, key=took.get), cached, f"onnxruntime {version('onnxruntime')}"
"""

EAGER = r"""
batch, best, peer = 1000, eager, f"torch {version('torch')}"
# All that is needed is in tensors.
for u in users:
    tensors = u["torch"]
    u.clear()
    u["torch"] = tensors
w.clear()
gc.collect()
"""

API = r"""
from fastapi import FastAPI, Header, HTTPException, Response
from pydantic import BaseModel, Field

class Asked(BaseModel):
    user: str
    k: int = Field(10, ge=1, le=10)

api, key = FastAPI(), f"Bearer {os.environ['PEER_KEY']}".encode()
places = {name: at for at, name in enumerate(json.loads(os.environ["PEER_IDS"]))}

@api.get("/v1/model")
async def model():
    return {"peer": peer, "batch": batch}

@api.post("/v1/recommend")
async def recommend(asked: Asked, authorization: str = Header("")):
    if not hmac.compare_digest(authorization.encode(), key):
        raise HTTPException(401)
    items, logits = best(users[places[asked.user]], batch)
    scores = 1 / (1 + np.exp(-logits))
    found = [{"item": str(i), "score": s} for i, s in zip(items.tolist(), scores.tolist())]
    answer = {"model": "full", "fallback": False, "items": found[: asked.k]}
    return Response(json.dumps(answer), media_type="application/json")
"""

MODULES = {
    "empty_route": EMPTY,
    "ort_cached": BEGIN + ARRAYS + ORT + CACHED + API,
    "torch_eager": BEGIN + ARRAYS + TORCH + EAGER + API,
}


def write_peers(folder: Path) -> None:
    """Write the services' modules into a folder."""
    for name, text in MODULES.items():
        (folder / f"{name}.py").write_text(text, "utf-8")


def peer_command(name: str, folder: Path, port: int) -> list[str]:
    """Return what starts one of the services, with two workers.

    Raises:
        SystemExit: the environment of the peers is missing.
    """
    python = sys.executable if name == "empty_route" else python_of(".venv-peers")
    where = ["--app-dir", str(folder), "--host", "127.0.0.1", "--port", str(port)]
    how = ["--workers", "2", "--loop", "uvloop", "--http", "httptools"]
    quiet = ["--no-access-log", "--log-level", "warning"]
    return [python, "-m", "uvicorn", f"{name}:api", *where, *how, *quiet]
