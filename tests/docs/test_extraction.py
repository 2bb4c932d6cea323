"""Blocks are found and run as readers would, and none is left out without a reason."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT, RUN, SHOWN, Block, blocks_of, exit_codes, pages, runnable
from tests.docs.running import BlockFailed, Page, port_of

# What a test cannot do: machines' administration, package indexes, whole test suites, and other
# machines.
EXCUSED = re.compile(
    r"\b(docker|systemctl|systemd-run|nginx|apt-get|apt|pip install|make|git clone|ray start|sudo|kubectl|10\.0\.0\.\d+)\b"
)

TEXT = """
# A page

```sh
echo one
```

- in a list

  ```python
  x = 1
  ```

<!-- not run: builds an image -->
```sh
docker build -t recprune .
```

<!-- not run: said of the paragraph -->

Words.

```sh
echo two
```

<!-- exit: 3, 4: the verdict on so few rows is open -->
```sh
false
```

```text
not typed
```
"""


def test_blocks_are_found_with_their_lines_and_comments() -> None:
    found = blocks_of(TEXT, "a.md")
    assert [block.code for block in runnable(found)] == [
        "echo one\n",
        "x = 1\n",
        "echo two\n",
        "false\n",
    ]
    assert [block.reason for block in found if block.reason is not None] == ["builds an image"]
    lines = TEXT.splitlines()
    assert all(lines[b.line - 1].strip() == b.code.splitlines()[0] for b in found)
    assert [exit_codes(block) for block in found if exit_codes(block)] == [{3, 4}]


def test_what_serves_is_known_by_its_port() -> None:
    def of(code: str) -> int | None:
        return port_of(Block("a.md", 1, "sh", code))

    assert of("recprune serve runs/a &\n") == 8000
    assert of("recprune serve runs/a \\\n  --port 8123 --state s > log 2>&1 &\n") == 8123
    assert of("recprune serve runs/a\nsleep 1 &\n") is None


def test_every_block_of_the_pages_is_run_shown_or_excused() -> None:
    targets = set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    wrong = []
    for block in (block for blocks in pages().values() for block in blocks):
        if block.language not in (*RUN, *SHOWN):
            wrong.append(f"{block.place}: a block of {block.language or 'no language'!r}")
        if block.reason is None:
            continue
        if not block.reason:
            wrong.append(f"{block.place}: not run, and no reason is given")
        elif not EXCUSED.search(block.code):
            wrong.append(f"{block.place}: could be run ({block.reason})")
        made = re.findall(r"^make ((?:[a-z][\w-]* ?)+)", block.code, re.M)
        missing = {name for names in made for name in names.split()} - targets
        wrong += [f"{block.place}: the Makefile has no target {name}" for name in sorted(missing)]
    assert not wrong, "\n".join(wrong)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("docs")
    with Page("a.md", folder / "page", str(folder / "state")) as page:
        yield page


def block(language: str, code: str, comment: str = "") -> Block:
    return Block("a.md", 7, language, code, comment)


def test_blocks_of_a_page_share_folder_variables_and_names(reader: Page) -> None:
    reader.run(block("sh", "export WORD=hello\nKEY=$(echo secret)\nmkdir -p sub; cd sub\n"))
    assert reader.run(block("sh", 'echo "$KEY" in $(basename "$PWD")\n')) == "secret in sub\n"
    reader.run(block("python", "import os\nshout = os.environ['WORD'].upper()\n"))
    assert reader.run(block("python", "print(shout, os.path.basename(os.getcwd()))\n")) == (
        "HELLO sub\n"
    )
    assert reader.run(block("sh", "recprune --help | grep -c Usage\n")).strip() == "1"


def test_a_failing_python_block_tells_its_place_and_what_it_printed(reader: Page) -> None:
    with pytest.raises(
        BlockFailed, match=r"(?s)a\.md:7: failed.*    print\(1\).*line 8.*NameError"
    ):
        reader.run(block("python", "print(1)\nno_such_name\n"))


def test_a_shell_goes_on_after_the_exits_that_a_page_names_and_ends_at_others(
    tmp_path: Path,
) -> None:
    with Page("a.md", tmp_path / "page", str(tmp_path / "state")) as page:
        named = "<!-- exit: 3: the verdict is open -->"
        assert page.run(block("sh", "(exit 3)\necho on\n", named)) == "on\n"
        with pytest.raises(BlockFailed, match=r"(?s)a\.md:7: exit 4.*It printed:\nseen"):
            page.run(block("sh", "echo seen\n(exit 4)\necho never\n", named))


def test_what_a_page_started_ends_with_it(tmp_path: Path) -> None:
    with Page("a.md", tmp_path / "page", str(tmp_path / "state")) as page:
        pid = int(page.run(block("sh", "sleep 1000 &\necho $!\n")))
        assert Path(f"/proc/{pid}").exists()
    assert not Path(f"/proc/{pid}").exists()
