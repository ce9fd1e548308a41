"""What a gateway tells Prometheus of itself."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from tests.harness.client import Client


class Figures:
    """The samples of one look."""

    def __init__(self, text: str) -> None:
        self.samples = [
            sample for family in text_string_to_metric_families(text) for sample in family.samples
        ]

    def total(self, name: str, **labels: str) -> float:
        """The sum of a metric over all series that have these labels; 0 without any."""
        return sum(
            sample.value
            for sample in self.samples
            if sample.name == f"firecrest_{name}" and labels.items() <= sample.labels.items()
        )

    def values(self, label: str) -> set[str]:
        """Every value of a label."""
        return {sample.labels[label] for sample in self.samples if label in sample.labels}


async def figures(client: Client) -> Figures:
    """Look now."""
    answer = await client.get("/metrics")
    assert answer.status == 200
    return Figures(answer.content.decode())
