"""A real PostgreSQL, started for the tests on a socket of its own."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

__all__ = ["PASSWORD", "running_postgres"]

PASSWORD = "p/w@" + secrets.token_hex(8) + ":%"


def program(name: str) -> str:
    # Debian keeps the server's programs off the path.
    places = [os.environ["PATH"], *map(str, Path("/usr/lib/postgresql").glob("*/bin"))]
    found = shutil.which(name, path=os.pathsep.join(places))
    if found is None:
        pytest.skip(f"PostgreSQL's {name} is not installed")
    return found


@contextmanager
def running_postgres() -> Iterator[str]:
    """Yield the URL of a fresh server with a table of 200 clicks; PostgreSQL refuses to run as root."""
    pytest.importorskip("adbc_driver_postgresql", reason="the extra sql is not installed")
    initdb, control = program("initdb"), program("pg_ctl")
    root = os.geteuid() == 0
    with tempfile.TemporaryDirectory(prefix="pg") as folder:
        password = Path(folder, "password")
        password.write_text(PASSWORD)
        if root:
            shutil.chown(folder, "nobody")
            shutil.chown(password, "nobody")

        def call(*command: str) -> None:
            as_user = ["runuser", "-u", "nobody", "--"] if root else []
            subprocess.run(
                [*as_user, *command], check=True, cwd=folder, stdout=subprocess.DEVNULL, timeout=120
            )

        data = f"{folder}/data"
        options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
        call(initdb, "-D", data, "-U", "owner", "-A", "scram-sha-256", f"--pwfile={password}", "-N")
        call(control, "-D", data, "-w", "-l", f"{folder}/log", "-o", options, "start")
        url = f"postgresql://owner:{quote(PASSWORD, safe='')}@/postgres?host={folder}"
        fill(url)
        try:
            yield url
        finally:
            call(control, "-D", data, "-w", "-m", "immediate", "stop")


def fill(url: str) -> None:
    from adbc_driver_postgresql import dbapi

    with dbapi.connect(url) as database, database.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE clicks AS SELECT 'u' || i % 20 AS user_id, i * 0.25::numeric AS price, "
            "CASE i % 3 WHEN 0 THEN 'rot' WHEN 1 THEN 'grün' END AS colour, "
            "timestamptz '2024-01-01' + i * interval '1 hour' AS at, i % 2 = 0 AS clicked "
            "FROM generate_series(1, 200) AS i"
        )
        cursor.execute("CREATE SEQUENCE counter")
        database.commit()
