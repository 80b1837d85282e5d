"""Reads penstock.schema: tokens, declarations, checks, layout. Every error names its line.

The grammar and the layout rules are at the head of penstock.schema; this file is their reading.
"""

import re
from dataclasses import dataclass, field

SCALARS = {"u8": 1, "u16": 2, "u32": 4, "u64": 8, "i32": 4, "id": 8}
RANGES = {"u8": (0, 0xFF), "u16": (0, 0xFFFF), "u32": (0, 0xFFFFFFFF), "i32": (-(2**31), 2**31 - 1)}
DIRECTIONS = ("command", "reply", "control")
HEADER_BYTES = 16
ARRAY_MOST = 64

# Names that the generated C uses for itself, or that C has taken.
TAKEN_TYPES = {"op", "direction", "message_info", "frame_header", "scratch", "error", "bytes", "string", "list", "bulk"}
TAKEN_FIELDS = set(
    """auto break case char const continue default do double else enum extern float for goto if inline int long
    register restrict return short signed sizeof static struct switch typedef union unsigned void volatile while
    asm typeof bool true false linux unix""".split()
)
# Keys that every message printed as JSON has.
PRINTED_FIELDS = ("sequence", "op")


class SchemaError(Exception):
    """A mistake in the schema, with its line."""

    def __init__(self, line, message):
        super().__init__(message)
        self.line = line


@dataclass
class Type:
    """kind: scalar enum flags struct (by `name`), array (of `element`), bytes string list (with `limit`), bulk."""

    kind: str
    line: int
    name: str = ""
    element: "Type" = None
    count: int = 0
    limit: str = ""
    target: object = None  # the Enum or Struct that `name` names

    @property
    def fixed(self):
        """True when every value takes the same number of bytes in a frame."""
        if self.kind == "struct":
            return self.target.fixed
        return self.kind not in ("bytes", "string", "list")

    @property
    def align(self):
        """Alignment of the first byte; 1 for a struct of varying size, whose fields align themselves."""
        if self.kind in ("bytes", "string", "list"):
            return 4
        if self.kind == "struct":
            return self.target.align if self.fixed else 1
        if self.kind == "array":
            return self.element.align
        return 8 if self.kind == "bulk" else SCALARS[self.wire]

    @property
    def size(self):
        """Bytes of a fixed type; the least that a varying one can take."""
        if self.kind == "struct":
            return self.target.size
        if self.kind == "array":
            return self.count * self.element.size
        return {"bulk": 16, "bytes": 4, "string": 5, "list": 4}.get(self.kind) or SCALARS[self.wire]

    @property
    def wire(self):
        """The scalar that travels."""
        return self.name if self.kind == "scalar" else self.target.base

    def __str__(self):
        if self.kind == "array":
            return f"{self.element}[{self.count}]"
        if self.kind == "list":
            return f"list<{self.element}, {self.limit}>"
        return f"{self.kind}<{self.limit}>" if self.kind in ("bytes", "string") else self.name or self.kind


@dataclass
class Field:
    type: Type
    name: str
    line: int
    doc: list = field(default_factory=list)
    usual: list = field(default_factory=list)  # what fields of this name mean, where nothing else says it

    @property
    def reserved(self):
        return self.name == "reserved"


@dataclass
class Usual:
    """What fields of this name mean."""

    what = "field"
    name: str
    line: int
    doc: list = field(default_factory=list)


@dataclass
class Limit:
    what = "limit"
    name: str
    value: int
    line: int
    doc: list = field(default_factory=list)


@dataclass
class Enum:
    """An enum, or flags (values are then bit numbers)."""

    name: str
    base: str
    line: int
    flags: bool
    values: list = field(default_factory=list)  # (name, value, doc)
    doc: list = field(default_factory=list)

    @property
    def what(self):
        return "flags" if self.flags else "enum"

    @property
    def mask(self):
        return sum(1 << value for _, value, _ in self.values)


@dataclass
class Fields:
    """What structs and messages have in common."""

    name: str
    line: int
    fields: list = field(default_factory=list)
    doc: list = field(default_factory=list)

    @property
    def fixed(self):
        return all(f.type.fixed for f in self.fields)

    def layout(self, at=0):
        """(offset, field) of the leading fields whose offset is constant, and where they end."""
        placed = []
        for f in self.fields:
            if not f.type.fixed:
                break
            at = align(at, f.type.align)
            placed.append((at, f))
            at += f.type.size
        return placed, at


class Struct(Fields):
    what = "struct"
    @property
    def align(self):
        return max((f.type.align for f in self.fields), default=1)

    @property
    def size(self):
        if self.fixed:
            return align(self.layout()[1], self.align)
        return sum(f.type.size for f in self.fields)


