"""Writes penstock-protocol.h and penstock-protocol.c.

A message's leading fields have constant offsets: they become straight loads and stores. From the first field of
varying size on, encoders and decoders carry an offset (`at`) along. The hand-written half of the generated C
(loads, stores, the cursor, the printer) is runtime.c beside this file; of it, only what a schema needs is written.
"""

import os
import re

from schema import HEADER_BYTES, align

C_TYPES = {"u8": "uint8_t", "u16": "uint16_t", "u32": "uint32_t", "u64": "uint64_t", "i32": "int32_t", "id": "uint64_t"}
LOADS = {"id": "u64"}


def indent(lines, by=1):
    return ["    " * by + line if line else line for line in lines]


def comment(doc):
    """A `##` comment as a C comment."""
    if not doc:
        return []
    if len(doc) == 1:
        return [f"/* {doc[0]} */"]
    return [f"/* {doc[0]}"] + [f" * {line}" for line in doc[1:-1]] + [f" * {doc[-1]} */"]


def load(wire):
    return LOADS.get(wire, wire)


def c_type(t):
    if t.kind == "scalar":
        return C_TYPES[t.name]
    return {"enum": f"enum pen_{t.name}", "flags": "uint32_t", "bulk": "struct pen_bulk"}.get(t.kind, f"struct pen_{t.name}")


# ---------------------------------------------------------------------------------------------- header


def member(f):
    t = f.type
    if t.kind == "array":
        return [f"{c_type(t.element)} {f.name}[{t.count}];"]
    if t.kind == "bytes":
        return [f"struct pen_bytes {f.name}; /* at most PEN_LIMIT_{t.limit} */"]
    if t.kind == "string":
        return [f"const char *{f.name}; /* at most PEN_LIMIT_{t.limit} bytes */"]
    if t.kind == "list":
        return [f"const {c_type(t.element)} *{f.name};",
                f"uint32_t {f.name}_count; /* at most PEN_LIMIT_{t.limit} */"]
    note = f" /* PEN_{t.name.upper()}_* */" if t.kind == "flags" else ""
    return [f"{c_type(t)} {f.name};{note}"]


def declare_fields(tag, holder):
    out = comment(holder.doc) + [f"struct {tag} {{"]
    for f in holder.fields:
        out += indent(comment(f.doc) + member(f))
    if not holder.fields:
        out += indent(["uint8_t nothing; /* the message has no fields */"])
    return out + ["};", ""]


def declare_enum(e):
    out = comment(e.doc) + [f"enum pen_{e.name} {{"]
    for name, value, doc in e.values:
        number = f"1u << {value}" if e.flags else value
        out += indent(comment(doc) + [f"PEN_{e.name.upper()}_{name.upper()} = {number},"])
    out += ["};"]
    if not e.flags:
        out += ["/* NULL for a value that the schema does not have. */",
                f"const char *pen_{e.name}_name(enum pen_{e.name} value);"]
    return out + [""]


def ordered_structs(schema):
    """Each struct after those it contains."""
    done, out = set(), []

    def visit(struct):
        if struct.name in done:
            return
        done.add(struct.name)
        for f in struct.fields:
            inner = f.type.element or f.type
            if inner.kind == "struct":
                visit(inner.target)
        out.append(struct)

    for struct in schema.structs.values():
        visit(struct)
    return out


def declare_message(m):
    out = declare_fields(f"pen_msg_{m.name}", m)
    own = f"struct pen_msg_{m.name}"
    return out[:-1] + [
        f"size_t pen_msg_{m.name}_size(const {own} *m);",
        f"void pen_msg_{m.name}_encode(const {own} *m, uint64_t sequence, void *frame);",
        f"int pen_msg_{m.name}_decode(const void *frame, size_t size, struct pen_scratch *scratch, {own} *out);",
        "",
    ]


