"""The figures of docs/performance.md.

`python -m bench.report run` measures what the page shows; `python -m bench.report docs` writes it.
"""

import sys

from bench.performance import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
