"""From a phone to the real Claude Code and the real Codex and back: pictures, files, questions, leave to run.

The phone is the fake Bot API, the machine is reached over sshd, the agents are the vendors' binaries with scripted
models; everything between them is the product as it is served.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from PIL import Image

from tests.conftest import sampled
from tests.far_end import agents
from tests.far_end.anthropic_model import AnthropicModel
from tests.far_end.bot_api import TOKEN, BotApi
from tests.far_end.bot_api_world import Said
from tests.far_end.responses_model import ResponsesModel
from tests.far_end.scripted_model import Answer as Says
from tests.far_end.scripted_model import Asking, Reply, ScriptedModel, call, say
from tests.scenarios.house import House, house
from tests.scenarios.telegram_house import ADA

SHELL = {"claude": "Bash", "codex": "exec_command"}
#: What an operator adds so that the agent has its tool for questions: Codex keeps it for its plan mode.
CURIOUS = {"claude": [], "codex": ["-c", "features.default_mode_request_user_input=true"]}
PEOPLE = 24
Stand = tuple[House, BotApi, dict[str, ScriptedModel], Iterator[int]]
COLOURS = [
    {"label": "red", "description": "like a fire engine"},
    {"label": "blue", "description": "like the sea"},
]
COLOUR = {"question": "Which colour?", "header": "Colour", "multiSelect": False, "options": COLOURS}


@dataclass
class Phone:
    """A person's phone, and at the other end one real agent whose model says what the test scripted.

    Each flight has a person of its own, so that none waits for what a chat may be sent in a second.
    """

    agent: str
    house: House
    api: BotApi
    model: ScriptedModel
    person: int

    def run(self, word: str, *script: Says, to: str = "", **sent: Any) -> str:
        """Scripts what the agent does about ``word`` and asks for it by message; the task's id."""
        self.model.script(script, when=word)
        return self.begin(word, to=to, **sent)

    def begin(self, word: str, *, to: str = "", **sent: Any) -> str:
        """Asks for it by message; the task's id."""
        asked = f"{self.agent}, please see to {word}"
        self.api.say(self.person, f"/run on=macbook agent={self.agent}{to} {asked}", **sent)
        self.house.until(lambda: self._task(asked), "the task is there")
        return self._task(asked)

    def _task(self, prompt: str) -> str:
        found = (entry for entry in self.house.ledger("task.requested") if entry.event.body()["prompt"] == prompt)
        return next((entry.refs.task for entry in found), "")

    def shell(self, command: str) -> Reply:
        """The model runs a command."""
        if self.agent == "claude":
            return call("Bash", command=command, description="run it")
        return call("exec_command", cmd=command)

    def heard(self, word: str) -> list[Asking]:
        """The requests of a conversation, as the model's vendor would get them."""
        return [asking for asking in self.model.asked if word in asking.heard]

    def shown(self, *pieces: str) -> Said:
        """Waits for a message that has all of this in it."""

        def look() -> Said | None:
            every = self.api.screen(self.person)
            return next((message for message in every if all(piece in read(message) for piece in pieces)), None)

        found = self.api.wait(look, f"the phone shows {pieces}", seconds=60)
        assert found is not None
        return found

    def asked(self, task: str, *before: Said) -> Said:
        """Waits for a task's next message that asks this person for something: it pings them."""

        def look() -> Said | None:
            every = [
                message for message in self.api.screen(self.person) if message.id not in [old.id for old in before]
            ]
            return next(
                (
                    message
                    for message in every
                    if {"Deny", "No answer"} & {*message.labels} and task in read(message)
                ),
                None,
            )

        found = self.api.wait(look, f"{task} asks", seconds=60)
        assert found is not None
        assert not found.silent and any(tap.startswith("text_mention") for tap in found.live)
        return found

    def landed(self, task: str) -> None:
        """Waits until the change is on the base branch."""
        self.house.until(lambda: self.house.state(task) == "landed", f"{task} lands")

    def closed(self, message: Said, *pieces: str) -> None:
        """Waits until a message has no buttons any more, and says all of this and who decided, and when.

        Edits have the last place in a chat's budget and are the same for every agent: one agent's are waited for.
        """
        if self.agent != "claude":
            return

        def look() -> bool:
            return not message.labels and all(piece in read(message) for piece in pieces)

        self.api.wait(look, f"the message says {pieces}: {read(message)}")
        assert re.search(r"by Ada\d+ at .*\d\d:\d\d", read(message)), read(message)

    def press(self, message: Said, label: str) -> None:
        self.api.press(self.person, message, label)


