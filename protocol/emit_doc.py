"""Writes the documentation page (Markdown) and the dictionary for libFuzzer."""

from schema import HEADER_BYTES, SCALARS

INTRODUCTION = """# The {name} protocol, version {major}.{minor}

Written by protocol/generate.py from protocol/{name}.schema; change that instead.

A **frame** is a 16-byte header (`u32 size`, `u16 opcode`, `u16 reserved` = 0, `u64 sequence`), then the message's
fields in order. Everything is little-endian; scalars lie at their natural alignment; padding and fields named
`reserved` are zero. `size` counts the header, is a multiple of 8 and at most limit FRAME. A struct of known size
begins and ends at the alignment of its widest field; the fields of any other struct simply follow.

`bytes<L>`: u32 count, data. `string<L>`: u32 count, data without a zero byte, a zero byte. `list<T, L>`: u32 count,
elements from the next multiple of 8. `bulk`: u64 offset and u64 size of a range of the session's arena. No count
exceeds limit L. Offsets below count from the frame's first byte, or the struct's; none is given where it varies.
"""

DIRECTIONS = {
    "command": "From the front end to the worker: the session's log. Each has the next sequence number.",
    "reply": "From the worker to the front end; the frame's sequence is that of the command it answers.",
    "control": "Between front end, daemon, worker and command line, over a Unix socket.",
}


def table(head, rows):
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)] + ["| " + " | ".join(row) + " |" for row in rows] + [""]


def field_rows(holder, start):
    offsets = {id(f): at for at, f in holder.layout(start)[0]}
    return [[str(offsets.get(id(f), "")), f"`{f.type}`", f"`{f.name}`", " ".join(f.doc or f.usual)] for f in holder.fields]


def fields(holder, start):
    if not holder.fields:
        return ["No fields.", ""]
    return table(("offset", "type", "field", ""), field_rows(holder, start))


def page(schema):
    out = [INTRODUCTION.format(name=schema.name, major=schema.major, minor=schema.minor), "## Limits", ""]
    out += table(("limit", "value", ""), [[f"`{l.name}`", str(l.value), " ".join(l.doc)] for l in schema.limits.values()])
    out += ["## Enumerations and flags", ""]
    for e in schema.enums.values():
        out += [f"### {'flags' if e.flags else 'enum'} {e.name} : {e.base}", ""] + ([" ".join(e.doc), ""] if e.doc else [])
        out += table(("bit" if e.flags else "value", "name", ""), [[str(v), f"`{n}`", " ".join(d)] for n, v, d in e.values])
    out += ["## Structs", ""]
    for s in schema.structs.values():
        size = f"{s.size} bytes." if s.fixed else "Size varies."
        out += [f"### struct {s.name}", "", " ".join([*s.doc, size]), ""] + fields(s, 0)
    for direction, text in DIRECTIONS.items():
        out += [f"## Messages: {direction}", "", text, ""]
        for m in schema.messages.values():
            if m.direction == direction:
                answered = f", answered by `{m.answer}`" if m.answer else ""
                out += [f"### {m.name}", "", f"Opcode {m.opcode:#06x}{answered}.", ""]
                out += ([" ".join(m.doc), ""] if m.doc else []) + fields(m, HEADER_BYTES)
    return "\n".join(out).rstrip("\n") + "\n"


def quoted(value, size):
    return '"' + "".join(f"\\x{byte:02x}" for byte in (value % (1 << 8 * size)).to_bytes(size, "little")) + '"'


def dictionary(schema):
    """Opcodes with their reserved half-word, limits and one beyond, values of enums and flags."""
    out = [f"# Written by protocol/generate.py from {schema.name}.schema."]
    for m in schema.messages.values():
        out += [f"op_{m.name}={quoted(m.opcode, 4)}"]
    for limit in schema.limits.values():
        out += [f"limit_{limit.name.lower()}={quoted(limit.value, 4)}"]
        out += [f"over_{limit.name.lower()}={quoted(limit.value + 1, 4)}"]
    for e in schema.enums.values():
        for name, value, _ in e.values:
            out += [f"{e.name}_{name}={quoted(1 << value if e.flags else value, SCALARS[e.base])}"]
    return "\n".join(out) + "\n"
