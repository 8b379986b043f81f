"""The text files of a git repository, in the work tree or at a revision. Works in the current folder's repository."""

import io
import subprocess
import tarfile
from pathlib import Path

PYTHON = "#!/usr/bin/env python3"


def texts(revision: str | None) -> dict[str, str]:
    """The contents of all text files by path; revision None means the work tree and its new files."""
    root = Path(git("rev-parse", "--show-toplevel").decode().strip())
    found = at(root, revision) if revision else in_work_tree(root)
    return {name: text for name, data in sorted(found.items()) if (text := decoded(data)) is not None}


def at(root: Path, revision: str) -> dict[str, bytes]:
    """The files of a revision. Exits with git's message if there is no such revision."""
    with tarfile.open(fileobj=io.BytesIO(git("-C", str(root), "archive", revision))) as archive:
        members = [member for member in archive if member.isfile()]
        return {member.name: file.read() for member in members if (file := archive.extractfile(member)) is not None}


def in_work_tree(root: Path) -> dict[str, bytes]:
    """The files that git tracks or would add."""
    names = git("-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard").decode().split("\0")
    return {name: (root / name).read_bytes() for name in names if name and (root / name).is_file()}


def decoded(data: bytes) -> str | None:
    """The text of a file; None for a binary file."""
    try:
        return None if b"\0" in data else data.decode()
    except UnicodeDecodeError:
        return None


def is_python(name: str, text: str) -> bool:
    """Whether a file holds Python: by its name, or by the first line of a script."""
    return name.endswith(".py") or text.startswith(PYTHON)


def git(*arguments: str) -> bytes:
    """What a git command prints. Exits with its message if it fails."""
    done = subprocess.run(["git", *arguments], capture_output=True, check=False)
    if done.returncode != 0:
        raise SystemExit(done.stderr.decode().strip())
    return done.stdout