def header(schema, runtime):
    guard = f"PEN_{schema.name.upper()}_PROTOCOL_H"
    out = [f"/* Written by protocol/generate.py from {schema.name}.schema; change that instead. */",
           f"#ifndef {guard}", f"#define {guard}", ""]
    out += runtime["header"]
    out += [f"#define PEN_PROTOCOL_NAME  \"{schema.name}\"", f"#define PEN_PROTOCOL_MAJOR {schema.major}",
            f"#define PEN_PROTOCOL_MINOR {schema.minor}", ""]
    for limit in schema.limits.values():
        out += comment(limit.doc) + [f"#define PEN_LIMIT_{limit.name} {limit.value}u"]
    out += ["", "enum pen_op {"]
    out += indent([f"PEN_OP_{m.name.upper()} = {m.opcode:#06x}," for m in schema.messages.values()]) + ["};", ""]
    for e in schema.enums.values():
        out += declare_enum(e)
    for s in ordered_structs(schema):
        out += declare_fields(f"pen_{s.name}", s)
    for m in schema.messages.values():
        out += declare_message(m)
    return "\n".join(out + ["#endif"]) + "\n"


# ---------------------------------------------------------------------------------------------- fields of known size


def encode_fixed(f, value, target):
    t = f.type
    if t.kind == "array":
        return [f"memset({target}, 0, {t.size});" if f.reserved else f"memcpy({target}, {value}, {t.size});"]
    if t.kind == "struct":
        return [f"encode_{t.name}({target}, &{value});"]
    if t.kind == "bulk":
        return [f"put_bulk({target}, &{value});"]
    wire = load(t.wire)
    if f.reserved:
        return [f"put_{wire}({target}, 0);"]
    cast = f"({C_TYPES[wire]})" if t.kind in ("enum", "flags") and C_TYPES[wire] != c_type(t) else ""
    return [f"put_{wire}({target}, {cast}{value});"]


def decode_fixed(f, value, source):
    t = f.type
    if t.kind == "struct":
        return [f"if (!decode_{t.name}({source}, &{value}))", "    return -PEN_EPROTO;"]
    if t.kind == "bulk":
        return [f"{value} = get_bulk({source});"]
    if t.kind == "array":
        check = [f"if (!all_zero({source}, {t.size}))", "    return -PEN_EPROTO;"] if f.reserved else []
        return check + [f"memcpy({value}, {source}, {t.size});"]
    get = f"get_{load(t.wire)}({source})"
    if t.kind == "enum":
        return [f"if (!known_{t.name}({get}))", "    return -PEN_EPROTO;", f"{value} = (enum pen_{t.name}){get};"]
    out = [f"{value} = {get};"]
    if f.reserved:
        out += [f"if ({value})", "    return -PEN_EPROTO;"]
    elif t.kind == "flags":
        out += [f"if ({value} & ~UINT32_C({t.target.mask:#x}))", "    return -PEN_EPROTO;"]
    return out


def fixed_part(holder, start, base, act, gap):
    """Lines for the leading fields at constant offsets from `base`; act(field, place), gap(place, bytes)."""
    placed, end = holder.layout(start)
    out, at = [], start
    for offset, f in placed:
        if offset > at:
            out += gap(f"{base} + {at}", offset - at)
        out += act(f, f"{base} + {offset}" if offset else base)
        at = offset + f.type.size
    return out, end, holder.fields[len(placed):]


def encode_gap(place, count):
    return [f"memset({place}, 0, {count});"]


def decode_gap(place, count):
    return [f"if (!all_zero({place}, {count}))", "    return -PEN_EPROTO;"]


def as_bool(lines):
    """decode_X of a fixed struct says true or false; the message's decoder returns the error."""
    return [line.replace("return -PEN_EPROTO;", "return false;") for line in lines]


# ---------------------------------------------------------------------------------------------- fields of varying size


def size_varying(f, value):
    t = f.type
    limit = f"PEN_LIMIT_{t.limit}"
    if t.kind == "list" and not t.element.fixed:
        call = f"size_{t.element.name}_list(&at, {value}, {value}_count, {limit})"
    elif t.kind == "list":
        call = f"size_list(&at, {value}_count, {limit}, {t.element.size})"
    elif t.kind == "bytes":
        call = f"size_bytes(&at, {value}.size, {limit})"
    elif t.kind == "string":
        call = f"size_string(&at, {value}, {limit})"
    elif t.fixed:
        return [f"at = ALIGN(at, {t.align}) + {t.size};"]
    else:
        call = f"size_{t.name}(&at, &{value})"
    return [f"if (!{call})", "    return FAILED;"]


