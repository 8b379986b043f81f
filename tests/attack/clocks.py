"""Random clocks, tasks and callbacks: no task goes back, no callback is lost or doubled, and the money adds up."""

from collections import Counter
from typing import Any

from tests.attack.registry import Run, attack
from tests.attack.servers import serving, wait_until
from tests.attack.wire import CREATE, ORDER, Client

STEPS = 100
"""Steps of one account."""

KINDS = (
    "create",
    "create",
    "poll",
    "poll",
    "poll",
    "poll",
    "advance",
    "advance",
    "speed",
    "freeze",
    "run",
    "finish",
    "now",
)
"""What a step can be; what occurs twice is twice as likely."""

RANKS = {"pending": 0, "processing": 1, "completed": 2, "failed": 2, "cancelled": 2}
PRICES = {10: 5.76, 15: 8.64}


class World:
    """An account with a clock that jumps. tasks: the last that was seen of each task."""

    def __init__(self, run: Run, client: Client, key: str) -> None:
        self.run, self.client, self.key = run, client, key
        self.tasks: dict[str, Any] = {}
        self.callbacks: set[str] = set()
        self.prices: dict[str, float] = {}
        self.now, self.is_frozen = 0.0, False
        self.fails_first = run.random.random() < 0.5
        if self.fails_first:
            replies = [{"status": 500}, {"status": 302}, {"status": 204}]
            self.control("PUT", "/inbox/hook", {"replies": replies})

    def control(self, method: str, path: str, body: Any = None) -> Any:
        reply = self.client.ask(method, f"/__mock{path}", self.key, body)
        self.run.check(reply.is_success, f"{method} {path} {body} got {reply.status} {reply.body[:100]!r}")
        return reply.json() if reply.is_success else {}

    def step(self) -> None:
        random = self.run.random
        kind = random.choice(KINDS)
        if kind == "create":
            self.create()
        elif kind == "poll" and self.tasks:
            self.poll(random.choice(list(self.tasks)))
        elif kind == "advance":
            self.clock("POST", "/clock/advance", {"seconds": random.choice([0, 0.001, 0.5, 1, 3, 7, 60, 3600])})
        elif kind == "speed":
            self.clock("PATCH", "/clock", {"speed": random.choice([0.001, 0.5, 1, 60, 1000])})
        elif kind == "freeze":
            self.clock("PATCH", "/clock", {"frozen": True, "per_request": 0})
        elif kind == "run":
            self.clock("PATCH", "/clock", {"frozen": False, "per_request": random.choice([0, 0, 0.1, 2])})
        elif kind == "now" and self.is_frozen:
            # a running clock may pass that time before the request arrives
            self.clock("PATCH", "/clock", {"now": self.now + random.choice([0.01, 5, 90])})
        elif kind == "finish" and self.tasks:
            outcome = random.choice([{"outcome": "completed"}, {"outcome": "failed"}, {"outcome": "cancelled"}])
            task = random.choice(list(self.tasks))
            status = self.client.ask("POST", f"/__mock/tasks/{task}/finish", self.key, outcome).status
            self.run.check(status in (200, 409), f"finish got {status}")

    def clock(self, method: str, path: str, body: Any) -> None:
        shown = self.control(method, path, body)
        now, self.is_frozen = shown.get("now", 0.0), shown.get("frozen") is True and not shown["per_request"]
        self.run.check(now >= self.now, f"the clock went back from {self.now} to {now} by {body}")
        self.now = now

    def create(self) -> None:
        random = self.run.random
        duration = random.choice([10, 15])
        order: dict[str, Any] = {**ORDER, "duration": duration}
        if random.random() < 0.7:
            order["callback_url"] = "https://inbox.sora-mock.test/hook"
        scenario = random.choice(["completed", "completed", "failed", "failed at=0.4", "moderation_celebrity"])
        reply = self.client.ask("POST", CREATE, self.key, order, X_Mock_Scenario=scenario)
        self.run.check(reply.status == 200, f"a create request got {reply.status} {reply.body[:100]!r}")
        if reply.status == 200:
            task = reply.json()
            self.tasks[task["id"]] = task
            self.prices[task["id"]] = PRICES[duration]
            if "callback_url" in order:
                self.callbacks.add(task["id"])

    def poll(self, task_id: str) -> None:
        reply = self.client.ask("GET", f"/v1/tasks/{task_id}", self.key)
        if reply.status != 200:
            self.run.check(False, f"a poll got {reply.status}")
            return
        before, seen = self.tasks[task_id], reply.json()
        ranks = RANKS[before["status"]], RANKS[seen["status"]]
        # a failed task shows progress 0
        holds = ranks[0] <= ranks[1] and (before["progress"] <= seen["progress"] or seen["status"] == "failed")
        if ranks[0] == 2:
            holds = holds and seen == before
        self.run.check(holds, f"{ranks} {seen['progress']} {before} became {seen}")
        self.tasks[task_id] = seen

    def end(self) -> None:
        """Lets everything end, then checks tasks, callbacks and money."""
        self.clock("PATCH", "/clock", {"frozen": True, "per_request": 0})
        for _ in range(3):
            self.clock("POST", "/clock/advance", {"seconds": 7200})
        for task_id in self.tasks:
            self.poll(task_id)
            self.run.check(RANKS[self.tasks[task_id]["status"]] == 2, f"{task_id} has not ended")
        # attempts that a running clock began are real requests
        wait_until(lambda: all(each["state"] != "pending" for each in self.deliveries()), 5)
        self.check_callbacks()
        used = sum(self.prices[each] for each, task in self.tasks.items() if task["status"] == "completed")
        account = self.control("GET", "/account")
        expected = (round(1000 - used, 4), 0, round(used, 4))
        found = tuple(round(account[name], 4) for name in ("remaining_credits", "reserved_credits", "used_credits"))
        self.run.check(found == expected, f"credits {found}, expected {expected}")

    def deliveries(self) -> list[Any]:
        return list(self.client.ask("GET", "/__mock/deliveries", self.key).json()["deliveries"])

    def check_callbacks(self) -> None:
        deliveries = self.deliveries()
        counts = Counter(each["task_id"] for each in deliveries)
        self.run.check(counts == dict.fromkeys(self.callbacks, 1), f"deliveries {counts} for {self.callbacks}")
        messages = Counter(each["json"]["id"] for each in self.control("GET", "/inbox/hook")["messages"])
        for each in deliveries:
            attempts = each["attempts"]
            good = [attempt["status"] for attempt in attempts if 200 <= (attempt["status"] or 0) < 300]
            numbers = [attempt["number"] for attempt in attempts]
            holds = each["state"] == "succeeded" and len(good) == 1 and numbers == list(range(1, len(attempts) + 1))
            task = each["task_id"]
            holds = holds and messages[task] == len(attempts) and each["body"] == self.tasks[task]
            self.run.check(holds, f"{each['state']} {attempts} with {messages[task]} messages for {task}")


@attack(
    what="create, poll, finish, freeze, advance, speed up and set the clock in random order, with callbacks to the "
    "inbox that fail at first",
    promise="no task and no clock goes backwards, each callback arrives once, credits add up",
    tries=12_000,
    short=400,
)
def clocks_and_callbacks(run: Run) -> None:
    """Accounts whose clocks jump."""
    with serving() as target:
        for number in range(max(1, run.tries // STEPS)):
            world = World(run, target.client, f"sk-clock-{number}")
            for _ in range(STEPS):
                world.step()
            world.end()
        run.check(not target.bug(), f"a traceback in the log: {target.bug()}")
