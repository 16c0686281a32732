"""Reading data out of a pickle that somebody else wrote: an interpreter of the opcodes that only build values.

Python's unpickler calls whatever a pickle names, and keeps every object of a file alive, six times its size. This
one calls nothing that a pickle names: the few names that NAS-Bench files contain stand for functions of this module,
and any other name or opcode is refused. It reads a stream in parts, and `fold` may empty a dict as soon as it is
complete. `torch.load` under its weights-only rules is likewise an interpreter in Python; it needs the whole file.

Opcodes: the comments of `pickletools` in Python's library.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from typing import Any, Protocol

CHUNK = 1 << 18
"""Bytes read at a time."""
LONGEST = 1 << 20
"""Bytes of the longest string: an arch string has 100."""
PATIENCE = 1 << 22
"""Bytes between two calls of `fold` that found something. A training's record has .1 MB, the list of all arch strings
1.5 MB; much more would be a file that only fills the memory."""
GROWTH = 8
"""Bytes of new values for each byte that was read, beside `PATIENCE`: calls could copy what is remembered as often as
they like. A value of numpy makes 1.5."""

_FULL = "no benchmark file, or one made to fill memory"
WITHOUT_WEIGHTS = 'name the "simple" archive without weights, which has the same accuracies'
_WEIGHTS = ("torch.storage", "_load_from_bytes")
"""How weights stand in a pickle that torch did not write itself: the records of a "full" archive of NATS-Bench."""
_PAD = bytes(16)  # what follows the last byte: no opcode is 0, so a file that was cut is noticed
_FLOAT, _INT, _UINT, _USHORT, _ULONG = (struct.Struct(form).unpack_from for form in (">d", "<i", "<I", "<H", "<Q"))
_KEYS = {str, int}
_NUMBERS = {"f8": "<d", "f4": "<f", "i8": "<q", "i4": "<i"}


class Unreadable(ValueError):
    """A pickle that is damaged, or not of the kinds that this module reads.

    Args:
        why: What was found.
        advice: What to do, where that is not to get the file again.
    """

    def __init__(self, why: str, advice: str = "") -> None:
        super().__init__(why)
        self.advice = advice


def _numpy_scalar(kind: Any, content: Any) -> float | int:
    if not isinstance(content, bytes) or not isinstance(kind, str) or kind not in _NUMBERS:
        raise Unreadable("a numpy value that is no plain number")
    return struct.unpack(_NUMBERS[kind], content)[0]


def _numpy_dtype(kind: Any, *_: Any) -> str:
    return kind if isinstance(kind, str) else ""


def _encode(text: str, encoding: str) -> bytes:
    """How protocol 2 writes bytes."""
    if encoding != "latin1":
        raise Unreadable("bytes in an unknown encoding")
    return text.encode("latin1")


def _dict(pairs: Any = ()) -> dict[Any, Any]:
    if not isinstance(pairs, list | tuple) or not all(isinstance(one, list | tuple) and len(one) == 2 for one in pairs):
        raise Unreadable("a dict of other things than pairs")
    return _filled({}, [part for pair in pairs for part in pair])


def _set(values: Any = ()) -> set[Any]:
    return _added(set(), values)


def _nothing(*_: Any) -> None:
    """In place of a tensor: no weight is read."""


_STORAGES = ("Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")
ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): _dict,
    ("__builtin__", "set"): _set,
    ("builtins", "set"): _set,
    ("_codecs", "encode"): _encode,
    ("numpy", "dtype"): _numpy_dtype,
    ("numpy.core.multiarray", "scalar"): _numpy_scalar,
    ("numpy._core.multiarray", "scalar"): _numpy_scalar,
    ("torch._utils", "_rebuild_tensor_v2"): _nothing,
    **{("torch", f"{kind}Storage"): _nothing for kind in _STORAGES},
}
"""What a pickle may name, and what is called instead: always a function above."""


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class PickleStream:
    """Pickles, one after the other, in a stream of bytes.

    Args:
        stream: Binary file, read forward only.
        fold: Called with every dict when entries were added; whether it found what it looks for. It may change the
            dict, and should empty what it holds: the reader remembers all containers until the pickle ends.
    """

    def __init__(self, stream: _Readable, fold: Callable[[dict[Any, Any]], bool] = lambda _: False) -> None:
        self._stream, self._fold = stream, fold
        self._buffer, self._at, self._end = b"" + _PAD, 0, 0
        self._waiting = self._read = self._made = 0
        self._strings: dict[bytes, str] = {}
        self._begin()

    def load(self) -> Any:
        """The value of the next pickle.

        Raises:
            Unreadable: It is cut, or holds what `ALLOWED` does not know.
            Exception: Whatever else damage leads to, such as `IndexError`.
        """
        self._begin()
        stack, memo, strings, rare = self._stack, self._memo, self._strings, _RARE
        buffer, at = self._buffer, self._at
        while True:
            if at >= self._end - 16:
                self._at = at
                self._need(16)
                buffer, at = self._buffer, self._at
            op = buffer[at]
            at += 1
            # The five kinds that make up 97 % of a record come first and are not calls.
            if op == 0x47:  # BINFLOAT
                stack.append(_FLOAT(buffer, at)[0])
                at += 8
            elif op == 0x72 or op == 0x94 or op == 0x71:  # LONG_BINPUT, MEMOIZE, BINPUT
                if op == 0x94:
                    place = len(memo)
                elif op == 0x72:
                    place = _UINT(buffer, at)[0]
                    at += 4
                else:
                    place = buffer[at]
                    at += 1
                if place != len(memo):
                    raise Unreadable("values remembered out of order")
                memo.append(stack[-1])
            elif op == 0x4B:  # BININT1
                stack.append(buffer[at])
                at += 1
            elif op == 0x58 or op == 0x8C:  # BINUNICODE, SHORT_BINUNICODE
                start = at + (4 if op == 0x58 else 1)
                stop = start + (_UINT(buffer, at)[0] if op == 0x58 else buffer[at])
                if stop <= self._end:
                    content, at = buffer[start:stop], stop
                else:
                    self._at = at
                    content = self._sized(start - at)
                    buffer, at = self._buffer, self._at
                text = strings.get(content)
                stack.append(self._string(content) if text is None else text)
            elif op == 0x2E:  # STOP
                self._at = at
                if len(stack) != 1 or self._marks or at > self._end:
                    raise Unreadable("it ends in the middle")
                value = stack.pop()
                self._begin()
                return value
            elif op in rare:
                self._at = at
                rare[op](self)
                buffer, at = self._buffer, self._at
            else:
                self._refuse(op, at)

    def _begin(self) -> None:
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: list[Any] = []

    def _refuse(self, op: int, at: int) -> None:
        if at > self._end:
            raise Unreadable("it ends in the middle")
        raise Unreadable(f"opcode {op:#04x}, which these files do not use")

    def _need(self, size: int) -> None:
        """Have `size` bytes from the current place on in the buffer, or all that are left and padding."""
        parts = [self._buffer[self._at : self._end]]
        have = len(parts[0])
        while have < size and (part := self._stream.read(CHUNK)):
            parts.append(part)
            have += len(part)
            self._waiting += len(part)
            self._read += len(part)
        if self._waiting > PATIENCE:
            raise Unreadable(f"{self._waiting >> 20} MB without a record: {_FULL}")
        self._buffer, self._at, self._end = b"".join((*parts, _PAD)), 0, have

    def _take(self, size: int) -> bytes:
        if self._at + size > self._end:
            self._need(size)
            if size > self._end:
                raise Unreadable("it ends in the middle")
        at = self._at
        self._at = at + size
        return self._buffer[at : at + size]

    def _sized(self, width: int) -> bytes:
        """Bytes after their number, an integer of `width` bytes."""
        size = int.from_bytes(self._take(width), "little")
        if size > LONGEST:
            raise Unreadable(f"a string of {size} bytes")
        return self._take(size)

    def _string(self, content: bytes) -> str:
        """A string not met before. Equal ones are one object: a benchmark names its epochs 100 million times."""
        text = content.decode()
        if len(self._strings) < 100_000:
            self._strings[content] = text
        return text

    def _line(self) -> str:
        if (end := self._buffer.find(b"\n", self._at, self._end)) < 0:
            self._need(256)
            end = self._buffer.find(b"\n", self._at, self._end)
        if not 0 <= end - self._at <= 256:
            raise Unreadable("a name without an end")
        return self._take(end + 1 - self._at)[:-1].decode()

    def _since_mark(self) -> list[Any]:
        mark = self._marks.pop()
        values = self._stack[mark:]
        del self._stack[mark:]
        return values

    def _name(self, module: Any, name: Any) -> None:
        if (module, name) == _WEIGHTS:
            raise Unreadable("it holds trained weights", WITHOUT_WEIGHTS)
        if not isinstance(module, str) or not isinstance(name, str) or (module, name) not in ALLOWED:
            what = f"{module}.{name}" if isinstance(module, str) and isinstance(name, str) else "a name that is no text"
            raise Unreadable(f"refused {what!r:.100}, which no benchmark needs")
        self._stack.append(ALLOWED[module, name])

    def _call(self) -> None:
        arguments, function = self._stack.pop(), self._stack.pop()
        # By identity, as no pickle can make a function; `in` would compare what it made.
        if not isinstance(arguments, tuple) or not any(function is known for known in ALLOWED.values()):
            raise Unreadable("a call of something that is no function")
        self._make(function(*arguments))

    def _make(self, value: Any) -> None:
        """A new value, whatever of it stands in the file."""
        if isinstance(value, bytes | dict | list | set):
            self._made += sys.getsizeof(value)
            if self._made > PATIENCE + GROWTH * self._read:
                raise Unreadable(f"{self._made >> 20} MB of values made of {self._read >> 10} kB: {_FULL}")
        self._stack.append(value)

    def _build(self, state: Any) -> None:
        """Attributes, of a dtype or of a dict of weights. Nobody reads them; but a dtype has its byte order there."""
        if isinstance(state, tuple) and ">" in state[:2]:
            raise Unreadable("a numpy value in big-endian byte order")

    def _fill(self, entries: list[Any]) -> None:
        mapping = self._stack[-1]
        _filled(mapping, entries)
        if self._fold(mapping):
            self._waiting = 0


def _filled(mapping: Any, entries: list[Any]) -> dict[Any, Any]:
    """Add alternating keys and values to a dict."""
    keys = entries[::2]
    if type(mapping) is not dict or len(entries) % 2 or not all(map(_is_key, keys)):
        raise Unreadable("a dict with other keys than names and numbers")
    mapping.update(zip(keys, entries[1::2], strict=True))
    return mapping


def _added(values: Any, more: Any) -> set[Any]:
    if type(values) is not set or not isinstance(more, list | tuple) or not all(map(_is_key, more)):
        raise Unreadable("a set of other things than names and numbers")
    values.update(more)
    return values


def _is_key(value: Any) -> bool:
    """Whether it may be hashed: in a tuple nested a million deep, Python's own hash overflows the stack."""
    kind = type(value)
    return kind in _KEYS or (kind is tuple and len(value) <= 4 and all(type(part) in _KEYS for part in value))