def encode_varying(f, value):
    t = f.type
    if t.kind == "list" and t.element.kind == "struct":
        return [f"at = put_{t.element.name}_list(f, at, {value}, {value}_count);"]
    if t.kind == "list":
        return [f"at = put_list(f, at, {value}, {value}_count, {t.element.size});"]
    if t.kind == "bytes":
        return [f"at = put_bytes(f, at, {value}.data, {value}.size);"]
    if t.kind == "string":
        return [f"at = put_string(f, at, {value});"]
    if not t.fixed:
        return [f"at = encode_{t.name}(f, at, &{value});"]
    return [f"at = pad(f, at, {t.align});"] + encode_fixed(f, value, "f + at") + [f"at += {t.size};"]


def decode_varying(f, value):
    t = f.type
    limit = f"PEN_LIMIT_{t.limit}"
    if t.kind == "list" and t.element.kind == "struct":
        call = f"take_{t.element.name}_list(c, {limit}, &{value}, &{value}_count)"
    elif t.kind == "list":
        call = f"take_list(c, {limit}, {t.element.size}, &run, &{value}_count)"
    elif t.kind == "bytes":
        call = f"take_bytes(c, {limit}, &{value})"
    elif t.kind == "string":
        call = f"take_string(c, {limit}, &{value})"
    elif t.fixed:
        return (["rc = take_fixed(c, %d, %d, &fixed);" % (t.align, t.size), "if (rc)", "    return rc;"]
                + decode_fixed(f, value, "fixed"))
    else:
        call = f"decode_{t.name}(c, &{value})"
    out = [f"rc = {call};", "if (rc)", "    return rc;"]
    return out + ([f"{value} = run;"] if "&run" in call else [])


def locals_for(lines):
    """Declarations of what decode_varying's lines use."""
    text = "\n".join(lines)
    return [declaration for name, declaration in (("&run", "const void *run;"), ("&fixed", "const unsigned char *fixed;"))
            if name in text]


# ---------------------------------------------------------------------------------------------- structs


def fixed_struct(s):
    own = f"struct pen_{s.name}"
    stores, end, _ = fixed_part(s, 0, "f", lambda f, at: encode_fixed(f, f"s->{f.name}", at), encode_gap)
    loads, _, _ = fixed_part(s, 0, "f", lambda f, at: decode_fixed(f, f"out->{f.name}", at), decode_gap)
    if s.size > end:
        stores += encode_gap(f"f + {end}", s.size - end)
        loads += decode_gap(f"f + {end}", s.size - end)
    return ([f"static void encode_{s.name}(unsigned char *f, const {own} *s)", "{"] + indent(stores) + ["}", "",
            f"static bool decode_{s.name}(const unsigned char *f, {own} *out)", "{"] + indent(as_bool(loads))
            + indent(["return true;"]) + ["}", ""])


def varying_struct(s):
    own = f"struct pen_{s.name}"
    sizes, stores, loads = [], [], []
    for f in s.fields:
        sizes += size_varying(f, f"s->{f.name}")
        stores += encode_varying(f, f"s->{f.name}")
        loads += decode_varying(f, f"out->{f.name}")
    sizes = ["size_t at = *io_at;"] + [line.replace("FAILED", "false") for line in sizes] + ["*io_at = at;", "return true;"]
    return ([f"static bool size_{s.name}(size_t *io_at, const {own} *s)", "{"] + indent(sizes) + ["}", "",
            f"static size_t encode_{s.name}(unsigned char *f, size_t at, const {own} *s)", "{"]
            + indent(stores + ["return at;"]) + ["}", "",
            f"static int decode_{s.name}(struct cursor *c, {own} *out)", "{"]
            + indent(locals_for(loads) + ["int rc;"] + loads + ["return 0;"]) + ["}", ""])


