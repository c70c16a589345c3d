"""The types of ASGI are there without the library that speaks HTTP."""

import subprocess
import sys


def test_they_are_imported_without_hypercorn() -> None:
    code = "import sys, trioedge.endpoints.asgi.messages; assert 'hypercorn' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
