"""The empty root: a read-only tree of Python, system libraries and four devices."""

import os
import sys
import sysconfig
from collections.abc import Iterable
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Final

from torl_env.sandbox.forkserver import kernel

HOME: Final = "/sandbox"
TMP: Final = "/tmp"
"""Both are empty and cannot be written, unless `areas` gives a program its own."""
DEVICES: Final = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")
_SYSTEM: Final = (
    "/usr/lib",
    "/usr/lib64",
    "/lib",
    "/lib64",
    "/usr/share/zoneinfo",
    "/etc/ld.so.cache",
)
_THIRD_PARTY: Final = ("site-packages", "dist-packages")


def stdlib() -> list[str]:
    """Directories of the standard library."""
    paths = sysconfig.get_paths()
    found = {paths["stdlib"], paths["platstdlib"]} | {str(Path(os.__file__).parent)}
    return sorted({os.path.realpath(path) for path in found if Path(path).is_dir()})


def package_paths(names: Iterable[str], search: Iterable[str]) -> list[str]:
    """Where the named top-level packages lie, with the libraries that wheels put beside them."""
    found: list[str] = []
    for name in names:
        spec = PathFinder.find_spec(name, list(search))
        if spec is None:
            continue
        places = list(spec.submodule_search_locations or ([spec.origin] if spec.origin else []))
        # Named after the distribution, as `pillow.libs` for PIL, and so not after the package.
        places += [str(libs) for place in places for libs in Path(place).parent.glob("*.libs")]
        found += [os.path.realpath(place) for place in places if Path(place).exists()]
    return list(dict.fromkeys(found))


def python_libraries() -> list[str]:
    """Shared libraries of the interpreter itself, outside the system's directories."""
    found = [os.path.realpath(Path(sys.base_prefix) / "lib" / name) for name in _libpython()]
    return [path for path in found if Path(path).is_file()]


def _libpython() -> set[str]:
    variables = (sysconfig.get_config_var(key) for key in ("INSTSONAME", "LDLIBRARY"))
    return {name for name in variables if name and ".so" in name}


def visible(packages: Iterable[str]) -> list[str]:
    """Every real path the root shows, parents before children, none twice."""
    wanted = {os.path.realpath(path) for path in _SYSTEM if Path(path).exists()}
    wanted |= set(stdlib()) | set(packages) | set(python_libraries())
    kept: list[str] = []
    for path in sorted(wanted):
        hidden = any(f"/{part}/" in path for part in _THIRD_PARTY)
        if hidden or not any(path.startswith(f"{other}/") for other in kept):
            kept.append(path)
    return kept


def hidden(shown: Iterable[str]) -> list[str]:
    """Third-party directories below shown ones: covered, so that only chosen packages appear."""
    places = [Path(path) / name for path in shown for name in _THIRD_PARTY]
    places += [Path("/usr/lib/python3") / name for name in _THIRD_PARTY]
    return sorted({os.path.realpath(place) for place in places if place.is_dir()})


def enter(shown: list[str], mountpoint: str = "/tmp") -> None:
    """Make the tree the root of this mount namespace.

    Args:
        shown: Of `visible`.
        mountpoint: An existing directory to build it on; nothing is written to the disk.

    Raises:
        OSError: Where mounting is not allowed.
    """
    kernel.mount(None, "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    covered = hidden(shown)
    # Handles are taken first: the mount on `mountpoint` may cover what lies below it.
    handles = {path: os.open(path, os.O_PATH | os.O_CLOEXEC) for path in (*shown, *DEVICES)}
    links = {path: Path(path).readlink() for path in ("/lib", "/lib64") if Path(path).is_symlink()}
    kernel.mount("tmpfs", mountpoint, "tmpfs", kernel.MS_NOSUID, "size=256k,nr_inodes=4k,mode=755")
    for path in (path for path in shown if not _below(path, covered)):
        _bind(handles[path], path, mountpoint)
    for path in covered:
        if Path(mountpoint + path).is_dir():
            kernel.mount("tmpfs", mountpoint + path, "tmpfs", 0, "size=64k,mode=755")
    for path in (*(path for path in shown if _below(path, covered)), *DEVICES):
        _bind(handles[path], path, mountpoint, device=path in DEVICES)
    for path, target in links.items():
        if not os.path.lexists(mountpoint + path):
            Path(mountpoint + path).symlink_to(target)
    for handle in handles.values():
        os.close(handle)
    _switch(mountpoint, covered)


def _below(path: str, parents: list[str]) -> bool:
    return any(path.startswith(f"{parent}/") for parent in parents)


def _bind(handle: int, path: str, mountpoint: str, *, device: bool = False) -> None:
    target = Path(mountpoint + path)
    if Path(f"/proc/self/fd/{handle}").is_dir():
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    place = str(target)
    kernel.mount(f"/proc/self/fd/{handle}", place, None, kernel.MS_BIND | kernel.MS_REC)
    if device:
        return
    again = kernel.MS_BIND | kernel.MS_REMOUNT | kernel.MS_RDONLY
    try:
        kernel.mount(None, place, None, again | kernel.MS_NOSUID | kernel.MS_NODEV)
    except OSError:
        # A user namespace may not clear flags that the host's mount has locked.
        kernel.mount(None, place, None, again)


def _switch(mountpoint: str, covered: list[str]) -> None:
    old = Path(mountpoint) / ".old"
    for place in (Path(mountpoint + HOME), Path(mountpoint + TMP), old):
        place.mkdir(exist_ok=True)
    os.chdir(mountpoint)
    kernel.pivot_root(".old")
    os.chdir("/")
    kernel.umount_detached("/.old")
    Path("/.old").rmdir()
    for path in covered:
        if Path(path).is_dir():
            kernel.mount(None, path, None, kernel.MS_REMOUNT | kernel.MS_BIND | kernel.MS_RDONLY)
    flags = kernel.MS_REMOUNT | kernel.MS_RDONLY | kernel.MS_NOSUID | kernel.MS_BIND
    kernel.mount(None, "/", None, flags)
    os.chdir(HOME)