@dataclass
class Message(Fields):
    what = "message"
    opcode: int = 0
    direction: str = ""
    answer: str = ""
    answer_line: int = 0

    @property
    def bulk(self):
        return next((f for f in self.fields if f.type.kind == "bulk"), None)


@dataclass
class Schema:
    name: str = ""
    major: int = 0
    minor: int = 0
    limits: dict = field(default_factory=dict)
    usual: dict = field(default_factory=dict)
    enums: dict = field(default_factory=dict)
    structs: dict = field(default_factory=dict)
    messages: dict = field(default_factory=dict)


def align(at, to):
    return (at + to - 1) // to * to


# ---------------------------------------------------------------------------------------------- tokens

TOKEN = re.compile(r"\s*(?:(##[^\n]*)|(#[^\n]*)|([\w.\-]+)|([{}<>\[\],=:|])|(\S))")


def tokens(text):
    """(line, token, doc lines before it) for each token; ends with (line, '', [])."""
    doc, line = [], 0
    for line, content in enumerate(text.splitlines(), 1):
        at = 0
        while match := TOKEN.match(content, at):
            at = match.end()
            comment, _, word, sign, other = match.groups()
            if comment:
                doc.append(comment[2:].strip())
            elif other:
                raise SchemaError(line, f"unexpected character '{other}'")
            elif word or sign:
                yield line, word or sign, doc
                doc = []
    yield line, "", []


