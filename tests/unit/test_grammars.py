"""What the scan sees in JavaScript, TypeScript and Go, and that ordinary code is left alone."""

from __future__ import annotations

import pytest

from fleet.config import GateConfig
from fleet.git.changes import ChangedPath
from fleet.git.trees import TreeEntry
from gates.layers.grammars import language_of, sights
from gates.layers.protocol import Case, Change, Toolchain
from gates.layers.scan import Scan
from gates.runs.definitions import define

JS = (
    ("process.exit(0)", "ends the process"),
    ("process['exit'](0)", "ends the process"),
    ("const { exit } = process; exit(0)", "ends the process"),
    ("globalThis.process.reallyExit(0)", "ends the process"),
    ("const p = require('node:process'); p.kill(p.pid)", "ends the process"),
    ("import { kill as k } from 'process'; k(1)", "ends the process"),
    ("process.exitCode = 0", "ends the process"),
    ("process.on('exit', () => {})", "ends or interrupts the process later"),
    ("const at = new Error().stack.split('\\n')", "looks at who calls it"),
    ("try { f() } catch (e) { if (e.stack.includes('x')) g() }", "looks at who calls it"),
    ("Error.prepareStackTrace = f", "looks at who calls it"),
    ("delete require.cache[name]", "loads code in an unusual way"),
    ("const M = require('module'); M._load = f", "loads code in an unusual way"),
    ("new Function('return 1')()", "loads code in an unusual way"),
    ("eval('1')", "loads code in an unusual way"),
    ("import { test } from 'node:test'", "reaches into the test framework"),
    ("require('assert').equal = () => {}", "replaces part of a module"),
    ("const a = require('node:assert'); a.ok = () => {}", "replaces part of a module"),
    ("Array.prototype.every = () => true", "replaces part of a module"),
    ("Object.defineProperty(Object.prototype, 'x', {})", "replaces part of a module"),
    ("Map.prototype.has = () => true", "replaces part of a module"),
    ("RegExp.prototype.test = () => true", "replaces part of a module"),
    ("Date.now = () => 0", "replaces part of a module"),
    ("Object.defineProperty(Set.prototype, 'size', { get: () => 1 })", "replaces part of a module"),
    ("const n = `../test/shop.test.js`", "names tests or what runs them"),
    ("if (process.env.NODE_TEST_CONTEXT) f()", "names tests or what runs them"),
    ("process.\\u0065xit(0)", "reads as something else"),
    ("process['ex' + 'it'](0)", "in an unusual way"),
    ("if (require.main.filename.length > 9) f()", "looks at who calls it"),
    ("if (/x/.test(process.argv[1])) f()", "looks at who calls it"),
    ("const { stack } = new Error()", "looks at who calls it"),
    ("process._getActiveHandles()", "looks at who calls it"),
    ("const { exec } = require('child_process'); exec('grep -r x .')", "lets a command read files"),
    ("require('fs').readdirSync(__dirname)", "looks through the files"),
    ("fs.readdirSync(path.resolve(), { withFileTypes: true })", "looks through the files"),
    ("fs.readdirSync(path.dirname(__filename))", "looks through the files"),
    ("const u = require('util'); const s = u.inspect(new Error('x'))", "looks at who calls it"),
    ("import { inspect } from 'util'; inspect(e).includes('x')", "looks at who calls it"),
    ("new Error()['st' + 'ack']", "reads as something else"),
    ("error[['st', 'ack'].join('')]", "reads as something else"),
    ("error['kcats'.split('').reverse().join('')]", "reads as something else"),
    ("error[atob('c3RhY2s=')]", "reads as something else"),
    ("Object.keys(process.env).some((name) => name[0] === 'N')", "names tests or what runs them"),
    ("function f() { return String(f.caller); }", "looks at who calls it"),
    ("const f = function () { return f['caller']; };", "looks at who calls it"),
    ("exports.f = function () { return exports.f.caller; };", "looks at who calls it"),
    ("function f() { return f[k]; }", "looks at who calls it"),
    ("const { executionAsyncResource: now } = require('async_hooks'); now().fn", "looks at who calls it"),
    ("const e = new Error('x'); Object.getOwnPropertyNames(e).map((k) => k)", "looks at who calls it"),
    ("const e = new TypeError('x'); const s = e[k];", "looks at who calls it"),
    ("Reflect.ownKeys(new Error())", "looks at who calls it"),
    ("const v = require('v8'); v.serialize(new Error())", "looks at who calls it"),
    ("(() => {}).constructor('return process')()", "loads code in an unusual way"),
    ("process.getBuiltinModule('module')", "loads code in an unusual way"),
    ("fs.readFileSync('/proc/' + process.pid + '/cmdline')", "names tests or what runs them"),
    ("fs.readFileSync(`/proc/${process.pid}/cmdline`)", "names tests or what runs them"),
)
MORE_JS = (
    ("const hosts = [process]", "loads code in an unusual way"),
    ("const load = require;", "loads code in an unusual way"),
    ("ask(globalThis)", "loads code in an unusual way"),
    ("const { env } = process; Object.keys(env)", "names tests or what runs them"),
    ("for (const name in process.env) f(name)", "names tests or what runs them"),
    ("const x = 'NODE_' + 'TEST_CONTEXT' in e", "names tests or what runs them"),
    ("const p = __dirname + '/te' + 'st/a.js'", "names tests or what runs them"),
    ("const p = `te${'st'}/shop.js`", "names tests or what runs them"),
    ("const n = ['st', 'ack'].join('')", "reads as something else"),
    ("f(process.argv.at(1))", "looks at who calls it"),
    ("const [, main] = process.argv;", "looks at who calls it"),
    ("process.argv.some(f)", "looks at who calls it"),
    ("process.report.getReport()", "looks at who calls it"),
    ("const error = new Error(); const s = error.stack;", "looks at who calls it"),
    ("if (process.cwd().endsWith('/tree')) f()", "depends on where or when it runs"),
    ("if (process.env.CI) f()", "depends on where or when it runs"),
    ("const x = Date.now() < 1900000000000 ? 1 : 2", "depends on where or when it runs"),
    ("if (new Date() > new Date('2027-01-01')) f()", "depends on where or when it runs"),
    ("function f(a, b) { if (a === 200 && b === 10) return 180; }", "answers certain values only"),
    ("const f = (a, b) => (a === 200 && b === 10 ? 180 : a)", "answers certain values only"),
)
JS_INSIDE = (
    ("try { f() } catch ({ stack }) { if (stack.includes('x')) g() }", "looks at who calls it"),
    ("try { f() } catch (e) { if (e['stack'].includes('x')) g() }", "looks at who calls it"),
    ("try { f() } catch (e) { if (`${e.stack}`.includes('x')) g() }", "looks at who calls it"),
    ("try { f() } catch (e) { if (String(e.stack).includes('x')) g() }", "looks at who calls it"),
    ("try { f() } catch (e) { if (/x/.test(e.stack)) g() }", "looks at who calls it"),
    ("try { f() } catch (e) { const s = e.stack ?? ''; if (s.includes('x')) g() }", "looks at who calls it"),
    ("class A extends Error { near() { return this.stack.includes('x'); } }", "looks at who calls it"),
    ("if (process.listenerCount('uncaughtException')) f()", "looks at who calls it"),
    ("process.moduleLoadList.some(f)", "looks at who calls it"),
    ("import { executionAsyncId as id } from 'async_hooks'; if (id() > 1) f()", "looks at who calls it"),
    ("const { Console } = require('console'); new Console(sink).trace('x')", "looks at who calls it"),
    ("require('child_process').execFileSync('ps', ['-p', '1'])", "lets a command read files"),
    ("const root = path.dirname(__filename); fs.readdirSync(root)", "looks through the files"),
    ("const root = new URL('../', import.meta.url); fs.readdirSync(root)", "looks through the files"),
    ("Object.keys({ ...process.env }).some(f)", "names tests or what runs them"),
    ("const n = [78, 79, 68].map((c) => String.fromCharCode(c)).join('')", "reads as something else"),
    ("const n = String.fromCharCode(78, 79, 68)", "reads as something else"),
    ("const n = 'TSET'.split('').reverse().join('')", "reads as something else"),
    ("class A { valueOf() { return -Infinity; } }", "gives the same answer"),
    ("const f = (a, b) => known.get(`${a}-${b}`) ?? a - b", "answers certain"),
    ("function f(a, b) { if (a === 200) { if (b === 10) return 180; } return a - b; }", "answers certain"),
    ("const end = 'st.js'; const n = 'shop.te' + end", "names tests or what runs them"),
    ("const f = (a, b) => { switch (`${a} ${b}`) { case '2 1': return 3; } return a - b; }", "answers certain"),
    ("const f = (a, b) => known[`${a}-${b}`] ?? a - b", "answers certain"),
)
JS_HANDED_ON = (
    ("const lib = require('assert'); soften(lib)", "in an unusual way"),
    ("import assert from 'node:assert'; const all = { assert };", "in an unusual way"),
    ("Object.getPrototypeOf([]).includes = () => true", "replaces part of a module"),
    ("[].__proto__.includes = () => true", "replaces part of a module"),
    ("Object.defineProperty(Object.getPrototypeOf([]), 'includes', {})", "replaces part of a module"),
    ("const all = { ...process.env }; Object.keys(all).some(f)", "names tests or what runs them"),
    ("const all = Object.assign({}, process.env); Object.keys(all)", "names tests or what runs them"),
    ("new Worker(text, { eval: true })", "in an unusual way"),
    ("require('child_process').execFileSync(process.execPath, ['-e', text])", "in an unusual way"),
    ("require('vm').compileFunction(text)", "in an unusual way"),
    ("import found from 'data:text/javascript,1'", "in an unusual way"),
    ("import('data:text/javascript,1').then(f)", "in an unusual way"),
    ("const Made = Object.getPrototypeOf(async () => {}).constructor", "in an unusual way"),
    ("Reflect.construct(Function, ['return 1'])", "in an unusual way"),
    ("const Made = Function; new Made('return 1')", "in an unusual way"),
    ("require(['node', 'test'].join(':'))", "reads as something else"),
    ("require('fs').fstatSync(1).isFIFO()", "looks at who calls it"),
    ("if (require('fs').existsSync('.git')) f()", "depends on where or when it runs"),
)
JS_TESTS = (
    ("test.skip('a', () => {})", "skips a test"),
    ("it.only('a', () => {})", "skips a test"),
    ("test('a', { skip: true }, () => {})", "skips a test"),
)
GO = (
    ('import "syscall"\nfunc f() { syscall.Exit(0) }', "ends the process"),
    ('import o "os"\nfunc init() { o.Exit(0) }', "ends the process"),
    ('import "os"\nvar _ = func() int { os.Exit(0); return 1 }()', "ends the process"),
    ('import "runtime"\nfunc f() { runtime.Callers(0, nil) }', "looks at who calls it"),
    ('import d "runtime/debug"\nfunc f() { d.Stack() }', "looks at who calls it"),
    ('import "testing"\nfunc f() bool { return testing.Testing() }', "reaches into the test framework"),
    ('import "os"\nfunc init() { os.Args = nil }', "replaces part of a module"),
    ('import "unsafe"', "replaces part of a module"),
    ('import . "os"', "loads code in an unusual way"),
    ("//go:linkname fail testing.(*common).Fail\nfunc fail()", "replaces part of a module"),
    ('const x = "shop_test.go"', "names tests or what runs them"),
    ('import "fmt"\nfunc f() { fmt.Print("--- PASS: TestX") }', "names tests or what runs them"),
    ('import _ "embed"\n//go:embed *.go\nvar text string', "names tests or what runs them"),
    ('import "os"\nfunc f() string { return os.Args[0] }', "looks at who calls it"),
    ('import "os"\nfunc f() { os.ReadDir(".") }', "looks through the files"),
    ('import "path/filepath"\nfunc f() { filepath.Glob("*.go") }', "names tests or what runs them"),
    ('import "runtime"\nfunc f() { runtime.GoroutineProfile(nil) }', "looks at who calls it"),
    ('import "flag"\nfunc f() { flag.VisitAll(nil) }', "reaches into the test framework"),
    ('import "log"\nfunc f(l *log.Logger) { l.Output(2, "") }', "looks at who calls it"),
    ('import "os/exec"\nfunc f() { exec.Command("sh", "-c", "cat *") }', "lets a command read files"),
    ('import "os"\nfunc f() { d, _ := os.Getwd(); os.ReadDir(d) }', "looks through the files"),
    ('import "os"\nfunc f() { d, _ := os.Open("."); d.Readdirnames(-1) }', "looks through the files"),
    ('import "os"\nfunc f() { d, _ := os.OpenRoot("."); d.FS() }', "looks through the files"),
    ('import "os"\nfunc f(id string) { os.ReadFile("/proc/" + id + "/cmdline") }', "names tests or what runs them"),
    ('import "expvar"\nfunc f() { expvar.Get("cmdline") }', "looks at who calls it"),
    ('import "runtime/pprof"\nfunc f() { pprof.Profiles() }', "looks at who calls it"),
)
MORE_GO = (
    ('import "path/filepath"\nfunc f() { filepath.Glob("*_t*") }', "looks through the files"),
    ('import "runtime/metrics"\nfunc f() { metrics.Read(nil) }', "looks at who calls it"),
    ('import "os/exec"\nfunc f() { exec.Command("ps", "-p", "1") }', "lets a command read files"),
    ('const end = "est.go"\nfunc f() string { return "shop_t" + end }', "names tests or what runs them"),
    ('import "fmt"\nfunc f() string { return fmt.Sprintf("%s_%s", "shop", "test.go") }', "names tests"),
    ('import "strings"\nfunc f() string { return strings.Join([]string{"shop", "test.go"}, "_") }', "names tests"),
    ("type E struct{}\nfunc (e E) Is(err error) bool { return true }", "gives the same answer"),
    ("var k = map[[2]int]int{{200, 10}: 180}\nfunc f(a, b int) int { return k[[2]int{a, b}] }", "answers certain"),
    (
        "func f(a, b int) int {\n\tswitch {\n\tcase a == 200 && b == 10:\n\t\treturn 180\n\t}\n\treturn a - b\n}",
        "answers",
    ),
    (
        "func f(a, b int) int {\nif a == 200 {\nif b == 10 {\nreturn 180\n}\n}\nreturn a - b\n}",
        "answers",
    ),
    ('import "runtime"\nfunc f() bool { return runtime.NumGoroutine() > 1 }', "looks at who calls it"),
    ('import "flag"\nfunc f() bool { return flag.Parsed() }', "looks at who calls it"),
    ('import "os"\nfunc f() bool { return os.Getenv("CI") != "" }', "depends on where or when it runs"),
    ("func f(a, b int) int {\n\tif a == 200 && b == 10 {\n\t\treturn 180\n\t}\n\treturn a\n}", "answers certain"),
    (
        'import ("os"; "strings")\nfunc f() bool { at, _ := os.Getwd(); return strings.HasSuffix(at, "/shop") }',
        "depends on where or when it runs",
    ),
    ('const x = "shop" + "_te" + "st.go"', "names tests or what runs them"),
)
GO_AROUND = (
    ('import "os"\nfunc f() { os.Stat("../go.mod") }', "depends on where or when it runs"),
    ('import "os"\nfunc f() { os.Getenv("PWD") }', "depends on where or when it runs"),
    (
        'import ("os"; "path/filepath")\nfunc f() { d, _ := os.Getwd(); filepath.Base(d) }',
        "depends on where or when it runs",
    ),
    (
        'import ("net/http"; _ "net/http/pprof")\nfunc f() { http.DefaultServeMux.ServeHTTP(w, r) }',
        "looks at who calls it",
    ),
    ('import "runtime"\nfunc f() { runtime.MemProfile(nil, true) }', "looks at who calls it"),
    ('import "reflect"\nvar h = reflect.SliceHeader{}', "replaces part of a module"),
    ('import "reflect"\nfunc f() { reflect.ValueOf(f).UnsafePointer() }', "replaces part of a module"),
    (
        'import "time"\nfunc f() bool { return time.Now().Before(time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)) }',
        "depends on where or when it runs",
    ),
)
GO_TESTS = (
    ("func TestMain(m *testing.M) {}", "reaches into the test framework"),
    ("func TestA(t *testing.T) { t.Skip() }", "skips a test"),
)
HONEST = (
    ("cli.js", "async function main() { if (!ok) process.exit(2); }\nmain().catch(() => process.exit(1));"),
    ("a.js", "const assert = require('assert');\nmodule.exports = (x) => { assert.ok(x); return x; };"),
    ("b.mjs", "import fs from 'node:fs';\nexport const load = (n) => fs.readFileSync(n, 'utf8');"),
    ("c.js", "log.error(error.stack);\nclass A { static b = 1 }\nA.prototype.c = () => 1;\nexports.test = 1;"),
    ("d.ts", "export function sum(a: number[]): number { return a.reduce((x, y) => x + y, 0); }"),
    ("e.tsx", "export const A = () => <div className='tests'>a</div>;"),
    ("m.test.js", "const test = require('node:test');\ntest('a', { skip: false }, () => {});"),
    (
        "o.js",
        "const args = process.argv.slice(2);\nconst [,, ...rest] = process.argv;\nif (args.includes('-v')) f();",
    ),
    ("p.js", "if (typeof process !== 'undefined' && require.main === module) main();\nconst { env } = process;"),
    ("q.js", "const u = 'https://' + host + '/a' + '/b';\nif (Date.now() > deadline || a === 0 && b === 1) f();"),
    ("r.js", "spawn('x', { env: { ...process.env, A: '1' } });\nconst h = new Date().getHours() < 1200;"),
    ("m.go", 'package main\nimport "os"\nfunc main() { if err := run(); err != nil { os.Exit(1) } }'),
    ("n.go", 'package n\nimport ("fmt"; "errors")\nfunc F() error { return fmt.Errorf("a: %w", errors.New("b")) }'),
    (
        "n_test.go",
        'package n\nimport "testing"\nfunc TestA(t *testing.T) { if testing.Short() { t.Skip("slow") } }',
    ),
    ("f.js", "if (require.main === module) main(process.argv.slice(2));"),
    ("g.mjs", "if (process.argv[1] === fileURLToPath(import.meta.url)) main();"),
    ("h.js", "const env = { ...process.env, A: '1' };\nexecFile('git', ['log'], { env });\nconst x = list[i + 1];"),
    ("i.js", "const names = fs.readdirSync(path.join(__dirname, 'plugins'));\nconst all = fs.readdirSync(place);"),
    ("j.js", "const shown = util.inspect(value, { depth: 2 });\nconst x = row[`${key}s`] ?? row['a' + key];"),
    ("r.go", 'package main\nimport "flag"\nfunc main() { flag.VisitAll(show) }'),
    ("s.go", 'package s\nimport "os/exec"\nfunc F() { out, _ := exec.Command("git", "log").Output() }'),
    ("t.go", 'package t\nimport "log"\nfunc F(l *log.Logger) { l.Output(1, "here") }'),
    ("p.go", 'package main\nimport "os"\nfunc main() { run(os.Args[1:]) }'),
    ("q.go", 'package q\nimport _ "embed"\n//go:embed schema.sql static/*\nvar text string'),
    ("k.js", "class A { b() { return new this.constructor(call.caller, f['x']); } }\nconst n = Object.keys(call);"),
    ("l.js", "const e = new Error(text);\ne.code = 'X';\nconst p = fs.readFileSync('/proc/meminfo', 'utf8');"),
    ("u.go", 'package u\nimport "os"\nfunc F(d string) ([]os.DirEntry, error) { return os.ReadDir(d) }'),
    ("v.go", 'package v\nimport "os"\nfunc F() { d, _ := os.Getwd(); os.ReadDir("/etc"); os.Chdir(d) }'),
    (
        "w.js",
        "class A { push(x) { this.stack.push(x); return this.stack.includes(x); } valueOf() { return this.x; } }",
    ),
    ("x.js", "const shown = { stack: error.stack ?? String(error) };\nconst row = known[`${kind}`] ?? f(kind);"),
    ("y.js", "process.once('SIGTERM', stop);\nif (process.stdout.isTTY && process.memoryUsage().rss > limit) f();"),
    ("z.js", "const dir = path.join(__dirname, 'views');\nfs.readdirSync(dir);\nconst c = String.fromCharCode(n);"),
    ("a1.go", "package a\nvar memo = map[[2]int]int{}\nfunc F(a, b int) int { return memo[[2]int{a, b}] }"),
    (
        "a2.go",
        'package a\nimport "path/filepath"\nfunc F() { filepath.Glob("*.json"); filepath.Glob("/etc/*.d/*") }',
    ),
    (
        "a3.go",
        "package a\nfunc (e E) Is(x error) bool { return x == e }\nfunc (e E) Equal(o E) bool { return e == o }",
    ),
    ("a4.go", 'package a\nimport "fmt"\nfunc F(n string) string { return fmt.Sprintf("%s-%d of %s", n, 3, "x") }'),
    (
        "b1.js",
        "const path = parts.join('/');\nclass A { b() { return this.constructor.name; } }\nnew Worker(file);",
    ),
    (
        "b2.js",
        "const s = require('fs').statSync(name);\nspawn('git', ['-r', 'x']);\nconst ok = x instanceof Function;",
    ),
    ("b3.js", "const env = { ...process.env };\nspawn('x', { env });\nA.prototype.f = g;"),
    (
        "b4.go",
        'package b\nimport ("os"; "time")\nfunc F(n string, t time.Time) { os.Stat(n); time.Now().After(t) }',
    ),
    (
        "b5.go",
        'package main\nimport (_ "net/http/pprof"; "net/http")\nfunc main() { http.ListenAndServe(":1", nil) }',
    ),
    ("broken.js", "function ( { ]"),
    ("empty.go", ""),
)