def read(message: Said) -> str:
    """What a person reads: breaks have no width."""
    return message.text.replace("\u200b", "")


def pictures(asking: Asking) -> list[bytes]:
    """The pictures in a request, as the model would see them."""
    if "messages" in asking.body:
        blocks = [block for message in asking.body["messages"] for block in _list(message["content"])]
        return [base64.b64decode(block["source"]["data"]) for block in blocks if block["type"] == "image"]
    parts = [part for item in asking.body["input"] for part in _list(item.get("content"))]
    urls = [part["image_url"] for part in parts if part["type"] == "input_image"]
    return [base64.b64decode(url.partition("base64,")[2]) for url in urls]


def _list(content: Any) -> list[dict[str, Any]]:
    return content if isinstance(content, list) else []


def snapshot(width: int = 640, height: int = 480) -> bytes:
    """A photo as a phone takes one."""
    made = io.BytesIO()
    Image.linear_gradient("L").resize((width, height)).convert("RGB").save(made, "JPEG", quality=85)
    return made.getvalue()


@pytest.fixture(scope="module")
def stand() -> Iterator[Stand]:
    with AnthropicModel() as claude, ResponsesModel() as codex, BotApi() as api, house() as made:
        models: dict[str, ScriptedModel] = {"claude": claude, "codex": codex}
        for name, model in models.items():
            put = agents.claude_home(model.url) if name == "claude" else agents.codex_home(model.url)
            home = made.directory / f"home-{name}"
            put.put(home)
            settings = {**put.env, "HOME": str(home)}
            plain: dict[str, Any] = {"driver": name, "program": [agents.binary(name)], "settings": settings}
            curious = {**plain, "program": [*plain["program"], *CURIOUS[name]]}
            made.agents |= {
                name: plain,
                f"{name}-asks": {**plain, "ask": [SHELL[name]]},
                f"{name}-curious": curious,
            }
        people = [{"name": f"Ada{n}", "role": "admin", "ids": [f"telegram::{ADA + n}"]} for n in range(PEOPLE)]
        made.configure(people=people)
        env = made.home / ".env"
        env.touch(mode=0o600)
        env.write_text(f"AIRBOSS_TELEGRAM_TOKEN={TOKEN}\nAIRBOSS_TELEGRAM_API={api.url}\n")
        made.start()
        yield made, api, models, iter(range(ADA, ADA + PEOPLE))


@pytest.fixture(params=sampled(("claude", "codex"), 1))
def phone(request: pytest.FixtureRequest, stand: Stand) -> Phone:
    made, api, models, people = stand
    return Phone(request.param, made, api, models[request.param], next(people))


claude_only = pytest.mark.parametrize("phone", ["claude"], indirect=True)


def test_a_photo_with_a_caption_is_seen_by_the_model_and_is_no_part_of_what_lands(phone: Phone) -> None:
    photo, good = snapshot(), f"GOOD like the picture by {phone.agent}"
    task = phone.run("alfa", phone.shell(f"echo {good} > work.txt"), say("done"), photo=photo)
    phone.shown("landed on main", "see to alfa", task)
    first = phone.heard("alfa")[0]
    assert pictures(first) == [photo]
    assert phone.house.main() == good
    assert "photo" not in phone.house.main("")


def test_an_album_is_one_question_whose_pictures_are_all_seen(phone: Phone) -> None:
    first, second = snapshot(), snapshot(320, 200)
    phone.model.script([say("The second is smaller.")], when="alpine")
    asked = f"/ask on=macbook agent={phone.agent} compare these for alpine"
    phone.api.say(phone.person, asked, photo=first, media_group_id="album")
    # What is sent as a file has the name and the type that its sender gives it; this one is a JPEG all the same.
    phone.api.say(phone.person, "", document=("second.png", second), media_group_id="album")
    phone.shown("compare these for alpine", "The second is smaller.")
    (request,) = phone.heard("alpine")
    assert pictures(request) == [first, second]


def test_a_document_is_read_by_the_agent_and_is_no_part_of_what_lands(phone: Phone) -> None:
    notes = f"the word is GOOD for {phone.agent}"

    def script(asking: Asking) -> Says:
        (path,) = set(re.findall(r"^- (/\S+)$", asking.heard, re.M))
        reads = call("Read", file_path=path) if phone.agent == "claude" else phone.shell(f"cat {path}")
        return [reads, phone.shell(f"cp {path} work.txt"), say("done")][min(asking.step, 2)]

    phone.model.script(script, when="bravo")
    task = phone.begin("bravo", document=("../../my notes.txt", notes.encode()))
    phone.shown("landed on main", task)
    assert notes in phone.heard("bravo")[1].results[0]
    assert phone.house.main() == notes
    assert "notes" not in phone.house.main("")


