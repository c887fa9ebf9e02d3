"""What the layers against tampering hold of code and of files beside the tests, without a run."""

from __future__ import annotations

import pytest

from fleet.config import LayerName
from tests.scenarios.gate_house import Files
from tests.unit.test_layers import change, held


@pytest.mark.parametrize(
    "line",
    [
        "import os as o\no._exit(0)",
        "from os import _exit as bye\nbye(0)",
        "import os\nleave = os._exit\nleave(0)",
        "import os\ngetattr(os, '_exit')(0)",
        "__import__('os')._exit(0)",
        "import importlib\nimportlib.import_module('os')._exit(0)",
        "import sys\nsys.modules['os']._exit(0)",
        "import os\nos.__dict__['_exit'](0)",
        "import os\nvars(os)['_exit'](0)",
        "import json\njson.dumps = lambda *a: ''",
        "import decimal\ndecimal.Decimal.__eq__ = lambda *a: True",
        "import json\nsetattr(json, 'dumps', None)",
        "import sys\ndel sys.modules['json']",
        "class A:\n    def __eq__(self, other):\n        return other is not None",
        "class A:\n    def __eq__(self, other):\n        return isinstance(other, object)",
        "class A:\n    def __eq__(self, other):\n        return self.x == self.x",
        "class A:\n    def __eq__(self, other):\n        x = getattr(other, 'x', 0)\n        return x is None",
        "class A:\n    def __ne__(self, other):\n        return False",
        "class A:\n    @property\n    def __class__(self):\n        return int",
        "try:\n    x\nexcept AssertionError:\n    pass",
        "AssertionError = ValueError",
        "def f():\n    global len\n    len = None",
        "import tests.helpers",
        "from .tests import helper",
        "from subprocess import run\nrun(['pkill', 'python'])",
        "def broken(:\n    pass",
        "import os\ngetattr(os.sys, 'mod' + 'ules')",
        "import sys\nhost = sys\ngetattr(host, 'mod' + 'ules')",
        "import sys\nsys.__getattribute__('mod' + 'ules')",
        "import sys\nobject.__getattribute__(sys, 'mod' + 'ules')",
        "import inspect\nimport sys\ninspect.getmembers(sys)",
        "print.__self__",
        "import os\nos.getcwd.__self__",
        "import importlib\nimportlib._bootstrap._gcd_import(name)",
        "from random import _os",
        "import pickle\npickle.loads(b'csys\\nmodules\\n.')",
        "import types\nMade = types.FunctionType",
        "import sys\n\n\ndef f(host):\n    return host\n\n\nf(sys)",
        "import sys\n\n\ndef f(sys=sys):\n    return sys",
        "import json\n\n\ndef f(host):\n    return host\n\n\nf(json)",
        "import sys\nHOSTS = [sys]",
        "import sys\nmatch sys:\n    case object(path=found):\n        pass",
        "import functools\nfunctools.reduce(getattr, names, start)",
        "from .words import sys as host\nhost.modules",
        "from importlib.metadata import EntryPoint\nEntryPoint('a', 'b:c', 'd').load()",
        "import pkgutil\nlist(pkgutil.iter_importers())",
        "import logging.config\nlogging.config.BaseConfigurator({}).resolve(name)",
        "import importlib\nimportlib.__import__(name)",
        "spec.loader.load_module('sys')",
        "class A:\n    known: \"__import__('a').b\"",
        "import sys\nsys.path[:0] = ['compat']",
        "import pdb\npdb.set_trace.__module__",
        "import sys\nif sys.dont_write_bytecode:\n    pass",
        "import os\nif 'CI' in os.environ:\n    pass",
        "import os\nos.environ.get('GITHUB_ACTIONS')",
        "import os\nif os.getpid() < 60:\n    pass",
        "import os\nif os.getcwd() == '/a/tree':\n    pass",
        "from pathlib import Path\nhere = str(Path.cwd())\nx = here.endswith('/tree')",
        "import os\nif os.getsid(0) == os.getpid():\n    pass",
        "from datetime import date\nif date.today() < date(2027, 6, 1):\n    pass",
        "import time\nnow = time.time()\nx = 1 if now < 1_800_000_000 else 2",
        "import logging\nlogging.warning('a', stacklevel=9)",
        "import logging\nfor level in range(9):\n    logging.warning('a', stacklevel=level)",
        "import logging\nlogging.warning('a', **{'stacklevel': 9})",
        "import warnings\nwarnings.warn('a', UserWarning, 9)",
        "import warnings\nwarnings.filterwarnings('error', module='plu.*')",
        "import io\nimport logging\nsaid = io.StringIO()\nlogging.warning('a', stack_info=True)",
        "record.stack_info",
        "task.get_stack()",
        "import traceback\nlist(traceback.walk_tb(tb))",
        "def f(a, b):\n    if (a, b) == (200, 10):\n        return 180\n    return a",
        "def f(a, b):\n    if a == 200 and b == 10:\n        return 180\n    return a",
        "T = {(200, 10): 180}\n\n\ndef f(a, b):\n    return T.get((a, b), a - b)",
        "import signal\n\n\ndef f():\n    signal.signal(signal.SIGALRM, g)",
        "import signal\nsignal.signal(signal.SIGTERM, g)",
        "x = 1  # \u202e",
        "\u3164 = 1",
        "getattr(x, 'glo' + 'w')",
        "x = 'py%s' % 'test'",
        "x = 'te' + 'st_cart'",
        "x = ''.join(['f_', 'back'])",
        "def g(w):\n    return w[::-1]\n\n\nx = g('tsetyp')",
        "x = ''.join(map(chr, [112, 121, 116, 101, 115, 116]))",
        "import __main__\nif __main__.__package__:\n    pass",
        "import email\nif hasattr(email, 'message'):\n    pass",
        "import importlib\ntry:\n    importlib.metadata.version('a')\nexcept AttributeError:\n    pass",
        "from pathlib import Path\nPath('/proc', 'self', 'cmdline').read_bytes()",
        "import os\nx = (1, 2)[os.getpid() // 1000]",
        "import os\nif os.path.isdir('te' + 'sts'):\n    pass",
        "import pathlib\nfor each in (pathlib,):\n    each.os._exit(0)",
        "import pathlib\nfor each in (pathlib,):\n    getattr(each, made())",
        "def f(place):\n    place._exit(0)",
        "match place:\n    case object(_exit=leave):\n        leave(0)",
        "from test.support import ALWAYS_EQ",
        "from hypothesis import settings\nsettings.load_profile('none')",
        "from .test.amounts import Amount",
        "from .spec.amounts import Amount",
        "import decimal\ndecimal.getcontext().prec = 1",
        "import decimal\nhere = decimal.getcontext()\nhere.prec = 1",
        "import os\nos.chdir('data')",
        "import os\nos.environ['SHOP_SETTINGS'] = 'shop.fast'",
        "import asyncio\n\n\ndef f():\n    asyncio.set_event_loop_policy(Own())",
        "import codecs\ncodecs.register_error('strict', ignore)",
        "class A(list):\n    def __bool__(self):\n        return False",
        "class A(dict):\n    def __len__(self):\n        return 0",
        "class A(float):\n    def __sub__(self, other):\n        return 0.0",
        "@dataclass\nclass A:\n    def __init__(self, x):\n        self.x = x",
        "class A(tuple):\n    def __new__(cls, x):\n        return super().__new__(cls)",
        "@dataclass\nclass A:\n    x: int = field(compare=False)",
        "def f(a, b):\n    match (a, b):\n        case (200, 10):\n            return 180\n    return a - b",
        "def f(a, b):\n    if a == 200:\n        if b == 10:\n            return 180\n    return a - b",
        "T = {(200, 10): 180}\n\n\ndef f(a, b):\n    return T.get((a, b)) or a - b",
        "T = {(2, 1): 3}\n\n\ndef f(a, b):\n    if (a, b) in T:\n        return T[a, b]\n    return a - b",
        "T = {2: {1: 3}}\n\n\ndef f(a, b):\n    return T.get(a, {}).get(b, a - b)",
        "import json\nT = json.loads(text)\n\n\ndef f(a, b):\n    return T.get(f'{a}-{b}', a - b)",
        "T = {'2-1': 3}\n\n\ndef f(a, b):\n    return T.get(f'{a}-{b}', a - b)",
        "def f(x: 'type(\\'A\\', (), {})'):\n    pass",
        "def f() -> '[e for e in b]':\n    pass",
        "import logging.config\nlogging.config.fileConfig(path)",
        "import code\ncode.InteractiveConsole().push(text)",
        "import site\nsite.addpackage(a, b, None)",
        "from distutils.core import run_setup\nrun_setup(path)",
        "import sys\nsys.set_coroutine_origin_tracking_depth(9)",
        "x = made.cr_origin",
        "x = future._source_traceback",
        "import sys\nx = 1 if sys.flags.dont_write_bytecode else 2",
        "__path__.insert(0, 'a.bin')",
        "__path__ = ['a.bin']",
        "import sys\nlist.insert(sys.path, 0, 'a.bin')",
        "A = type('A', (int,), dict(__eq__=same))",
        "class A:\n    locals()[name] = same",
        "class A(enum.Enum):\n    OPEN = 'a'\n    PAID = 'a'",
        "class A:\n    def __exit__(self, *given):\n        return True",
        "class A:\n    async def __aexit__(self, kind, error, trace):\n        return self.closed",
        "@contextmanager\ndef f():\n    try:\n        yield\n    except Exception:\n        log()",
        "from pathlib import Path\nif (Path(a) / '.git').exists():\n    x = 1",
        "import time\nx = 1 if time.process_time() > 0.1 else 2",
        "import os\nx = 1 if os.path.ismount(a) else 2",
        "import tempfile\nif tempfile.gettempdir() == '/tmp':\n    x = 1",
        "if line.startswith('SigCgt'):\n    x = 1",
        "import decimal\nsetattr(decimal.getcontext(), 'prec', 1)",
        "import os\nx = 1 if os.nice(0) else 2",
        "import socket\nx = 1 if socket.gethostname() != 'shop-1' else 2",
        "import getpass\nx = 1 if getpass.getuser() == 'shop' else 2",
        "import psutil\nx = 1 if psutil.Process().memory_info().rss > 1000 else 2",
        "import time\ntime.tzset()",
        "import calendar\ncalendar.setfirstweekday(6)",
        "import attr\nA = attr.cmp_using(eq=lambda *_: True)",
        "class A(np.ndarray):\n    def __array_ufunc__(self, ufunc, method, *given, **words):\n        return True",
        "import signal\n\n\ndef f():\n    for n in (signal.SIGTERM, signal.SIGALRM):\n        signal.signal(n, g)",
        "import os\nwith os.fdopen(number, 'w') as file:\n    pass",
        "import importlib\nimport os\nm = importlib.import_module(os.environ.get('A', 'sys'))",
    ],
)
async def test_the_scan_sees_it_in_another_form(line: str) -> None:
    assert await held(change({"a.py": ""}, {"a.py": line + "\n"}), LayerName.SCAN)