def _appended(values: Any, more: list[Any]) -> None:
    if type(values) is not list:
        raise Unreadable("an addition to something that is no list")
    values.extend(more)


_Opcode = Callable[[PickleStream], Any]


def _constant(make: Callable[[], Any]) -> _Opcode:
    return lambda self: self._make(make())


def _tuple_of(size: int) -> _Opcode:
    def build(self: PickleStream) -> None:
        parts = tuple(self._stack[-size:])
        del self._stack[-size:]
        self._stack.append(parts)

    return build


def _pop_two(self: PickleStream) -> list[Any]:
    value, key = self._stack.pop(), self._stack.pop()
    return [key, value]


_RARE: dict[int, _Opcode] = {
    0x80: lambda self: self._take(1),  # PROTO
    0x95: lambda self: self._take(8),  # FRAME
    0x28: lambda self: self._marks.append(len(self._stack)),  # MARK
    0x30: lambda self: self._stack.pop(),  # POP
    0x31: lambda self: self._since_mark(),  # POP_MARK
    0x4E: _constant(lambda: None),  # NONE
    0x88: _constant(lambda: True),  # NEWTRUE
    0x89: _constant(lambda: False),  # NEWFALSE
    0x7D: _constant(dict),  # EMPTY_DICT
    0x5D: _constant(list),  # EMPTY_LIST
    0x29: _constant(tuple),  # EMPTY_TUPLE
    0x8F: _constant(set),  # EMPTY_SET
    0x4D: lambda self: self._stack.append(_USHORT(self._take(2))[0]),  # BININT2
    0x4A: lambda self: self._stack.append(_INT(self._take(4))[0]),  # BININT
    0x8A: lambda self: self._stack.append(int.from_bytes(self._sized(1), "little", signed=True)),  # LONG1
    0x43: lambda self: self._stack.append(self._sized(1)),  # SHORT_BINBYTES
    0x42: lambda self: self._stack.append(self._sized(4)),  # BINBYTES
    0x68: lambda self: self._stack.append(self._memo[self._take(1)[0]]),  # BINGET
    0x6A: lambda self: self._stack.append(self._memo[_UINT(self._take(4))[0]]),  # LONG_BINGET
    0x85: _tuple_of(1),  # TUPLE1
    0x86: _tuple_of(2),  # TUPLE2
    0x87: _tuple_of(3),  # TUPLE3
    0x74: lambda self: self._stack.append(tuple(self._since_mark())),  # TUPLE
    0x61: lambda self: _appended(self._stack[-2], [self._stack.pop()]),  # APPEND
    0x65: lambda self: _appended(self._stack[self._marks[-1] - 1], self._since_mark()),  # APPENDS
    0x90: lambda self: _added(self._stack[self._marks[-1] - 1], self._since_mark()),  # ADDITEMS
    0x73: lambda self: self._fill(_pop_two(self)),  # SETITEM
    0x75: lambda self: self._fill(self._since_mark()),  # SETITEMS
    0x63: lambda self: self._name(self._line(), self._line()),  # GLOBAL
    0x93: lambda self: self._name(*_pop_two(self)),  # STACK_GLOBAL
    0x52: lambda self: self._call(),  # REDUCE
    0x62: lambda self: self._build(self._stack.pop()),  # BUILD
    0x51: lambda self: self._stack.__setitem__(-1, None),  # BINPERSID: a tensor's storage
}