def struct_list(s):
    own = f"struct pen_{s.name}"
    out = []
    if not s.fixed:
        out += [f"static bool size_{s.name}_list(size_t *at, const {own} *items, uint32_t count, uint32_t limit)", "{",
                "    if (!size_list(at, count, limit, 0))", "        return false;",
                "    for (uint32_t i = 0; i < count; i++)", f"        if (!size_{s.name}(at, &items[i]))",
                "            return false;", "    return true;", "}", ""]
    step = ([f"encode_{s.name}(f + at, &items[i]);", f"at += {s.size};"] if s.fixed
            else [f"at = encode_{s.name}(f, at, &items[i]);"])
    body = [f"    for (uint32_t i = 0; i < count; i++){' {' if s.fixed else ''}"] + indent(step, 2)
    out += [f"static size_t put_{s.name}_list(unsigned char *f, size_t at, const {own} *items, uint32_t count)", "{",
            "    at = put_list(f, at, NULL, count, 0);"] + body + (["    }"] if s.fixed else []) + ["    return at;", "}", ""]
    out += [f"static int take_{s.name}_list(struct cursor *c, uint32_t limit, const {own} **out, uint32_t *out_count)", "{",
            "    uint32_t count;", f"    {own} *items = NULL;",
            f"    int rc = take_count(c, limit, {s.size}, 8, &count);", "    if (rc)", "        return rc;",
            "    if (count) {", "        items = pen_scratch_alloc(c->scratch, count * sizeof *items);",
            "        if (!items)", "            return -PEN_ENOMEM;", "    }",
            "    for (uint32_t i = 0; i < count; i++) {"]
    if s.fixed:
        out += [f"        if (!decode_{s.name}(c->frame + c->at, &items[i]))", "            return -PEN_EPROTO;",
                f"        c->at += {s.size};"]
    else:
        out += [f"        rc = decode_{s.name}(c, &items[i]);", "        if (rc)", "            return rc;"]
    return out + ["    }", "    *out = items;", "    *out_count = count;", "    return 0;", "}", ""]


# ---------------------------------------------------------------------------------------------- messages


def message_size(m):
    own = f"struct pen_msg_{m.name}"
    placed, end = m.layout(HEADER_BYTES)
    out = [f"size_t pen_msg_{m.name}_size(const {own} *m)", "{"]
    if m.fixed:
        return out + ["    (void)m;", f"    return {align(end, 8)};", "}", ""]
    lines = [f"size_t at = {end};"]
    for f in m.fields[len(placed):]:
        lines += size_varying(f, f"m->{f.name}")
    lines += ["at = ALIGN(at, 8);", "return at <= PEN_LIMIT_FRAME ? at : 0;"]
    return out + indent([line.replace("FAILED", "0") for line in lines]) + ["}", ""]


def message_encode(m):
    own = f"struct pen_msg_{m.name}"
    stores, end, rest = fixed_part(m, HEADER_BYTES, "f", lambda f, at: encode_fixed(f, f"m->{f.name}", at), encode_gap)
    lines = ["unsigned char *f = frame;"] + ([] if m.fields else ["(void)m;"]) + stores
    if rest:
        lines += [f"size_t at = {end};"]
        for f in rest:
            lines += encode_varying(f, f"m->{f.name}")
        lines += ["at = pad(f, at, 8);"]
    elif end % 8:
        lines += encode_gap(f"f + {end}", 8 - end % 8)
    lines += [f"put_header(f, {'at' if rest else align(end, 8)}, PEN_OP_{m.name.upper()}, sequence);"]
    return ([f"void pen_msg_{m.name}_encode(const {own} *m, uint64_t sequence, void *frame)", "{"] + indent(lines)
            + ["}", ""])


