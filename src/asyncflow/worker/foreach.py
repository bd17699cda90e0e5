"""A fan-out's items: frozen once, by the step that fans out, so that every child sees the one its index names.

Beside the artifact ``items`` that ``start`` fans out over, its manifest then has a companion that children
read: ``start.items[]``, a packed list of which a child unpickles its own item only, or ``start.items:[]``, the
artifact's own blob, where indexing that is as good. The name has the step in it, since an inner fan-out may
use the same variable. Names that end in ``[]`` are hidden from readers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import ItemsView, Iterable, Iterator, KeysView, Sequence, ValuesView
from typing import TYPE_CHECKING, Any, cast

from asyncflow.errors import InvalidForeach
from asyncflow.events import Frame
from asyncflow.flow import where_is
from asyncflow.store.artifacts import COMPANION
from asyncflow.store.serializers import pack_items, to_blob

if TYPE_CHECKING:
    from asyncflow.events import BlobRef
    from asyncflow.flow import FlowSpec
    from asyncflow.worker.state import Reader, TaskState

FEW = 32
"""A list of at most so many items, and of at most ``LIGHT`` bytes, is read whole by each child."""
LIGHT = 1 << 20
_PLAIN = frozenset((list, tuple, str, bytes, bytearray, range, deque))


def packed_name(step: str, var: str) -> str:
    return f"{step}.{var}[]"


def whole_name(step: str, var: str) -> str:
    return f"{step}.{var}:[]"


class Frozen:
    """What a fan-out goes over: ``items``, which is ``value`` itself where that can be indexed."""

    __slots__ = ("items", "value", "var")

    def __init__(self, var: str, value: Any, items: Sequence[Any]) -> None:
        self.var = var
        self.value = value
        self.items = items


def freeze(flow: FlowSpec, var: str, where: str, limit: int | None) -> Frozen:
    """Reads the items. An iterator, which can be read once, and a dict's view are replaced by a list on ``flow``.

    Raises ``InvalidForeach``, and what iterating raises.
    """
    try:
        value = getattr(flow, var)
    except AttributeError:
        said = f"foreach={var!r}, but there is no artifact of that name. Assign self.{var} before self.next"
        raise InvalidForeach(f"{where}: {where_is(flow)} has {said}.") from None
    if _indexable(value):
        items = cast("Sequence[Any]", value)
    else:
        items = _listed(flow, var, value, where)
        if isinstance(value, Iterator | KeysView | ValuesView | ItemsView):
            value = items
            setattr(flow, var, items)
    width = len(items)
    if width == 0:
        raise InvalidForeach(
            f"{where}: {where_is(flow)} fans out over {var!r}, which is empty: there is nothing to do for the next step. "
            "Give it at least one item, or go around the step by a switch."
        )
    if limit is not None and width > limit:
        raise InvalidForeach(
            f"{where}: {where_is(flow)} fans out over the {width} items of {var!r}, but at most {limit} are allowed. "
            "Raise the limit with --max-num-splits."
        )
    return Frozen(var, value, items)


def _indexable(value: object) -> bool:
    """Whether ``value[i]`` is its i-th item, and ``len`` how many there are; a pandas Series, for one, looks for a
    label, and of a class that somebody wrote only iterating it tells."""
    return type(value) in _PLAIN or (_is_array(value) and getattr(value, "ndim", 0) > 0)


def _is_somebodys_sequence(value: object) -> bool:
    return type(value) not in _PLAIN and isinstance(value, Sequence)


def _is_array(value: object) -> bool:
    return any(kind.__module__ == "numpy" and kind.__name__ == "ndarray" for kind in type(value).__mro__)


def _listed(flow: FlowSpec, var: str, value: object, where: str) -> list[Any]:
    try:
        iterator = iter(cast("Iterable[Any]", value))
    except TypeError:
        raise InvalidForeach(
            f"{where}: {where_is(flow)} fans out over {var!r}, which is not iterable: it is {_shown(value)}. "
            "foreach takes the name of a list, or of anything else that can be iterated."
        ) from None
    return list(iterator)


def _shown(value: object) -> str:
    return "None" if value is None else f"of type {type(value).__name__}"


def keep(state: TaskState, frozen: Frozen) -> None:
    """After ``persist``: adds the companion to the manifest. Raises ``UnserializableArtifact`` and ``StoreError``."""
    packed, whole = packed_name(state.step, frozen.var), whole_name(state.step, frozen.var)
    state.refs.pop(packed, None)
    state.refs.pop(whole, None)
    ref = _own_ref(state, frozen)
    if not _worth_packing(frozen, ref):
        state.refs[whole] = ref
        return
    blob = pack_items(frozen.items, frozen.var)
    if blob is not None:
        state.refs[packed] = state.shelf.store(blob)
        return
    # Items that share much cost less as one pickle.
    state.refs[whole] = ref if frozen.items is frozen.value else state.shelf.store(to_blob(frozen.items, frozen.var))


def _own_ref(state: TaskState, frozen: Frozen) -> BlobRef:
    # A constant may have been changed in place for this task: what the manifest has isn't what the step went over.
    if frozen.var in state.fixed:
        return state.shelf.store(to_blob(frozen.value, frozen.var))
    return state.refs[frozen.var]


def _worth_packing(frozen: Frozen, ref: BlobRef) -> bool:
    if frozen.items is not frozen.value:
        return True
    if isinstance(frozen.value, range) or _is_array(frozen.value):
        return False  # read in no time, or mapped into memory
    return len(frozen.items) > FEW or ref.size > LIGHT


def item_of(state: Reader, flow: FlowSpec, frame: Frame) -> Any:
    """The item that ``frame`` names; None where neither the companion nor the list itself is at hand."""
    loader = state.shelf.loader
    if not frame.var:
        frame = _named(state, frame)
    packed = state.refs.get(packed_name(frame.step, frame.var))
    if packed is not None:
        return loader.load_item(packed, frame.var, frame.index)
    whole = state.refs.get(whole_name(frame.step, frame.var))
    if whole is not None:
        return loader.load(whole, frame.var)[frame.index]
    # After a join inside the fan-out there is the list, if at all, under its own name.
    value: Any = getattr(flow, frame.var, None) if frame.var else None
    if _is_somebodys_sequence(value):
        value = list(value)
    if not _indexable(value) or len(value) <= frame.index:
        return None
    return value[frame.index]


def _named(state: Reader, frame: Frame) -> Frame:
    """Where ``foreach=`` is an expression, the graph doesn't know the variable; the name of the companion does."""
    prefix = f"{frame.step}."
    for name in state.refs:
        if name.startswith(prefix) and name.endswith(COMPANION):
            var = name[len(prefix) :].removesuffix(COMPANION).removesuffix(":")
            return Frame(frame.step, var, frame.index, frame.width)
    return frame