class Parser:
    def __init__(self, text):
        self.stream = tokens(text)
        self.schema = Schema()
        self.advance()

    # Taking tokens.

    def advance(self):
        taken = getattr(self, "token", "")
        self.line, self.token, self.doc = next(self.stream)
        return taken

    def expect(self, what):
        if self.token != what:
            raise SchemaError(self.line, f"expected '{what}', found '{self.token or 'end of file'}'")
        return self.advance()

    def identifier(self, what, pattern=r"[a-z][a-z0-9_]*", rule="lower-case letters, digits and _, a letter first"):
        if not self.token:
            raise SchemaError(self.line, f"expected {what}, found end of file")
        if not re.fullmatch(pattern, self.token):
            raise SchemaError(self.line, f"bad identifier '{self.token}' for {what}: {rule}")
        return self.advance()

    def integer(self, what):
        if not re.fullmatch(r"-?(0x[0-9a-fA-F]+|\d+)", self.token):
            raise SchemaError(self.line, f"expected an integer for {what}, found '{self.token or 'end of file'}'")
        return int(self.advance(), 0)

    # Declarations.

    def parse(self):
        kinds = {
            "protocol": self.protocol,
            "limit": self.limit,
            "field": self.usual_field,
            "enum": lambda: self.enumeration(False),
            "flags": lambda: self.enumeration(True),
            "struct": self.struct,
            "message": self.message,
        }
        while self.token:
            if self.token not in kinds:
                raise SchemaError(self.line, f"unknown declaration '{self.token}': {', '.join(kinds)} are known")
            doc = self.doc
            declare = kinds[self.advance()]
            declared = declare()
            if declared:
                declared.doc = doc
        Checker(self.schema).check(self.line)
        return self.schema

    def protocol(self):
        line = self.line
        if self.schema.name:
            raise SchemaError(line, "a second protocol declaration")
        self.schema.name = self.identifier("the protocol")
        self.expect("version")
        if not re.fullmatch(r"\d+\.\d+", self.token):
            raise SchemaError(self.line, f"expected MAJOR.MINOR, found '{self.token}'")
        self.schema.major, self.schema.minor = (int(part) for part in self.advance().split("."))

    def limit(self):
        line = self.line
        name = self.identifier("a limit", r"[A-Z][A-Z0-9_]*", "upper-case letters, digits and _, a letter first")
        if name in self.schema.limits:
            raise SchemaError(line, f"limit {name} is declared twice, first on line {self.schema.limits[name].line}")
        self.expect("=")
        value = self.integer(f"limit {name}")
        if not 0 < value <= 0xFFFFFFFF:
            raise SchemaError(line, f"limit {name} is {value}: from 1 to 4294967295 is allowed")
        self.schema.limits[name] = Limit(name, value, line)
        return self.schema.limits[name]

    def usual_field(self):
        line = self.line
        name = self.identifier("a field")
        if name in self.schema.usual:
            raise SchemaError(line, f"field {name} is declared twice, first on line {self.schema.usual[name].line}")
        self.schema.usual[name] = Usual(name, line)
        return self.schema.usual[name]

    def new_name(self, what):
        line, name = self.line, self.identifier(f"the {what}")
        for table in (self.schema.enums, self.schema.structs, self.schema.messages):
            if name in table and (table is self.schema.messages) == (what == "message"):
                raise SchemaError(line, f"{what} {name} is declared twice, first on line {table[name].line}")
        if what != "message" and (name in SCALARS or name in TAKEN_TYPES):
            raise SchemaError(line, f"bad identifier '{name}' for the {what}: the name is taken")
        return line, name

    def enumeration(self, flags):
        what = "flags" if flags else "enum"
        line, name = self.new_name(what)
        self.expect(":")
        allowed = ("u16", "u32") if flags else ("u8", "u16", "u32", "i32")
        if self.token not in allowed:
            raise SchemaError(self.line, f"{what} {name}: unknown base type '{self.token}': {', '.join(allowed)}")
        made = Enum(name, self.advance(), line, flags)
        self.schema.enums[name] = made
        self.expect("{")
        while self.token != "}":
            self.enum_value(made, what)
        self.expect("}")
        if not made.values:
            raise SchemaError(line, f"{what} {name} has no values")
        return made

    def enum_value(self, made, what):
        line, doc = self.line, self.doc
        value_name = self.identifier(f"a value of {what} {made.name}")
        self.expect("=")
        value = self.integer(f"{made.name}.{value_name}")
        low, high = (0, SCALARS[made.base] * 8 - 1) if made.flags else RANGES[made.base]
        if not low <= value <= high:
            raise SchemaError(line, f"{what} {made.name}: {value_name} = {value} is outside {low}..{high}")
        for other, other_value, _ in made.values:
            if other == value_name or other_value == value:
                raise SchemaError(line, f"{what} {made.name}: {value_name} = {value} repeats {other} = {other_value}")
        made.values.append((value_name, value, doc))

    def struct(self):
        line, name = self.new_name("struct")
        made = self.schema.structs[name] = Struct(name, line)
        self.field_list(made, f"struct {name}")
        if not made.fields:
            raise SchemaError(line, f"struct {name} has no fields")
        return made

    def message(self):
        line, name = self.new_name("message")
        made = Message(name, line)
        self.expect("=")
        made.opcode = self.integer(f"the opcode of message {name}")
        if not 0 < made.opcode <= 0xFFFF:
            raise SchemaError(line, f"message {name}: opcode {made.opcode:#x} is outside 0x1..0xffff")
        for other in self.schema.messages.values():
            if other.opcode == made.opcode:
                raise SchemaError(line, f"message {name}: opcode {made.opcode:#06x} is that of {other.name}"
                                  f", line {other.line}")
        if self.token not in DIRECTIONS:
            raise SchemaError(self.line, f"message {name}: unknown direction '{self.token}': {', '.join(DIRECTIONS)}")
        made.direction = self.advance()
        if self.token == "answered":
            self.advance()
            made.answer_line, made.answer = self.line, self.identifier("the answer")
        self.schema.messages[name] = made
        self.field_list(made, f"message {name}")
        return made

    def field_list(self, made, where):
        self.expect("{")
        while self.token != "}":
            line, doc = self.line, self.doc
            field_type = self.type(where)
            name = self.identifier(f"a field of {where}")
            if name in TAKEN_FIELDS:
                raise SchemaError(line, f"bad identifier '{name}' for a field of {where}: a word of C")
            taken = {f.name for f in made.fields} | {f.name + "_count" for f in made.fields if f.type.kind == "list"}
            if name in taken or (field_type.kind == "list" and name + "_count" in taken):
                raise SchemaError(line, f"{where}: field {name} is declared twice")
            made.fields.append(Field(field_type, name, line, doc))
        self.expect("}")

    def type(self, where):
        line, word = self.line, self.identifier(f"a type in {where}")
        if word in ("bytes", "string"):
            self.expect("<")
            made = Type(word, line, limit=self.limit_name(where))
            self.expect(">")
            return made
        if word == "list":
            self.expect("<")
            element = self.type(where)
            self.expect(",")
            made = Type("list", line, element=element, limit=self.limit_name(where))
            self.expect(">")
            return made
        if word == "bulk":
            return Type("bulk", line)
        made = Type("scalar" if word in SCALARS else "named", line, name=word)
        if self.token == "[":
            self.advance()
            count = self.integer("the array's length")
            self.expect("]")
            if not 1 <= count <= ARRAY_MOST:
                raise SchemaError(line, f"{where}: {word}[{count}]: 1 to {ARRAY_MOST} elements are allowed")
            made = Type("array", line, element=made, count=count)
        return made

    def limit_name(self, where):
        return self.identifier(f"a limit in {where}", r"[A-Z][A-Z0-9_]*", "the name of a limit, in upper case")


# ---------------------------------------------------------------------------------------------- checks