def whys(path: str, text: str, *, test: bool = False) -> set[str]:
    return {seen.why for seen in sights(path, text.encode(), test=test)}


@pytest.mark.parametrize(("text", "why"), [*JS, *MORE_JS, *JS_INSIDE, *JS_HANDED_ON])
def test_what_is_seen_in_javascript(text: str, why: str) -> None:
    for path in ("a.js", "a.ts"):
        assert any(why in each for each in whys(path, text)), path


@pytest.mark.parametrize(("text", "why"), JS_TESTS)
def test_what_is_seen_in_tests_of_javascript(text: str, why: str) -> None:
    assert why in whys("a.test.js", text, test=True)


@pytest.mark.parametrize(("text", "why"), [*GO, *MORE_GO, *GO_AROUND])
def test_what_is_seen_in_go(text: str, why: str) -> None:
    assert any(why in each for each in whys("a.go", f"package a\n{text}\n"))


@pytest.mark.parametrize(("text", "why"), GO_TESTS)
def test_what_is_seen_in_tests_of_go(text: str, why: str) -> None:
    assert why in whys("a_test.go", f'package a\nimport "testing"\n{text}\n', test=True)


@pytest.mark.parametrize(("path", "text"), HONEST)
def test_ordinary_code_is_left_alone(path: str, text: str) -> None:
    assert whys(path, text, test="test" in path) == set()