def message_decode(m):
    own = f"struct pen_msg_{m.name}"
    loads, end, rest = fixed_part(m, HEADER_BYTES, "f", lambda f, at: decode_fixed(f, f"m.{f.name}", at), decode_gap)
    least = align(end + sum(f.type.size for f in rest), 8)
    lines = ["const unsigned char *f = frame;", f"{own} m;",
             f"int rc = check_frame(f, size, PEN_OP_{m.name.upper()}, {least}, {'PEN_LIMIT_FRAME' if rest else least});",
             "if (rc)", "    return rc;"] + ([] if m.fields else ["m.nothing = 0;"]) + loads
    if rest:
        varying = []
        for f in rest:
            varying += decode_varying(f, f"m.{f.name}")
        lines += [f"struct cursor cursor = {{f, {end}, size, scratch}}, *c = &cursor;"] + locals_for(varying) + varying
        lines += ["rc = take_end(c);", "if (rc)", "    return rc;"]
    else:
        lines += ["(void)scratch;"]
        if end % 8:
            lines += decode_gap(f"f + {end}", 8 - end % 8)
    lines += ["*out = m;", "return 0;"]
    return ([f"int pen_msg_{m.name}_decode(const void *frame, size_t size, struct pen_scratch *scratch, {own} *out)", "{"]
            + indent(lines) + ["}", ""])


# ---------------------------------------------------------------------------------------------- printing


def print_value(t, name, value):
    """Lines that print one value; `name` is a C expression, NULL inside a list."""
    if t.kind == "struct":
        return [f"print_{t.name}(p, {name}, &{value});"]
    if t.kind == "enum":
        return [f"print_word(p, {name}, pen_{t.name}_name({value}));"]
    if t.kind == "flags":
        return [f"print_flags(p, {name}, {value}, {t.name}_names);"]
    if t.kind == "array" or t.kind == "list":
        count = t.count if t.kind == "array" else f"{value}_count"
        inner = print_value(t.element, "NULL", f"{value}[i]")
        return ([f"print_open(p, {name}, '[');", f"for (uint32_t i = 0; i < {count}; i++)"] + indent(inner)
                + ["print_close(p, ']');"])
    if t.kind in ("bytes", "bulk"):
        return [f"print_{t.kind}(p, {name}, &{value});"]
    if t.kind == "string":
        return [f"print_string(p, {name}, {value});"]
    return [f"print_{'signed' if t.wire == 'i32' else 'unsigned'}(p, {name}, {value});"]


def print_fields(holder, base):
    out = []
    for f in holder.fields:
        if not f.reserved:
            out += print_value(f.type, f'"{f.name}"', f"{base}{f.name}")
    return out


def print_struct(s):
    return ([f"static void print_{s.name}(struct printer *p, const char *name, const struct pen_{s.name} *s)", "{"]
            + indent(["print_open(p, name, '{');"] + print_fields(s, "s->") + ["print_close(p, '}');"]) + ["}", ""])


def message_entry(m):
    """Check, print and bulk of one message behind one signature each."""
    own = f"struct pen_msg_{m.name}"
    decode = f"int rc = pen_msg_{m.name}_decode(frame, size, scratch, &m);"
    out = [f"static int check_{m.name}(const void *frame, size_t size, struct pen_scratch *scratch)", "{",
           f"    {own} m;", f"    return pen_msg_{m.name}_decode(frame, size, scratch, &m);", "}", ""]
    fields = print_fields(m, "m.") or ["(void)p;"]
    out += [f"static int print_msg_{m.name}(struct printer *p, const void *frame, size_t size, struct pen_scratch *scratch)",
            "{", f"    {own} m;", f"    {decode}", "    if (rc)", "        return rc;",
            f"    print_begin(p, frame, \"{m.name}\");"] + indent(fields) + ["    return 0;", "}", ""]
    if m.bulk:
        out += [f"static int bulk_{m.name}(const void *frame, size_t size, struct pen_scratch *scratch, struct pen_bulk *out)",
                "{", f"    {own} m;", f"    {decode}", "    if (rc)", "        return rc;", f"    *out = m.{m.bulk.name};",
                "    return 1;", "}", ""]
    return out


# ---------------------------------------------------------------------------------------------- the whole


