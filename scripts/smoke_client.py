"""The smoke test's client: requests, and what polling saw of tasks."""

import asyncio
import base64
import json
from dataclasses import dataclass
from typing import Any

import aiohttp
from yarl import URL

DESCRIPTIONS = {
    "100": "Queued",
    "110": "Waiting for Form URL from Object Storage to be retrieved",
    "111": "Form URL from Object Storage received",
    "112": "Object Storage confirms that upload to Object Storage has finished",
    "113": "Download from Object Storage to server has started",
    "114": "Download from Object Storage to server has finished",
    "115": "Download from Object Storage error",
    "116": "Started upload from filesystem to Object Storage",
    "117": "Upload from filesystem to Object Storage has finished succesfully",
    "118": "Upload from filesystem to Object Storage has finished with errors",
    "200": "Finished successfully",
    "400": "Finished with errors",
}
"""The states this test can come across; 101 is not among them, as no server sends it."""
OVER = frozenset({"114", "115", "117", "118", "200", "400"})
TASK = (
    "created_at data description hash_id last_modify service status system task_id task_url "
    "updated_at user"
)
"""Keys of a task."""


class Mismatch(Exception):
    """The deployment did not do what the contract says."""


def expect(what: str, got: object, expected: object) -> None:
    """Raise `Mismatch` unless the two are equal."""
    if got != expected:
        raise Mismatch(f"{what}: expected {_short(expected)}, got {_short(got)}")


def expect_keys(what: str, got: object, expected: str) -> None:
    """Raise `Mismatch` unless `got` is an object with at least these keys, blank-separated."""
    if not isinstance(got, dict):
        raise Mismatch(f"{what}: expected an object, got {_short(got)}")
    if missing := set(expected.split()) - set(got):
        raise Mismatch(f"{what}: expected the keys {sorted(missing)} too, got {sorted(got)}")


def _short(value: object, limit: int = 500) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=repr)
    return text if len(text) <= limit else f"{text[:limit]}…"


def user_of(token: str) -> str:
    """Whom the token speaks for, as far as the claim `preferred_username` tells."""
    try:
        claims = token.split(".")[1]
        decoded = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
        return str(decoded["preferred_username"])
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise Mismatch("the token names no preferred_username; use --home") from error


@dataclass(frozen=True)
class Target:
    """The deployment under test, and how to talk to it.

    `default_system` leaves the machine header out of storage calls, as the
    tutorial does; the deployment must then have a default system.
    """

    url: str
    token: str
    machine: str
    home: str
    default_system: bool = False


@dataclass(frozen=True)
class Answer:
    """A response, read to its end."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The decoded body."""
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise Mismatch(f"expected JSON, got {_short(repr(self.body))}") from error


class Client:
    """Requests with the user's token."""

    def __init__(self, http: aiohttp.ClientSession, target: Target) -> None:
        self._http = http
        self._target = target
        self.seen: dict[str, list[str]] = {}
        """Of each task the states that polling saw, in order."""

    async def request(
        self,
        method: str,
        path: str,
        *,
        status: int = 200,
        machine: bool = True,
        headers: dict[str, str] | None = None,
        **body: Any,
    ) -> Answer:
        """Send a request; any other status than `status` is a `Mismatch`."""
        sent = {"Authorization": f"Bearer {self._target.token}", **(headers or {})}
        if machine:
            sent["X-Machine-Name"] = self._target.machine
        url = self._target.url + path
        async with self._http.request(
            method, url, headers=sent, allow_redirects=False, **body
        ) as response:
            answer = Answer(response.status, dict(response.headers), await response.read())
        if answer.status != status:
            text = answer.body.decode(errors="replace")
            raise Mismatch(f"{method} {path}: expected {status}, got {answer.status} {text[:500]}")
        return answer

    async def receipt(self, method: str, path: str, **request: Any) -> str:
        """Id of the task that a request creates."""
        answer = (await self.request(method, path, **request)).json
        expect_keys(f"{method} {path}", answer, "success task_id task_url")
        expect("success", answer["success"], "Task created")
        expect("task_url", answer["task_url"].rpartition("/")[2], answer["task_id"])
        return str(answer["task_id"])

    async def task(self, task_id: str) -> dict[str, Any]:
        """The task as `/tasks/{id}` shows it, noted in `seen`."""
        answer = await self.request("GET", f"/tasks/{task_id}", machine=False)
        task: dict[str, Any] = answer.json["task"]
        check_task(task, task_id)
        states = self.seen.setdefault(task_id, [])
        if task["status"] not in states[-1:]:
            states.append(task["status"])
        return task

    async def tasks(self, *task_ids: str) -> dict[str, dict[str, Any]]:
        """The tasks as `/tasks` shows them; all of them if none is named."""
        params = {"tasks": ",".join(task_ids)} if task_ids else {}
        answer = await self.request("GET", "/tasks", machine=False, params=params)
        tasks: dict[str, dict[str, Any]] = answer.json["tasks"]
        return tasks

    async def follow(self, task_id: str, until: str, *, limit: float = 60) -> dict[str, Any]:
        """Poll a task until it has the status `until`; a `Mismatch` if it never gets there."""
        try:
            async with asyncio.timeout(limit):
                while (task := await self.task(task_id))["status"] != until:
                    if task["status"] in OVER:
                        got = f"{task['status']} with {_short(task['data'])}"
                        raise Mismatch(f"task {task_id}: expected {until}, got {got}")
                    await asyncio.sleep(0.2)
        except TimeoutError as error:
            seen = " → ".join(self.seen.get(task_id, []))
            message = f"task {task_id}: expected {until} within {limit:.0f} s, got {seen}"
            raise Mismatch(message) from error
        return task

    async def result(self, method: str, path: str, **request: Any) -> Any:
        """What a compute task brings in the end."""
        return (await self.follow(await self.receipt(method, path, **request), "200"))["data"]

    async def fetch(self, url: str) -> bytes:
        """Any URL, without credentials."""
        async with self._http.get(URL(url, encoded=True)) as response:
            expect("GET of the URL", response.status, 200)
            return await response.read()

    async def post_form(self, url: str, form: aiohttp.FormData) -> int:
        """Send a form anywhere, without credentials; the status of the answer."""
        async with self._http.post(url, data=form) as response:
            await response.read()
            return response.status


def check_task(task: dict[str, Any], task_id: str) -> None:
    """Raise `Mismatch` unless the resource is complete and consistent."""
    expect_keys("task", task, TASK)
    if task["status"] not in DESCRIPTIONS:
        raise Mismatch(f"task: expected a status of the contract, got {task['status']!r}")
    expect("description", task["description"], DESCRIPTIONS[task["status"]])
    expect("hash_id", task["hash_id"], task_id)
    expect("task_id", task["task_id"], task_id)
    expect("task_url", task["task_url"].rpartition("/tasks/")[2], task_id)
    expect("last_modify", task["last_modify"], task["updated_at"])
