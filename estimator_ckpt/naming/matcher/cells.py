"""Recurrent cells, which TensorFlow 1 and Keras store in other parts and with other gates.

    found = recurrent(source_layers, target_layers)

TensorFlow 1 has one matrix for the inputs and the state, Keras one for each.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from estimator_ckpt.naming.matcher.layers import Layer, fit
from estimator_ckpt.naming.matcher.names import COUNTED, by_name
from estimator_ckpt.naming.matcher.refusals import Recognized, if_all, refused
from estimator_ckpt.naming.matcher.rows import Refusal
from estimator_ckpt.naming.matcher.words import slashed

_CELL = re.compile(r"lstm|gru|rnn|cell", re.IGNORECASE)
_PEEPHOLE = re.compile(r"w_[fio]_diag|.*peephole.*", re.IGNORECASE)


def recurrent(sources: Sequence[Layer], targets: Sequence[Layer]) -> list[Recognized]:
    """Finds cells that hold one matrix on one side, and an input's and a state's on the other."""
    found = _recurrent(sources, targets, is_split=True)
    return found + _recurrent(targets, sources, is_split=False)


def _recurrent(fused: Sequence[Layer], parted: Sequence[Layer], is_split: bool) -> list[Recognized]:
    wanted: dict[tuple[int, int, int], list[Layer]] = {}
    for layer in parted:
        if {"kernel", "recurrent"} <= layer.rows.keys():
            if any(fit(other.signature, layer.signature) for other in fused):
                continue
            inputs, units = layer.rows["kernel"].shape[0], layer.rows["recurrent"].shape[0]
            gates = layer.rows["recurrent"].shape[-1] // max(units, 1)
            wanted.setdefault((inputs, units, gates), []).append(layer)
    found = []
    for (inputs, units, gates), layers in wanted.items():
        widths = {4: (4,), 3: (1, 2), 1: (1,)}.get(gates, ())
        shapes = {(inputs + units, width * units) for width in widths}
        others = [
            other
            for other in fused
            if tuple(other.main.shape) in shapes and _is_cell(other, gates, parted)
        ]
        for wholes, parts, by in _told_apart(others, layers, is_split) if others else ():
            why = f"one matrix for {inputs} inputs and {units} units on one side, two on the other"
            gate = {
                4: "; gates i, j, f, o become i, f, c, o, and forget_bias is added to the bias",
                3: "; gates r, u and the candidate become z, r, h; with reset_after=False",
            }.get(gates, "")
            kind = "split, gates" if gate else "split"
            gate += "; told by counted numbers: check which is which" if by == COUNTED else ""
            lines: tuple[Refusal, ...] = ()
            peepholes = _peepholes(wholes, fused), _peepholes(parts, parted)
            if bool(peepholes[0]) != bool(peepholes[1]):
                wholes, parts = [*wholes, *peepholes[0]], [*parts, *peepholes[1]]
                gate = "; only one side has peepholes: without them, the outputs are others"
            elif len(parts) == 1:
                make = _lines_of_gru if gates == 3 else _lines_of_cell
                lines = make(wholes, parts[0], (inputs, units), is_split, why + gate)
            sides = (wholes, parts) if is_split else (parts, wholes)
            plain = (("bias", "bias"),) if lines and gates == 1 and _have_bias(sides) else ()
            found.append(replace(refused(*sides, kind, why + gate, lines), others=plain))
    return found


def _told_apart(
    wholes: list[Layer], parted: list[Layer], is_split: bool
) -> list[tuple[list[Layer], list[Layer], str]]:
    """The cells one by one, where names tell which is which, and by what; else all as one."""
    partners: dict[Layer, list[Layer]] = {layer: [] for layer in parted}
    told_by: dict[Layer, str] = {}
    widths = {layer.main.shape[-1] for layer in wholes}
    for width in sorted(widths):
        of_width = [layer for layer in wholes if layer.main.shape[-1] == width]
        left, right = (of_width, parted) if is_split else (parted, of_width)
        named = by_name([(left, right)], {}).named if len(left) == len(right) else {}
        for one, each in named.items():
            whole, part = (one, each.target) if is_split else (each.target, one)
            if each.clear:
                partners[part].append(whole)
                told_by[part] = each.by
    if any(len(found) != len(widths) for found in partners.values()):
        return [(wholes, parted, "")]
    return [(found, [part], told_by[part]) for part, found in partners.items()]


def _peepholes(cells: Iterable[Layer], layers: Iterable[Layer]) -> list[Layer]:
    """The vectors beside the matrices of cells by which gates see the state."""
    scopes = {slashed(cell.main.name).rpartition("/")[0] for cell in cells}
    found = []
    for layer in layers:
        scope, _, leaf = slashed(layer.main.name).rpartition("/")
        if scope in scopes and _PEEPHOLE.fullmatch(leaf):
            found.append(layer)
    return found


def _have_bias(sides: Iterable[Sequence[Layer]]) -> bool:
    return all("bias" in layer.rows for layers in sides for layer in layers)


# The steps behind the split of a cell's matrix, those of its bias, and both on the way back. What
# cells of TensorFlow 1 add to the forget gate at each step, 1 by default, is in Keras' bias.
_CELL_GATES = {
    4: (
        ", gates(i c f o -> i f c o)",
        "gates(i c f+1 o -> i f c o)",
        ", gates(i f c o -> i c f o)",
        "gates(i f-1 c o -> i c f o)",
    ),
}


def _lines_of_cell(
    wholes: Sequence[Layer], parted: Layer, sizes: tuple[int, int], is_split: bool, reason: str
) -> tuple[Refusal, ...]:
    if len(wholes) != 1:
        return ()
    (whole,), (inputs, units) = wholes, sizes
    width = parted.rows["recurrent"].shape[-1] // units
    matrix, vector, joined, back = _CELL_GATES.get(width, ("", "", "", ""))
    one = whole.main.name
    kernel, recurrent = parted.rows["kernel"].name, parted.rows["recurrent"].name
    lines: list[Refusal] = []
    if is_split:
        lines = [
            Refusal((one,), (kernel,), f"split(0, 0:{inputs}){matrix}", reason),
            Refusal((one,), (recurrent,), f"split(0, {inputs}:{inputs + units}){matrix}", reason),
        ]
    else:
        lines = [Refusal((kernel, recurrent), (one,), f"concat(0){joined}", reason)]
    biases = [each.rows["bias"] for each in (whole, parted) if "bias" in each.rows]
    plain = [each.name for each in biases] if len(biases) == 2 and not vector else []
    if len(biases) == 2 and biases[0].shape == biases[1].shape and vector:
        names = [each.name for each in biases]
        how = (names[:1], names[1:], vector) if is_split else (names[1:], names[:1], back)
        lines.append(Refusal(tuple(how[0]), tuple(how[1]), how[2], reason))
    return if_all(lines, (whole, parted), plain)


def _lines_of_gru(
    wholes: Sequence[Layer], parted: Layer, sizes: tuple[int, int], is_split: bool, reason: str
) -> tuple[Refusal, ...]:
    """Two matrices, each for inputs and state, are what Keras has with `reset_after=False`."""
    inputs, units = sizes
    # The gates, then the candidate.
    ordered = sorted(wholes, key=lambda layer: -layer.main.shape[-1])
    if [layer.main.shape[-1] for layer in ordered] != [2 * units, units]:
        return ()
    kernel, recurrent = parted.rows["kernel"].name, parted.rows["recurrent"].name
    mains = tuple(layer.main.name for layer in ordered)
    biases = tuple(layer.rows["bias"].name for layer in ordered if "bias" in layer.rows)
    bias = parted.rows.get("bias")
    lines: list[Refusal] = []
    if is_split:
        for target, place in ((kernel, f"0:{inputs}"), (recurrent, f"{inputs}:{inputs + units}")):
            how = f"concat(1), split(0, {place}), gates(r z h -> z r h)"
            lines.append(Refusal(mains, (target,), how, reason))
        if len(biases) == 2 and bias is not None and tuple(bias.shape) == (3 * units,):
            how = "concat(0), gates(r z h -> z r h)"
            lines.append(Refusal(biases, (bias.name,), how, reason))
    else:
        places = (f"0:{2 * units}", f"{2 * units}:{3 * units}")
        for target, place in zip(mains, places):
            how = f"concat(0), gates(z r h -> r z h), split(1, {place})"
            lines.append(Refusal((kernel, recurrent), (target,), how, reason))
        if len(biases) == 2 and bias is not None and tuple(bias.shape) == (3 * units,):
            lines += [
                Refusal(
                    (bias.name,), (target,), f"gates(z r h -> r z h), split(0, {place})", reason
                )
                for target, place in zip(biases, places)
            ]
    return if_all(lines, (*wholes, parted))


def _is_cell(layer: Layer, gates: int, others: Iterable[Layer]) -> bool:
    if any(_CELL.search(part) for part in layer.key):
        return True
    return gates == 4 and not any(fit(layer.signature, other.signature) for other in others)
