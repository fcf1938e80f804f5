"""`make test` with its processes, in small: what belongs together is run by one of them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

FILES = [f"tests/{folder}/test_{number}.py" for folder in ("agent", "db", "lab", "lab/docker") for number in range(5)]
FILES += ["tests/lab/test_podman.py"]
WHOLE = {"tests/agent/": "agent", "tests/lab/docker/": "engines", "tests/lab/test_podman.py": "engines"}
ROOT = Path(__file__).parents[2]
TESTS = "import pytest\n@pytest.mark.parametrize('n', ['a::b', '@x', 'c/d'])\ndef test(n): pass\n"


def whole(file: str) -> str:
    """What a file belongs to: a file of no whole to itself."""
    return next((name for place, name in {**WHOLE, "tests/lab/": "lab"}.items() if file.startswith(place)), file)


def test_what_belongs_together_is_run_by_one_process(tmp_path: Path) -> None:
    for file in FILES:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).parent.joinpath("__init__.py").touch()
        (tmp_path / file).write_text(TESTS)
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path / "tests")
    (tmp_path / "pytest.ini").write_text("[pytest]\ntestpaths = tests\n")
    command = [sys.executable, "-m", "pytest", "-v", "-n", "3", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0 and f"{3 * len(FILES)} passed" in done.stdout, done.stdout + done.stderr
    by: dict[str, set[str]] = {}
    for worker, file in re.findall(r"\[(gw\d)\].* PASSED (\S+?)::", done.stdout):
        by.setdefault(whole(file), set()).add(worker)
    assert all(len(workers) == 1 for workers in by.values()), by
    assert len(set().union(*(by[name] for name in ("lab", "engines", "agent")))) == 3, "at once"