def flag_table(e):
    names = ", ".join(f'[{value}] = "{name}"' for name, value, _ in e.values)
    return f"{e.name}_names", f"static const char *const {e.name}_names[32] = {{{names}}};"


def enum_name(e):
    cases = []
    for name, _, _ in e.values:
        cases += [f"case PEN_{e.name.upper()}_{name.upper()}:", f'    return "{name}";']
    return ([f"const char *pen_{e.name}_name(enum pen_{e.name} value)", "{", "    switch (value) {"] + indent(cases)
            + ["    }", "    return NULL;", "}", ""])


def enum_known(e):
    values = sorted(value for _, value, _ in e.values)
    if values == list(range(len(values))):
        test = ("value >= 0 && " if e.base == "i32" else "") + f"value <= {values[-1]}"
    else:
        test = " || ".join(f"value == {value}" for value in values)
    return [f"static bool known_{e.name}({C_TYPES[e.base]} value)", "{", f"    return {test};", "}", ""]


def message_table(schema):
    out = ["static const struct entry entries[] = {"]
    for m in schema.messages.values():
        answer = f"PEN_OP_{m.answer.upper()}" if m.answer else "0"
        bulk = f"bulk_{m.name}" if m.bulk else "NULL"
        out += [f"    {{{{\"{m.name}\", PEN_OP_{m.name.upper()}, PEN_DIRECTION_{m.direction.upper()}, {answer}}},",
                f"     check_{m.name}, print_msg_{m.name}, {bulk}}},"]
    out += ["};", "", "static const struct entry *find(uint16_t opcode)", "{", "    switch (opcode) {"]
    for index, m in enumerate(schema.messages.values()):
        out += [f"    case PEN_OP_{m.name.upper()}:", f"        return &entries[{index}];"]
    return out + ["    default:", "        return NULL;", "    }", "}", ""]


def read_runtime():
    """runtime.c in parts: name -> lines. Parts begin with a line `//// NAME`."""
    parts, current = {}, None
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "runtime.c"), encoding="utf-8") as file:
        for line in file.read().splitlines():
            if line.startswith("//// "):
                current = parts.setdefault(line[5:].strip(), [])
            elif current is not None:
                current.append(line)
    return parts


def functions(lines):
    """Splits C text into functions: (name, text)."""
    chunks = re.split(r"\n\n+(?=\S)", "\n".join(lines).strip("\n"))
    return [(re.findall(r"\b(\w+)\(", re.sub(r"/\*.*?\*/", "", chunk, flags=re.S))[0], chunk) for chunk in chunks]


def only_needed(chunks, text):
    """The chunks that `text` calls, or that needed ones call, in their order."""
    needed, grew = set(), True
    while grew:
        grew = False
        for name, chunk in chunks:
            if name not in needed and re.search(rf"\b{name}\(", text):
                needed.add(name)
                text += chunk
                grew = True
    return [chunk for name, chunk in chunks if name in needed]


def source(schema, runtime, header_name):
    structs, messages, known, named, flag_names = [], [], [], [], []
    for e in schema.enums.values():
        if e.flags:
            flag_names += [flag_table(e)]
        else:
            named += enum_name(e)
            known += enum_known(e)
    for s in ordered_structs(schema):
        structs += fixed_struct(s) if s.fixed else varying_struct(s)
        structs += struct_list(s) + print_struct(s)
    for m in schema.messages.values():
        messages += message_size(m) + message_encode(m) + message_decode(m) + message_entry(m)
    messages += message_table(schema) + runtime["tail"]
    # What is public or in the table is wanted; of the rest, what something wanted uses.
    helpers = only_needed(functions(runtime["helpers"] + [""] + known + structs), "\n".join(messages))
    text = "\n".join(helpers + messages)
    tables = [line for name, line in flag_names if f"{name})" in text]
    return "\n".join(
        [f"/* Written by protocol/generate.py from {schema.name}.schema; change that instead. */",
         f'#include "{header_name}"', *runtime["source"], *tables, "", *named, "\n\n".join(helpers), "", *messages]
    ).rstrip("\n") + "\n"
