"""The fuzzer of the parsers runs, so that a long run on demand is worth its time; see tests/fuzzing/parsers.py."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

FUZZER = Path(__file__).parent / "fuzzing" / "parsers.py"


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris, the fuzzer, is not installed")
def test_the_fuzzer_reaches_the_parsers_and_finds_nothing_in_a_short_run(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, FUZZER, "-runs=5000", "-seed=3143"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert int(re.findall(r"cov: (\d+)", run.stderr)[-1]) > 50
