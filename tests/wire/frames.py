#!/usr/bin/python3
"""frames.py SCHEMA HEADER again.c frames.txt [CORPUS_FOLDER] - sample frames of every message of a schema.

A second, independent reading of the layout rules: the C codec must agree with it byte for byte.
frames.txt has a line for each sample: NAME<tab>HEXADECIMAL<tab>JSON as pen_message_print writes it.
again.c has `again`, which decodes a frame of whatever message and encodes it anew.
CORPUS_FOLDER gets each frame as a file, to start the fuzzers from.
"""

import json
import os
import random
import struct
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "protocol"))

import schema as schema_file  # noqa: E402

FORMATS = {"u8": "<B", "u16": "<H", "u32": "<I", "u64": "<Q", "i32": "<i", "id": "<Q"}
TEXTS = ["a", 'say "so"', "line\nand \\", "caf\u00e9 \u20ac", "\x01", "0123456789abcdef"]


class Sampler:
    """Values of every type; `style` is empty (all zero, nothing in lists), some or full."""

    def __init__(self, schema, style, seed):
        self.schema, self.style, self.random = schema, style, random.Random(seed)

    def count(self, limit):
        most = min(self.schema.limits[limit].value, 40)
        return {"empty": 0, "some": self.random.randint(1, min(most, 3)), "full": most}[self.style]

    def scalar(self, name):
        size = schema_file.SCALARS[name]
        low = -(1 << 31) if name == "i32" else 0
        high = (1 << 31) - 1 if name == "i32" else (1 << 8 * size) - 1
        return {"empty": 0, "some": self.random.randint(low, high), "full": high}[self.style]

    def value(self, t):
        if t.kind == "scalar":
            return self.scalar(t.name)
        if t.kind == "enum":
            values = [v for _, v, _ in t.target.values]
            return {"empty": values[0], "some": self.random.choice(values), "full": values[-1]}[self.style]
        if t.kind == "flags":
            return {"empty": 0, "some": 1 << self.random.choice(t.target.values)[1], "full": t.target.mask}[self.style]
        if t.kind == "struct":
            return self.fields(t.target)
        if t.kind == "array":
            return [self.scalar(t.element.name) for _ in range(t.count)]
        if t.kind == "list":
            return [self.value(t.element) for _ in range(self.count(t.limit))]
        if t.kind == "bulk":
            return (self.scalar("u64"), self.scalar("u64"))
        if t.kind == "bytes":
            return bytes(self.random.randrange(256) for _ in range(self.count(t.limit)))
        return "" if self.style == "empty" else self.random.choice(TEXTS)

    def fields(self, holder):
        return [([0] * f.type.count if f.type.kind == "array" else 0) if f.reserved else self.value(f.type)
                for f in holder.fields]


class Writer:
    """Lays values out: every rule is one line of the schema's head comment."""

    def __init__(self):
        self.out = bytearray(16)

    def pad(self, to):
        self.out += bytes(-len(self.out) % to)

    def scalar(self, wire, value):
        self.pad(schema_file.SCALARS[wire])
        self.out += struct.pack(FORMATS[wire], value)

    def value(self, t, value):
        if t.kind == "struct":
            if t.fixed:
                self.pad(t.target.align)
            for f, v in zip(t.target.fields, value):
                self.value(f.type, v)
            if t.fixed:
                self.pad(t.target.align)
        elif t.kind == "array":
            for v in value:
                self.value(t.element, v)
        elif t.kind == "bulk":
            self.scalar("u64", value[0])
            self.scalar("u64", value[1])
        elif t.kind in ("bytes", "string"):
            data = value.encode() if t.kind == "string" else value
            self.scalar("u32", len(data))
            self.out += data + (b"\0" if t.kind == "string" else b"")
        elif t.kind == "list":
            self.scalar("u32", len(value))
            self.pad(8)
            for v in value:
                self.value(t.element, v)
        else:
            self.scalar(t.wire, value)

    def frame(self, message, values, sequence):
        for f, v in zip(message.fields, values):
            self.value(f.type, v)
        self.pad(8)
        self.out[:16] = struct.pack("<IHHQ", len(self.out), message.opcode, 0, sequence)
        return bytes(self.out)


def as_json(t, value):
    if t.kind == "struct":
        return object_of(t.target, value)
    if t.kind == "enum":
        return next(n for n, v, _ in t.target.values if v == value)
    if t.kind == "flags":
        return [n for n, v, _ in sorted(t.target.values, key=lambda x: x[1]) if value >> v & 1]
    if t.kind in ("array", "list"):
        return [as_json(t.element, v) for v in value]
    if t.kind == "bulk":
        return {"offset": value[0], "size": value[1]}
    return value.hex() if t.kind == "bytes" else value


def object_of(holder, values):
    return {f.name: as_json(f.type, v) for f, v in zip(holder.fields, values) if not f.reserved}


def samples(schema):
    """(name, frame, JSON) of every message in every style; one that differs in nothing from another is left out."""
    for number, message in enumerate(schema.messages.values()):
        seen = set()
        for style in ("empty", "some", "full"):
            values = Sampler(schema, style, number).fields(message)
            sequence = {"empty": 0, "some": number + 1, "full": 2**64 - 1}[style]
            frame = Writer().frame(message, values, sequence)
            if frame[16:] in seen or len(frame) > schema.limits["FRAME"].value:
                continue
            seen.add(frame[16:])
            shown = {"sequence": sequence, "op": message.name, **object_of(message, values)}
            yield f"{message.name}/{style}", frame, json.dumps(shown, ensure_ascii=False)


AGAIN_HEAD = """/* Written by tests/wire/frames.py: decodes a frame and encodes what came out. */
#include <string.h>

#include "{header}"
#include "frames.h"

int again(const void *frame, size_t size, struct pen_scratch *scratch, void *out, size_t *out_size)
{{
    struct pen_frame_header header;
    memcpy(&header, frame, sizeof header);
    switch (header.opcode) {{
"""
AGAIN_CASE = """    case PEN_OP_{upper}: {{
        struct pen_msg_{name} m;
        int rc = pen_msg_{name}_decode(frame, size, scratch, &m);
        if (rc)
            return rc;
        *out_size = pen_msg_{name}_size(&m);
        if (*out_size)
            pen_msg_{name}_encode(&m, header.sequence, out);
        return 0;
    }}
"""
AGAIN_TAIL = """    default:
        return -PEN_EPROTO;
    }
}
"""


def main(schema_path, header, again, frames, corpus=None):
    schema = schema_file.load(schema_path)
    with open(again, "w", encoding="utf-8") as file:
        file.write(AGAIN_HEAD.format(header=header))
        for m in schema.messages.values():
            file.write(AGAIN_CASE.format(name=m.name, upper=m.name.upper()))
        file.write(AGAIN_TAIL)
    with open(frames, "w", encoding="utf-8") as file:
        for name, frame, shown in samples(schema):
            file.write(f"{name}\t{frame.hex()}\t{shown}\n")
            if corpus:
                os.makedirs(corpus, exist_ok=True)
                with open(os.path.join(corpus, name.replace("/", "-")), "wb") as seed:
                    seed.write(frame)


if __name__ == "__main__":
    main(*sys.argv[1:])
