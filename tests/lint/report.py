"""What the checks of the sources have in common: they print the mistakes that they find below a folder, src/ if none is named."""
import os
import sys

SRC = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "src")


def main(mistakes):
    """The exit status: 1 when there are any."""
    found = list(mistakes(os.path.normpath(*sys.argv[1:] or [SRC])))
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0
