"""A Secret volume as kubelet writes it: a folder of files behind a symbolic link that is swapped."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Mapping
from pathlib import Path


class Volume:
    """One mounted Secret."""

    def __init__(self, folder: Path) -> None:
        """Make the folder; nothing is mounted yet."""
        self.folder = folder
        folder.mkdir()
        self._numbers = itertools.count()

    def write(self, files: Mapping[str, str]) -> None:
        """Swap the content as a whole, as kubelet's atomic writer does."""
        number = next(self._numbers)
        data, former = self.folder / f"..{number}", self.folder / "..data"
        data.mkdir()
        for name, content in files.items():
            (data / name).write_text(content)
            if not (self.folder / name).is_symlink():
                (self.folder / name).symlink_to(f"..data/{name}")
        link = self.folder / "..data_tmp"
        link.symlink_to(data.name)
        old = former.resolve() if former.is_symlink() else None
        link.rename(former)
        if old is not None:
            shutil.rmtree(old)