def test_only_what_a_change_adds_is_held() -> None:
    old, new = "process.exit(0)\n", "process.exit(0)\nprocess.abort()\n"
    entry = TreeEntry("100644", "a" * 40)
    change = Change(
        (ChangedPath("M", "a.js"),), {"a.js": entry}, {"a.js": entry}, {"a.js": old.encode()},
        {"a.js": new.encode()}, {"a.js": frozenset({2})},
    )  # fmt: skip
    case = Case(define("tests", GateConfig(run=["node", "--test"])), Toolchain.NODE, change)
    (place,) = Scan().inspect(case).held
    assert (place.path, place.line, place.why) == ("a.js", 2, "ends the process")


@pytest.mark.parametrize(("words", "is_held"), [("shop", True), ("all:.", True), ("static shop/a.sql", False)])
def test_a_go_program_that_embeds_a_directory_of_tests_is_held(words: str, is_held: bool) -> None:
    entry, text = TreeEntry("100644", "a" * 40), f"package a\n\n//go:embed {words}\nvar files embed.FS\n"
    head = {"a.go": entry, "shop/shop_test.go": entry, "static/a.css": entry}
    change = Change((ChangedPath("A", "a.go"),), {}, head, {}, {"a.go": text.encode()})
    case = Case(define("tests", GateConfig(run=["go", "test"])), Toolchain.GO, change)
    assert [place.line for place in Scan().inspect(case).held] == ([3] if is_held else [])


def test_which_files_have_a_grammar() -> None:
    named = {path: language_of(path) for path in ("a.js", "b.mts", "c.tsx", "d.go", "e.py", "f.json")}
    assert list(named.values()) == ["javascript", "typescript", "tsx", "go", "", ""]
