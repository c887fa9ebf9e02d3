"""Checks what `airboss export` wrote: python3 verify_bundle.py BUNDLE ALLOWED_SIGNERS (a file with the pinned key)."""
import base64, collections, datetime, functools, hashlib, json, subprocess, sys, tempfile, zoneinfo

sha, must = lambda data: hashlib.sha256(data).digest(), lambda holds, why: holds or sys.exit(f"NOT verified: {why}")
must((lines := open(sys.argv[1], "rb").read().split(b"\n")).pop() == b"" and len(lines) > 2, "the file is cut off")
head, events, signatures = json.loads(lines[0]), lines[2:-1], json.loads(lines[-1])
for name, data in ("bundle", lines[0]), ("checkpoint", head["checkpoint"].encode()):
    with tempfile.NamedTemporaryFile("w") as file:
        print(signatures.get(f"{name}_sig", ""), end="", file=file, flush=True)
        command = f"ssh-keygen -Y verify -I airboss -n airboss-{name}-v1 -f".split() + [sys.argv[2], "-s", file.name]
        must(subprocess.run(command, input=data, stdout=subprocess.DEVNULL).returncode == 0, f"signature of the {name}")
first, tree, zone = head["first_seq"], [bytes.fromhex(root) for root in head["before"]], zoneinfo.ZoneInfo(head["tz"])
date, sessions = functools.lru_cache(lambda quarter: str(datetime.datetime.fromtimestamp(quarter * 900, zone).date())), set()
days, calls, failed, subagents, tries, runs = collections.Counter(), collections.defaultdict(dict), 0, 0, {}, {}
for number, line in enumerate(events, first):
    event, node, place = json.loads(line), sha(b"\0" + line), number - 1
    must(event["seq"] == number, f"event {number} is missing, moved or changed")
    while place & 1: node, place = sha(b"\1" + tree.pop() + node), place >> 1
    tree, kind, body, session = [*tree, node], event["kind"], event["body"], event["session"]
    late = (inside := head["from_us"] <= event["time_us"] < head["upto_us"]) and event["source"] == "import"
    day = date(event["time_us"] // 900_000_000)  # the same for a quarter of an hour, in every zone
    if inside and kind in {"session.placed", "session.imported", "turn.started", "tool.started", "tool.ended"}: sessions.add(session)
    if kind == "tool.started":
        subagents += inside and body["tool"] in ("Task", "Agent", "spawn_agent", "spawnAgent")
        days[day] += late and body["call"] not in calls[session]  # an imported call is unfinished until its end comes
        calls[session].setdefault(body["call"], day if late else "")
    elif kind == "tool.ended":
        days[calls[session].pop(body["call"], "")] -= 1
        days[day], failed = days[day] + inside, failed + (inside and body["outcome"] == "failed")
    elif kind == "pipe.ended": days[day] += inside * len(calls.pop(session, ()))
    elif kind == "gate.opened":
        gate, run = f'{event["turn"]}-{body["gate"]}', event["gate_run"]
        attempt, since = int(run[len(gate) + 1 :] or 1), tries.get(gate, 0)
        whole = all((f"{gate}-{n}" if n > 1 else gate) in runs for n in range(since + 1, attempt)) and attempt > since
        must(whole or (first > 1 and not since), f"event {number}: an attempt before {run} is missing")
        tries[gate], runs[run] = attempt, number
root, days = functools.reduce(lambda node, left: sha(b"\1" + left + node), tree[::-1]) if tree else sha(b""), +days
must(head["checkpoint"].split("\n")[1:3] == [str(first - 1 + len(events)), base64.b64encode(root).decode()], "root")
peak = min(((-count, day) for day, count in days.items()), default=(0, ""))
found = dict(tool_calls=sum(days.values()), active_days=len(days), sessions=len(sessions), failed=failed)
found |= dict(peak=dict(date=peak[1], calls=-peak[0]), subagents=subagents)
print(json.dumps(found if must({**head["figures"], **found} == head["figures"], f"figures: {found}") else 0))
