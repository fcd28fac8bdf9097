"""Write the hashes of the frozen suite anew: only when its samples are meant to change, which makes all old figures void.

usage: python tests/measure/freeze_suite.py
"""

from pathlib import Path

from microdeconv import learnt
from microdeconv.learnt.suite import HASHES, cases_of, freeze


def main():
    path = Path(learnt.__file__).with_name(HASHES)
    path.write_text(freeze(cases_of((), quick=False)), encoding="utf-8")
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
