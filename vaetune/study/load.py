"""Study files: found by name or path, imported under a module name of their own, checked before anything uses them."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import vaetune
from vaetune.errors import UserError, unknown
from vaetune.study import Study
from vaetune.study.blame import blame, shown
from vaetune.study.checks import structure
from vaetune.study.validate import typed


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A study file: where it lies, the SHA-256 of its bytes, its module (in `sys.modules`), and its presets."""

    path: Path
    sha256: str
    module: ModuleType
    presets: Mapping[str, Study]
    docstring: str

    def preset(self, name: str) -> Study:
        """The study of that preset; raises `UserError` with the near matches."""
        if name not in self.presets:
            raise unknown(f"preset of {shown(self.path)}", name, self.presets)
        return self.presets[name]


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One line of `list`: a study file and what it declares, or the error that it raises."""

    name: str
    path: Path
    presets: tuple[str, ...] = ()
    arms: int = 0
    hypothesis: str = ""
    error: str = ""


def load(target: str) -> Loaded:
    """The study of that name (studies/NAME.py here, further up or beside the package) or in that .py file."""
    path = find(target)
    try:
        source = path.read_bytes()
    except OSError as error:
        raise UserError(f"{shown(path)}: {error.strerror}") from error
    digest = hashlib.sha256(source).hexdigest()
    module = _execute(path, source, digest)
    try:
        presets = _presets(module, path)
    except UserError:
        del sys.modules[module.__name__]
        raise
    return Loaded(path=path, sha256=digest, module=module, presets=presets, docstring=(module.__doc__ or "").strip())


def find(target: str) -> Path:
    """The file that a study's name or path stands for; raises `UserError` with the near matches."""
    try:
        if target.endswith(".py") or "/" in target:
            path = Path(target).expanduser().resolve()
            if not path.is_file():
                near = unknown("study file", path.name, [p.name for p in path.parent.glob("*.py")])
                raise (near if list(path.parent.glob("*.py")) else UserError(f"there is no study file {target}"))
            return path
        files = _files()
    except (OSError, ValueError, RuntimeError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{target!r} is not the path of a study file: {error}") from error
    if target in files:
        return files[target]
    if not files:
        raise UserError(f"unknown study {target!r}: no folder studies/ here or further up; give the path of a .py file")
    raise unknown("study", target, files)


def available() -> list[Listed]:
    """Every study that `load` finds by name, with the error in place of the contents where a file does not load."""
    listed = []
    for name, path in sorted(_files().items()):
        try:
            presets = load(str(path)).presets
        except UserError as error:
            listed.append(Listed(name=name, path=path, error=str(error)))
            continue
        study = presets["default"]
        listed.append(
            Listed(name=name, path=path, presets=tuple(presets), arms=len(study.arms), hypothesis=study.hypothesis)
        )
    return listed


def _files() -> dict[str, Path]:
    here = Path.cwd()
    folders = [folder / "studies" for folder in (here, *here.parents)]
    repository = Path(vaetune.__file__).resolve().parent.parent
    if (repository / "pyproject.toml").is_file():  # an editable install, not site-packages
        folders.append(repository / "studies")
    files: dict[str, Path] = {}
    for folder in folders:
        for path in sorted(folder.glob("[!_.]*.py")):
            files.setdefault(path.stem, path.resolve())
    return files


def _execute(path: Path, source: bytes, digest: str) -> ModuleType:
    """The module made of exactly the bytes that were hashed; no bytecode cache is read or written."""
    stem = "".join(c if c.isalnum() else "_" for c in path.stem)
    name = f"vaetune_study_{stem}_{hashlib.sha256(f'{path}{digest}'.encode(errors='surrogateescape')).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before execution: dataclasses look their module up
    try:
        exec(compile(source, str(path), "exec", dont_inherit=True), module.__dict__)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise UserError(blame(error, str(path))) from error
    return module


def _presets(module: ModuleType, path: Path) -> dict[str, Study]:
    where = shown(path)
    single = getattr(module, "STUDY", None)
    presets = getattr(module, "PRESETS", None if single is None else {"default": single})
    if presets is None:
        raise UserError(f'{where}: defines neither STUDY = Study(...) nor PRESETS = {{"default": Study(...)}}')
    if not isinstance(presets, Mapping) or not presets:
        raise UserError(f"{where}: PRESETS must be a dict of preset name to Study, found {presets!r}")
    checked: dict[str, Study] = {}
    for name, study in presets.items():
        if not isinstance(name, str) or not isinstance(study, Study):
            raise UserError(f"{where}: PRESETS[{name!r}] must be a Study, found {type(study).__name__}")
        checked[name] = typed(study, Study, f"{where}: PRESETS[{name!r}]")
        structure(checked[name], f"{where}: PRESETS[{name!r}]")
    if "default" not in checked:
        raise UserError(f'{where}: PRESETS has no "default", only {", ".join(checked)}; name one of them "default"')
    return checked