class Checker:
    """What can be said only when everything has been read."""

    def __init__(self, schema):
        self.schema = schema

    def check(self, last_line):
        if not self.schema.name:
            raise SchemaError(last_line, "no protocol declaration: protocol NAME version MAJOR.MINOR")
        if "FRAME" not in self.schema.limits:
            raise SchemaError(last_line, "no limit FRAME: the longest frame must have one")
        for holder in (*self.schema.structs.values(), *self.schema.messages.values()):
            for f in holder.fields:
                self.resolve(f.type, holder, f)
        for struct in self.schema.structs.values():
            self.check_recursion(struct, [])
        for holder in (*self.schema.structs.values(), *self.schema.messages.values()):
            for f in holder.fields:
                self.check_bounds(f.type, f)
        for message in self.schema.messages.values():
            self.check_message(message)
        self.check_documented()

    def resolve(self, t, holder, f):
        if t.kind == "named":
            if t.name in self.schema.structs:
                t.kind, t.target = "struct", self.schema.structs[t.name]
            elif t.name in self.schema.enums:
                t.target = self.schema.enums[t.name]
                t.kind = "flags" if t.target.flags else "enum"
            else:
                raise SchemaError(t.line, f"{holder.name}.{f.name}: unknown type '{t.name}'")
        if t.limit and t.limit not in self.schema.limits:
            raise SchemaError(t.line, f"{holder.name}.{f.name}: no limit {t.limit} is declared")
        if t.element:
            self.resolve(t.element, holder, f)
            allowed = ("scalar", "struct") if t.kind == "list" else ("scalar",)
            if t.element.kind not in allowed:
                raise SchemaError(t.line, f"{holder.name}.{f.name}: {t.kind} of {t.element.kind}: "
                                  f"{' or '.join(allowed)} is allowed")
        if t.kind == "bulk" and not (isinstance(holder, Message) and holder.direction == "command"):
            raise SchemaError(t.line, f"{holder.name}.{f.name}: only commands carry bulk")
        if f.name == "reserved" and t.kind not in ("scalar", "array"):
            raise SchemaError(t.line, f"{holder.name}.reserved is a {t.kind}: a scalar or an array is allowed")

    def check_recursion(self, struct, path):
        if struct.name in path:
            raise SchemaError(struct.line, f"struct {struct.name} contains itself: {' > '.join(path + [struct.name])}")
        for f in struct.fields:
            inner = f.type.element or f.type
            if inner.kind == "struct":
                self.check_recursion(inner.target, path + [struct.name])

    def check_bounds(self, t, f):
        if t.limit:
            frame, value = self.schema.limits["FRAME"].value, self.schema.limits[t.limit].value
            most = value * (t.element.size if t.element else 1)
            if most + HEADER_BYTES > frame:
                raise SchemaError(t.line, f"{f.name}: {t} can be {most} bytes, a frame at most {frame}")

    def check_message(self, message):
        for f in message.fields:
            if f.name in PRINTED_FIELDS:
                raise SchemaError(f.line, f"message {message.name}: field {f.name} has the name of what every printed "
                                  "message begins with")
        bulks = [f for f in message.fields if f.type.kind == "bulk"]
        if len(bulks) > 1:
            raise SchemaError(bulks[1].line, f"message {message.name}: a second bulk field, {bulks[1].name}")
        if not message.answer:
            return
        answer = self.schema.messages.get(message.answer)
        if not answer:
            raise SchemaError(message.answer_line, f"message {message.name}: answered by '{message.answer}'"
                              ", which is not a message")
        wanted = {"command": "reply", "control": "control"}.get(message.direction)
        if answer.direction != wanted:
            raise SchemaError(message.answer_line, f"message {message.name}: a {message.direction} cannot be answered "
                              f"by {answer.name}, a {answer.direction}")


    def check_documented(self):
        """Nothing goes without a word about what it is."""
        schema = self.schema
        for declared in (schema.limits, schema.usual, schema.enums, schema.structs, schema.messages):
            for each in declared.values():
                if not each.doc:
                    raise SchemaError(each.line, f"{each.what} {each.name}: no ## before it says what it is")
        unused = dict(schema.usual)
        for holder in (*schema.structs.values(), *schema.messages.values()):
            for f in holder.fields:
                if f.reserved or f.doc or f"`{f.name}`" in " ".join(holder.doc):
                    continue
                if f.name not in schema.usual:
                    raise SchemaError(f.line, f"{holder.name}.{f.name}: nothing says what it is: a ## before it, `{f.name}` "
                                      f"in the text of {holder.name}, or a declaration 'field {f.name}'")
                f.usual = schema.usual[f.name].doc
                unused.pop(f.name, None)
        for each in unused.values():
            raise SchemaError(each.line, f"field {each.name}: no field takes its meaning from here")


def load(path):
    with open(path, encoding="utf-8") as file:
        return Parser(file.read()).parse()
