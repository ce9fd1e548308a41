"""What is done on machines in users' names, written down (Contract: config, ``audit_json``)."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from firecrest.errors import FirecrestError
from firecrest.telemetry.logs import AUDIT, CALLER, NOBODY, ON_BEHALF_OF, TASK
from firecrest.telemetry.metrics import Metrics
from firecrest.telemetry.spans import Spans


class Auditor:
    """Writes down the actions of one user on one system.

    :param service: family of calls for which they are done
    """

    def __init__(
        self, user: str, system: str, service: str, metrics: Metrics, spans: Spans
    ) -> None:
        self.user, self.system, self.service = user, system, service
        self.metrics, self.spans = metrics, spans

    def action(self, action: str, operand: str | None, argv: Sequence[str] = ()) -> Action:
        """A context in which an action is done.

        :param argv: its arguments, see :meth:`firecrest.commands.base.Command.shown`
        """
        return Action(self, action, operand, argv)


class Action:
    """An action while it lasts: counted, timed and traced, and written down at its end.

    Not a generator, which takes as long as counting and tracing.
    """

    __slots__ = ("_action", "_argv", "_auditor", "_caller", "_counted", "_operand", "_span")

    def __init__(
        self, auditor: Auditor, action: str, operand: str | None, argv: Sequence[str]
    ) -> None:
        self._auditor = auditor
        self._action, self._operand, self._argv = action, operand, argv

    def __enter__(self) -> None:
        auditor, caller = self._auditor, CALLER.get()
        # what is done for somebody may have been begun by another
        self._caller = caller if caller.user == auditor.user else NOBODY
        self._counted = auditor.metrics.command(auditor.system, self._action)
        self._span = auditor.spans.asked(f"ssh {self._action}", system=auditor.system)
        self._counted.__enter__()
        self._span.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._span.__exit__(kind, error, trace)
        self._counted.__exit__(kind, error, trace)
        outcome = "ok"
        if error is not None:
            outcome = type(error).__name__ if isinstance(error, FirecrestError) else "aborted"
        auditor, caller = self._auditor, self._caller
        AUDIT.info(
            "%(user)s@%(system)s %(action)s %(operand)r: %(outcome)s",
            {
                "user": auditor.user,
                "system": auditor.system,
                "service": auditor.service,
                "action": self._action,
                "operand": self._operand,
                "outcome": outcome,
                "id": ON_BEHALF_OF.get(),
                "task": TASK.get(),
                "argv": list(self._argv),
                "issuer": caller.issuer,
                "client": caller.client,
                "address": caller.address,
            },
        )
