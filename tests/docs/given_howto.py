"""What the how-tos presuppose: a table of clicks, and brokers on this machine.

Made in the Python of each page, which may have NumPy and nothing else beside its own packages.
"""

from __future__ import annotations

import csv
import functools
import socket
import socketserver
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["HOWTO", "PORTS", "answers"]

USERS, ITEMS, BRANDS, TASTES = 300, 200, 15, 3
KAFKA, REDIS = 9092, 6379
#: Where a page's brokers listen: nothing else may.
PORTS = {"docs/howto/kafka.md": (KAFKA, REDIS)}


def clicks(rows: int = 6_000, name: str = "clicks.csv", seed: int = 0) -> None:
    """Write a log in which users click items by taste, brand, price, device and age.

    City, hour and gender say nothing of the label. A seed draws who comes and what happens; users
    and items are the same ones always.
    """
    world, draw = np.random.default_rng(7), np.random.default_rng(seed)
    taste, kind = world.normal(size=(USERS, TASTES)), world.normal(size=(ITEMS, TASTES))
    age, gender = world.integers(18, 80, USERS), world.choice(["f", "m"], USERS)
    city, brand = world.integers(0, 12, USERS), world.integers(0, BRANDS, ITEMS)
    price, liked = world.gamma(2, 10, ITEMS).round(2), world.normal(size=BRANDS)
    # The smaller of two draws: some users and items come often, most do not.
    user, item = (draw.integers(0, n, (2, rows)).min(axis=0) for n in (USERS, ITEMS))
    hour, device = draw.integers(0, 24, rows), draw.choice(["phone", "desktop", "tablet"], rows)
    logit = 0.7 * (taste[user] * kind[item]).sum(axis=1) + 0.4 * liked[brand[item]]
    logit += 0.05 * (age[user] - 45) - price[item] / 60 + 1.5 * (device == "desktop") - 0.5
    columns = {
        "event_id": [f"e{seed}-{i}" for i in range(rows)],
        "user_id": [f"u{i}" for i in user],
        "item_id": [f"i{i}" for i in item],
        "age": age[user],
        "gender": gender[user],
        "city": [f"c{i}" for i in city[user]],
        "brand": [f"b{i}" for i in brand[item]],
        "price": price[item],
        "hour": hour,
        "device": device,
        "clicked": (draw.random(rows) < 1 / (1 + np.exp(-logit))).astype(int),
    }
    with open(name, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def streams() -> None:
    """Write clicks and later ones, and start Kafka and Redis on the ports that readers know.

    All of it ends with the page's process. Kafka is librdkafka's mock, whose brokers choose their
    ports: what listens on the known one passes each connection on, as a load balancer would.
    """
    from tests.streaming.brokers import KafkaMock

    clicks()
    clicks(name="later.csv", seed=1)
    mock = KafkaMock()
    mock.tell("topic clicks 2")
    server = _Forwarding(("127.0.0.1", KAFKA), _Forward)
    server.mock = mock  # kept, so that it runs
    threading.Thread(target=server.serve_forever, daemon=True).start()
    words = ["redis-server", "--port", str(REDIS), "--save", "", "--appendonly", "no"]
    subprocess.Popen(words, stdout=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while not answers(REDIS):
        assert time.monotonic() < until, "redis-server did not start"
        time.sleep(0.05)


def answers(port: int) -> bool:
    """Whether something on this machine listens on a port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class _Forwarding(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    mock: Any


class _Forward(socketserver.BaseRequestHandler):
    """Passes bytes on to the first broker of the mock, and back."""

    def handle(self) -> None:
        assert isinstance(self.server, _Forwarding)
        host, port = self.server.mock.brokers.split(",")[0].rsplit(":", 1)
        with socket.create_connection((host, int(port))) as there:
            threading.Thread(target=_pass, args=(there, self.request), daemon=True).start()
            _pass(self.request, there)


def _pass(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65_536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return  # one side is gone


_MANY = functools.partial(clicks, 20_000)
HOWTO: dict[str, Callable[[], None]] = {
    "docs/howto/budgets.md": clicks,
    "docs/howto/deepctr-torch.md": _MANY,
    "docs/howto/fuxictr.md": _MANY,
    "docs/howto/kafka.md": streams,
    "docs/howto/lightgbm.md": _MANY,
    "docs/howto/minimisation.md": clicks,
    "docs/howto/pytorch.md": _MANY,
    "docs/howto/ray.md": functools.partial(clicks, 2_000),
    "docs/howto/scikit-learn.md": clicks,
    "docs/howto/torch-rechub.md": _MANY,
}