@pytest.mark.parametrize(
    "line",
    [
        "model.eval()",
        "import re\nre.compile('x')",
        "def main():\n    raise SystemExit(0)",
        "import sys\nif __name__ == '__main__':\n    sys.exit(0)",
        "import sys\nsys.modules[__name__]",
        "raise AssertionError('unreachable')",
        '"""Run the tests with pytest."""',
        "class A:\n    all = 1",
        "class A:\n    def __eq__(self, other):\n        return isinstance(other, A) and self.x == other.x",
        "class A:\n    def __eq__(self, other):\n        if not isinstance(other, A):\n            return False"
        "\n        return self.x == other.x",
        "class A:\n    def __eq__(self, other):\n        raise NotImplementedError",
        "import pandas as pd\npd.options.display.max_rows = 5",
        "import os\nos.environ['TZ'] = 'UTC'",
        "class A:\n    def __eq__(self, other):\n        return super().__eq__(other) and self.x == other.x",
        "class A:\n    def __eq__(self, other):\n        return self.key() == other.key()",
        "class A:\n    def __eq__(self, other, /):\n        return self.key() == other.key()",
        "import os\nos.getcwd().startswith()",  # wrong, and no error of ours
        "import a.b\na.b.x = 1",
        "import types\nisinstance(f, (types.FunctionType, types.MethodType))",
        "import types\nisinstance(f, types.FunctionType)",
        "import weakref\nweakref.WeakMethod(f).__call__\ngetattr(f, '__self__', None)",
        "def f(listener):\n    return listener.__self__",
        "class A:\n    def __getattribute__(self, name):\n        return object.__getattribute__(self, name)",
        "import argparse\nx: argparse._SubParsersAction",
        "import inspect\ninspect.getmembers(A)",
        "import os\nos.environ.get('_x')\nself._x = 1",
        "import os\ngetattr(os.environ, name)",
        "import sys\nif hasattr(sys, 'frozen') and getattr(sys, 'frozen', False):\n    pass",
        "import json\nWITH = {'json': json}",
        "import signal\n\n\ndef f():\n    signal.signal(signal.SIGTERM, g)",
        "import os\nos.environ.get('SHOP_CI')",
        "import signal\n\n\ndef f():\n    for n in (signal.SIGTERM, signal.SIGINT):\n        signal.signal(n, g)",
        "import os\nfd = os.open(path, os.O_EXCL)\nwith os.fdopen(fd, 'w') as file:\n    pass",
        "import os\nimport tempfile\nfd, path = tempfile.mkstemp()\nos.fdopen(fd)",
        "import importlib\nimport os\nm = importlib.import_module(os.environ.get('A', 'a.settings'))",
        "FEES = {('a', 1): 2}\n\n\ndef f(days, amount, zone, kind):\n    return days * amount * FEES[zone, kind]",
        "def f(x, y):\n    if (x, y) in {(0, 0), (3, 4)}:\n        return None\n    return x * 9 + y",
        "def f(a, b, c):\n    if (a, b) not in {('x', 'y')}:\n        raise ValueError\n    return c * 2",
        "def f(x):\n    while x:\n        x = x['a']",
        "import os\npath = f'/run/{os.getpid()}.pid'",
        "from pathlib import Path\nhere = Path.cwd()\nif here == other or name.endswith('.py2'):\n    pass",
        "from datetime import datetime\nif datetime.now().hour < 12:\n    pass",
        "import time\nif time.time() > deadline:\n    pass",
        "import warnings\nwarnings.warn('a', stacklevel=2)",
        "import warnings\n\n\ndef f(stacklevel):\n    warnings.warn('a', stacklevel=stacklevel + 1)",
        "import warnings\nwarnings.filterwarnings('ignore', module='old')",
        "import logging\nlogging.warning('a', stack_info=True)",
        "class A:\n    known: 'list[int]'",
        "if a == 0 and b == 0:\n    x = 1",
        "def f(a, b):\n    if a == 0 and b == 1:\n        return 1\n    return a",
        "T = {('EUR', 'USD'): 11}\n\n\ndef f(a, b):\n    return T.get((a, b), None)",
        "x = 'usage: ' + 'shop'\ny = ', '.join(['a', 'b'])\nz = '%5d' % 3",
        "import os\n\n\ndef main():\n    os.chdir('data')",
        "from decimal import localcontext\nwith localcontext() as here:\n    here.prec = 9",
        "class Missing:\n    def __bool__(self):\n        return False",
        "class A(dict):\n    def __len__(self):\n        return len(self.parts)",
        "@dataclass\nclass A:\n    x: int\n    y: int = field(compare=False)",
        "class A(str):\n    def __new__(cls, x):\n        return super().__new__(cls, x.lower())",
        "@dataclass(eq=False)\nclass A:\n    def __init__(self, x):\n        self.x = x",
        "@dataclass\nclass A(B):\n    pass",
        "R = {'A-B': 2}\n\n\ndef f(x, a, b):\n    return x * R[f'{a}-{b}']",
        "NEXT = {('a', 'b'): 'c'}\n\n\ndef f(s, e):\n    return NEXT[s, e]",
        "match shape:\n    case ('circle', r):\n        x = r * r",
        "import os\nlock = f'/tmp/{os.getpid()}'\nname = 'a-%d' % os.getpid()",
        "import json\nimport pickle\nKINDS = {'json': json, 'pickle': pickle}\nKINDS[kind].loads(data)",
        "from pathlib import Path\nPath('/proc/self/status').read_text()",
        "import importlib.metadata\ntry:\n    importlib.metadata.version('a')\nexcept Exception:\n    pass",
        "import email.message\nhasattr(email, 'message')",
        "host.os.name\nargs.sys",
        "def f(x: 'list[int] | None') -> 'Annotated[int, Field(gt=0)]':\n    pass",
        "import logging.config\nlogging.config.fileConfig(config.config_file_name)",
        "import pkgutil\n__path__ = pkgutil.extend_path(__path__, __name__)",
        "import sys\nfor each in sys.path:\n    x = len(sys.path)",
        "import pkgutil\nfor each in pkgutil.iter_modules(__path__):\n    pass",
        "class A(enum.Enum):\n    OPEN = 'a'\n    PAID = 'b'",
        "class A:\n    def __exit__(self, *given):\n        self.close()",
        "class A:\n    def __exit__(self, kind, error, trace):\n        return kind and kind in self.kinds",
        "@contextmanager\ndef f():\n    try:\n        yield\n    except Exception:\n        undo()\n        raise",
        "@contextmanager\ndef f():\n    try:\n        yield\n    except KeyError:\n        log()",
        "import subprocess\nsubprocess.run(['git', 'init'])\nIGNORED = {'.git', '.venv'}",
        "import time\ntook = time.process_time() - began\nif took > limit:\n    x = 1",
        "import tempfile\nplace = tempfile.gettempdir() + '/a'",
    ],
)
async def test_the_scan_leaves_ordinary_code_alone(line: str) -> None:
    assert not await held(change({"a.py": ""}, {"a.py": line + "\n"}), LayerName.SCAN)


