"""The benchmark as a program: `make bench`, or `python tests/bench/run.py --help`."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from tests.bench.program import main

    raise SystemExit(main())
