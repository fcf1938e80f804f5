"""The image that containers of a lab run: Debian's busybox under all its names, and a page for its web server."""

from __future__ import annotations

import os
import shutil
import tarfile
from pathlib import Path

from lab import netns
from lab.names import LabError

IMAGE = "img"
BUSYBOX = Path("/bin/busybox")
PAGE = "Warren\n"
CHANGES = ("--change", "ENV PATH=/bin:/sbin", "--change", 'CMD ["sh"]')
"""What an import says besides the files."""


def path(lab_dir: Path) -> Path:
    return lab_dir / "image.tar"


def make(lab_dir: Path, engine: str, package: str) -> None:
    """For an engine, which must be installed. Nothing is fetched from anywhere."""
    for needed, of in ((engine, package), (str(BUSYBOX), "busybox-static")):
        if not Path(needed).exists():
            raise LabError(f"{needed} is missing: install Debian's {of}, or run `make test`.")
    done = path(lab_dir)
    if done.exists():
        return
    tree, draft = lab_dir / f"image.{os.getpid()}", lab_dir / f"image.{os.getpid()}.tar"
    for name in ("bin", "dev", "proc", "sys", "etc", "tmp", "root", "www"):
        (tree / name).mkdir(parents=True)
    shutil.copy(BUSYBOX, tree / "bin" / "busybox")
    for applet in netns.run(str(BUSYBOX), "--list").split():
        if applet != "busybox":
            (tree / "bin" / applet).symlink_to("busybox")
    (tree / "sbin").symlink_to("bin")
    (tree / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (tree / "www" / "index.html").write_text(PAGE)
    with tarfile.open(draft, "w") as archive:
        archive.add(tree, ".")
    draft.replace(done)
    shutil.rmtree(tree)