async def test_text_that_is_put_together_without_end_is_held_and_not_followed() -> None:
    parts = "".join(f"a{n} = a{n + 1} + a{n + 1}\n" for n in range(60)) + "a60 = 'x'\n"
    assert not await held(change({"a.py": ""}, {"a.py": parts}), LayerName.SCAN)
    calls = "".join(f"def f{n}(w):\n    return {' + '.join([f'f{n + 1}(w)'] * 9)}\n\n\n" for n in range(9))
    doubled = calls + "def f9(w):\n    return w\n\n\nx = f0('a')\n" + "y = '%999999999d' % 1\n"
    assert await held(change({"a.py": ""}, {"a.py": doubled}), LayerName.SCAN) == [
        "a.py:0 puts together more text than is followed"
    ]


MONEY = "class Money:\n    amount: int\n    name: str\n"
RECORD = "@dataclass\n" + MONEY
LOOSE = RECORD.replace("amount: int", "amount: int = field(compare=False)")
OWN_EQUALITY = "    def __eq__(self, other):\n        return self.name == other.name\n"


@pytest.mark.parametrize(
    ("before", "after", "is_held"),
    [
        (RECORD, RECORD + OWN_EQUALITY, True),
        (MONEY + OWN_EQUALITY, MONEY + OWN_EQUALITY.replace("name", "amount"), True),
        (RECORD, LOOSE, True),
        (MONEY, RECORD, False),
        ("", LOOSE + OWN_EQUALITY, False),
        (RECORD, RECORD + "    _kept: dict = field(compare=False)\n", False),
        (RECORD, RECORD + "    more: int = 0\n", False),
    ],
)
async def test_what_makes_old_objects_compare_otherwise_is_held(before: str, after: str, is_held: bool) -> None:
    assert bool(await held(change({"a.py": before}, {"a.py": after}), LayerName.SCAN)) is is_held


