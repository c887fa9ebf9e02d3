"""The start program of a process of ours: it reads the runner from standard input and runs it."""

from __future__ import annotations

#: Defines ``take(size)``: so many bytes of standard input, or the end of the program.
TAKE = """
def take(size):
    data = b""
    while len(data) < size:
        more = os.read(0, size - len(data))
        if not more:
            sys.exit(1)
        data += more
    return data
""".strip()

#: ``python -c`` program: reads the image's length and the image, and runs it.
START = f"""
import marshal, os, sys
del sys.argv[0]
{TAKE}
image = take(int.from_bytes(take(4), "big"))
space = {{"__name__": "runner.image", "__package__": "runner"}}
exec(marshal.loads(marshal.loads(image)["runner.image"]), space)
space["run"](image)
""".strip()
