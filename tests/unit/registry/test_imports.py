"""What a command that needs no registry does not pay for."""

from __future__ import annotations

import subprocess
import sys


def test_the_library_for_http_is_imported_late() -> None:
    script = (
        "import sys, mydocker.cli.main, mydocker.engine, mydocker.image.load\n"
        "engine = mydocker.engine.Engine('/nonexistent', '/nonexistent')\n"
        "assert 'urllib3' not in sys.modules and 'email' not in sys.modules\n"
        "assert engine.registries is engine.registries\n"
        "assert 'urllib3' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