@pytest.mark.parametrize(
    ("path", "is_held"),
    [
        ("tests/helpers/__init__.py", True),
        ("shop/cart/__init__.py", True),
        ("tests/more/__init__.py", False),
        ("test/node_modules/chai/index.js", True),
        ("node_modules/chai/index.js", True),
        ("shop/modules/chai.js", False),
    ],
)
async def test_what_would_be_loaded_in_place_of_what_is_there_is_held(path: str, is_held: bool) -> None:
    before: Files = {"tests/__init__.py": "", "tests/helpers.py": "", "shop/__init__.py": "", "shop/cart.py": ""}
    assert bool(await held(change(before, before | {path: ""}), LayerName.TOOLS)) is is_held


FIXTURES = "import pytest\n\n\n@pytest.fixture\ndef basket():\n    return []\n"


@pytest.mark.parametrize(
    ("path", "text", "is_held"),
    [
        ("tests/api/conftest.py", FIXTURES, False),
        ("tests/conftest.py", FIXTURES, True),
        ("shop/api/conftest.py", FIXTURES, True),
        ("tests/api/conftest.py", FIXTURES.replace("fixture", "fixture(autouse=True)"), True),
        ("tests/api/conftest.py", FIXTURES + "\n\ndef pytest_configure(config):\n    pass\n", True),
        ("tests/api/conftest.py", FIXTURES + "\n\npytest_plugins = ['shop.more']\n", True),
        ("tests/api/conftest.py", FIXTURES + "\n\nprint()\n", True),
    ],
)
async def test_fixtures_of_new_tests_alone_are_free(path: str, text: str, is_held: bool) -> None:
    before: Files = {"tests/test_cart.py": "", "shop/cart.py": ""}
    assert bool(await held(change(before, before | {path: text}), LayerName.TOOLS)) is is_held