def test_a_person_allows_once_for_the_session_and_denies_by_press(phone: Phone) -> None:
    again = f"echo GOOD {phone.agent} >> asks-{phone.agent}; cp asks-{phone.agent} work.txt"
    never = f"echo never > never-{phone.agent}.txt"
    script = [phone.shell(again), phone.shell(again), phone.shell(again), phone.shell(never), say("done")]
    task = phone.run("charlie", *script, to="-asks")
    asked: list[Said] = []
    # The third card is about the last call: the one before it was not asked about.
    for command, label in ((again, "Allow once"), (again, "Allow for this session"), (never, "Deny")):
        asked.append(phone.asked(task, *asked))
        for piece in (
            "asks to run",
            command,
            "Approving covers this command line, not the files it reads",
            "macbook",
        ):
            assert piece in read(asked[-1])
        assert asked[-1].labels == ["Allow once", "Allow for this session", "Deny"]
        phone.press(asked[-1], label)
    phone.landed(task)
    assert phone.house.main().splitlines() == [f"GOOD {phone.agent}"] * 3
    assert "never" not in phone.house.main("")
    last = phone.heard("charlie")[-1]
    assert "denied by a person" in last.heard + "".join(last.results)
    for message, became in zip(asked, ("approved", "approved for this session", "denied"), strict=True):
        phone.closed(message, task, f" · {became}\n")


def question(phone: Phone) -> Reply:
    """The agent's own way to ask a person."""
    if phone.agent == "claude":
        return call("AskUserQuestion", questions=[COLOUR])
    plain = {name: value for name, value in COLOUR.items() if name != "multiSelect"}
    return call("request_user_input", questions=[{**plain, "id": "colour"}])


def test_a_question_comes_as_buttons_and_one_press_answers_it(phone: Phone) -> None:
    good = f"GOOD and blue by {phone.agent}"
    task = phone.run("delta", question(phone), phone.shell(f"echo {good} > work.txt"), say("done"), to="-curious")
    asked = phone.asked(task)
    assert "the agent asks you" in read(asked) and "Which colour?" in read(asked)
    assert "like a fire engine" in read(asked)
    assert asked.labels == ["1 · red", "2 · blue", "No answer"]
    assert len(phone.heard("delta")) == 1, "the agent waits"
    phone.press(asked, "2 · blue")
    phone.landed(task)
    (result,) = phone.heard("delta")[1].results
    assert "blue" in result and "fire" not in result
    assert phone.house.main() == good
    ended = [entry.event.body()["outcome"] for entry in phone.house.of(task, "tool.ended")]
    assert set(ended) == {"ok"}, "an answer is no refusal"
    phone.closed(asked, " · answered", "Which colour?", "“blue”")


@claude_only
def test_a_typed_reply_answers_a_question_in_other_words_and_its_file_reaches_the_agent(phone: Phone) -> None:
    def script(asking: Asking) -> Says:
        paths = re.findall(r"^- (/\S+moss\.txt)$", str(asking.body).replace("\\n", "\n"), re.M)
        if asking.step < 2:
            return [question(phone), phone.shell("sleep 0.1")][asking.step]
        return phone.shell(f"cp {paths[0]} work.txt") if paths and asking.step == 2 else say("done")

    phone.model.script(script, when="echo-echo")
    task = phone.begin("echo-echo")
    asked = phone.asked(task)
    moss = ("moss.txt", b"GOOD green")
    phone.api.say(phone.person, "green, like moss", reply_to=asked.id, document=moss)
    phone.landed(task)
    assert '"Which colour?"="green, like moss"' in phone.heard("echo-echo")[1].results[0]
    assert phone.house.main() == "GOOD green"


@claude_only
def test_several_questions_are_answered_by_one_reply_with_a_line_for_each(phone: Phone) -> None:
    sizes = [{"label": size, "description": size} for size in ("small", "medium", "large")]
    size = {"question": "Which sizes?", "header": "Sizes", "multiSelect": True, "options": sizes}
    ask = call("AskUserQuestion", questions=[COLOUR, size])
    task = phone.run("foxtrot", ask, phone.shell("echo GOOD sizes > work.txt"), say("done"))
    asked = phone.asked(task)
    assert asked.labels == ["No answer"] and "one line for each" in read(asked)
    phone.api.say(phone.person, "2\n1, 3", reply_to=asked.id)
    phone.landed(task)
    (result,) = phone.heard("foxtrot")[1].results
    assert '"Which colour?"="blue"' in result and '"Which sizes?"="small, large"' in result
