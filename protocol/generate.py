#!/usr/bin/python3
"""generate.py SCHEMA OUTPUT... - makes everything that is made from the protocol's schema.

What an output holds is told by its ending: .h the structs and declarations, .c the encoders, checked decoders and
printer, .md the documentation page, .dict the dictionary for libFuzzer. Needs nothing but Python 3.
"""

import os
import sys

sys.dont_write_bytecode = True  # the source folder stays clean

import emit_c  # noqa: E402
import emit_doc  # noqa: E402
import schema as schema_file  # noqa: E402


def main(arguments):
    if len(arguments) < 2:
        sys.exit(__doc__.strip())
    path, outputs = arguments[0], arguments[1:]
    try:
        schema = schema_file.load(path)
    except schema_file.SchemaError as error:
        sys.exit(f"{os.path.basename(path)}:{error.line}: {error}")
    runtime = emit_c.read_runtime()
    header_name = next((os.path.basename(o) for o in outputs if o.endswith(".h")), f"{schema.name}-protocol.h")
    writers = {
        ".h": lambda: emit_c.header(schema, runtime),
        ".c": lambda: emit_c.source(schema, runtime, header_name),
        ".md": lambda: emit_doc.page(schema),
        ".dict": lambda: emit_doc.dictionary(schema),
    }
    for output in outputs:
        ending = os.path.splitext(output)[1]
        if ending not in writers:
            sys.exit(f"{output}: unknown ending '{ending}': {', '.join(writers)} are known")
        text = writers[ending]()
        with open(output, "w", encoding="utf-8") as file:
            file.write(text)


if __name__ == "__main__":
    main(sys.argv[1:])
