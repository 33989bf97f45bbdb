"""The element types of tensors, by the numbers that a checkpoint stores.

    DTYPE_NAMES[1], element_size(1)     # ("float32", 4)

Source: the enum `DataType` in TensorFlow's `core/framework/types.proto`.
"""

from __future__ import annotations

DTYPE_NAMES: dict[int, str] = {
    1: "float32",
    2: "float64",
    3: "int32",
    4: "uint8",
    5: "int16",
    6: "int8",
    7: "string",
    8: "complex64",
    9: "int64",
    10: "bool",
    11: "qint8",
    12: "quint8",
    13: "qint32",
    14: "bfloat16",
    15: "qint16",
    16: "quint16",
    17: "uint16",
    18: "complex128",
    19: "float16",
    20: "resource",
    21: "variant",
    22: "uint32",
    23: "uint64",
    24: "float8_e5m2",
    25: "float8_e4m3fn",
    26: "float8_e4m3fnuz",
    27: "float8_e4m3b11fnuz",
    28: "float8_e5m2fnuz",
    29: "int4",
    30: "uint4",
    31: "int2",
    32: "uint2",
    33: "float4_e2m1fn",
}
INT32 = 3
INT64 = 9
STRING = 7
VARIANT = 21
LENGTH_FIRST = frozenset((STRING, VARIANT))
"""Types whose elements begin with their length, so each has a byte or more."""

# Bytes of one element; types without an entry have elements of different sizes.
_SIZES: dict[str, int] = {
    **dict.fromkeys(("uint8", "int8", "bool", "qint8", "quint8", "int4", "uint4"), 1),
    **dict.fromkeys(("float8_e5m2", "float8_e4m3fn", "float8_e4m3fnuz"), 1),
    **dict.fromkeys(("float8_e4m3b11fnuz", "float8_e5m2fnuz", "float4_e2m1fn"), 1),
    **dict.fromkeys(("int2", "uint2"), 1),
    **dict.fromkeys(("int16", "uint16", "qint16", "quint16", "bfloat16", "float16"), 2),
    **dict.fromkeys(("float32", "int32", "uint32", "qint32"), 4),
    **dict.fromkeys(("float64", "int64", "uint64", "complex64"), 8),
    "complex128": 16,
}
_SIZE_OF_NUMBER = {number: _SIZES[name] for number, name in DTYPE_NAMES.items() if name in _SIZES}


def dtype_name(number: int) -> str:
    """Returns TensorFlow's name of a type, or `dtype_<number>` for an unknown one."""
    return DTYPE_NAMES.get(number) or f"dtype_{number}"


def element_size(number: int) -> int | None:
    """Returns the bytes of one element; None where elements differ in size (string, variant)."""
    return _SIZE_OF_NUMBER.get(number)
