"""The soak as a program: `make soak`, or `python tests/bench/soak/run.py --help`."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
    from tests.bench.soak.program import main

    raise SystemExit(main())