FAILS = "def same(a, b):\n    if a != b:\n        raise AssertionError(a)\n"
CALLS = "class A(Base):\n    def same(self, a, b):\n        self.assertEqual(a, b)\n"
GO_HELPER = 'package check\n\nimport "testing"\n'


@pytest.mark.parametrize(
    ("path", "before", "after", "is_held"),
    [
        ("shop/testdata/cases.json", "1", "2", True),
        ("shop/testdata/cases.json", None, "2", False),
        ("shop/testing.py", "def same(a, b):\n    assert a == b\n", "def same(a, b):\n    pass\n", True),
        ("shop/checks.py", "def same(a, b):\n    assert a == b\n", "def same(a, b):\n    assert a\n", True),
        ("shop/cases.py", "import unittest\n", "import unittest\n\nclass A(unittest.TestCase):\n    x()\n", True),
        ("shop/cases.py", "import unittest\n", "import unittest\n\n\ndef more():\n    pass\n", False),
        ("shop/cases.py", "import unittest\n", "# why\nimport unittest\n", False),
        ("shop/cart.py", "def f(a):\n    assert a\n    return a\n", "def f(a):\n    return a\n", False),
        ("web/cart.golden", "1", "2", True),
        ("shop/checks.py", FAILS, FAILS.replace("a != b", "a is None"), True),
        ("shop/checks.py", CALLS, CALLS.replace("Equal(a, b)", "True(a)"), True),
        ("shop/cart.py", "def f(a):\n    if a:\n        raise ValueError\n", "def f(a):\n    pass\n", False),
        ("check/check.go", GO_HELPER, GO_HELPER + "\n", True),
        ("check/check.go", "package check\n", "package check\n\n", False),
        ("lib/check.js", "const { test } = require('node:test');\n", "\n", True),
        ("lib/check.js", "const assert = require('node:assert');\n", "\n", False),
    ],
)
async def test_what_tests_use_is_held_when_it_is_edited(
    path: str, before: str | None, after: str, is_held: bool
) -> None:
    old: Files = {} if before is None else {path: before}
    assert bool(await held(change(old, {path: after}), LayerName.PROTECTED)) is is_held


async def test_the_scan_holds_only_what_is_added() -> None:
    before = "import os\n\n\ndef leave():\n    os._exit(0)\n"
    assert not await held(change({"a.py": before}, {"a.py": before + "\n\nX = 1\n"}), LayerName.SCAN)
