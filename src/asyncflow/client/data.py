"""``task.data`` and ``task.artifacts``: artifacts by attribute."""

# The objects of this room know each other; users see no private names.
# pyright: reportPrivateUsage=false

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from asyncflow.client.artifact import DataArtifact
    from asyncflow.client.task import Task
    from asyncflow.events import BlobRef


class MetaflowData:
    """The values of a task's artifacts, as they were when ``data`` was asked for; each is loaded at each use.

    task.data.x
    "x" in task.data
    """

    def __init__(self, task: Task, manifest: BlobRef | None, refs: Mapping[str, BlobRef]) -> None:
        self._task = task
        self._manifest = manifest
        self._refs = refs

    @property
    def _artifacts(self) -> dict[str, DataArtifact]:
        if self._manifest is None:
            return {}
        return {name: self._task._artifact(name, self._manifest, ref) for name, ref in self._refs.items()}

    def __getattr__(self, name: str) -> Any:
        # Private names are asked for by copy and pickle before there is a task.
        ref = None if name.startswith("_") else self._refs.get(name)
        if ref is None or self._manifest is None:
            raise AttributeError(_missing(name, self), name=name, obj=self)
        return self._task._load(self._manifest, ref, name)

    def __contains__(self, name: object) -> bool:
        return name in self._refs

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._refs]

    def __repr__(self) -> str:
        return f"<MetaflowData: {', '.join(self._refs)}>"


def _missing(name: str, values: MetaflowData) -> str:
    if name.startswith("_"):
        return name
    task = values._task
    if values._manifest is None:
        return f"{task!r} has no artifact '{name}': it has none at all (yet)."
    return f"{task!r} has no artifact '{name}'. It has: {', '.join(values._refs)}."


class MetaflowArtifacts:
    """A task's artifacts by name; iteration, ``[0]`` and ``len`` as of a tuple.

    task.artifacts.x.size
    [artifact.id for artifact in task.artifacts]
    """

    def __init__(self, artifacts: dict[str, DataArtifact]) -> None:
        self._by_name = artifacts

    @property
    def _fields(self) -> tuple[str, ...]:
        return tuple(self._by_name)

    def _asdict(self) -> dict[str, DataArtifact]:
        return dict(self._by_name)

    def __getattr__(self, name: str) -> DataArtifact:
        artifact = None if name.startswith("_") else self._by_name.get(name)
        if artifact is None:
            raise AttributeError(f"There is no artifact '{name}' here.", name=name, obj=self)
        return artifact

    def __getitem__(self, index: int) -> DataArtifact:
        return list(self._by_name.values())[index]

    def __iter__(self) -> Iterator[DataArtifact]:
        return iter(self._by_name.values())

    def __len__(self) -> int:
        return len(self._by_name)

    def __contains__(self, artifact: object) -> bool:
        return artifact in self._by_name or artifact in self._by_name.values()

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._by_name]

    def __repr__(self) -> str:
        return f"MetaflowArtifacts({', '.join(f'{name}={artifact!r}' for name, artifact in self._by_name.items())})"
