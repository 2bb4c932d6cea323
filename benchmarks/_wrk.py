"""Load by ``wrk``: connections that ask again as soon as they were answered, drawn requests."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Load", "Requests", "load", "parsed"]

#: Marks the line that the script prints when wrk is done.
MARK = "recprune-wrk "
#: Requests are made before the clock runs, and drawn from with one multiplication.
SCRIPT = """
local bodies, made = {bodies}, {{}}
function init(arguments)
  for number, body in ipairs(bodies) do
    made[number] = wrk.format({method}, {path}, {headers}, body)
  end
end
function request()
  return made[math.random(#made)]
end
function done(summary, latency, requests)
  local errors, at = summary.errors, latency
  io.write(string.format(
    '{mark}{{"requests": %d, "microseconds": %d, "p50": %d, "p99": %d, "most": %d, ' ..
    '"status": %d, "socket": %d}}\\n',
    summary.requests, summary.duration, at:percentile(50), at:percentile(99), at.max,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
"""


@dataclass(frozen=True)
class Requests:
    """What is asked for.

    Args:
        method: of HTTP.
        path: of the route.
        bodies: one of which each request draws; one empty text for a route without.
        headers: of all requests.
    """

    method: str
    path: str
    bodies: Sequence[str] = ("",)
    headers: Mapping[str, str] | None = None

    def script(self) -> str:
        """Return the Lua script that makes them."""
        headers = ", ".join(f"[{_lua(k)}] = {_lua(v)}" for k, v in (self.headers or {}).items())
        return SCRIPT.format(
            bodies=f"{{{', '.join(map(_lua, self.bodies))}}}",
            method=_lua(self.method),
            path=_lua(self.path),
            headers=f"{{{headers}}}",
            mark=MARK,
        )


@dataclass(frozen=True)
class Load:
    """What came of it.

    Args:
        requests: answered.
        rps: of them a second.
        p50: seconds of the median answer.
        p99: seconds that one in a hundred takes longer than.
        failed: answers with another status than 2xx or 3xx, and broken connections.
    """

    requests: int
    rps: float
    p50: float
    p99: float
    failed: int


def load(url: str, asked: Requests, seconds: float, connections: int) -> Load:
    """Ask for some seconds, with one thread.

    Raises:
        SystemExit: wrk is not installed or failed, or a request did.
    """
    program = shutil.which("wrk")
    if program is None:
        sys.exit("wrk is missing; install it, with: apt-get install wrk")
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "requests.lua"
        script.write_text(asked.script(), "utf-8")
        options = ["-t1", f"-c{connections}", f"-d{max(round(seconds), 1)}s", "--timeout", "30s"]
        run = subprocess.run(
            [program, *options, "--latency", "-s", str(script), url],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    if run.returncode:
        sys.exit(f"wrk failed with exit code {run.returncode}:\n{run.stdout[-2000:]}")
    found = parsed(run.stdout)
    if found.failed:
        sys.exit(f"{asked.method} {url}{asked.path}: {found.failed} requests failed.")
    return found


def parsed(output: str) -> Load:
    """Return what the script printed at the end of wrk's output.

    Raises:
        SystemExit: it did not.
    """
    line = next((text for text in output.splitlines() if text.startswith(MARK)), None)
    if line is None:
        sys.exit(f"wrk told no figures:\n{output[-2000:]}")
    told = json.loads(line.removeprefix(MARK))
    return Load(
        told["requests"],
        told["requests"] / (told["microseconds"] / 1e6),
        told["p50"] / 1e6,
        told["p99"] / 1e6,
        told["status"] + told["socket"],
    )


def _lua(text: str) -> str:
    """Return a text as Lua writes it, in ASCII."""
    safe = (chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\{b:03d}" for b in text.encode())
    return f'"{"".join(safe)}"'
